//! The words everything else is written in: digests, sequences, segment ids, record kinds, durabilities.

use serde::{Deserialize, Serialize};

/// Records start, and their lengths count, in units of this many bytes.
pub const UNIT_BYTES: u64 = 16;

/// The block that direct I/O moves: flushes pad to it, so that a block is written once (DESIGN.md, trap 12).
pub const BLOCK_BYTES: u64 = 4096;

/// Longest key, in bytes. The shortest is one byte.
pub const MAX_KEY_BYTES: usize = 64 * 1024;

/// The longest name of a namespace, in bytes.
pub const MAX_NAMESPACE_NAME_BYTES: usize = 64;

/// Longest user metadata of an entry without tags, in bytes. Tags take 8 bytes each of it, and one byte more.
pub const MAX_METADATA_BYTES: usize = u16::MAX as usize;

/// Most tags of an entry.
pub const MAX_TAGS: usize = 32;

/// Longest tag, in bytes. The shortest is one byte.
pub const MAX_TAG_BYTES: usize = 1024;

/// The id of a segment: counted up, never used twice in the life of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentId(pub u64);

impl SegmentId {
    /// The largest id that a header may have: 2^62 - 1. No directory lives that long, so a larger one is damage, and
    /// counting on from this one never wraps around.
    pub const MAX: SegmentId = SegmentId((1 << 62) - 1);
}

impl std::fmt::Display for SegmentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The place of a record in the order of all accepted writes of a directory. 48 bits on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The largest sequence that fits the format: 2^48 - 1.
    pub const MAX: Sequence = Sequence((1 << 48) - 1);
}

/// The first 64 bits of SHA-256 over the directory's secret seed and the key. The index works on it; identity is
/// the full key, compared on every read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub u64);

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Location {
    /// Number of the segment in the segment set.
    pub slot: u16,
    /// Offset in the segment, in units of 16 bytes; below 2^22.
    pub offset_units: u32,
    /// Length class of the record; below 2^11.
    pub class: u16,
}

impl Location {
    /// Offset in the segment, in bytes.
    pub fn offset(self) -> u64 {
        u64::from(self.offset_units) * UNIT_BYTES
    }
}

/// A point in time: milliseconds since 1970 (UTC). 48 bits on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
pub struct Millis(pub u64);

impl Millis {
    /// The latest time that fits the format: 2^48 - 1, in the year 10889.
    pub const MAX: Millis = Millis((1 << 48) - 1);

    /// The time `ms` milliseconds later, at most [`Millis::MAX`].
    #[must_use]
    pub fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms)).min(Self::MAX)
    }
}

/// Whose append streams and segments: those of one namespace, or everybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Group(pub u8);

impl Group {
    /// Of all who have none of their own.
    pub const COMMON: Group = Group(0);
}

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum RecordKind {
    /// An entry: key, metadata and the whole value.
    Put = 1,
    /// The key is deleted: everything older of this key is dead.
    Delete = 2,
    /// A piece of a large value; its head record makes it visible.
    Chunk = 3,
    /// The head of a large value: where its chunks are. Published last.
    Head = 4,
    /// Filler up to a block boundary; says nothing.
    Pad = 5,
    /// A delete that knows only the digest: left by eviction, and where an update failed, so that what was replaced
    /// stays dead. Its key is the digest's 8 bytes.
    Marker = 6,
    /// Every older entry that its key selects is dead: see `format::purge`.
    Purge = 7,
}

/// How safe an accepted write is (DESIGN.md, P4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Accepted and readable at once; written out within `flush_interval_ms`.
    #[default]
    Buffered,
    /// In the kernel: survives the death of the process.
    Written,
    /// On the device: survives power loss. Many writers share one `fdatasync`.
    Synced,
}

