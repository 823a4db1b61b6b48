//! Esker: a persistent, log-structured segment cache.

mod api;
pub mod backend;
pub mod clock;
pub mod config;
mod engine;
mod error;
pub mod format;
mod stats;
mod types;

pub use api::{BoxFuture, Builder, Cache, DiskCache, Hit, RefuseReason, SetOptions, SetOutcome, Source};
pub use config::Config;
pub use error::{Error, Result};
pub use stats::{Counts, RecoveryReport, Stats};
pub use types::{BackendKind, Digest, Durability, Millis, RecordKind, SegmentId, Sequence};
