//! Purging: a mark, and the record that keeps it.

use std::sync::Arc;

use super::{Appended, Entry, Log, MARKERS, Order, Ticket};
use crate::entry::RefuseReason;
use crate::error::Result;
use crate::format::digest::digest;
use crate::format::purge::Selector;
use crate::segment::Stream;
use crate::types::{Digest, Group, Millis};

impl Log {
    /// Whether the record of a purge fits a segment.
    pub fn takes_purge(&self, selector: &Selector) -> bool {
        let key = selector.encode();
        let class = Entry::purge(Digest(0), &key, Millis(0)).class();
        class.is_some_and(|class| self.fits_a_segment(class.len_bytes()))
    }

    /// Marks what a selector selects as dead, from now on. The record's ticket; the reason if there is none yet: then the
    /// upkeep writes it. Waits for room if `wait`.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn purge(
        self: &Arc<Self>,
        selector: &Selector,
        wait: bool,
    ) -> Result<std::result::Result<Ticket, RefuseReason>> {
        /// A call that is dropped while it waits leaves a mark that is written by the upkeep.
        struct Guard<'a>(&'a Log, &'a Selector, bool);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                let Self(log, selector, is_placed) = self;
                if !*is_placed {
                    log.marks.place(selector, log.segments.newest_id(), false, || log.next_sequence());
                    log.upkeep.notify_one();
                }
            }
        }
        self.check_running()?;
        self.marks.begin(selector);
        // Now: a fetch that begins later does not find what is purged; what an earlier one stores has its place before the
        // mark's, or is not stored.
        match selector {
            Selector::Prefix(prefix) => self.flights.outdate_prefix(prefix),
            // What is fetched says its tags only when it is there.
            Selector::Tag(_) => self.flights.outdate_flights(),
            Selector::OlderThan(_) => {}
        }
        let mut guard = Guard(self, selector, false);
        let key = selector.encode();
        let entry = Entry::purge(digest(&self.seed, &key), &key, self.clock.now());
        match self.append(Stream::New.of(Group::COMMON), &entry, Order::Newest, wait).await? {
            Ok(Appended::Done(placed)) => {
                guard.2 = true;
                Ok(Ok(placed.ticket))
            }
            Ok(Appended::Stale) => Ok(Err(RefuseReason::Busy)),
            Err(reason) => Ok(Err(reason)),
        }
    }

    /// Writes the records of marks that were refused or lost, up to the first that cannot be written.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn write_marks(self: &Arc<Self>) -> Result<()> {
        while self.marks.owes()
            && let Some((selector, mark)) = self.marks.unwritten()
        {
            let key = selector.encode();
            let entry = Entry::purge(digest(&self.seed, &key), &key, self.clock.now());
            let order = Order::Marker(mark.sequence, mark.horizon);
            if self.append(MARKERS, &entry, order, false).await?.is_err() {
                break;
            }
        }
        Ok(())
    }
}
