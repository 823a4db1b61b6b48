//! An object stays or goes as a whole.

use esker::{Config, Error, EvictionPolicy, RefuseReason, SetOptions, SetOutcome};

use super::common::settled;
use super::{config, read_all, small, value, write};

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_objects_go_whole_and_what_stays_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        // Whatever is read meanwhile.
        let config = Config { eviction: EvictionPolicy::Fifo, ..config() };
        small(dir.path()).config(config).open()
    };
    let cache = open().await.unwrap();
    let values: Vec<_> = (0..100).map(|n| value(n, 300_000)).collect();
    for n in 0..100 {
        assert!(write(&cache, &format!("key {n}"), &values[n], 40_000).await.is_stored());
        for before in (0..=n).rev().step_by(4) {
            if let Some(hit) = cache.get(format!("key {before}")).await.unwrap() {
                assert!(*hit.value() == values[before], "key {before} after {n}");
            }
        }
        let stats = cache.stats();
        assert!(stats.used_bytes <= stats.capacity_bytes && stats.live_bytes <= stats.used_bytes, "{stats:?}");
    }
    settled(&cache).await;
    let objects = cache.stats().objects;
    assert!((10..=27).contains(&objects), "{objects}");
    for n in 0..100 {
        let hit = cache.get(format!("key {n}")).await.unwrap();
        assert_eq!(hit.is_some(), n >= 100 - objects, "key {n} of {objects}");
    }
    assert!(cache.stats().counts.entries_evicted >= 100 - objects, "{:?}", cache.stats());
    // What is live is what the objects take.
    let (live, each) = (cache.stats().live_bytes, 300_000);
    assert!((objects * each..objects * (each + 12_000)).contains(&live), "{live} bytes of {objects} objects");
    cache.close().await.unwrap();
    let cache = open().await.unwrap();
    assert_eq!((cache.stats().objects, cache.stats().live_bytes), (objects, live), "{:?}", cache.recovery_report());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_object_is_evicted_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    assert!(write(&cache, "key", &value(1, 1_000_000), 40_000).await.is_stored());
    let mut reader = cache.reader("key").await.unwrap().unwrap();
    reader.next_bytes().await.unwrap().unwrap();
    for n in 0..40 {
        assert!(write(&cache, &format!("other {n}"), &value(n, 300_000), 40_000).await.is_stored());
    }
    assert!(matches!(read_all(&mut reader).await, Err(Error::Evicted)));
    assert!(cache.get("key").await.unwrap().is_none());
}

/// What replaces an object keeps it dead; what is read meanwhile is read to its end or says so.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_replaced_frees_its_room() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    for round in 0..60 {
        assert!(write(&cache, "same", &value(round, 300_000), 40_000).await.is_stored());
    }
    cache.sync().await.unwrap();
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.objects), (1, 1));
    assert!(stats.live_bytes < 320_000, "{stats:?}");
    assert_eq!(stats.counts.segments_by_policy, 0, "segments of dead chunks go first: {:?}", stats.counts);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_larger_than_the_cache_is_refused_and_the_old_value_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    cache.set("key", "old").await.unwrap();
    let mut writer = cache.writer("key", SetOptions::new()).await.unwrap();
    let piece = value(1, 100_000);
    let mut pieces = 0;
    while !writer.is_refused() {
        writer.write_bytes(piece.clone()).await.unwrap();
        pieces += 1;
        assert!(pieces < 200, "8 MiB take 20 MB");
    }
    let outcome = writer.finish().await.unwrap();
    assert!(
        matches!(outcome, SetOutcome::Refused { reason: RefuseReason::Evicted | RefuseReason::TooLarge }),
        "{outcome:?}"
    );
    assert!(cache.get("key").await.unwrap().is_none());
    let outcome = cache.set("key", value(1, 9 << 20)).await.unwrap();
    assert_eq!(outcome, SetOutcome::Refused { reason: RefuseReason::TooLarge });
}

/// A small object that is read often is rewritten with all its chunks.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_read_is_kept_whole() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    let kept = value(1, 50_000);
    assert!(write(&cache, "kept", &kept, 40_000).await.is_stored());
    for n in 0..100 {
        assert!(write(&cache, &format!("other {n}"), &value(n, 200_000), 40_000).await.is_stored());
        let hit = cache.get("kept").await.unwrap().expect("it is read all the time");
        assert!(*hit.value() == kept);
    }
    assert!(cache.stats().counts.entries_reinserted > 0);
    cache.close().await.unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    assert!(*cache.get("kept").await.unwrap().unwrap().value() == kept, "{:?}", cache.recovery_report());
}
