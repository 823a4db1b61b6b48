//! What goes in with a value, and what comes out.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Serialize;

use crate::types::{Durability, Millis, SegmentId, Sequence};

/// What a write asks for besides key and value.
#[derive(Clone, Default)]
pub struct SetOptions {
    pub(crate) ttl: Option<Duration>,
    pub(crate) metadata: Bytes,
    pub(crate) tags: Vec<Bytes>,
    pub(crate) durability: Durability,
    /// The origin does not have the value.
    pub(crate) is_dirty: bool,
}

impl SetOptions {
    /// No metadata, no tags, the cache's default time to live, `Buffered`.
    pub fn new() -> Self {
        Self::default()
    }

    /// The entry expires this long after it was set. Counted in whole milliseconds; zero expires at once.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Opaque bytes kept beside the value, at most [`MAX_METADATA_BYTES`](crate::MAX_METADATA_BYTES), less what the tags take.
    #[must_use]
    pub fn metadata(mut self, metadata: impl Into<Bytes>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// What the entry can be removed by, with all others that have one of these tags too: see
    /// [`DiskCache::purge_tag`](crate::DiskCache::purge_tag). At most [`MAX_TAGS`](crate::MAX_TAGS), of 1 to
    /// [`MAX_TAG_BYTES`](crate::MAX_TAG_BYTES) bytes each; in place of those that were given before. Stored are 8 bytes of a
    /// hash of each, and a byte more, of the metadata's room.
    #[must_use]
    pub fn tags<T: AsRef<[u8]>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags = tags.into_iter().map(|tag| Bytes::copy_from_slice(tag.as_ref())).collect();
        self
    }

    /// How durable the entry is when `set` returns.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }
}

impl fmt::Debug for SetOptions {
    /// Of the metadata only the length, of the tags only how many: they are the user's, and do not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetOptions")
            .field("ttl", &self.ttl)
            .field("metadata_bytes", &self.metadata.len())
            .field("tags", &self.tags.len())
            .field("durability", &self.durability)
            .finish()
    }
}

/// How `DiskCache::get_or_fetch` fetches.
#[derive(Debug, Clone, Copy, Default)]
pub struct FetchOptions {
    pub(crate) negative_ttl: Option<Duration>,
}

impl FetchOptions {
    /// Failures are not remembered.
    pub fn new() -> Self {
        Self::default()
    }

    /// A failed fetch is remembered, in memory, for this long: calls for its key get the same error and do not fetch, until
    /// the time is over or the key is set, deleted or cleared. Counted in whole milliseconds.
    ///
    /// At most 16,000 failures are remembered, and none of a key longer than 1,024 bytes; if there are more, those go first
    /// that would end soonest.
    #[must_use]
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = Some(ttl);
        self
    }
}

/// What a fetch gives: a value, and how it is to be stored.
#[derive(Clone)]
pub struct Fetched {
    pub(crate) value: Bytes,
    pub(crate) options: SetOptions,
}

impl Fetched {
    /// A value that is stored with the default options.
    pub fn new(value: impl Into<Bytes>) -> Self {
        Self { value: value.into(), options: SetOptions::new() }
    }

    /// Time to live, metadata, tags and durability of the entry.
    #[must_use]
    pub fn options(mut self, options: SetOptions) -> Self {
        self.options = options;
        self
    }
}

impl fmt::Debug for Fetched {
    /// Of the value only the length: it is the user's, and does not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched").field("value_bytes", &self.value.len()).field("options", &self.options).finish()
    }
}

/// What became of a write (P3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SetOutcome {
    /// The entry is in the cache.
    Stored {
        /// How durably.
        durability: Durability,
    },
    /// The entry is in memory, and goes to disk once it is used (see `AdmissionPolicy::SecondUse`); until then `flush` and
    /// `sync` are not about it, and it does not outlive the process.
    Held,
    /// The entry is not in the cache, and neither is an older value of the key.
    Refused {
        /// Why.
        reason: RefuseReason,
    },
}

