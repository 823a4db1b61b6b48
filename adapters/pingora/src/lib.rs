//! Esker behind Pingora: a [`pingora_cache::Storage`] that is there again after a restart, over an [`esker::DiskCache`].
//!
//! > **A cache may forget, but it must never lie.**
//!
//! ```no_run
//! use std::time::Duration;
//! use esker_pingora::{EskerStorage, Options};
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // A runtime of its own: pingora's services start theirs later, one each.
//! let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
//! let cache = runtime.block_on(esker::DiskCache::builder("/var/cache/proxy").capacity_bytes(10 << 30).open())?;
//! let options = Options { keep_stale: Some(Duration::from_secs(86_400)), ..Options::default() };
//! let storage: &'static EskerStorage = EskerStorage::new(cache, "/var/cache/proxy", options).leak();
//! // In `ProxyHttp::request_cache_filter`: no eviction manager, since Esker evicts by itself.
//! // session.cache.enable(storage, None, None, Some(cache_lock), None);
//! # Ok(())
//! # }
//! ```
//!
//! - **Streaming**: clients are served while the origin still sends, each from wherever it likes
//!   (`support_streaming_partial_write`, `seek`). A fill that is given up ends in an error for all of them, never in a body
//!   that looks whole.
//! - **What does not fit, or a disk that fails**, costs the entry and not the response: see [`Options::relay_bytes`].
//! - **Purge**: one key, one exact version, or all keys with a prefix ([`EskerStorage::purge_prefix`]), durable when it
//!   returns. What is being filled at that moment is not stored.
//! - **Whatever cannot be used is a miss**: metadata that is damaged, foreign, or was compressed with another header
//!   dictionary than this process has.
//!
//! Its methods need a tokio runtime, any one; Esker's own work goes on in that which opened the cache, which must live on.
//! `docs/behind-pingora.md` says what is stored how, what differs from pingora's `MemCache`, and how quick it is.

mod counts;
mod error;
mod fill;
mod fills;
mod hit;
mod key;
mod locks;
mod miss;
mod names;
mod options;
mod prefix;
mod storage;
mod stored;

pub use counts::Counts;
pub use hit::EskerHit;
pub use miss::EskerMiss;
pub use options::Options;
pub use storage::EskerStorage;
