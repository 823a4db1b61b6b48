//! The cache from its user's side: what goes in comes out, after a reopen too.

#[path = "common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::Duration;

use common::settled;
use esker::clock::ManualClock;
use esker::{BackendKind, Cache, DiskCache, Durability, Millis, SetOptions, SetOutcome, Source};

fn value(n: u64, len: usize) -> Vec<u8> {
    (0..len).map(|i| (n as usize * 31 + i) as u8).collect()
}

fn small(dir: &std::path::Path) -> esker::Builder {
    DiskCache::builder(dir).capacity_bytes(4 << 20).segment_len_bytes(256 << 10).backend(BackendKind::TokioFs)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_in_comes_out_and_survives_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    // Nothing is written by the clock: what was just set is in the buffer, however busy the machine is.
    let cache = small(dir.path()).flush_interval_ms(3_600_000).open().await.unwrap();
    assert!(cache.recovery_report().created);
    for n in 0..100u64 {
        let outcome = cache.set(format!("key {n}"), value(n, 1000 + n as usize)).await.unwrap();
        assert_eq!(outcome, SetOutcome::Stored { durability: Durability::Buffered });
    }
    // The one set last: a full buffer is written at once.
    assert_eq!(cache.get("key 99").await.unwrap().unwrap().source(), Source::Buffer);
    cache.sync().await.unwrap();
    assert_eq!(cache.get("key 7").await.unwrap().unwrap().source(), Source::Disk);
    assert!(cache.delete("key 8").await.unwrap());
    assert!(!cache.delete("key 8").await.unwrap());
    let options = SetOptions::new().metadata("meta").durability(Durability::Written);
    cache.set_with("key 9", "nine", options).await.unwrap();
    for reopened in 0..3 {
        let cache = if reopened == 0 { cache.clone() } else { small(dir.path()).open().await.unwrap() };
        for n in 0..100u64 {
            let hit = cache.get(format!("key {n}")).await.unwrap();
            match n {
                8 => assert!(hit.is_none()),
                9 => {
                    let hit = hit.unwrap();
                    assert_eq!((&hit.value()[..], &hit.metadata()[..]), (&b"nine"[..], &b"meta"[..]));
                }
                _ => assert_eq!(hit.unwrap().value(), &value(n, 1000 + n as usize)),
            }
        }
        assert_eq!(cache.stats().entries, 99, "{:?}", cache.recovery_report());
        cache.close().await.unwrap();
        assert!(matches!(cache.get("key 1").await, Err(esker::Error::Closed)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn written_entries_survive_a_drop_without_close() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    for n in 0..50u64 {
        let options = SetOptions::new().durability(Durability::Written);
        cache.set_with(n.to_le_bytes(), value(n, 5000), options).await.unwrap();
    }
    drop(cache);
    let cache = small(dir.path()).open().await.unwrap();
    assert_eq!(cache.recovery_report().segments_scanned, 1, "{:?}", cache.recovery_report());
    for n in 0..50u64 {
        assert_eq!(cache.get(n.to_le_bytes()).await.unwrap().unwrap().value(), &value(n, 5000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_cache_evicts_keeps_within_its_capacity_and_never_lies() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    for n in 0..2000u64 {
        assert!(cache.set(n.to_le_bytes(), value(n, 8000)).await.unwrap().is_stored());
        cache.get(1u64.to_le_bytes()).await.unwrap();
        if n % 100 == 0 {
            let used: u64 = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
            assert!(used <= 4 << 20, "{used}");
        }
    }
    settled(&cache).await;
    let mut hits = 0;
    for n in 0..2000u64 {
        if let Some(hit) = cache.get(n.to_le_bytes()).await.unwrap() {
            assert_eq!(hit.value(), &value(n, 8000));
            hits += 1;
        }
    }
    assert!(hits > 300, "{hits}");
    assert!(cache.get(1u64.to_le_bytes()).await.unwrap().is_some(), "what is read is rewritten");
    let stats = cache.stats();
    assert!(stats.counts.segments_evicted > 40 && stats.counts.entries_reinserted > 0, "{stats:?}");
    assert_eq!(stats.entries, hits);
    cache.close().await.unwrap();
    let live = cache.stats().live_bytes;
    let cache = small(dir.path()).open().await.unwrap();
    assert_eq!((cache.stats().entries, cache.stats().live_bytes), (hits, live), "{:?}", cache.recovery_report());
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_expire_and_stay_expired_when_the_clock_steps_back() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Millis(1_000_000)));
    let cache = small(dir.path()).clock(clock.clone()).open().await.unwrap();
    cache.set_with("k", "v", SetOptions::new().ttl(Duration::from_secs(5))).await.unwrap();
    clock.advance(4_999);
    let hit = cache.get("k").await.unwrap().unwrap();
    assert_eq!(hit.age(), Duration::from_millis(4_999));
    clock.advance(1);
    assert!(cache.get("k").await.unwrap().is_none());
    clock.set(Millis(1_000_000));
    assert!(cache.get("k").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_is_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let cache: Arc<dyn Cache> = Arc::new(small(dir.path()).open().await.unwrap());
    cache.set(b"a", "1".into()).await.unwrap();
    cache.clear().await.unwrap();
    assert!(cache.get(b"a").await.unwrap().is_none());
    cache.set(b"b", "2".into()).await.unwrap();
    drop(cache);
    let cache = small(dir.path()).open().await.unwrap();
    assert!(cache.get(b"a").await.unwrap().is_none());
}

/// P3. On a disk that works nothing is refused, however often segments are freed and used again: a ring lets go of a file,
/// and so of its lock, a moment after its last answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_cache_on_a_healthy_disk_refuses_nothing() {
    for kind in [BackendKind::Auto, BackendKind::TokioFs] {
        let dir = tempfile::tempdir().unwrap();
        let builder = DiskCache::builder(dir.path()).capacity_bytes(1 << 20).segment_len_bytes(64 << 10);
        let cache = builder.backend(kind).open().await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..8 {
            let cache = cache.clone();
            tasks.spawn(async move {
                for n in 0..600 {
                    let outcome = cache.set(format!("{task} {n}"), vec![task; 4096]).await.unwrap();
                    assert!(outcome.is_stored(), "{outcome:?}");
                    // What is read is rewritten.
                    cache.get(format!("{task} {}", n / 2)).await.unwrap();
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        cache.flush().await.unwrap();
        let counts = cache.stats().counts;
        assert!(counts.segments_evicted > 100, "{counts:?}");
        assert_eq!(
            (counts.refused_disk_failed, counts.refused_disk_full, counts.evictions_failed),
            (0, 0, 0),
            "{kind}"
        );
        cache.close().await.unwrap();
    }
}