impl SetOutcome {
    /// Whether the entry is in the cache.
    pub fn is_stored(&self) -> bool {
        matches!(self, Self::Stored { .. } | Self::Held)
    }
}

/// What became of a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PinOutcome {
    /// The entry is pinned, now or since before.
    Pinned,
    /// There is no such entry.
    Absent,
    /// The entry is there and is not pinned: with it, more than `pinned_bytes` would be.
    Full,
}

/// Why a write was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RefuseReason {
    /// Key, metadata and value together do not fit (one segment, or `max_value_bytes`).
    TooLarge,
    /// The admission policy is against it.
    NotAdmitted,
    /// `try_set` only: the write pipeline is full; try again later.
    Busy,
    /// The disk has no room for another segment, and nothing could be evicted.
    DiskFull,
    /// The disk fails. Writes are accepted again when it recovers.
    DiskFailed,
    /// Of a large value: a part of it was evicted, or the cache was cleared, before all of it was written. It is too large
    /// for this capacity, or was written too slowly.
    Evicted,
}

/// What is known of an entry without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EntryStats {
    /// Length of the value in bytes.
    pub value_bytes: u64,
    /// What it takes in the segments, its chunks included, in bytes; 0 for what is held in memory
    /// (`AdmissionPolicy::SecondUse`).
    pub stored_bytes: u64,
    /// How long ago it was set, in whole milliseconds.
    pub age: Duration,
    /// When it expires; `None`: never.
    pub expires_at: Option<SystemTime>,
    /// How often it was got since it was written or rewritten, as eviction counts it: up to 3, and 0 with
    /// `EvictionPolicy::Fifo`, which does not count.
    pub hits: u8,
    /// Its place in the order of all writes: see [`Hit::sequence`].
    pub sequence: Sequence,
    /// Which segment its record, of a value in chunks the head, stands in; `None` for what is held in memory.
    pub segment: Option<SegmentId>,
    /// Chunks of its value; 0 if it is one record.
    pub chunks: u64,
    /// Whether it is pinned.
    pub is_pinned: bool,
    /// Whether the origin does not have it yet (write-back).
    pub is_dirty: bool,
}

/// Where a hit was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The hot tier.
    Memory,
    /// A record that was not written yet.
    Buffer,
    /// A segment file.
    Disk,
    /// Not in the cache: it was fetched, by this call or by one that it waited for.
    Fetched,
}

/// An entry that was found.
#[derive(Clone)]
pub struct Hit {
    pub(crate) value: Bytes,
    pub(crate) metadata: Bytes,
    pub(crate) created: Millis,
    pub(crate) expires: Option<Millis>,
    pub(crate) now: Millis,
    pub(crate) source: Source,
    pub(crate) len_bytes: u64,
    pub(crate) sequence: Sequence,
}

impl Hit {
    /// The value.
    pub fn value(&self) -> &Bytes {
        &self.value
    }

    /// Length of the entry's whole value in bytes: more than that of [`Hit::value`] if only a range was asked for.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// The value, owned.
    pub fn into_value(self) -> Bytes {
        self.value
    }

    /// The user's metadata; empty if none was set.
    pub fn metadata(&self) -> &Bytes {
        &self.metadata
    }

    /// How long ago the entry was set, in whole milliseconds.
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.now.0.saturating_sub(self.created.0))
    }

    /// When the entry expires; `None`: never.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires.map(|at| UNIX_EPOCH + Duration::from_millis(at.0))
    }

    /// The entry's place in the order of all writes to its cache: what tells this version of the key from others, and which
    /// of two is newer. Rewriting by eviction does not change it. 0 of what was fetched: it has its place once it is stored.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Where it was found.
    pub fn source(&self) -> Source {
        self.source
    }
}

impl fmt::Debug for Hit {
    /// Of value and metadata only the lengths: they are the user's, and do not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hit")
            .field("value_bytes", &self.value.len())
            .field("metadata_bytes", &self.metadata.len())
            .field("created", &self.created)
            .field("expires", &self.expires)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
