//! What is counted, and under which name: each reason for a miss, a refusal, a wait and an eviction.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{SEGMENT_LEN_BYTES, small};
use esker::backend::sim::{DiskError, FaultPlan, OpKind, ReadNow, Sim, When};
use esker::clock::ManualClock;
use esker::{
    Config, Counts, DiskCache, Durability, Error, EvictReason, MemoryCache, MemoryFill, Millis, RefuseReason,
    SetOptions, SetOutcome, Stats,
};

struct Machine {
    sim: Sim,
    clock: Arc<ManualClock>,
    config: Config,
}

impl Machine {
    fn new(seed: u64) -> Self {
        Self { sim: Sim::new(seed), clock: Arc::new(ManualClock::new(Millis(1_700_000_000_000))), config: small(8) }
    }

    async fn open(&self) -> DiskCache {
        let builder = DiskCache::builder("/cache").config(self.config.clone()).clock(self.clock.clone());
        builder.backend_with(Arc::new(self.sim.clone())).open().await.expect("open")
    }
}

async fn set(cache: &DiskCache, key: &str, len: usize) {
    let options = SetOptions::new().durability(Durability::Written);
    assert!(cache.set_with(key, vec![7; len], options).await.expect("set").is_stored(), "{key}");
}

async fn miss(cache: &DiskCache, key: &str) {
    assert!(cache.get(key).await.expect("get").is_none(), "{key}");
}

