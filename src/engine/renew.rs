//! New metadata for an entry that is there.

use std::sync::Arc;

use bytes::Bytes;

use super::Engine;
use super::set::check_metadata;
use crate::entry::SetOutcome;
use crate::error::Result;
use crate::format::record::{self, Header};
use crate::format::tags;
use crate::log::{Appended, Entry, Order};
use crate::read::{self, Failure, Fetched};
use crate::segment::Stream;
use crate::types::{Digest, Durability, Location, RecordKind};

impl Engine {
    /// Replaces an entry's metadata; its value, its tags and its times stay. `None`: there is no such entry.
    pub async fn set_metadata(
        self: &Arc<Self>,
        key: &[u8],
        metadata: Bytes,
        durability: Durability,
    ) -> Result<Option<SetOutcome>> {
        let digest = self.check_key(key)?;
        check_metadata(&metadata, 0)?;
        loop {
            let Some((location, record)) = self.record_of(digest, key).await? else { return Ok(None) };
            let kind = record.header.kind;
            check_metadata(&metadata, record.tags().len())?;
            let Header { flags, sequence, created, expires, .. } = record.header;
            let stream = self.stream_of(key, expires.map(|at| at.0.saturating_sub(created.0)));
            // It has proved its worth where it is.
            let is_main = self.segments.get(location.slot).is_some_and(|segment| segment.stream.stream.is_main());
            let is_main = is_main && self.split(stream.group).has_main();
            let stream = if is_main { Stream::Main.of(stream.group) } else { stream };
            let tagged = flags.is_tagged().then(|| tags::encode(record.tags().iter(), &metadata));
            let (value, metadata) = (record.value(), tagged.as_deref().unwrap_or(&metadata));
            let value_crc = record::value_crc(metadata, value);
            let (object, flight) = (None, None);
            let entry =
                Entry { kind, digest, key, flags, metadata, value, value_crc, created, expires, object, flight };
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

    /// The record of the entry of a key, of a value in chunks its head, and where it stands. What is held in memory is written
    /// first.
    pub(super) async fn record_of(&self, digest: Digest, key: &[u8]) -> Result<Option<(Location, Fetched)>> {
        loop {
            let Some(found) = self.index.lookup(digest) else {
                match self.log.held.get(digest, false) {
                    Some((item, _)) if item.key() == key && self.write_held(digest, &item, true).await => continue,
                    _ => return Ok(None),
                }
            };
            let location = found.location;
            let is_moved = || self.index.lookup(digest).is_some_and(|f| f.location != location);
            let record = match read::fetch(&self.segments, location).await {
                Ok(record) => record,
                Err(_) if is_moved() => continue,
                // A get says why, and drops what is damaged.
                Err(Failure::Gone | Failure::Damaged(..) | Failure::Io(..)) => return Ok(None),
            };
            let kind = record.header.kind;
            let is_it = matches!(kind, RecordKind::Put | RecordKind::Head) && record.key() == key;
            if !is_it || record.is_expired(self.clock.now()) || self.is_purged(&record) {
                return Ok(None);
            }
            if kind == RecordKind::Head && self.objects.at(location).is_none() {
                if is_moved() {
                    continue;
                }
                return Ok(None);
            }
            return Ok(Some((location, record)));
        }
    }
}
