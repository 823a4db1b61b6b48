//! Esker: a persistent cache that a service embeds. Entries are appended as checked records into a few large segment
//! files; a small index in memory says where each key's newest record is, and is rebuilt from the segments at start.
//!
//! > **A cache may forget, but it must never lie.**
//!
//! ```no_run
//! # async fn example(body: Vec<u8>, meta: Vec<u8>) -> Result<(), esker::Error> {
//! use std::time::Duration;
//! use esker::{Cache, DiskCache, Durability, SetOptions, SetOutcome};
//!
//! let cache: DiskCache = DiskCache::builder("/var/cache/app")
//!     .capacity_bytes(10 << 30)          // everything counted
//!     .segment_len_bytes(64 << 20)       // the default at this capacity
//!     .memory_bytes(0)                   // hot tier; 0 = none
//!     .backend(esker::BackendKind::Auto) // Auto | Uring | TokioUring | TokioFs
//!     .open().await?;
//!
//! let outcome: SetOutcome = cache.set(b"key", b"value".to_vec()).await?;       // impl AsRef<[u8]>, impl Into<Bytes>
//! cache.set_with(b"k2", body, SetOptions::new().ttl(Duration::from_secs(60)).metadata(meta).durability(Durability::Synced)).await?;
//! if let Some(hit) = cache.get(b"key").await? {
//!     let bytes: &bytes::Bytes = hit.value();                                   // also metadata(), age(), expires_at(), source()
//! }
//! let existed: bool = cache.delete(b"key").await?;
//! let mut writer = cache.writer(b"large", SetOptions::new()).await?;            // AsyncWrite; also write_bytes
//! writer.write_bytes(vec![0; 100 << 20].into()).await?;
//! writer.finish().await?;                                                       // an entry from here on
//! let mut reader = cache.reader(b"large").await?;                               // AsyncRead, AsyncSeek, Stream
//! cache.get_range(b"large", 4096..8192).await?;
//! cache.contains(b"key").await?; cache.clear().await?; cache.flush().await?; cache.sync().await?;
//! cache.set_with(b"k3", vec![1], SetOptions::new().tags(["user 7", "red"])).await?;
//! cache.purge_tag("red").await?; cache.purge_prefix(b"k").await?;               // constant time, durable
//! let stats = cache.stats();                                                    // serde::Serialize
//! let report = cache.recovery_report();                                         // serde::Serialize
//! cache.pin(b"key").await?;                                                     // stays while others go, within a bound
//! cache.close().await?;                                                         // dropping without close loses nothing that was Written
//! # Ok(())
//! # }
//! ```
//!
//! # Promises
//!
//! Tests name the number that they prove.
//!
//! - **P1 Truth.** `get` returns the bytes of the newest accepted write of exactly that key, or a miss. Bounds, then
//!   CRC, then the full key are checked on everything that comes from disk. A damaged record is a miss and a counted,
//!   explained drop; never an error storm, never a panic.
//! - **P2 No resurrection.** An overwritten, deleted, expired or cleared value is never served again: not after a
//!   newer write was refused, dropped or failed; not after eviction, reinsertion, restart or crash; not when the clock
//!   steps back. After a crash a key may return a version no older than its last durable one, or a miss; a durable
//!   delete or clear stays done.
//! - **P3 A write has an outcome.** `set` says what happened: stored, and how durably; or refused, and why. There is no
//!   silent drop. While the pipeline is full the writer waits; `try_set` says `Busy` instead.
//! - **P4 Three durabilities, by name.** [`Durability::Buffered`]: accepted, readable at once, written out within a
//!   bounded time. [`Durability::Written`]: in the kernel, so it survives the death of the process.
//!   [`Durability::Synced`]: on the device, so it survives power loss. After a crash each log is a prefix: if a later
//!   record of a log survived, so did all earlier ones of that log, damage to the medium aside.
//! - **P5 Bounded.** Disk use never passes the capacity, everything counted: headers, padding, footers, the segment
//!   that is being drained. Memory never passes what was configured plus a stated number of bytes an entry. Every
//!   queue has a limit.
//! - **P6 Nobody waits for nothing.** No runtime thread blocks on the disk. A reader never waits for eviction, sealing
//!   or recovery of another segment.
//! - **P7 Recovery is quick, honest, and never destroys.** It reads footers, not values, of sealed segments, and scans
//!   only what was not sealed. A damaged place costs the records that it touched, not the rest of the segment.
//!   [`RecoveryReport`] says what was kept, what was dropped, and why. A directory of a newer format, or that is not
//!   ours, is refused and left alone.
//! - **P8 I/O in flight owns what it needs.** Buffer and file belong to an operation until the kernel answers: dropping
//!   a future is always safe. Short reads and writes, EINTR and the signs of errno are handled in one place.
//!
//! # Floors
//!
//! A module imports only from lower floors, and siblings do not meet; `tests/architecture.rs` holds this.
//!
//! | floor | modules | what they are |
//! |---|---|---|
//! | 0 ground | `types` `error` `clock` `stats` `entry` `codec` `config` `sync` | words and values; no I/O |
//! | 1 bytes | `format` | pure functions over bytes, and their specification |
//! | 1 disk | [`backend`] | moves owned buffers; knows no format |
//! | 2 places | `segment` `index` `object` `memory` `flight` `catalog` `marks` `namespaces` `pins` `dirty` | where data rests, and who waits for it |
//! | 3 paths | `log` `read` | the only way in, the only way out |
//! | 4 upkeep | `recover` `evict` | from directory to index; room ahead of need |
//! | 5 engine | `engine` | the only crossroads: each of set, get, delete fits one screen |
//! | 6 face | `api` | what the user holds |
//!
//! ```text
//! set     api → engine ─ log (segment → format → backend) ⇒ location ─ index      bytes first, index second
//! get     api → engine ─ index (unknown, known expired: a miss, no disk) ─ read (segment → backend → format) ─ same key?
//! delete  the same append with another record kind
//! writer  chunks the same way as set, as they come ─ object; the head last ─ index
//! reader  index ─ head ─ object (where the chunks are) ─ read, a few chunks ahead
//! origin  delete here, durably ─ the origin takes it ─ set here (write-through), or the next get fetches it (write-around)
//! fetch   get; not there: flight (one a key) ─ the caller's fetch ─ set, unless something newer was written
//! evict   policy picks from summaries → scan → does the index still point here, and is it worth it? append : forget
//! recover footers, else scan → index in sequence order → report
//! ```
//!
//! # Features
//!
//! `io-uring` (default): the backend `Uring`. `tokio-uring`: the backend `TokioUring`. Without either, a build on tokio
//! alone. Where a ring is refused, [`BackendKind::Auto`] falls back to `TokioFs`. `bincode`: the codec [`Bincode`], which a
//! [`Typed`] view takes if it is given no other.

