//! F9. The capacity at a reopen: a smaller one keeps the newest that fits, a larger one grows; nothing lies, and the
//! directory is within the capacity once it is open (P1, P2, P5).

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{SEGMENT_LEN_BYTES, settled, small};
use esker::backend::sim::Sim;
use esker::config::DIRECTORY_OVERHEAD_BYTES;
use esker::{Config, DiskCache, EvictionPolicy};

const ROOMY: u64 = 48;
const TIGHT: u64 = 10;

fn builder(sim: &Sim, segments: u64, eviction: EvictionPolicy) -> esker::Builder {
    let config = Config { eviction, ..small(segments) };
    DiskCache::builder("/cache").config(config).backend_with(Arc::new(sim.clone()))
}

async fn open(sim: &Sim, segments: u64, eviction: EvictionPolicy) -> DiskCache {
    builder(sim, segments, eviction).open().await.expect("open")
}

/// Bytes of the segment files that the disk holds.
fn segment_bytes(sim: &Sim) -> u64 {
    let files = sim.list_files("/cache").unwrap();
    let segments = files.iter().filter(|path| path.extension().is_some_and(|e| e == "esk"));
    segments.map(|path| sim.read_file(path).unwrap().len() as u64).sum()
}

/// What the test wrote last, by key: none if it was deleted.
type Truth = BTreeMap<String, Option<u64>>;

fn value(version: u64) -> Vec<u8> {
    let mut value = vec![7; 3_000];
    value[..8].copy_from_slice(&version.to_le_bytes());
    value
}

async fn set(cache: &DiskCache, truth: &mut Truth, key: String, version: u64) {
    assert!(cache.set(&key, value(version)).await.unwrap().is_stored());
    truth.insert(key, Some(version));
}

/// Fills most of a roomy cache: first keys that are replaced or deleted later, in segments of their own, then others.
async fn fill(cache: &DiskCache) -> Truth {
    let mut truth = Truth::new();
    for n in 0..60 {
        set(cache, &mut truth, format!("changing {n}"), n).await;
    }
    for n in 0..400 {
        set(cache, &mut truth, format!("key {n:03}"), n).await;
        if n % 10 == 0 {
            set(cache, &mut truth, format!("changing {}", n / 10), 1_000 + n).await;
        }
        if n % 40 == 0 {
            let key = format!("changing {}", 45 + n / 40);
            cache.delete(&key).await.unwrap();
            truth.insert(key, None);
        }
    }
    truth
}

/// The keys that are served; each with what was written last.
async fn served(cache: &DiskCache, truth: &Truth) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, last) in truth {
        if let Some(hit) = cache.get(key).await.unwrap() {
            assert_eq!(Some(hit.value().to_vec()), last.map(value), "{key}");
            keys.push(key.clone());
        }
    }
    keys
}

/// The numbers of `key n` among them.
fn numbers(keys: &[String]) -> Vec<u64> {
    keys.iter().filter_map(|key| key.strip_prefix("key ")?.parse().ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_capacity_keeps_the_newest_that_fits() {
    for eviction in [EvictionPolicy::Fifo, EvictionPolicy::Clock, EvictionPolicy::Adaptive] {
        let sim = Sim::new(1);
        let cache = open(&sim, ROOMY, eviction).await;
        let truth = fill(&cache).await;
        let all = served(&cache, &truth).await.len();
        assert!(all > 420 && cache.stats().counts.segments_evicted == 0, "everything fits: {all}");
        cache.close().await.unwrap();
        let cache = open(&sim, TIGHT, eviction).await;
        let (most, stats) = (TIGHT * SEGMENT_LEN_BYTES, cache.stats());
        assert!(segment_bytes(&sim) <= most, "{eviction}: {} on disk once it is open", segment_bytes(&sim));
        assert!(stats.used_bytes <= most + DIRECTORY_OVERHEAD_BYTES && stats.used_bytes <= stats.capacity_bytes);
        settled(&cache).await;
        let kept = numbers(&served(&cache, &truth).await);
        // All of the newest and none of the others: no gap.
        assert!(kept.len() >= 60, "{eviction}: {} of {all} were kept", kept.len());
        assert!(kept.iter().copied().eq(kept[0]..400), "{eviction}: {kept:?}");
        // It goes on, within what it has.
        let mut truth = truth;
        for n in 0..200 {
            set(&cache, &mut truth, format!("later {n}"), 5_000 + n).await;
            assert!(cache.stats().used_bytes <= cache.stats().capacity_bytes);
        }
        served(&cache, &truth).await;
        assert!(segment_bytes(&sim) <= most);
    }
}

/// P2. Also where the process dies in the middle of it, over and over, no version comes back that was replaced or deleted.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_replaced_stays_dead_while_a_cache_is_made_smaller() {
    let mut sim = Sim::new(2);
    let cache = open(&sim, ROOMY, EvictionPolicy::Adaptive).await;
    let truth = fill(&cache).await;
    cache.sync().await.unwrap();
    cache.close().await.unwrap();
    let mut deaths = 0;
    for round in 0..40u32 {
        {
            let opening = builder(&sim, TIGHT, EvictionPolicy::Adaptive).open();
            let mut opening = std::pin::pin!(opening);
            // So many steps of it, and then the end.
            let mut steps = 0;
            let opened = std::future::poll_fn(|cx| match opening.as_mut().poll(cx) {
                std::task::Poll::Pending if steps < round => {
                    steps += 1;
                    std::task::Poll::Pending
                }
                std::task::Poll::Pending => std::task::Poll::Ready(None),
                std::task::Poll::Ready(opened) => std::task::Poll::Ready(Some(opened)),
            })
            .await;
            deaths += u32::from(opened.is_none());
            if round % 2 == 0 { sim.power_loss() } else { sim.crash_process() }
        }
        sim = sim.reopen();
        // With the old capacity nothing more goes, so that whatever was uncovered would show.
        let cache = open(&sim, ROOMY, EvictionPolicy::Adaptive).await;
        served(&cache, &truth).await;
        cache.close().await.unwrap();
    }
    assert!(deaths > 0, "an open was cut short");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_larger_capacity_keeps_all_and_grows() {
    let sim = Sim::new(3);
    let cache = open(&sim, TIGHT, EvictionPolicy::Adaptive).await;
    let mut truth = fill(&cache).await;
    cache.close().await.unwrap();
    let cache = open(&sim, TIGHT, EvictionPolicy::Adaptive).await;
    settled(&cache).await;
    let before = served(&cache, &truth).await;
    cache.close().await.unwrap();
    let cache = open(&sim, ROOMY, EvictionPolicy::Adaptive).await;
    assert_eq!(served(&cache, &truth).await, before, "nothing is lost by it");
    for n in 0..400 {
        set(&cache, &mut truth, format!("later {n}"), 5_000 + n).await;
    }
    let after = served(&cache, &truth).await;
    assert!(before.iter().all(|key| after.contains(key)), "there is room for all");
    assert_eq!(cache.stats().counts.segments_evicted, 0);
    assert!(cache.stats().segments > TIGHT + 10 && segment_bytes(&sim) > TIGHT * SEGMENT_LEN_BYTES);
}
