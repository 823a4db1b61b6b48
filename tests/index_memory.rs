//! How much memory an entry of the index takes, counted by the allocator, not by the index.
//!
//! `ESKER_INDEX_FULL=1 cargo test --release --test index_memory -- --nocapture` goes on to 50 million entries in steps
//! of 5 %.

use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use esker::index::{Change, Index, Location};
use esker::{Digest, MemoryCache};

#[path = "common/heap.rs"]
mod heap;

use heap::{Counting, live_bytes};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What the test harness may allocate meanwhile.
const NOISE_BYTES: i64 = 16 << 10;

/// One test at a time, or they would count each other's bytes.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn full() -> bool {
    std::env::var_os("ESKER_INDEX_FULL").is_some_and(|value| value == "1")
}

/// Splitmix64: digests as even as those of SHA-256.
fn digest(n: u64) -> Digest {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Digest(z ^ (z >> 31))
}

fn put(index: &Index, n: u64) {
    let location = Location { slot: (n >> 16) as u16, offset_units: n as u32 & 0x3f_ffff, class: (n % 2048) as u16 };
    index.update(digest(n), |_| (Change::Put(location, false), ()));
}

/// The counts at which to measure: all for the default number of shards, fewer for the others unless there is time.
fn steps(shards: usize) -> Vec<u64> {
    let mut steps = vec![1_000_000, 1_500_000];
    if shards == 32 || full() {
        steps.extend([2_000_000, 3_000_000]);
    }
    if full() {
        let mut n = 1_000_000u64;
        while n < 50_000_000 {
            steps.push(n);
            n += n / 20;
        }
        steps.extend([10_000_000, 50_000_000]);
        steps.sort_unstable();
        steps.dedup();
    }
    steps
}

#[test]
fn an_entry_takes_at_most_24_bytes_and_20_at_ten_million() {
    let _alone = alone();
    for shards in [32, 1, 128] {
        let before = live_bytes();
        let index = Index::new(shards);
        let mut n = 0;
        let (mut least, mut most) = (f64::MAX, 0f64);
        for step in steps(shards) {
            (n..step).for_each(|n| put(&index, n));
            n = step;
            let counted = live_bytes() - before;
            let per_entry = counted as f64 / index.len() as f64;
            (least, most) = (least.min(per_entry), most.max(per_entry));
            println!("{shards:>4} shards {step:>9} entries {counted:>10} bytes, {per_entry:.2} an entry");
            // 43 bits and log2(shards) tell digests apart: as many pairs meet, and a little more, since shares differ.
            let pairs = (step * step / 2) as f64 / (shards as f64 * (1u64 << 43) as f64);
            let merged = (step - index.len()) as f64;
            assert!(merged <= pairs * 1.1 + 50.0, "{merged} of {step} digests met, {pairs:.0} expected");
            let limit = if step == 10_000_000 { 20.0 } else { 24.0 };
            assert!(per_entry <= limit, "{per_entry:.2} bytes an entry at {step}, {shards} shards");
            // What the index says of itself is what it takes, but for the index struct, which is not on the heap here.
            let said = index.allocated_bytes() as i64 - size_of::<Index>() as i64;
            assert!((said - counted).abs() <= NOISE_BYTES, "{said} bytes said, {counted} counted");
        }
        println!(
            "{shards:>4} shards: {least:.2} to {most:.2} bytes an entry, {} of {n} digests told apart",
            index.len()
        );
        drop(index);
        assert!(live_bytes() <= before + NOISE_BYTES, "everything is given back");
    }
}

#[test]
fn steady_replacement_keeps_an_entry_small_and_removal_gives_memory_back() {
    let _alone = alone();
    let entries = if full() { 10_000_000 } else { 200_000u64 };
    let before = live_bytes();
    let index = Index::new(32);
    (0..entries).for_each(|n| put(&index, n));
    let remove = |n: u64| index.update(digest(n), |_| (Change::Remove, ()));
    let mut most = 0f64;
    for n in entries..entries * 5 {
        remove(n - entries);
        put(&index, n);
        if n % (entries / 8) == 0 {
            most = most.max((live_bytes() - before) as f64 / index.len() as f64);
        }
    }
    println!("replacement of {entries} entries four times over: at most {most:.2} bytes an entry");
    // What 4,096 tables take by themselves shows at 200,000 entries, not at ten million.
    let limit = if full() { 24.0 } else { 26.0 };
    assert!(most <= limit, "{most:.2} bytes an entry under replacement");
    (entries * 4..entries * 5 - entries / 10).for_each(remove);
    let left = (live_bytes() - before) as f64 / index.len() as f64;
    println!("after removing 90 %: {left:.2} bytes an entry");
    let limit = if full() { 34.0 } else { 64.0 };
    assert!(left <= limit, "{left:.2} bytes an entry after removals");
}

/// P5: what a memory cache takes, all overhead included, stays within what it was given.
#[test]
fn a_memory_cache_takes_no_more_than_it_was_given() {
    let _alone = alone();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers");
    runtime.block_on(fill_a_memory_cache());
}

async fn fill_a_memory_cache() {
    const CAPACITY_BYTES: u64 = 32 << 20;
    let before = live_bytes();
    let cache = MemoryCache::new(CAPACITY_BYTES);
    let large_buffer = Bytes::from(vec![7u8; 1 << 20]);
    let buffer_bytes = 1 << 20;
    for (round, value_len) in [1usize, 100, 5000, 100_000, 0, 3000].into_iter().enumerate() {
        heap::forget_peak();
        for n in 0..(CAPACITY_BYTES as usize * 3 / (value_len + 350)) {
            // A slice: holding it would hold the whole buffer.
            let value = large_buffer.slice(n % 1000..n % 1000 + value_len);
            let outcome = cache.set(format!("key {round} {n}"), value).await;
            assert!(outcome.is_ok_and(|outcome| outcome.is_stored()));
        }
        let said = cache.stats().memory_bytes;
        let taken = heap::peak_bytes() - before - buffer_bytes;
        println!("values of {value_len}: {} entries, {said} bytes said, {taken} taken at most", cache.stats().entries);
        assert!((CAPACITY_BYTES * 9 / 10..=CAPACITY_BYTES).contains(&said), "{said} bytes said");
        // A thirty-second part for what is being copied, moved or freed at the moment of the peak.
        assert!(taken <= (CAPACITY_BYTES + CAPACITY_BYTES / 32) as i64, "{taken} bytes taken");
    }
    drop(cache);
    drop(large_buffer);
    assert!(live_bytes() <= before + NOISE_BYTES, "everything is given back");
}
