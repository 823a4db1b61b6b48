//! Settings are data. Each default is written once, here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::types::{AdmissionPolicy, BLOCK_BYTES, BackendKind, EvictionPolicy, MAX_KEY_BYTES, MemoryFill};

mod namespaces;

pub(crate) use namespaces::check_name;
pub use namespaces::{MAX_NAMESPACES, NamespaceConfig};

/// The smallest segment, in bytes.
pub const MIN_SEGMENT_LEN_BYTES: u64 = 64 << 10;
/// The largest segment, in bytes: a slot of the index has 22 bits for the offset, in units of 16 bytes.
pub const MAX_SEGMENT_LEN_BYTES: u64 = 64 << 20;
/// Fewest segments of a cache, and of a namespace with segments of its own: one open in each of the three append streams that
/// so small a one has, one being drained, one ready. The two streams more that two logs need come with 12 segments.
pub const MIN_SEGMENTS: u64 = 5;
/// Segments that a cache cannot do without where eviction is told to keep something: one open in each of the five append
/// streams, one being drained, and three ahead of need.
pub const MIN_SEGMENTS_BESIDE_KEPT: u64 = 9;
/// Most segments of a cache: a slot of the index numbers them with 16 bits.
pub const MAX_SEGMENTS: u64 = 1 << 16;
/// What the manifest and the lock file may take, counted against the capacity.
pub const DIRECTORY_OVERHEAD_BYTES: u64 = 4 * BLOCK_BYTES;

/// Most shards of an index.
pub const MAX_INDEX_SHARDS: usize = 1024;
/// The smallest write buffer, in bytes.
pub const MIN_WRITE_BUFFER_BYTES: u64 = 1 << 20;
/// The shortest chunk of a large value, in bytes.
pub const MIN_CHUNK_LEN_BYTES: u64 = BLOCK_BYTES;
/// The longest chunk of a large value, in bytes.
pub const MAX_CHUNK_LEN_BYTES: u64 = 8 << 20;
/// The least memory for entries that wait for a second use, in bytes.
pub const MIN_HELD_BYTES: u64 = 64 << 10;
/// The most of a segment that eviction may rewrite, in percent: the rest is the room that it makes.
pub const MAX_REWRITE_SHARE_PERCENT: u8 = 90;

/// Every setting of the engine. [`Config::default`] says what each is if it is not set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Disk space that the directory may take, everything counted.
    pub capacity_bytes: u64,
    /// Length of a segment file, a multiple of 4,096 from [`MIN_SEGMENT_LEN_BYTES`] to [`MAX_SEGMENT_LEN_BYTES`]; `None`
    /// takes what the directory already has, and of a new one [`Config::chosen_segment_len_bytes`].
    pub segment_len_bytes: Option<u64>,
    /// Memory for the hot tier, overhead counted; 0 = none.
    pub memory_bytes: u64,
    /// Entries with more bytes of key, metadata and value together do not enter the hot tier; `None`: those do not that
    /// would take more than an eighth of a shard of it (1 MiB and more, once `memory_bytes` is 8 MiB).
    pub memory_max_item_bytes: Option<u64>,
    /// When an entry enters the hot tier.
    pub memory_fill: MemoryFill,
    /// The way to the disk.
    pub backend: BackendKind,
    /// Shards of the index of a new directory, 1 to [`MAX_INDEX_SHARDS`]; an existing one keeps its number.
    pub index_shards: usize,
    /// A `Buffered` write is written out within this many milliseconds.
    pub flush_interval_ms: u64,
    /// Memory for records that are not written yet, at least [`MIN_WRITE_BUFFER_BYTES`]. A single larger record may pass
    /// it alone. A quick disk is fed best by few buffers, which are still in the processor's cache when they are written.
    pub write_buffer_bytes: u64,
    /// Longest value accepted, in bytes; `None`: any that the capacity holds.
    pub max_value_bytes: Option<u64>,
    /// A value that is streamed, or does not fit a segment, is stored in chunks whose records take this many bytes on disk,
    /// from [`MIN_CHUNK_LEN_BYTES`] to [`MAX_CHUNK_LEN_BYTES`]; never more than an eighth of a segment.
    pub chunk_len_bytes: u64,
    /// Whether a reader of a key that is being written follows its writer, unless it is told otherwise.
    pub attach_to_writers: bool,
    /// Longest key accepted, in bytes: 1 to [`MAX_KEY_BYTES`]; in a namespace without what the name takes.
    pub max_key_bytes: usize,
    /// Time to live of entries set without one, in milliseconds; `None`: for ever.
    pub default_ttl_ms: Option<u64>,
    /// Parts of the cache that have a time to live, room and statistics of their own, [`MAX_NAMESPACES`] at most.
    pub namespaces: Vec<NamespaceConfig>,
    /// No entry lives longer than so many milliseconds, not even those of earlier opens; `None`: there is no such limit.
    pub retention_ms: Option<u64>,
    /// Entries whose time to live is at most this go to an append stream of their own.
    pub short_ttl_ms: u64,
    /// What is written to disk at all.
    pub admission: AdmissionPolicy,
    /// Which segment goes when room is needed, and what of it is kept.
    pub eviction: EvictionPolicy,
    /// At most this share of a segment, in percent, is rewritten when it is evicted, up to [`MAX_REWRITE_SHARE_PERCENT`]:
    /// hits against bytes written.
    pub rewrite_share_percent: u8,
    /// How much may be pinned, in bytes on disk, up to [`Config::most_kept_bytes`]; `None`: a tenth of the capacity, or that if
    /// it is less.
    pub pinned_bytes: Option<u64>,
    /// Write past the page cache (O_DIRECT) where the file system can.
    pub direct_io: bool,
    /// Whether `open` returns before the segments are indexed. Until they are, every get is a miss, counted as
    /// `misses_indexing`; `try_set` is refused as `Busy`; everything else waits.
    pub index_in_background: bool,
    /// How long `open` waits for the writes of a killed predecessor to land, in milliseconds.
    pub lock_wait_ms: u64,
    /// A disk operation that takes longer counts as failed, in milliseconds.
    pub io_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            capacity_bytes: 1 << 30,
            segment_len_bytes: None,
            memory_bytes: 0,
            memory_max_item_bytes: None,
            memory_fill: MemoryFill::default(),
            backend: BackendKind::Auto,
            index_shards: 32,
            flush_interval_ms: 100,
            write_buffer_bytes: 8 << 20,
            max_value_bytes: None,
            chunk_len_bytes: 64 << 10,
            attach_to_writers: false,
            max_key_bytes: MAX_KEY_BYTES,
            default_ttl_ms: None,
            namespaces: Vec::new(),
            retention_ms: None,
            short_ttl_ms: 60_000,
            admission: AdmissionPolicy::default(),
            eviction: EvictionPolicy::default(),
            rewrite_share_percent: 50,
            pinned_bytes: None,
            direct_io: true,
            index_in_background: false,
            lock_wait_ms: 30_000,
            io_timeout_ms: 30_000,
        }
    }
}

