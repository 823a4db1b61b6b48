//! What the tests over the simulated disk share, here and in `tools/proof`: dice, values that say what they are, and
//! backends around a backend.

#![allow(dead_code, unused_imports, reason = "each test binary uses its own part")]

pub mod forward;
pub mod heap;
pub mod hook;
pub mod values;

use std::time::Duration;

use esker::config::DIRECTORY_OVERHEAD_BYTES;
use esker::{Config, DiskCache};
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

/// Waits until eviction has made the room it keeps.
pub async fn settled(cache: &DiskCache) {
    cache.sync().await.unwrap();
    let mut before = u64::MAX;
    loop {
        let evicted = cache.stats().counts.segments_evicted;
        if evicted == before {
            return;
        }
        before = evicted;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
