//! What is in the cache, without the values (A10).

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use common::{settled, small};
use esker::backend::sim::{FaultPlan, ReadNow, Sim};
use esker::clock::ManualClock;
use esker::{
    AdmissionPolicy, BackendKind, Config, DiskCache, Entries, EntryStats, Error, EvictionPolicy, Millis, PinOutcome,
    SetOptions, SetOutcome,
};

const START_MS: u64 = 1_700_000_000_000;

async fn open(sim: &Sim, config: Config) -> (DiskCache, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(Millis(START_MS)));
    let builder = DiskCache::builder("/cache").config(config).backend_with(Arc::new(sim.clone()));
    (builder.clock(clock.clone()).open().await.unwrap(), clock)
}

/// All of them, none twice.
async fn all(mut entries: Entries) -> BTreeMap<String, EntryStats> {
    let mut all = BTreeMap::new();
    while let Some(entry) = entries.next_entry().await.unwrap() {
        let key = String::from_utf8(entry.key.to_vec()).unwrap();
        assert!(all.insert(key.clone(), entry.stats).is_none(), "{key} is listed twice");
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_of_each_entry_what_was_set_on_every_backend() {
    for kind in [BackendKind::Auto, BackendKind::TokioFs] {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Millis(START_MS)));
        let config = Config { backend: kind, pinned_bytes: Some(100_000), ..small(32) };
        let cache = DiskCache::builder(dir.path()).config(config).clock(clock.clone()).open().await.unwrap();
        check_list(&cache, &clock).await;
        cache.close().await.unwrap();
        assert!(matches!(cache.entries("").await.unwrap().next_entry().await, Err(Error::Closed)));
        assert!(matches!(cache.entry_stats("plain").await, Err(Error::Closed)));
    }
}

async fn check_list(cache: &DiskCache, clock: &ManualClock) {
    let long_key = "k".repeat(5_000);
    cache.set("plain", vec![1; 700]).await.unwrap();
    cache.set(&long_key, vec![1; 10]).await.unwrap();
    cache.set("replaced", "older").await.unwrap();
    clock.advance(1_500);
    cache.set("replaced", "newer, and longer").await.unwrap();
    cache.set_with("expires", "soon", SetOptions::new().ttl(Duration::from_secs(9))).await.unwrap();
    cache.set_with("expired", "sooner", SetOptions::new().ttl(Duration::from_secs(1))).await.unwrap();
    cache.set_with("tagged", "stays", SetOptions::new().tags(["good"]).metadata(vec![7; 900])).await.unwrap();
    cache.set_with("purged", "goes", SetOptions::new().tags(["bad"])).await.unwrap();
    cache.set("deleted", "goes").await.unwrap();
    cache.set("chunks", vec![1; 200_000]).await.unwrap();
    let tenant = cache.namespace("tenant").unwrap();
    tenant.set("plain", "of the tenant").await.unwrap();
    cache.delete("deleted").await.unwrap();
    cache.purge_tag("bad").await.unwrap();
    assert_eq!(cache.pin("plain").await.unwrap(), PinOutcome::Pinned);
    for _ in 0..2 {
        cache.get("plain").await.unwrap().unwrap();
    }
    clock.advance(2_000);

    let listed = all(cache.entries("").await.unwrap()).await;
    let names: Vec<&str> = listed.keys().map(String::as_str).collect();
    assert_eq!(names, ["chunks", "expires", &long_key, "plain", "replaced", "tagged"]);
    let plain = &listed["plain"];
    assert_eq!((plain.value_bytes, plain.hits, plain.is_pinned, plain.chunks), (700, 2, true, 0));
    assert_eq!((plain.age, plain.expires_at), (Duration::from_millis(3_500), None));
    assert!(plain.stored_bytes >= 741 && plain.stored_bytes < 800 && plain.segment.is_some(), "{plain:?}");
    let replaced = &listed["replaced"];
    assert_eq!((replaced.value_bytes, replaced.age, replaced.hits), (17, Duration::from_secs(2), 0));
    assert!(replaced.sequence > plain.sequence && !replaced.is_pinned && !replaced.is_dirty);
    let expires = UNIX_EPOCH + Duration::from_millis(START_MS + 1_500 + 9_000);
    assert_eq!(listed["expires"].expires_at, Some(expires));
    let chunks = &listed["chunks"];
    assert!(chunks.value_bytes == 200_000 && chunks.chunks > 10 && chunks.stored_bytes > 200_000, "{chunks:?}");
    // One by one it is the same.
    for (key, stats) in &listed {
        assert_eq!(cache.entry_stats(key).await.unwrap().as_ref(), Some(stats), "{key}");
    }
    let some = cache.entry_stats_many(["plain", "deleted", "expired", "purged", "chunks"]).await.unwrap();
    assert_eq!((some.len(), &some[&b"plain"[..]]), (2, plain));
    assert!(matches!(cache.entry_stats("").await, Err(Error::InvalidInput(_))));

    let with_p = all(cache.entries("pl").await.unwrap()).await;
    assert_eq!(with_p.into_keys().collect::<Vec<_>>(), ["plain"]);
    let of_tenant = all(tenant.entries("").await.unwrap()).await;
    assert_eq!((of_tenant.len(), of_tenant["plain"].value_bytes), (1, 13));
    assert_eq!(tenant.entry_stats("plain").await.unwrap().as_ref(), Some(&of_tenant["plain"]));
    let mut keys = tenant.keys("pl").await.unwrap();
    assert_eq!((keys.next_key().await.unwrap(), keys.next_key().await.unwrap()), (Some("plain".into()), None));
    assert!(all(tenant.entries("x").await.unwrap()).await.is_empty());
    // Nobody has asked for them.
    assert_eq!(cache.entry_stats("plain").await.unwrap().unwrap().hits, 2);
}

