//! P8: every future may be dropped at any point. Over the simulated disk, each call is polled some times and dropped;
//! what it had begun ends by itself or is undone.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use esker::backend::sim::{FaultPlan, Sim};
use esker::config::DIRECTORY_OVERHEAD_BYTES;
use esker::format::manifest::Manifest;
use esker::{Config, DiskCache, Durability, Sequence, SetOptions};

const DIR: &str = "/cache";
const SEGMENT_LEN_BYTES: u64 = 64 << 10;
const SEGMENTS: u64 = 8;
const CAPACITY_BYTES: u64 = SEGMENTS * SEGMENT_LEN_BYTES + DIRECTORY_OVERHEAD_BYTES;

fn builder(sim: &Sim) -> esker::Builder {
    let config = Config {
        capacity_bytes: CAPACITY_BYTES,
        segment_len_bytes: Some(SEGMENT_LEN_BYTES),
        flush_interval_ms: 5,
        ..Config::default()
    };
    DiskCache::builder(DIR).config(config).backend_with(Arc::new(sim.clone()))
}

/// A disk on which every operation takes a few polls.
fn slow(seed: u64) -> Sim {
    let sim = Sim::new(seed);
    sim.set_faults(FaultPlan { max_yields: 4, ..FaultPlan::default() });
    sim
}

/// Polls a call up to `polls` times, while the background work goes on, and drops it. What it said, if it ended.
async fn dropped_after<T>(polls: u64, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    for _ in 0..polls {
        if let Poll::Ready(said) = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
            return Some(said);
        }
        tokio::task::yield_now().await;
    }
    None
}

fn synced() -> SetOptions {
    SetOptions::new().durability(Durability::Synced)
}

/// Takes most of a segment, so that every second one at the latest needs a fresh one.
fn large(n: u64) -> Vec<u8> {
    vec![n as u8; 40 << 10]
}

/// After whatever was dropped: sets are stored and read, and the disk holds what it may.
async fn assert_works(sim: &Sim, cache: &DiskCache) {
    for n in 0..12u64 {
        let key = format!("after {n}");
        let outcome = cache.set_with(&key, large(n), synced()).await.expect("set");
        assert!(outcome.is_stored(), "{key}: {outcome:?}, {:?}", cache.stats());
        let hit = cache.get(&key).await.expect("get").expect("a hit");
        assert_eq!(hit.value()[..], large(n)[..]);
    }
    let stats = cache.stats();
    assert!(stats.segments <= SEGMENTS && stats.used_bytes <= CAPACITY_BYTES, "{stats:?}");
    assert!(sim.peak_bytes() <= CAPACITY_BYTES, "{} bytes were taken", sim.peak_bytes());
}

/// The next process counts the same entries and bytes.
async fn assert_reopens_alike(sim: &Sim, cache: DiskCache) {
    cache.close().await.expect("close");
    let before = cache.stats();
    let after = builder(sim).open().await.expect("open");
    let now = after.stats();
    assert_eq!((now.entries, now.live_bytes), (before.entries, before.live_bytes), "{:?}", after.recovery_report());
    after.close().await.expect("close");
}

/// Drops every call many more times than there are segments.
async fn every_call_dropped(seed: u64, with_clear: bool) {
    let sim = slow(seed);
    let cache = builder(&sim).open().await.expect("open");
    for polls in 0..60 {
        for n in 0..3 {
            let _ = dropped_after(polls, cache.set_with(format!("k{n}"), large(polls), synced())).await;
            let _ = dropped_after(polls, cache.get(format!("k{n}"))).await;
        }
        let _ = dropped_after(polls, cache.delete("k1")).await;
        let _ = dropped_after(polls, cache.try_set("k2", large(polls))).await;
        let _ = dropped_after(polls, cache.sync()).await;
        if with_clear {
            let _ = dropped_after(polls, cache.clear()).await;
        }
    }
    assert_works(&sim, &cache).await;
    assert_reopens_alike(&sim, cache).await;
}

#[tokio::test]
async fn dropped_calls_leak_no_segment() {
    for seed in 0..4 {
        every_call_dropped(seed, false).await;
    }
}

#[tokio::test]
async fn dropped_clears_leak_no_segment() {
    for seed in 0..4 {
        every_call_dropped(seed, true).await;
    }
}

/// `close`, dropped anywhere: the next one does the rest before it says Ok, and the one after that does nothing.
#[tokio::test]
async fn a_close_after_a_dropped_one_closes() {
    for polls in 0..80 {
        let sim = slow(polls);
        let cache = builder(&sim).open().await.expect("open");
        for n in 0..3u64 {
            assert!(cache.set(format!("k{n}"), large(n)).await.expect("set").is_stored());
        }
        let first = dropped_after(polls, cache.close()).await;
        assert!(polls > 0 || first.is_none());
        cache.close().await.expect("close");
        cache.close().await.expect("close twice");
        let entries = cache.stats().entries;
        // The handle is still there: only a cache that is closed lets the next one in.
        let after = builder(&sim).open().await.expect("open");
        assert_eq!((after.stats().entries, entries), (3, 3), "{polls}");
        assert_eq!(after.recovery_report().segments_scanned, 0, "{polls}: a segment was not sealed");
        after.close().await.expect("close");
    }
}

/// `clear`, dropped anywhere once it has begun: the background makes it durable all the same.
#[tokio::test]
async fn a_dropped_clear_becomes_durable() {
    for polls in 1..12 {
        let sim = slow(polls);
        let cache = builder(&sim).open().await.expect("open");
        assert!(cache.set_with("k", "v", synced()).await.expect("set").is_stored());
        let _ = dropped_after(polls, cache.clear()).await;
        assert!(cache.get("k").await.expect("get").is_none());
        let is_durable = || {
            let power_cut = sim.fork(polls);
            power_cut.power_loss();
            let manifest = power_cut.reopen().read_file(format!("{DIR}/MANIFEST")).expect("a manifest");
            Manifest::decode(&manifest).expect("whole at any time").cleared > Sequence(0)
        };
        for tries in 0.. {
            if is_durable() {
                break;
            }
            assert!(tries < 1000, "{polls}: the clear was never made durable");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        cache.close().await.expect("close");
    }
}

/// What a dropped `clear` has in flight does not land in the middle of the next one.
#[tokio::test]
async fn the_manifest_is_whole_at_any_time_though_clears_are_dropped() {
    for seed in 0..20 {
        let sim = slow(seed);
        let cache = builder(&sim).open().await.expect("open");
        let disk = sim.clone();
        let watch = tokio::spawn(poll_fn(move |cx| {
            let manifest = disk.read_file(format!("{DIR}/MANIFEST")).expect("a manifest");
            if Manifest::decode(&manifest).is_err() {
                return Poll::Ready(manifest);
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        for polls in 4..20 {
            // The upkeep rests, so that this call writes the manifest, and the upkeep once it is dropped.
            tokio::time::sleep(Duration::from_millis(2)).await;
            let _ = dropped_after(polls, cache.clear()).await;
            assert!(!watch.is_finished(), "seed {seed}, {polls} polls: {:?}", watch.await);
        }
        watch.abort();
        assert_reopens_alike(&sim, cache).await;
    }
}
