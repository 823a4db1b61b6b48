//! What can be chosen.

use std::sync::Arc;
use std::time::Duration;

use esker::clock::{Clock, SystemClock};

/// Settings of an [`EskerStorage`](crate::EskerStorage).
#[derive(Clone)]
pub struct Options {
    /// How long an entry may stay after it has become stale and can no longer be served so (`stale-while-revalidate`,
    /// `stale-if-error`): until then it saves the body when the origin answers a revalidation with 304. `None`, the default:
    /// until it is evicted. Counted from when it was filled; a revalidation does not lengthen it. What has expired so is what
    /// Esker evicts first.
    pub keep_stale: Option<Duration>,
    /// Memory in bytes that one fill may take for clients that follow it and lag behind the origin, so that they are served
    /// if the disk refuses the rest. 1 MiB by default; 0: they are cut off then.
    pub relay_bytes: usize,
    /// The clock by which an entry is marked stale, and its time to live is counted.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self { keep_stale: None, relay_bytes: 1 << 20, clock: Arc::new(SystemClock) }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("keep_stale", &self.keep_stale)
            .field("relay_bytes", &self.relay_bytes)
            .finish_non_exhaustive()
    }
}
