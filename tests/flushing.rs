//! When what is appended goes to the disk (P3, P4, P6). Time stands still but for waiting, so that a wait that should not be
//! shows in the clock.

#[path = "common/mod.rs"]
mod common;
#[allow(dead_code, reason = "the traps use the rest")]
#[path = "traps/table.rs"]
mod table;

use std::time::Duration;

use esker::backend::{Backend, OpenMode};
use esker::config::DIRECTORY_OVERHEAD_BYTES;
use esker::{Config, SetOptions};
use tokio::time::{Instant, sleep};

use table::{Table, eventually, fill_until, get, put, synced};

const HOUR: Duration = Duration::from_secs(3600);

/// Long segments, and a flush once an hour.
fn lazy(seed: u64) -> Table {
    let mut table = Table::new(seed, 8);
    table.config = Config {
        capacity_bytes: 8 * (4 << 20) + DIRECTORY_OVERHEAD_BYTES,
        segment_len_bytes: Some(4 << 20),
        write_buffer_bytes: 1 << 20,
        flush_interval_ms: 3_600_000,
        ..table.config
    };
    table
}

/// P4. What is only buffered is written when the interval ends: not before, so that flushes are few, and not later.
#[tokio::test(start_paused = true)]
async fn what_is_buffered_is_written_when_the_interval_ends() {
    let table = lazy(1);
    let cache = table.open().await;
    for n in 0..3 {
        put(&cache, &format!("k{n}"), "v", SetOptions::new()).await;
        sleep(HOUR / 2).await;
        assert!(cache.stats().dirty_bytes >= 48, "round {n}: {:?}", cache.stats());
        sleep(HOUR).await;
        assert_eq!(cache.stats().dirty_bytes, 0, "round {n}");
    }
}

/// P3, P6. Who waits for room in the write buffer gets it at once, and later entries rest again.
#[tokio::test(start_paused = true)]
async fn who_waits_for_the_buffer_does_not_wait_for_the_interval() {
    let table = lazy(2);
    let cache = table.open().await;
    let begun = Instant::now();
    // Two streams share the buffer, so that it is spent before either has enough for a write.
    for n in 0..200 {
        let ttl = if n % 2 == 0 { HOUR / 60 } else { 1000 * HOUR };
        put(&cache, &format!("k{n}"), &"v".repeat(10_000), SetOptions::new().ttl(ttl)).await;
    }
    assert!(begun.elapsed() < HOUR / 60, "{:?}", begun.elapsed());
    cache.sync().await.unwrap();
    put(&cache, "rests", "r", SetOptions::new()).await;
    sleep(HOUR / 2).await;
    assert!(cache.stats().dirty_bytes > 0, "nobody starves, and yet it was written");
}

/// P3, P4. What is asked for is done at once, with nothing else going on; so is a close.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_interval_who_asked_for_more() {
    let table = lazy(3);
    let cache = table.open().await;
    let begun = Instant::now();
    put(&cache, "synced", "s", synced()).await;
    put(&cache, "buffered", "b", SetOptions::new()).await;
    cache.flush().await.unwrap();
    put(&cache, "buffered too", "b", SetOptions::new()).await;
    cache.sync().await.unwrap();
    put(&cache, "last", "l", SetOptions::new()).await;
    cache.close().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let cache = table.open().await;
    assert_eq!(get(&cache, "last").await.as_deref(), Some("l"));
}

/// P6. The lock of a file says that someone writes to it: a sealed one has none.
#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_file_is_not_locked() {
    let table = Table::new(4, 8);
    let cache = table.open().await;
    fill_until(&cache, |cache| cache.stats().segments >= 4).await;
    let unlocked = || async {
        let mut unlocked = 0;
        for path in table.segment_files() {
            let file = table.sim.open(&path, OpenMode::ReadWrite { direct: false }).await.unwrap();
            unlocked += u32::from(file.try_lock().unwrap());
        }
        unlocked >= 3
    };
    eventually("the sealed files are unlocked", unlocked).await;
}
