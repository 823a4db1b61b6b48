//! What the user holds.

mod builder;
mod cache;
mod entry;
mod memory_cache;

pub use builder::Builder;
pub use cache::{BoxFuture, Cache, DiskCache};
pub use entry::{Hit, RefuseReason, SetOptions, SetOutcome, Source};
pub use memory_cache::MemoryCache;
