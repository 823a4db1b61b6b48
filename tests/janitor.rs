//! V6. What goes by itself: entries older than the retention, segments in which all has expired, leftovers of a killed
//! process.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::small;
use esker::backend::sim::Sim;
use esker::clock::ManualClock;
use esker::{Config, DiskCache, Millis, SetOptions, Stats};

const START: Millis = Millis(1_700_000_000_000);
const HOUR_MS: u64 = 3_600_000;

struct Place {
    sim: Sim,
    clock: Arc<ManualClock>,
    config: Config,
}

impl Place {
    fn new(seed: u64, segments: u64) -> Self {
        Self { sim: Sim::new(seed), clock: Arc::new(ManualClock::new(START)), config: small(segments) }
    }

    async fn open(&self, retention_ms: Option<u64>) -> DiskCache {
        let config = Config { retention_ms, ..self.config.clone() };
        let builder = DiskCache::builder("/cache").config(config).clock(self.clock.clone());
        builder.backend_with(Arc::new(self.sim.clone())).open().await.expect("open")
    }

    /// The process is killed.
    async fn reopen(&mut self, cache: DiskCache, retention_ms: Option<u64>) -> DiskCache {
        self.sim.crash_process();
        drop(cache);
        self.sim = self.sim.reopen();
        self.open(retention_ms).await
    }
}

async fn set(cache: &DiskCache, key: &str) {
    assert!(cache.set(key, format!("the value of {key}")).await.unwrap().is_stored());
}

async fn is_there(cache: &DiskCache, key: &str) -> bool {
    let hit = cache.get(key).await.unwrap();
    hit.is_some_and(|hit| hit.value()[..] == *format!("the value of {key}").as_bytes())
}

async fn eventually(what: &str, cache: &DiskCache, is_so: impl Fn(&Stats) -> bool) {
    for _ in 0..1000 {
        if is_so(&cache.stats()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came: {what}: {:?}", cache.stats());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_entry_lives_longer_than_the_retention() {
    let place = Place::new(1, 16);
    let cache = place.open(Some(10_000)).await;
    let ttl = |ms| SetOptions::new().ttl(Duration::from_millis(ms));
    set(&cache, "for ever").await;
    assert!(cache.set_with("long", "the value of long", ttl(60_000)).await.unwrap().is_stored());
    assert!(cache.set_with("short", "the value of short", ttl(5_000)).await.unwrap().is_stored());
    let mut writer = cache.writer("streamed", SetOptions::new()).await.unwrap();
    writer.write_bytes(vec![7; 20_000].into()).await.unwrap();
    assert!(writer.finish().await.unwrap().is_stored());
    let streamed = async || cache.get("streamed").await.unwrap().is_some_and(|hit| hit.len_bytes() == 20_000);
    place.clock.set(Millis(START.0 + 9_999));
    assert!(is_there(&cache, "for ever").await && is_there(&cache, "long").await && streamed().await);
    assert!(!is_there(&cache, "short").await, "a shorter time to live stays");
    place.clock.set(Millis(START.0 + 10_000));
    assert!(!is_there(&cache, "for ever").await && !is_there(&cache, "long").await && !streamed().await);
    assert_eq!(cache.stats().counts.purges, 0, "nothing was there before: no mark is needed");
    assert_eq!(cache.stats().purge_marks, 0);
}

/// New metadata makes an entry no younger.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_renewed_keeps_its_age() {
    let place = Place::new(2, 16);
    let cache = place.open(Some(10_000)).await;
    set(&cache, "k").await;
    place.clock.advance(9_000);
    cache.set_metadata("k", "new", esker::Durability::Buffered).await.unwrap().expect("an entry");
    assert!(is_there(&cache, "k").await);
    place.clock.advance(1_000);
    assert!(!is_there(&cache, "k").await);
}

/// P2. What was there without a time to live goes as it comes of age, and does not come back with a longer retention, nor
/// without one, whatever ended the life in between.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_goes_by_its_age_and_stays_gone() {
    let mut place = Place::new(3, 16);
    let cache = place.open(None).await;
    set(&cache, "oldest").await;
    place.clock.advance(2 * HOUR_MS);
    set(&cache, "older").await;
    place.clock.advance(HOUR_MS / 2);
    cache.sync().await.unwrap();
    let cache = place.reopen(cache, Some(HOUR_MS)).await;
    assert!(!is_there(&cache, "oldest").await, "at once, when open returns");
    assert!(is_there(&cache, "older").await);
    place.clock.advance(HOUR_MS / 2);
    assert!(is_there(&cache, "older").await || cache.stats().purge_marks > 0);
    place.clock.advance(HOUR_MS / 32);
    for _ in 0..1000 {
        if !is_there(&cache, "older").await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!is_there(&cache, "older").await);
    assert!(cache.stats().purge_marks <= 1, "a later mark takes the place of the one before");
    set(&cache, "new").await;
    cache.sync().await.unwrap();
    let cache = place.reopen(cache, Some(100 * HOUR_MS)).await;
    let there = [is_there(&cache, "oldest").await, is_there(&cache, "older").await, is_there(&cache, "new").await];
    assert_eq!(there, [false, false, true]);
    let cache = place.reopen(cache, None).await;
    let there = [is_there(&cache, "oldest").await, is_there(&cache, "older").await, is_there(&cache, "new").await];
    assert_eq!(there, [false, false, true]);
}