/// What is written to disk. What is streamed ([`writer`](crate::DiskCache::writer)), and what shall be `Written` or
/// `Synced`, is not held back by `SecondUse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdmissionPolicy {
    /// Everything.
    #[default]
    All,
    /// So many bytes, all that is written counted, whoever causes it; what is beyond is refused as `NotAdmitted`. For the
    /// endurance of the device.
    Budget {
        /// In a second.
        #[serde(default)]
        bytes_per_second: Option<u64>,
        /// In a day: what is left of it comes back evenly.
        #[serde(default)]
        bytes_per_day: Option<u64>,
    },
    /// What is used a second time: a new entry is held in memory, first in, first out, until it is got, or set once more after
    /// it was dropped there, or its key is known on disk. For traffic of which much is asked for once.
    SecondUse {
        /// Memory for what is held, in bytes; `None`: a hundredth of the capacity.
        #[serde(default)]
        held_bytes: Option<u64>,
    },
}

/// When an entry goes into the hot tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryFill {
    /// When it is read from disk, or from what is not written yet: what is never asked for takes no memory.
    Read,
    /// When it is written, so that the first get finds it. One that was pushed out comes back only with the next write.
    Write,
    /// When it is written, and when it is read.
    #[default]
    Both,
}

impl MemoryFill {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Both];
}

/// Which segment goes when room is needed, and what of it is kept. Segments whose entries have all expired, or of which
/// nothing is served, go before any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvictionPolicy {
    /// The oldest; nothing is kept: the fewest bytes written.
    Fifo,
    /// The oldest; what was read since it was written is kept, the most hits a byte first (FIFO with reinsertion, which is
    /// CLOCK with a counter of 2 bits; Corbató 1968).
    Clock,
    /// The oldest; what was read is kept, what was written last first (like LRU).
    Lru,
    /// The oldest; what was read is kept, the most read first, and keeps half of its hits (like LFU with aging).
    Lfu,
    /// The one with the most dead bytes; what was read is kept.
    MostDead,
    /// The one with the best of dead bytes times age (cost-benefit cleaning; Rosenblum and Ousterhout, SOSP'91); what was
    /// read is kept.
    Hybrid,
    /// Two logs, new entries in one of a tenth of the capacity: what is read twice there moves to the main log, what was
    /// dropped a while ago and comes again goes to it at once (S3-FIFO; Yang et al., SOSP'23).
    S3Fifo,
    /// As `S3Fifo`, but the log of new entries grows and shrinks with what is asked for again after it was dropped (ARC;
    /// Megiddo and Modha, FAST'03).
    #[default]
    Adaptive,
    /// As `Adaptive`, but a short entry needs fewer hits to be kept, and a long one more: more hits where sizes differ, fewer
    /// bytes served from the cache.
    SizeAware,
}

impl EvictionPolicy {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Fifo,
        Self::Clock,
        Self::Lru,
        Self::Lfu,
        Self::MostDead,
        Self::Hybrid,
        Self::S3Fifo,
        Self::Adaptive,
        Self::SizeAware,
    ];

    /// Whether what has proved its worth has a log of its own.
    pub fn has_main(self) -> bool {
        matches!(self, Self::S3Fifo | Self::Adaptive | Self::SizeAware)
    }
}

impl std::fmt::Display for EvictionPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fifo => "fifo",
            Self::Clock => "clock",
            Self::Lru => "lru",
            Self::Lfu => "lfu",
            Self::MostDead => "most_dead",
            Self::Hybrid => "hybrid",
            Self::S3Fifo => "s3_fifo",
            Self::Adaptive => "adaptive",
            Self::SizeAware => "size_aware",
        })
    }
}

/// Which way the bytes go to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendKind {
    /// The best that this build and this kernel offer: `Uring`, else `TokioFs`.
    #[default]
    Auto,
    /// Long-lived ring threads over the `io-uring` crate (feature `io-uring`, Linux 5.10+).
    Uring,
    /// The `tokio-uring` crate on threads of its own (feature `tokio-uring`, Linux 5.11+).
    TokioUring,
    /// Positional I/O on tokio's blocking pool: every platform.
    TokioFs,
    /// The simulated disk, for tests.
    Sim,
}

impl std::fmt::Display for BackendKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::TokioUring => "tokio_uring",
            Self::TokioFs => "tokio_fs",
            Self::Sim => "sim",
        })
    }
}
