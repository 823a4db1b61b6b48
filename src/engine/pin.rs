//! Pinning an entry.

use super::Engine;
use crate::entry::PinOutcome;
use crate::error::Result;
use crate::format::length::class_bytes;
use crate::index::{Change, Location};
use crate::types::RecordKind;

impl Engine {
    /// Pins the entry of a key.
    pub async fn pin(&self, key: &[u8]) -> Result<PinOutcome> {
        let digest = self.check_key(key)?;
        loop {
            let Some((at, record)) = self.record_of(digest, key).await? else { return Ok(PinOutcome::Absent) };
            let pinned = self.index.update(digest, |found| {
                // Eviction ends an object that is not pinned in one step, as this one.
                let is_whole = record.header.kind != RecordKind::Head || self.objects.at(at).is_some();
                let is_here = is_whole && found.is_some_and(|found| found.location == at);
                (Change::Keep, is_here.then(|| self.log.pins.pin(at, self.len_with_chunks(at))))
            });
            match pinned {
                Some(true) => return Ok(PinOutcome::Pinned),
                Some(false) => return Ok(PinOutcome::Full),
                // Replaced or moved meanwhile.
                None => {}
            }
        }
    }

    /// Ends the pin of a key's entry. Whether there was one.
    pub fn unpin(&self, key: &[u8]) -> Result<bool> {
        let digest = self.check_key(key)?;
        Ok(self.index.update(digest, |found| (Change::Keep, found.is_some_and(|f| self.log.pins.end(f.location)))))
    }

    fn len_with_chunks(&self, at: Location) -> u64 {
        let chunks = self.objects.at(at).map_or(Vec::new(), |object| object.chunks());
        class_bytes(at.class) + chunks.iter().map(|chunk| class_bytes(chunk.class)).sum::<u64>()
    }
}
