//! The hot tier: what a get is answered from before the disk is asked, what goes in, and what leaves.

use super::Engine;
use crate::entry::{Hit, RefuseReason};
use crate::error::Result;
use crate::format::record::Header;
use crate::index::Location;
use crate::log::{Appended, Entry, Order, Placed};
use crate::memory::{HotTier, Item, Tag};
use crate::read::Fetched;
use crate::segment::StreamId;
use crate::types::{Digest, Millis, RecordKind};

impl Engine {
    /// The entry that stands at this place, if it is in memory.
    pub(super) fn in_memory(&self, digest: Digest, location: Location, key: &[u8], now: Millis) -> Option<Hit> {
        self.memory.as_ref()?.get(digest, self.tag(location)?, key, |item| {
            let is_dead = item.is_expired(now) || self.log.marks.cover(key, item.tags(), item.sequence, item.created);
            (!is_dead).then(|| item.hit(now))
        })
    }

    /// An entry was read from its record at this place.
    pub(super) fn fill_on_read(&self, digest: Digest, location: Location, record: &Fetched) {
        let (key, metadata, value) = (record.key(), record.metadata(), record.value());
        let takes = |memory: &&HotTier| memory.takes_read(key.len() + metadata.len() + value.len());
        let Some(memory) = self.memory.as_ref().filter(takes) else { return };
        let Some(tag) = self.tag(location).filter(|tag| tag.segment == record.segment) else { return };
        let Header { flags, created, expires, sequence, .. } = record.header;
        memory.admit(digest, tag, Item::copy(key, metadata, value, created, expires).flagged(flags).at(sequence));
    }

    /// As [`crate::log::Log::append`]. What it wrote goes into memory as well, or what it replaced leaves it.
    pub(super) async fn append(
        &self,
        stream: StreamId,
        entry: &Entry<'_>,
        order: Order,
        wait: bool,
    ) -> Result<std::result::Result<Appended, RefuseReason>> {
        let appended = self.log.append(stream, entry, order, wait).await?;
        if let (Some(memory), Ok(Appended::Done(placed))) = (&self.memory, &appended) {
            fill_on_write(memory, entry, placed);
        }
        Ok(appended)
    }

    /// An entry is not served any more: what memory has of it only takes room.
    pub(super) fn forget_in_memory(&self, digest: Digest) {
        if let Some(memory) = &self.memory {
            memory.remove(digest);
        }
    }

    /// What tells this record from all others that were ever here: the hot tier serves no older one.
    fn tag(&self, location: Location) -> Option<Tag> {
        let segment = self.segments.id_in(location.slot)?;
        Some(Tag { segment, offset_units: location.offset_units })
    }
}

fn fill_on_write(memory: &HotTier, entry: &Entry<'_>, placed: &Placed) {
    let Entry { kind, digest, key, flags, metadata, value, created, expires, .. } = *entry;
    if kind == RecordKind::Put && memory.takes_written(key.len() + metadata.len() + value.len()) {
        let tag = Tag { segment: placed.ticket.segment.id, offset_units: placed.offset_units };
        let item = Item::copy(key, metadata, value, created, expires).flagged(flags).at(placed.sequence);
        memory.admit(digest, tag, item);
    } else if placed.before.is_some() {
        memory.remove(digest);
    }
}