async fn eventually(what: &str, cache: &DiskCache, is_so: impl Fn(&Stats) -> bool) -> Counts {
    for _ in 0..1000 {
        if is_so(&cache.stats()) {
            return cache.stats().counts;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came: {what}: {:?}", cache.stats());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hit_ratio_of_nothing_is_zero() {
    let cache = Machine::new(1).open().await;
    assert_eq!((cache.stats().hits(), cache.stats().misses(), cache.stats().hit_ratio()), (0, 0, 0.0));
    miss(&cache, "k").await;
    assert_eq!(cache.stats().hit_ratio(), 0.0);
    set(&cache, "k", 10).await;
    for _ in 0..3 {
        assert!(cache.get("k").await.unwrap().is_some());
    }
    assert_eq!((cache.stats().misses(), cache.stats().hit_ratio()), (1, 0.75));
    assert!(cache.contains("k").await.unwrap() && !cache.contains("other").await.unwrap());
    assert_eq!(cache.stats().hit_ratio(), 0.75, "`contains` is neither hit nor miss");
    assert_eq!(MemoryCache::new(1 << 20).stats().hit_ratio(), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_are_counted_by_where_they_came_from() {
    let mut machine = Machine::new(2);
    machine.config.memory_bytes = 1 << 20;
    machine.config.memory_fill = MemoryFill::Read;
    machine.config.flush_interval_ms = 3_600_000;
    let cache = machine.open().await;
    cache.set("k", "v").await.unwrap();
    let counted = |cache: &DiskCache| {
        let counts = cache.stats().counts;
        (counts.hits_buffer, counts.hits_memory, counts.hits_disk)
    };
    cache.get("k").await.unwrap();
    assert_eq!(counted(&cache), (1, 0, 0), "not written yet");
    cache.get("k").await.unwrap();
    assert_eq!(counted(&cache), (1, 1, 0), "the first get admitted it");
    cache.close().await.unwrap();
    let cache = machine.open().await;
    cache.get("k").await.unwrap();
    assert_eq!(counted(&cache), (0, 0, 1));
}

/// A key whose digest is another's is in `traps/collisions.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn misses_are_counted_by_their_reason() {
    let machine = Machine::new(3);
    let cache = machine.open().await;
    for key in ["io", "damaged", "witness"] {
        set(&cache, key, 5_000).await;
    }
    cache.set_with("short", "v", SetOptions::new().ttl(Duration::from_secs(1))).await.unwrap();
    cache.sync().await.unwrap();
    let mut expected = cache.stats().counts;

    miss(&cache, "never set").await;
    expected.misses_unknown = 1;
    assert_eq!(cache.stats().counts, expected);

    machine.clock.advance(1_000);
    miss(&cache, "short").await;
    expected.misses_expired = 1;
    assert_eq!(cache.stats().counts, expected);

    let broken = FaultPlan { read_now: ReadNow::WouldBlock, ..FaultPlan::default() };
    machine.sim.set_faults(broken.fail(OpKind::Read, When::Always, DiskError::Eio));
    miss(&cache, "io").await;
    machine.sim.clear_faults();
    (expected.misses_io, expected.failures_read) = (1, 1);
    assert_eq!(cache.stats().counts, expected);
    assert!(cache.get("io").await.unwrap().is_some(), "the entry was not dropped");
    expected.hits_disk = 1;

    let path = machine.sim.list_files("/cache").unwrap().into_iter().find(|p| p.ends_with("seg-0000.esk")).unwrap();
    let bytes = machine.sim.read_file(&path).unwrap();
    let at = bytes.windows(7).position(|w| w == b"damaged").unwrap();
    machine.sim.flip_bit(&path, at as u64 + 100).unwrap();
    miss(&cache, "damaged").await;
    (expected.misses_damaged, expected.entries_damaged) = (1, 1);
    assert_eq!(cache.stats().counts, expected);
    assert_eq!(cache.stats().misses(), 4, "the sum of the reasons");
    assert!(cache.get("witness").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_counted_by_their_reason() {
    let mut machine = Machine::new(4);
    machine.config.write_buffer_bytes = 1 << 20;
    machine.config.capacity_bytes = 64 * SEGMENT_LEN_BYTES;
    let cache = machine.open().await;
    let outcome = cache.set("k", vec![0; (64 * SEGMENT_LEN_BYTES) as usize + 1]).await.unwrap();
    assert_eq!(outcome, SetOutcome::Refused { reason: RefuseReason::TooLarge });
    assert_eq!(cache.stats().counts.refused_too_large, 1);

    machine.sim.set_faults(FaultPlan { stalled: vec![OpKind::Write], ..FaultPlan::default() });
    let mut stored = 0;
    for _ in 0..500 {
        stored += u64::from(cache.try_set("k", vec![0; 8 << 10]).await.unwrap().is_stored());
    }
    let counts = cache.stats().counts;
    assert_eq!((counts.sets, counts.refused_busy), (stored, 500 - stored));
    assert!(counts.refused_busy > 0 && stored > 0, "{counts:?}");
    machine.sim.clear_faults();
}

#[tokio::test(flavor = "multi_thread")]
async fn evictions_are_counted_by_their_reason() {
    let machine = Machine::new(5);
    let cache = machine.open().await;
    for n in 0..40 {
        let options = SetOptions::new().ttl(Duration::from_secs(2));
        assert!(cache.set_with(format!("short {n}"), vec![0; 5_000], options).await.unwrap().is_stored());
    }
    cache.sync().await.unwrap();
    machine.clock.advance(3_000);
    eventually("expired segments go at once", &cache, |s| s.counts.segments_expired >= 2).await;
    for n in 0..200 {
        set(&cache, &format!("k{}", n % 3), 7_000).await;
    }
    let counts = eventually("dead segments go first", &cache, |s| s.counts.segments_dead >= 5).await;
    assert_eq!(counts.segments_by_policy, 0, "nothing that is served had to go");
    for n in 0..200 {
        set(&cache, &format!("new {n}"), 7_000).await;
    }
    let counts = eventually("the oldest go", &cache, |s| s.counts.segments_by_policy >= 10).await;
    assert!(counts.segments_evicted >= 17 && counts.entries_evicted > 0, "{counts:?}");
    eventually("every eviction has one reason and one outcome", &cache, |s| {
        let c = &s.counts;
        c.segments_expired + c.segments_dead + c.segments_by_policy == c.segments_evicted
            && c.evictions_tried == c.segments_evicted + c.evictions_failed
    })
    .await;
    assert_eq!(cache.stats().counts.evictions_failed, 0);
}

/// V1. Writers wait while eviction cannot free anything, none is refused, and the attempts are counted.
#[tokio::test(flavor = "multi_thread")]
async fn waits_for_room_and_failed_evictions_are_counted() {
    let machine = Machine::new(6);
    let cache = machine.open().await;
    for n in 0..30 {
        set(&cache, &format!("k{n}"), 7_000).await;
    }
    cache.sync().await.unwrap();
    assert_eq!((cache.stats().counts.room_waits, cache.stats().counts.evictions_failed), (0, 0));
    // Freeing a segment opens its file once more.
    machine.sim.set_faults(FaultPlan::default().fail_on("seg-0000", OpKind::Open, When::Always, DiskError::Eio));
    let writer = tokio::spawn({
        let cache = cache.clone();
        async move {
            for n in 0..100 {
                assert!(cache.set(format!("new {n}"), vec![0; 7_000]).await.unwrap().is_stored(), "{n}");
            }
        }
    });
    eventually("an eviction fails", &cache, |s| s.counts.evictions_failed > 0).await;
    eventually("a writer waits", &cache, |s| s.counts.room_waits > 0).await;
    machine.sim.clear_faults();
    writer.await.unwrap();
    eventually("every attempt has an outcome", &cache, |s| {
        s.counts.segments_evicted > 0
            && s.counts.evictions_tried == s.counts.segments_evicted + s.counts.evictions_failed
    })
    .await;
}

/// Buffers are used again, and what rests of them is bounded by the write buffer.
#[tokio::test(flavor = "multi_thread")]
async fn buffers_are_counted() {
    let machine = Machine::new(7);
    let cache = machine.open().await;
    for n in 0..200 {
        set(&cache, &format!("k{n}"), 7_000).await;
    }
    cache.sync().await.unwrap();
    let stats = cache.stats();
    assert!(stats.buffers_reused > stats.buffers_made && stats.buffers_made > 0, "{stats:?}");
    assert!(stats.buffers_idle_bytes > 0 && stats.buffers_idle_bytes <= machine.config.write_buffer_bytes, "{stats:?}");
}

/// V2. Who listens is told of each entry that eviction drops, with its key, its reason, its age and its hits; of none that
/// was replaced, deleted or kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_told_what_eviction_drops() {
    let machine = Machine::new(9);
    let cache = machine.open().await;
    let mut evictions = cache.evictions().await.unwrap();
    for n in 0..30 {
        let options = SetOptions::new().ttl(Duration::from_secs(2));
        assert!(cache.set_with(format!("short {n}"), vec![0; 5_000], options).await.unwrap().is_stored());
    }
    set(&cache, "deleted", 5_000).await;
    cache.get("deleted").await.unwrap();
    cache.delete("deleted").await.unwrap();
    cache.sync().await.unwrap();
    machine.clock.advance(3_000);
    eventually("expired segments go", &cache, |s| s.counts.segments_expired >= 2).await;
    for n in 0..200 {
        set(&cache, &format!("k{n}"), 7_000).await;
        cache.get("k0").await.unwrap();
    }
    cache.sync().await.unwrap();
    eventually("the oldest go", &cache, |s| s.counts.segments_by_policy >= 10).await;
    cache.close().await.unwrap();
    let mut told = Vec::new();
    while let Some(evicted) = evictions.next().await {
        told.push(evicted);
    }
    assert_eq!(told.len() as u64, cache.stats().counts.entries_evicted, "{told:?}");
    let (expired, others): (Vec<_>, Vec<_>) = told.iter().partition(|e| e.reason == EvictReason::Expired);
    assert!(expired.len() >= 20 && expired.iter().all(|e| e.key.starts_with(b"short") && e.hits == 0), "{expired:?}");
    assert!(expired.iter().all(|e| e.age >= Duration::from_secs(3)), "{expired:?}");
    assert!(others.len() >= 50 && others.iter().all(|e| e.key.starts_with(b"k") && e.key != "k0"), "{others:?}");
    assert!(cache.evictions().await.is_err_and(|e| matches!(e, Error::Closed)));
    assert_eq!(evictions.missed(), 0);
}