/// An entry that is there all the time is listed once, while all others come and go and it moves from segment to segment.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_list_is_steady_while_eviction_works() {
    const KEPT: usize = 40;
    let (cache, _) =
        open(&Sim::new(1), Config { eviction: EvictionPolicy::Clock, pinned_bytes: Some(60_000), ..small(16) }).await;
    for n in 0..KEPT {
        assert!(cache.set(format!("kept {n:02}"), vec![n as u8; 1_000]).await.unwrap().is_stored());
        assert_eq!(cache.pin(format!("kept {n:02}")).await.unwrap(), PinOutcome::Pinned);
    }
    let is_done = Arc::new(AtomicBool::new(false));
    let churn = tokio::spawn({
        let (cache, is_done) = (cache.clone(), is_done.clone());
        async move {
            let mut n = 0;
            while !is_done.load(Ordering::SeqCst) {
                cache.set(format!("other {n}"), vec![n as u8; 3_000]).await.unwrap();
                n += 1;
            }
        }
    });
    let expected: Vec<String> = (0..KEPT).map(|n| format!("kept {n:02}")).collect();
    let mut rounds = 0;
    while cache.stats().counts.segments_evicted < 200 || rounds < 50 {
        let listed = all(cache.entries("").await.unwrap()).await;
        let kept: Vec<&String> = listed.keys().filter(|key| key.starts_with("kept")).collect();
        assert_eq!(kept, expected.iter().collect::<Vec<_>>(), "round {rounds}");
        rounds += 1;
    }
    is_done.store(true, Ordering::SeqCst);
    churn.await.unwrap();
    let counts = cache.stats().counts;
    assert!(counts.entries_reinserted > 100, "{counts:?}");
    settled(&cache).await;
    assert_eq!(cache.stats().counts.pins_dropped, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_of_an_entry_do_not_read_its_value() {
    let sim = Sim::new(1);
    sim.set_faults(FaultPlan { read_now: ReadNow::WouldBlock, ..FaultPlan::default() });
    let (cache, _) = open(&sim, Config { chunk_len_bytes: 64 << 10, ..small(64) }).await;
    for n in 0..50 {
        assert!(cache.set(format!("{n}"), vec![7; 8_000]).await.unwrap().is_stored());
    }
    cache.sync().await.unwrap();
    let before = sim.counts();
    assert_eq!(all(cache.entries("").await.unwrap()).await.len(), 50);
    let after = sim.counts();
    assert!(after.bytes_read - before.bytes_read <= 50 * 256, "{before:?} {after:?}");
    assert!(cache.entry_stats("7").await.unwrap().is_some());
    assert!(sim.counts().bytes_read - after.bytes_read <= 256);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_in_memory_has_stats_and_no_segment() {
    let config = Config { admission: AdmissionPolicy::SecondUse { held_bytes: None }, ..small(16) };
    let (cache, clock) = open(&Sim::new(1), config).await;
    let options = SetOptions::new().ttl(Duration::from_secs(5));
    assert_eq!(cache.set_with("held", "value", options).await.unwrap(), SetOutcome::Held);
    let stats = cache.entry_stats("held").await.unwrap().unwrap();
    assert_eq!((stats.value_bytes, stats.stored_bytes, stats.segment), (5, 0, None));
    assert!(all(cache.entries("").await.unwrap()).await.is_empty(), "it is not on disk");
    clock.advance(5_000);
    assert_eq!(cache.entry_stats("held").await.unwrap(), None);
}
