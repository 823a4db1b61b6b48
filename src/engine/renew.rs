//! New metadata for an entry that is there.

use std::sync::Arc;

use bytes::Bytes;

use super::Engine;
use super::set::check_metadata;
use crate::entry::SetOutcome;
use crate::error::Result;
use crate::format::record::{self, Header};
use crate::log::{Appended, Entry, Order};
use crate::read::{self, Failure};
use crate::segment::Stream;
use crate::types::{Durability, RecordKind};

impl Engine {
    /// Replaces an entry's metadata; its value and its times stay. `None`: there is no such entry.
    pub async fn set_metadata(
        self: &Arc<Self>,
        key: &[u8],
        metadata: Bytes,
        durability: Durability,
    ) -> Result<Option<SetOutcome>> {
        let digest = self.check_key(key)?;
        check_metadata(&metadata)?;
        loop {
            let Some(found) = self.index.lookup(digest) else {
                // What is held goes to disk first.
                match self.log.held.get(digest, false) {
                    Some((item, _)) if item.key() == key && self.write_held(digest, &item, true).await => continue,
                    _ => return Ok(None),
                }
            };
            let location = found.location;
            let record = match read::fetch(&self.segments, location).await {
                Ok(record) => record,
                // Moved meanwhile.
                Err(_) if self.index.lookup(digest).is_some_and(|f| f.location != location) => continue,
                Err(Failure::Gone) => return Ok(None),
                // A get says why, and drops what is damaged.
                Err(Failure::Damaged(..) | Failure::Io(..)) => return Ok(None),
            };
            let kind = record.header.kind;
            let is_it = matches!(kind, RecordKind::Put | RecordKind::Head) && record.key() == key;
            let Header { sequence, created, expires, .. } = record.header;
            if !is_it || record.is_expired(self.clock.now()) || self.log.marks.cover(key, sequence, created) {
                return Ok(None);
            }
            if kind == RecordKind::Head && self.objects.at(location).is_none() {
                if self.index.lookup(digest).is_some_and(|f| f.location != location) {
                    continue;
                }
                return Ok(None);
            }
            let stream = self.stream_of(expires.map(|at| at.0.saturating_sub(created.0)));
            // It has proved its worth where it is.
            let is_main = self.segments.get(location.slot).is_some_and(|segment| segment.stream.is_main());
            let stream = if is_main && self.split.has_main() { Stream::Main } else { stream };
            let (value, metadata) = (record.value(), &metadata[..]);
            let value_crc = record::value_crc(metadata, value);
            let (object, flight) = (None, None);
            let entry = Entry { kind, digest, key, metadata, value, value_crc, created, expires, object, flight };
            match self.append(stream, &entry, Order::Renewed { from: location, sequence }, true).await? {
                Ok(Appended::Done(placed)) => {
                    self.log.wait(&placed.ticket, durability).await?;
                    return Ok(Some(SetOutcome::Stored { durability }));
                }
                // Replaced or moved meanwhile.
                Ok(Appended::Stale) => {}
                Err(reason) => return Ok(Some(self.refuse(digest, reason, None))),
            }
        }
    }
}
