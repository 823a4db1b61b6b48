//! What the tests over the simulated disk share, here and in `tools/proof`: dice, values that say what they are, and
//! backends around a backend.

#![allow(dead_code, unused_imports, reason = "each test binary uses its own part")]

pub mod forward;
pub mod heap;
pub mod hook;
pub mod values;

use esker::Config;
use esker::config::DIRECTORY_OVERHEAD_BYTES;
pub use values::{Dice, key, read_value, value};

pub const SEGMENT_LEN_BYTES: u64 = 64 << 10;

/// A cache of so many segments of 64 KiB, which flushes soon and streams in chunks of 4 KiB.
pub fn small(segments: u64) -> Config {
    Config {
        capacity_bytes: segments * SEGMENT_LEN_BYTES + DIRECTORY_OVERHEAD_BYTES,
        segment_len_bytes: Some(SEGMENT_LEN_BYTES),
        flush_interval_ms: 20,
        chunk_len_bytes: 4 << 10,
        ..Config::default()
    }
}
