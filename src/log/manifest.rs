//! What is said in the manifest: by a `clear`, by eviction for want of room, and by who brings to the origin what is dirty.

use super::Log;
use crate::catalog;
use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::types::{Durability, Sequence};

impl Log {
    /// Whether a `clear` emptied the index, but has not said so on disk yet.
    pub fn is_history_hidden(&self) -> bool {
        self.clearing.lock().is_some()
    }

    /// Everything up to this sequence is cleared; [`Log::write_cleared`] says so on disk.
    pub fn set_clearing(&self, cleared: Sequence) {
        let mut clearing = self.clearing.lock();
        *clearing = (*clearing).max(Some(cleared));
    }

    /// Says in the manifest that all up to this sequence is cleared, for want of room to say less. Whether it could; not
    /// tried again, since markers say less as soon as there is room. What is served is served on until the next open.
    pub async fn clear_up_to(&self, sequence: Sequence) -> bool {
        let mut manifest = self.manifest.lock().await;
        let next = Manifest { cleared: sequence.max(manifest.cleared), ..*manifest };
        let is_said = catalog::write_manifest(&*self.backend, self.segments.dir(), &next).await.is_ok();
        if is_said {
            *manifest = next;
        }
        is_said
    }

    /// Says in the manifest up to which sequence everything dirty is at the origin by now, if it has become more.
    ///
    /// # Errors
    /// `WriteFailed`, `Io`.
    pub async fn write_stored(&self) -> Result<()> {
        let mut manifest = self.manifest.lock().await;
        let stored = self.dirty.stored_up_to(self.last_sequence());
        if stored <= manifest.stored {
            return Ok(());
        }
        // What replaced something that is dirty no more for that is on the device before this says that nothing is.
        self.settle_written(Durability::Synced).await?;
        let next = Manifest { stored, ..*manifest };
        let written = catalog::write_manifest(&*self.backend, self.segments.dir(), &next).await;
        written.map_err(Error::io("write the manifest of", self.segments.dir()))?;
        *manifest = next;
        Ok(())
    }

    /// Says in the manifest what was cleared, if it does not yet. Tried again by the upkeep until it succeeds.
    ///
    /// # Errors
    /// The disk's.
    pub async fn write_cleared(&self) -> std::io::Result<()> {
        let mut manifest = self.manifest.lock().await;
        let Some(cleared) = *self.clearing.lock() else { return Ok(()) };
        let next = Manifest { cleared: cleared.max(manifest.cleared), ..*manifest };
        catalog::write_manifest(&*self.backend, self.segments.dir(), &next).await?;
        *manifest = next;
        let mut clearing = self.clearing.lock();
        if *clearing == Some(cleared) {
            *clearing = None;
        }
        Ok(())
    }
}
