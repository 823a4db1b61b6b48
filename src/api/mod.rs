//! What the user holds.

mod builder;
mod cache;

pub use builder::Builder;
pub use cache::{BoxFuture, Cache, DiskCache};
pub use crate::entry::{Hit, RefuseReason, SetOptions, SetOutcome, Source};
