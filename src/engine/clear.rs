//! Removing everything.

use super::Engine;
use crate::catalog;
use crate::error::{Error, Result};
use crate::format::length::class_bytes;

impl Engine {
    /// Removes every entry, durably: the manifest says up to which sequence nothing is served any more.
    pub async fn clear(&self) -> Result<()> {
        self.check_open()?;
        let mut manifest = self.manifest.lock().await;
        let cleared = self.log.while_still(|| {
            self.log.set_history_hidden(true);
            let cleared = self.log.last_sequence();
            self.index.retain(|found| {
                self.segments.sub_live(found.location.slot, class_bytes(found.location.class));
                false
            });
            cleared
        });
        if let Some(memory) = &self.memory {
            memory.clear();
        }
        self.counters.clears.add_one();
        let next = crate::format::manifest::Manifest { cleared, ..*manifest };
        catalog::write_manifest(&*self.backend, self.segments.dir(), &next)
            .await
            .map_err(Error::io("write the manifest of", self.segments.dir()))?;
        *manifest = next;
        self.log.set_history_hidden(false);
        self.log.upkeep.notify_one();
        Ok(())
    }
}