/// Segments whose entries are all of age go at once, without being asked for and without being rewritten.
#[tokio::test(flavor = "multi_thread")]
async fn segments_that_came_of_age_go_at_once() {
    let place = Place::new(4, 32);
    let cache = place.open(Some(HOUR_MS)).await;
    for n in 0..40 {
        assert!(cache.set(format!("filler {n}"), vec![0; 10_000]).await.unwrap().is_stored());
        cache.get(format!("filler {n}")).await.unwrap().expect("a hit");
    }
    cache.sync().await.unwrap();
    let before = cache.stats();
    assert!(before.segments >= 7 && before.counts.segments_evicted == 0, "{before:?}");
    place.clock.advance(HOUR_MS + 1_000);
    eventually("all sealed ones are freed", &cache, |s| s.counts.segments_expired >= 6).await;
    assert_eq!(cache.stats().counts.bytes_reinserted, 0);
}

/// A mark is one record, however much it covers, and is carried on no longer than that is there.
#[tokio::test(flavor = "multi_thread")]
async fn retention_costs_a_mark_that_goes_with_what_it_covers() {
    let mut place = Place::new(5, 8);
    let cache = place.open(None).await;
    for n in 0..2_000 {
        set(&cache, &format!("old {n}")).await;
    }
    cache.sync().await.unwrap();
    place.clock.advance(2 * HOUR_MS);
    let cache = place.reopen(cache, Some(HOUR_MS)).await;
    assert_eq!(cache.stats().purge_marks, 1);
    assert!(!is_there(&cache, "old 0").await && !is_there(&cache, "old 1999").await);
    // Its record may be carried on once or twice before the last of what it covers is gone.
    let mut written = 0;
    while cache.stats().purge_marks > 0 {
        assert!(cache.set(format!("new {written}"), vec![0; 7_000]).await.unwrap().is_stored());
        written += 1;
        assert!(written < 5_000, "the mark is never given up: {:?}", cache.stats());
    }
    assert!(!is_there(&cache, "old 0").await && !is_there(&cache, "old 1999").await);
}

/// The mark of a retention is written by whoever makes room: it does not wait for any, or nobody would make it.
#[tokio::test(flavor = "multi_thread")]
async fn a_retention_that_is_due_where_there_is_no_room_holds_nobody_up() {
    let mut place = Place::new(7, 24);
    let cache = place.open(None).await;
    for n in 0..20 * 7 {
        assert!(cache.set(format!("old {n}"), vec![7; 9_000]).await.unwrap().is_stored());
    }
    cache.sync().await.unwrap();
    place.clock.advance(10_000);
    // No more room than the old ones take: one segment is free then, which is kept for what eviction writes.
    place.config = small(8);
    let opening = tokio::time::timeout(Duration::from_secs(10), place.reopen(cache, Some(1_000)));
    let cache = opening.await.expect("the open waits for room that nobody makes");
    let setting = tokio::time::timeout(Duration::from_secs(10), cache.set("new", "v"));
    assert!(setting.await.expect("so does a write").unwrap().is_stored());
    for n in 0..20 * 7 {
        assert!(!cache.contains(format!("old {n}")).await.unwrap(), "{n}");
    }
    // A sync writes the mark, if that was not done yet.
    cache.sync().await.unwrap();
    let cache = place.reopen(cache, None).await;
    for n in 0..20 * 7 {
        assert!(!cache.contains(format!("old {n}")).await.unwrap(), "{n} came back");
    }
    assert!(cache.contains("new").await.unwrap());
}
