//! Esker: a persistent, log-structured segment cache.

mod api;
pub mod backend;
mod catalog;
pub mod clock;
pub mod config;
mod engine;
mod entry;
mod error;
mod evict;
pub mod format;
#[doc(hidden)]
pub mod index;
mod log;
#[doc(hidden)]
pub mod memory;
mod read;
mod recover;
mod segment;
mod stats;
mod types;

pub use api::{BoxFuture, Builder, Cache, DiskCache, Hit, MemoryCache, RefuseReason, SetOptions, SetOutcome, Source};
pub use config::Config;
pub use error::{Error, Result};
pub use stats::{Counts, RecoveryReport, Stats};
pub use types::{BackendKind, Digest, Durability, Millis, RecordKind, SegmentId, Sequence};
