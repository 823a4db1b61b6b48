//! Watches that nothing is appended to a file behind a sync of it that failed (trap 6).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use esker::backend::sim::OpKind;

use crate::common::SEGMENT_LEN_BYTES;
use crate::watched::{Event, Moment};

const BLOCK_BYTES: u64 = 4096;

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Order(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// Segment files whose last sync failed, and whose header was not written since.
    failed: BTreeSet<PathBuf>,
    broken: Option<String>,
}

impl Order {
    /// Takes note of an operation.
    pub fn saw(&self, event: Event<'_>) {
        if event.path.extension().is_none_or(|e| e != "esk") {
            return;
        }
        let mut seen = self.lock();
        match (event.kind, event.moment) {
            (OpKind::Sync, Moment::Landed) if event.failed => drop(seen.failed.insert(event.path.to_owned())),
            // A new header begins a new life of the file.
            (OpKind::Write, Moment::Begun) if event.offset == Some(0) => drop(seen.failed.remove(event.path)),
            (OpKind::Write, Moment::Begun) if seen.failed.contains(event.path) => {
                // The last block is zeroed when a file is freed; it never holds a record.
                let at = event.offset.unwrap_or_default();
                if at < SEGMENT_LEN_BYTES - BLOCK_BYTES {
                    seen.broken = Some(format!("{}: written at {at} behind a failed sync", event.path.display()));
                }
            }
            _ => {}
        }
    }

    /// A new process may write again what it has read.
    pub fn forget(&self) {
        self.lock().failed.clear();
    }

    /// What was done wrong.
    pub fn broken(&self) -> Option<String> {
        self.lock().broken.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn canary_an_append_behind_a_failed_sync_is_caught() {
        let event =
            |kind, offset, moment, failed| Event { kind, path: Path::new("/c/seg-0000.esk"), offset, moment, failed };
        let order = Order::default();
        order.saw(event(OpKind::Write, Some(4096), Moment::Begun, false));
        order.saw(event(OpKind::Sync, None, Moment::Landed, true));
        assert_eq!(order.broken(), None);
        let other = order.clone();
        other.saw(event(OpKind::Write, Some(0), Moment::Begun, false));
        other.saw(event(OpKind::Write, Some(8192), Moment::Begun, false));
        assert_eq!(order.broken(), None, "in a new life it is no append");
        order.saw(event(OpKind::Sync, None, Moment::Landed, true));
        order.saw(event(OpKind::Write, Some(8192), Moment::Begun, false));
        assert!(order.broken().is_some());
    }
}
