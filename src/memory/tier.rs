//! The hot tier: copies of records in memory, before the disk.
//!
//! The index is always asked first. What it answers, the record's place, is the tag that an item must bear to be
//! served: an item of an older place is dropped. So the tier cannot serve an old value, whatever order admissions and
//! writes come in.

use std::sync::Arc;

use bytes::Bytes;

use super::{Bounded, ITEM_OVERHEAD_BYTES, Verdict};
use crate::entry::{Hit, Source};
use crate::format::record::Flags;
use crate::format::tags::{self, Tags};
use crate::types::{Digest, Millis, SegmentId, Sequence};

/// Which record an item was read from. Segment ids are never used twice, so this is unique in a directory's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// The segment.
    pub segment: SegmentId,
    /// Where in it, in units of 16 bytes.
    pub offset_units: u32,
}

/// An entry in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The whole key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// Of its record.
    pub flags: Flags,
    /// The metadata field of its record: the tags, if the flags say so, then the user's metadata.
    pub metadata: Bytes,
    /// When it was set.
    pub created: Millis,
    /// When it expires; `None`: never.
    pub expires: Option<Millis>,
    /// Its place in the order of all writes.
    pub sequence: Sequence,
}

impl Item {
    /// What it takes in memory, in bytes, once it is [`Item::compact`].
    pub fn cost_bytes(&self) -> u64 {
        self.payload_bytes() + ITEM_OVERHEAD_BYTES
    }

    /// Bytes of key, metadata and value.
    pub fn payload_bytes(&self) -> u64 {
        (self.key.len() + self.metadata.len() + self.value.len()) as u64
    }

    /// Its tags.
    #[inline]
    pub fn tags(&self) -> Tags<'_> {
        tags::split(self.flags, &self.metadata).unwrap_or_default().0
    }

    /// The entry as a get gives it now.
    pub fn hit(&self, now: Millis) -> Hit {
        Hit {
            value: self.value.clone(),
            metadata: tags::metadata(self.flags, &self.metadata),
            created: self.created,
            expires: self.expires,
            now,
            source: Source::Memory,
            len_bytes: self.value.len() as u64,
            sequence: self.sequence,
        }
    }

    /// A copy in one buffer of its own. A `Bytes` may be a slice that keeps a much larger buffer alive, and does not
    /// tell: only a copy holds just what is counted.
    #[must_use]
    pub fn compact(&self) -> Self {
        let mut buffer = Vec::with_capacity(self.key.len() + self.metadata.len() + self.value.len());
        buffer.extend_from_slice(&self.key);
        buffer.extend_from_slice(&self.metadata);
        buffer.extend_from_slice(&self.value);
        let buffer = Bytes::from(buffer);
        let value_at = self.key.len() + self.metadata.len();
        Self {
            key: buffer.slice(..self.key.len()),
            flags: self.flags,
            metadata: buffer.slice(self.key.len()..value_at),
            value: buffer.slice(value_at..),
            created: self.created,
            expires: self.expires,
            sequence: self.sequence,
        }
    }
}

/// The hot tier, bounded in bytes.
#[derive(Debug)]
pub struct HotTier(Bounded<(Tag, Arc<Item>)>);

impl HotTier {
    /// Room for `capacity_bytes`, overhead included (see [`ITEM_OVERHEAD_BYTES`]); 0 admits nothing.
    pub fn new(capacity_bytes: u64) -> Self {
        Self(Bounded::new(capacity_bytes))
    }

    /// The item of `d` if it was read from the record that `tag` names and has this key. An item of another record is
    /// dropped. Whether it has expired is for the caller to see.
    pub fn get(&self, d: Digest, tag: Tag, key: &[u8]) -> Option<Arc<Item>> {
        let judge = |(of, item): &(Tag, Arc<Item>)| match (*of == tag, item.key == key) {
            (true, true) => Verdict::Serve,
            (true, false) => Verdict::Miss,
            (false, _) => Verdict::Drop,
        };
        self.0.get(d, judge).map(|(_, item)| item)
    }

    /// Takes a copy of `item`, in place of an older one of `d`. Items above an eighth of a shard are not admitted.
    pub fn admit(&self, d: Digest, tag: Tag, item: Item) {
        let cost_bytes = item.cost_bytes();
        if cost_bytes > self.0.max_cost_bytes() {
            return self.remove(d);
        }
        self.0.put(d, (tag, Arc::new(item.compact())), cost_bytes);
    }

    /// Drops the item of `d`.
    pub fn remove(&self, d: Digest) {
        self.0.remove_if(d, |_| true);
    }

    /// Drops everything.
    pub fn clear(&self) {
        self.0.clear();
    }

    /// Memory taken, in bytes, overhead included; never above the capacity.
    pub fn used_bytes(&self) -> u64 {
        self.0.used_bytes()
    }
}
