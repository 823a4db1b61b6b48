//! What the user holds.

mod builder;
mod cache;
pub mod inspect;
mod memory_cache;

pub use crate::entry::{Hit, RefuseReason, SetOptions, SetOutcome, Source};
pub use builder::Builder;
pub use cache::{BoxFuture, Cache, DiskCache};
pub use memory_cache::MemoryCache;
