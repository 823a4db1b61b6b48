//! The hot tier: copies of records in memory, before the disk.
//!
//! The index is always asked first. What it answers, the record's place, is the tag that an item must bear to be
//! served: an item of an older place is dropped. So the tier cannot serve an old value, whatever order admissions and
//! writes come in. What is overwritten or deleted is taken out besides, to give its room back; where an admission comes
//! later than that, and where many are purged or evicted, the sweep takes what is not asked for any more.

use bytes::Bytes;

use super::{Bounded, ITEM_OVERHEAD_BYTES, Verdict};
use crate::entry::{Hit, Source};
use crate::format::record::Flags;
use crate::format::tags::{self, Tags};
use crate::types::{Digest, MemoryFill, Millis, SegmentId, Sequence};

/// Which record an item was read from. Segment ids are never used twice, so this is unique in a directory's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// The segment.
    pub segment: SegmentId,
    /// Where in it, in units of 16 bytes.
    pub offset_units: u32,
}

/// An entry in memory: a copy of its bytes, in one buffer of its own. A `Bytes` may be a slice that keeps a much larger
/// buffer alive, and does not tell: only a copy holds just what is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Key, metadata field and value.
    bytes: Bytes,
    key_len: u32,
    metadata_len: u16,
    /// Of its record.
    pub flags: Flags,
    /// When it was set.
    pub created: Millis,
    /// When it expires; `None`: never.
    pub expires: Option<Millis>,
    /// Its place in the order of all writes.
    pub sequence: Sequence,
}

impl Item {
    /// Copies an entry that lives from when it was `created` until it `expires`; [`Item::at`] gives it its place in the order.
    pub fn copy(key: &[u8], metadata: &[u8], value: &[u8], created: Millis, expires: Option<Millis>) -> Self {
        let mut bytes = Vec::with_capacity(key.len() + metadata.len() + value.len());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(metadata);
        bytes.extend_from_slice(value);
        let (key_len, metadata_len) = (key.len() as u32, metadata.len() as u16);
        let (flags, sequence) = (Flags::NONE, Sequence(0));
        Self { bytes: Bytes::from(bytes), key_len, metadata_len, flags, created, expires, sequence }
    }

    /// The same with the flags of its record.
    #[must_use]
    pub fn flagged(mut self, flags: Flags) -> Self {
        self.flags = flags;
        self
    }

    /// The same with its place in the order.
    #[must_use]
    pub fn at(mut self, sequence: Sequence) -> Self {
        self.sequence = sequence;
        self
    }

    /// The whole key.
    pub fn key(&self) -> &[u8] {
        &self.bytes[..self.key_len as usize]
    }

    /// The metadata field of its record: the tags, if the flags say so, then the user's metadata.
    pub fn metadata(&self) -> &[u8] {
        &self.bytes[self.key_len as usize..self.value_at()]
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        &self.bytes[self.value_at()..]
    }

    fn value_at(&self) -> usize {
        self.key_len as usize + usize::from(self.metadata_len)
    }

    /// What it takes in memory, in bytes.
    pub fn cost_bytes(&self) -> u64 {
        self.payload_bytes() + ITEM_OVERHEAD_BYTES
    }

    /// Bytes of key, metadata and value.
    pub fn payload_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether it has expired.
    pub fn is_expired(&self, now: Millis) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// Its tags.
    #[inline]
    pub fn tags(&self) -> Tags<'_> {
        tags::split(self.flags, self.metadata()).unwrap_or_default().0
    }

    /// The entry as a get gives it now.
    pub fn hit(&self, now: Millis) -> Hit {
        let (key_len, value_at) = (self.key_len as usize, self.value_at());
        // Without metadata no reference is counted for it.
        let metadata = match key_len == value_at {
            true => Bytes::new(),
            false => tags::metadata(self.flags, &self.bytes.slice(key_len..value_at)),
        };
        let value = self.bytes.slice(value_at..);
        Hit {
            len_bytes: value.len() as u64,
            value,
            metadata,
            created: self.created,
            expires: self.expires,
            now,
            source: Source::Memory,
            sequence: self.sequence,
        }
    }
}

/// The hot tier, bounded in bytes.
#[derive(Debug)]
pub struct HotTier {
    items: Bounded<(Tag, Item)>,
    fill: MemoryFill,
    max_payload_bytes: u64,
}

impl HotTier {
    /// Room for `capacity_bytes`, overhead included (see [`ITEM_OVERHEAD_BYTES`]); 0 admits nothing. Items of more than
    /// `max_item_bytes` of key, metadata and value are not admitted, nor such as take more than an eighth of a shard.
    pub fn new(capacity_bytes: u64, max_item_bytes: Option<u64>, fill: MemoryFill) -> Self {
        let items = Bounded::new(capacity_bytes);
        let fits = items.max_cost_bytes().checked_sub(ITEM_OVERHEAD_BYTES);
        let max_payload_bytes = fits.map_or(0, |fits| max_item_bytes.map_or(fits, |most| most.min(fits)));
        Self { items, fill, max_payload_bytes }
    }

    /// Whether an entry of so many bytes of key, metadata and value is taken when it is read.
    pub fn takes_read(&self, payload_bytes: usize) -> bool {
        self.fill != MemoryFill::Write && payload_bytes as u64 <= self.max_payload_bytes
    }

    /// Whether it is taken when it is written.
    pub fn takes_written(&self, payload_bytes: usize) -> bool {
        self.fill != MemoryFill::Read && payload_bytes as u64 <= self.max_payload_bytes
    }

    /// What `serve` makes of the item of `d`, if it was read from the record that `tag` names and has this key. An item of
    /// another record is dropped, and so is one of which `serve` makes nothing, since it has expired, say.
    pub fn get<R>(&self, d: Digest, tag: Tag, key: &[u8], serve: impl Fn(&Item) -> Option<R>) -> Option<R> {
        self.items.get(d, |(of, item)| match (*of == tag, item.key() == key) {
            (true, true) => serve(item).map_or(Verdict::Drop, Verdict::Serve),
            (true, false) => Verdict::Miss,
            (false, _) => Verdict::Drop,
        })
    }

    /// Takes an item in place of one of `d` that is not newer. One that is too large is not admitted, and the older one goes.
    pub fn admit(&self, d: Digest, tag: Tag, item: Item) {
        let (cost_bytes, sequence) = (item.cost_bytes(), item.sequence);
        if item.payload_bytes() > self.max_payload_bytes {
            return self.remove(d);
        }
        self.items.put(d, (tag, item), cost_bytes, |(_, there)| there.sequence <= sequence);
    }

    /// Drops the item of `d`.
    pub fn remove(&self, d: Digest) {
        self.items.remove_if(d, |_| true);
    }

    /// Drops everything.
    pub fn clear(&self) {
        self.items.clear();
    }

    /// Memory taken, in bytes, overhead included; never above the capacity.
    pub fn used_bytes(&self) -> u64 {
        self.items.used_bytes()
    }
}