/// The most that eviction can be told to keep in so many segments, in bytes.
pub(crate) fn most_kept_bytes(segments: u64, segment_len_bytes: u64) -> u64 {
    segments.saturating_sub(MIN_SEGMENTS_BESIDE_KEPT) * segment_len_bytes / 2
}

impl Config {
    /// The segment length that a new directory gets: as configured, or from the capacity, so that a large cache has
    /// segments of [`MAX_SEGMENT_LEN_BYTES`] and a small one about 64 of them.
    pub fn chosen_segment_len_bytes(&self) -> u64 {
        self.segment_len_bytes.unwrap_or_else(|| {
            let share = (self.capacity_bytes / 64).max(1);
            let power_of_two = 1 << share.ilog2();
            power_of_two.clamp(MIN_SEGMENT_LEN_BYTES, MAX_SEGMENT_LEN_BYTES)
        })
    }

    /// How many segments of `segment_len_bytes` the capacity holds.
    pub fn max_segments(&self, segment_len_bytes: u64) -> u64 {
        self.capacity_bytes.saturating_sub(DIRECTORY_OVERHEAD_BYTES) / segment_len_bytes
    }

    /// How much of a segment of this length is rewritten at most when it is evicted, in percent and in bytes.
    pub(crate) fn rewrite_share(&self, segment_len_bytes: u64) -> (u64, u64) {
        let percent = if self.eviction == EvictionPolicy::Fifo { 0 } else { u64::from(self.rewrite_share_percent) };
        (percent, segment_len_bytes * percent / 100)
    }

    /// The most that eviction can be told to keep, in bytes: half of what the segments hold beyond
    /// [`MIN_SEGMENTS_BESIDE_KEPT`].
    pub fn most_kept_bytes(&self, segment_len_bytes: u64) -> u64 {
        most_kept_bytes(self.max_segments(segment_len_bytes), segment_len_bytes)
    }

    /// How much may be pinned with segments of this length, in bytes.
    pub(crate) fn pinned_bytes(&self, segment_len_bytes: u64) -> u64 {
        let most = self.most_kept_bytes(segment_len_bytes);
        self.pinned_bytes.unwrap_or(self.capacity_bytes / 10).min(most)
    }

    /// The flush interval.
    pub fn flush_interval(&self) -> Duration {
        Duration::from_millis(self.flush_interval_ms)
    }

