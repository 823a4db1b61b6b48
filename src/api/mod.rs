//! What the user holds.

mod builder;
mod cache;
pub mod inspect;
mod memory_cache;
mod reader;
mod writer;

pub use crate::entry::{Hit, RefuseReason, SetOptions, SetOutcome, Source};
pub use builder::Builder;
pub use cache::{BoxFuture, Cache, DiskCache};
pub use memory_cache::MemoryCache;
pub use reader::EntryReader;
pub use writer::EntryWriter;
