//! Removing everything.

use tokio::sync::Notify;

use super::Engine;
use crate::error::{Error, Result};
use crate::format::length::class_bytes;

/// Wakes when it goes.
struct WakeAfter<'a>(&'a Notify);

impl Drop for WakeAfter<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Engine {
    /// Removes every entry, durably: the manifest says up to which sequence nothing is served any more.
    pub async fn clear(&self) -> Result<()> {
        self.check_open()?;
        self.log.while_still(|| {
            self.log.set_clearing(self.log.last_sequence());
            self.index.retain(|found| {
                self.segments.sub_live(found.location.slot, class_bytes(found.location.class));
                false
            });
        });
        if let Some(memory) = &self.memory {
            memory.clear();
        }
        self.counters.clears.add_one();
        // Whether it is written here, fails, or is dropped half way: the upkeep looks after it.
        let _wake_after = WakeAfter(&self.log.upkeep);
        let written = self.log.write_cleared().await;
        written.map_err(Error::io("write the manifest of", self.segments.dir()))
    }
}