    /// Checks every limit.
    ///
    /// # Errors
    /// `InvalidConfig`, naming the option and what works.
    pub fn validate(&self) -> Result<()> {
        let bad = |text: String| Err(Error::InvalidConfig(text));
        let is_segment_len = |len: &u64| {
            (MIN_SEGMENT_LEN_BYTES..=MAX_SEGMENT_LEN_BYTES).contains(len) && len.is_multiple_of(BLOCK_BYTES)
        };
        if let Some(len) = self.segment_len_bytes.filter(|len| !is_segment_len(len)) {
            return bad(format!(
                "segment_len_bytes is {len}; it must be a multiple of {BLOCK_BYTES} between {MIN_SEGMENT_LEN_BYTES} \
                 and {MAX_SEGMENT_LEN_BYTES}"
            ));
        }
        let len = self.chosen_segment_len_bytes();
        self.validate_capacity(len)?;
        if !(1..=MAX_INDEX_SHARDS).contains(&self.index_shards) {
            return bad(format!("index_shards is {}; it must be 1 to {MAX_INDEX_SHARDS}", self.index_shards));
        }
        if self.flush_interval_ms == 0 {
            return bad("flush_interval_ms is 0; the smallest is 1 (or write with `Durability::Written`)".into());
        }
        if self.write_buffer_bytes < MIN_WRITE_BUFFER_BYTES {
            let has = self.write_buffer_bytes;
            return bad(format!("write_buffer_bytes is {has}; it must be at least {MIN_WRITE_BUFFER_BYTES}"));
        }
        if !(MIN_CHUNK_LEN_BYTES..=MAX_CHUNK_LEN_BYTES).contains(&self.chunk_len_bytes) {
            let has = self.chunk_len_bytes;
            return bad(format!("chunk_len_bytes is {has}; it must be {MIN_CHUNK_LEN_BYTES} to {MAX_CHUNK_LEN_BYTES}"));
        }
        if !(1..=MAX_KEY_BYTES).contains(&self.max_key_bytes) {
            return bad(format!("max_key_bytes is {}; it must be 1 to {MAX_KEY_BYTES}", self.max_key_bytes));
        }
        if self.rewrite_share_percent > MAX_REWRITE_SHARE_PERCENT {
            let has = self.rewrite_share_percent;
            return bad(format!(
                "rewrite_share_percent is {has}; at most {MAX_REWRITE_SHARE_PERCENT}, so that writing frees room"
            ));
        }
        if self.memory_bytes == 0 && self.memory_max_item_bytes.is_some() {
            return bad(
                "memory_max_item_bytes is set, and memory_bytes is 0; give memory_bytes, or leave it out".into()
            );
        }
        if self.retention_ms == Some(0) {
            return bad(
                "retention_ms is 0; no entry would live. Leave it out, or give the age that entries may reach".into()
            );
        }
        Self::validate_admission(self.admission)?;
        if self.io_timeout_ms == 0 {
            let usual = Self::default().io_timeout_ms;
            return bad(format!("io_timeout_ms is 0; every operation would fail. {usual} is the default"));
        }
        Ok(())
    }

    /// Checks the limits of an admission policy.
    ///
    /// # Errors
    /// `InvalidConfig`, naming the option and what works.
    pub fn validate_admission(policy: AdmissionPolicy) -> Result<()> {
        let bad = |text: &str| Err(Error::InvalidConfig(text.into()));
        match policy {
            AdmissionPolicy::Budget { bytes_per_second: None, bytes_per_day: None } => {
                bad("admission is a budget without a limit; give bytes_per_second or bytes_per_day")
            }
            AdmissionPolicy::Budget { bytes_per_second: Some(0), .. }
            | AdmissionPolicy::Budget { bytes_per_day: Some(0), .. } => {
                bad("admission is a budget of 0 bytes; nothing would be written. Give more, or leave it out")
            }
            AdmissionPolicy::SecondUse { held_bytes: Some(bytes) } if bytes < MIN_HELD_BYTES => {
                bad(&format!("admission holds {bytes} bytes; held_bytes must be at least {MIN_HELD_BYTES}"))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the capacity holds a workable number of segments of this length, and the namespaces.
    ///
    /// # Errors
    /// `InvalidConfig` with the smallest capacity that works, or the namespace that does not fit.
    pub fn validate_capacity(&self, segment_len_bytes: u64) -> Result<()> {
        let segments = self.max_segments(segment_len_bytes);
        if segments < MIN_SEGMENTS {
            let least = MIN_SEGMENTS * segment_len_bytes + DIRECTORY_OVERHEAD_BYTES;
            return Err(Error::InvalidConfig(format!(
                "capacity_bytes is {}; with segments of {segment_len_bytes} bytes the smallest that works is {least}",
                self.capacity_bytes
            )));
        }
        let most = self.most_kept_bytes(segment_len_bytes);
        if let Some(bytes) = self.pinned_bytes.filter(|&bytes| bytes > most) {
            return Err(Error::InvalidConfig(format!(
                "pinned_bytes is {bytes}; with this capacity and segments of {segment_len_bytes} bytes at most {most}, so \
                 that eviction still makes room"
            )));
        }
        if segments > MAX_SEGMENTS {
            let most = MAX_SEGMENTS * segment_len_bytes;
            return Err(Error::InvalidConfig(format!(
                "capacity_bytes is {}; with segments of {segment_len_bytes} bytes the largest that works is {most} \
                 (4 TiB with the longest segments)",
                self.capacity_bytes
            )));
        }
        self.validate_namespaces(segment_len_bytes)
    }
}
