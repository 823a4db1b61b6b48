//! Entries in memory, bounded in bytes: the hot tier before the disk, and the core that the memory cache shares with it.

mod bounded;
pub mod ghost;
mod held;
mod sieve;
#[cfg(test)]
mod tests;
mod tier;

pub use bounded::{Admission, Bounded, Verdict};
pub use held::{Dropped, Held};
pub use tier::{HotTier, Item, Tag};

/// What an item takes besides the bytes of key, metadata and value, in bytes: its buffer's bookkeeping, its node
/// and its place in the table with their slack, and the allocator's rounding. A test counts it.
pub const ITEM_OVERHEAD_BYTES: u64 = 288;