mod api;
pub mod backend;
mod catalog;
pub mod clock;
mod codec;
pub mod config;
mod dirty;
mod engine;
mod entry;
mod error;
mod evict;
mod flight;
pub mod format;
#[doc(hidden)]
pub mod index;
mod log;
mod marks;
#[doc(hidden)]
pub mod memory;
mod namespaces;
mod object;
mod pins;
mod read;
mod recover;
mod segment;
mod stats;
#[cfg(not(shuttle))]
mod sync;
#[cfg(shuttle)]
pub mod sync;
mod types;

pub use api::inspect;
pub use api::{
    BoxFuture, Builder, Cache, CacheConfig, DiskCache, Entries, EntryReader, EntryStats, EntryWriter, FetchOptions,
    Fetched, Hit, Keys, Layer, ListedEntry, MemoryCache, Namespace, Origin, OriginCache, PinOutcome, RefuseReason,
    SetOptions, SetOutcome, Source, Typed, WriteBack, WriteMode, open,
};
pub use codec::{Bincode, Codec};
pub use config::{Config, NamespaceConfig};
pub use error::{BoxError, Error, Result, SharedError};
pub use evict::{EvictReason, Evicted, Evictions};
pub use stats::{Counts, NamespaceStats, RecoveryProgress, RecoveryReport, Stats};
pub use types::{
    AdmissionPolicy, BackendKind, Digest, Durability, EvictionPolicy, MAX_KEY_BYTES, MAX_METADATA_BYTES,
    MAX_NAMESPACE_NAME_BYTES, MAX_TAG_BYTES, MAX_TAGS, MemoryFill, Millis, RecordKind, SegmentId, Sequence,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/configuration.md")]
#[doc = include_str!("../docs/streaming.md")]
struct Pages;
