//! Waiting until a record is as durable as its writer asked. Many writers share one write and one `fdatasync`.

use std::sync::Arc;

use super::{Log, WANT_SYNCED, WANT_WRITTEN};
use crate::error::{Error, Result};
use crate::segment::{Segment, StreamId};
use crate::sync::atomic::Ordering;
use crate::types::Durability;

/// Where a record ends.
#[derive(Clone)]
pub struct Ticket {
    /// In which segment.
    pub segment: Arc<Segment>,
    /// At which offset.
    pub end: u64,
    /// Of which stream.
    pub stream: StreamId,
}

impl Log {
    /// Returns once the record is at least this durable.
    ///
    /// # Errors
    /// `WriteFailed` if it was lost to a failing disk; `Closed` if the cache was dropped meanwhile.
    pub async fn wait(&self, ticket: &Ticket, durability: Durability) -> Result<()> {
        let want = match durability {
            Durability::Buffered => return Ok(()),
            Durability::Written => WANT_WRITTEN,
            Durability::Synced => WANT_SYNCED,
        };
        let log = self.stream(ticket.stream);
        loop {
            let progress = log.progress.notified();
            // First how far it is, then whether it was lost: giving a segment up marks it lost, then done.
            let done = if want == WANT_SYNCED { ticket.segment.synced() } else { ticket.segment.written() };
            if ticket.segment.is_lost(ticket.end) {
                // Whoever marks it lost holds the tail until the index has forgotten it: what failed is not served any more.
                drop(ticket.segment.tail.lock());
                return Err(Error::WriteFailed);
            }
            if done >= ticket.end {
                return Ok(());
            }
            if self.is_stopping() {
                return Err(Error::Closed);
            }
            log.want.fetch_max(want, Ordering::SeqCst);
            log.wake.notify_one();
            progress.await;
        }
    }
}
