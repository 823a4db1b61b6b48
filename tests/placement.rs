//! Where entries go (V2): apart by how long they live; and what eviction remembers over a clean restart.

#[path = "common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{SEGMENT_LEN_BYTES, small};
use esker::backend::sim::Sim;
use esker::clock::ManualClock;
use esker::inspect::{Inspector, SegmentSummary};
use esker::{Config, DiskCache, Millis, NamespaceConfig, SetOptions};

const START: Millis = Millis(1_700_000_000_000);

/// A disk and a clock.
struct Place {
    sim: Sim,
    clock: Arc<ManualClock>,
    config: Config,
}

impl Place {
    fn new(segments: u64) -> Self {
        Self { sim: Sim::new(1), clock: Arc::new(ManualClock::new(START)), config: small(segments) }
    }

    async fn open(&self) -> DiskCache {
        let builder = DiskCache::builder("/cache").config(self.config.clone()).clock(self.clock.clone());
        builder.backend_with(Arc::new(self.sim.clone())).open().await.unwrap()
    }

    async fn segments(&self, stream: &str) -> Vec<SegmentSummary> {
        let inspector = Inspector::new(Arc::new(self.sim.clone()), "/cache", START);
        let segments = inspector.segments().await.unwrap();
        segments.into_iter().filter(|s| s.stream == Some(stream) && s.records > 0).collect()
    }
}

async fn set(cache: &DiskCache, key: String, ttl_s: Option<u64>) {
    let options = ttl_s.map_or_else(SetOptions::new, |s| SetOptions::new().ttl(Duration::from_secs(s)));
    assert!(cache.set_with(key, vec![7; 1_000], options).await.unwrap().is_stored());
}

/// Writes new entries that nobody asks for, so many segments of them, and reads `wanted` all along.
async fn pass(cache: &DiskCache, name: &str, segments: usize, wanted: impl Fn(usize) -> String) {
    for n in 0..segments * 60 {
        set(cache, format!("{name}/{n}"), None).await;
        for _ in 0..2 {
            let _ = cache.get(wanted(n)).await.unwrap();
        }
    }
    cache.flush().await.unwrap();
}

/// What eviction writes again and does not expire is apart from what does, whose segments go as a whole in their time.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_rewritten_and_expires_has_segments_of_its_own() {
    let place = Place::new(24);
    let cache = place.open().await;
    for n in 0..120 {
        set(&cache, format!("stays/{n}"), None).await;
        set(&cache, format!("goes/{n}"), Some(600)).await;
        // No more than half of a segment is written again.
        for of in ["a", "b", "c", "d"] {
            set(&cache, format!("never/{of}/{n}"), None).await;
        }
    }
    pass(&cache, "new", 30, |n| format!("{}/{}", if n % 2 == 0 { "stays" } else { "goes" }, n / 2 % 120)).await;
    assert!(cache.stats().counts.entries_reinserted > 120);
    assert!(cache.get("stays/1").await.unwrap().is_some() && cache.get("goes/1").await.unwrap().is_some());
    assert!(!place.segments("expiring").await.is_empty());
    let (mut apart, mut among_others) = (0, 0);
    for segment in place.segments("reinserted").await.into_iter().chain(place.segments("expiring").await) {
        let path = std::path::Path::new("/cache").join(&segment.file);
        let mut look =
            |record: esker::inspect::RecordInfo| match (segment.stream == Some("expiring"), record.expires.is_some()) {
                (true, true) => apart += 1,
                (true, false) => assert_eq!(record.kind, "pad", "{record:?}"),
                (false, expires) => among_others += usize::from(expires),
            };
        Inspector::records(&place.sim, &path, &mut look).await.unwrap();
    }
    // Where there is no room for a segment of their own, they go to the others.
    assert!(apart > 2 * among_others, "{apart} {among_others}");
    let before = cache.stats().counts.segments_expired;
    place.clock.set(START.after_ms(700_000));
    pass(&cache, "later", 4, |n| format!("stays/{}", n % 120)).await;
    assert!(cache.stats().counts.segments_expired > before);
    assert!(cache.get("goes/1").await.unwrap().is_none() && cache.get("stays/1").await.unwrap().is_some());
}

/// An entry that expires soon is left where it is until then, however often it is read, and is not written again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_short_lived_is_neither_rewritten_nor_pushed_out_by_others() {
    let place = Place::new(24);
    let cache = place.open().await;
    for n in 0..200 {
        set(&cache, format!("short/{n}"), Some(60)).await;
    }
    cache.flush().await.unwrap();
    pass(&cache, "new", 60, |n| format!("short/{}", n % 200)).await;
    assert!(cache.stats().counts.segments_evicted > 30);
    for n in 0..200 {
        assert!(cache.get(format!("short/{n}")).await.unwrap().is_some(), "short/{n}");
    }
    assert_eq!(cache.stats().counts.entries_reinserted, 0);
    // Where most is short-lived, the oldest of it goes.
    for n in 0..3_000 {
        set(&cache, format!("flood/{n}"), Some(60)).await;
    }
    assert!(cache.get("short/1").await.unwrap().is_none() && cache.get("flood/2999").await.unwrap().is_some());
    assert_eq!(cache.stats().counts.entries_reinserted, 0);
}

/// After a clean close the cache knows what it had dropped, and how it had split its room. What it keeps for that is no entry
/// of the user's.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_dropped_is_remembered_over_a_clean_restart() {
    let mut place = Place::new(64);
    let cache = place.open().await;
    pass(&cache, "round", 100, |n| format!("round/{}", n % 7)).await;
    // Those that eviction dropped come again, and move the split.
    for n in 2_000..2_600 {
        set(&cache, format!("round/{n}"), None).await;
    }
    let split = cache.stats().new_log_bytes.unwrap();
    assert!(split > 64 * 65_536 / 10, "{split}");
    cache.close().await.unwrap();
    drop(cache);
    place.sim = place.sim.reopen();
    let cache = place.open().await;
    assert_eq!(cache.stats().new_log_bytes, Some(split));
    assert!(cache.stats().ghost_bytes > 4_000, "{}", cache.stats().ghost_bytes);
    // One that was dropped before goes to the main log at once.
    set(&cache, "round/1500".into(), None).await;
    cache.flush().await.unwrap();
    let of_main = place.segments("main").await;
    assert!(of_main.iter().any(|s| s.newest == Some(START.0)), "{of_main:?}");
    // After a kill it is what it was at the last clean close.
    drop(cache);
    place.sim = place.sim.reopen();
    assert_eq!(place.open().await.stats().new_log_bytes, Some(split));
}

/// What is read in a namespace with segments of its own is rewritten there as elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_in_a_namespace_is_kept() {
    let mut place = Place::new(60);
    let (name, share_bytes, quota_bytes) = ("own".into(), 20 * SEGMENT_LEN_BYTES, Some(24 * SEGMENT_LEN_BYTES));
    place.config.namespaces = vec![NamespaceConfig { name, share_bytes, quota_bytes, ..NamespaceConfig::default() }];
    let cache = place.open().await;
    let own = cache.namespace("own").unwrap();
    assert!(own.set("hot", "hot").await.unwrap().is_stored());
    for n in 0..2_000_u32 {
        own.set(n.to_string(), vec![1; 4_000]).await.unwrap();
        if n % 20 == 0 {
            assert!(own.get("hot").await.unwrap().is_some(), "{n}: {:?}", own.stats());
        }
    }
    assert!(cache.stats().counts.entries_reinserted > 0);
}
