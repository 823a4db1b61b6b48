//! Removing everything.

use super::Engine;
use crate::error::{Error, Result};
use crate::format::length::class_bytes;
use crate::object::End;

impl Engine {
    /// Removes every entry, durably: the manifest says up to which sequence nothing is served any more.
    pub async fn clear(&self) -> Result<()> {
        self.check_open()?;
        let forgotten = self.log.while_still(|| {
            self.log.set_clearing(self.log.last_sequence());
            self.index.retain(|found| {
                self.segments.sub_live(found.location.slot, class_bytes(found.location.class));
                false
            });
            self.log.pins.clear();
            self.log.dirty.clear();
            self.log.marks.clear(self.log.last_sequence());
            self.log.unserve_chunks(&self.objects.end_all(End::Evicted));
            self.log.held.clear();
            self.flights.outdate_all()
        });
        drop(forgotten);
        if let Some(memory) = &self.memory {
            memory.clear();
        }
        self.counters.clears.add_one();
        // Before anything is waited for: the upkeep writes what a dropped call leaves unwritten.
        self.log.upkeep.notify_one();
        self.log.write_cleared().await.map_err(Error::io("write the manifest of", self.segments.dir()))
    }
}
