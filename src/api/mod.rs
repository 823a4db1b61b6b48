//! What the user holds.

mod batch;
mod builder;
mod cache;
mod fetch;
pub mod inspect;
mod layers;
mod list;
mod memory_cache;
mod namespace;
mod origin;
mod reader;
mod typed;
mod writer;

pub use crate::entry::{
    EntryStats, FetchOptions, Fetched, Hit, PinOutcome, RefuseReason, SetOptions, SetOutcome, Source,
};
pub use builder::Builder;
pub use cache::{BoxFuture, Cache, DiskCache};
pub use layers::{CacheConfig, Layer, open};
pub use list::{Entries, Keys, ListedEntry};
pub use memory_cache::MemoryCache;
pub use namespace::Namespace;
pub use origin::{Origin, OriginCache, WriteBack, WriteMode};
pub use reader::EntryReader;
pub use typed::Typed;
pub use writer::EntryWriter;
