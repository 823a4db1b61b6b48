//! `get_many`, `set_many` and `delete_many`: as the loop would have it, with fewer waits (A8).

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{key, read_value, small, value};
use esker::backend::sim::{FaultPlan, ReadNow, Sim};
use esker::clock::ManualClock;
use esker::{BackendKind, Config, DiskCache, Durability, Error, Millis, SetOptions};

const SYNCED: Durability = Durability::Synced;

async fn open(sim: &Sim, config: Config) -> DiskCache {
    DiskCache::builder("/cache").config(config).backend_with(Arc::new(sim.clone())).open().await.unwrap()
}

async fn set_many(cache: &DiskCache, keys: impl Iterator<Item = u32>, len: usize, options: SetOptions) {
    let outcomes = cache.set_many(keys.map(|n| (key(n), value(n, 1, len))), options).await.unwrap();
    assert!(outcomes.into_iter().all(|outcome| outcome.unwrap().is_stored()));
}

/// What a batch gave for these keys: which version.
async fn versions(cache: &DiskCache, keys: &[u32]) -> Vec<Option<u32>> {
    let hits = cache.get_many(keys.iter().map(|n| key(*n))).await.unwrap();
    assert_eq!(hits.len(), keys.len());
    let version = |(n, hit): (&u32, esker::Result<Option<esker::Hit>>)| {
        let (whose, version) = read_value(hit.unwrap()?.value()).expect("a value that was stored");
        assert_eq!(whose, *n);
        Some(version)
    };
    keys.iter().zip(hits).map(version).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_finds_what_a_loop_finds_on_every_backend() {
    for kind in [BackendKind::Auto, BackendKind::TokioFs] {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Millis(1_700_000_000_000)));
        let config = Config { memory_bytes: 100_000, backend: kind, ..small(32) };
        let cache = DiskCache::builder(dir.path()).config(config).clock(clock.clone()).open().await.unwrap();
        set_many(&cache, 0..400, 900, SetOptions::new()).await;
        set_many(&cache, 400..410, 30_000, SetOptions::new()).await;
        set_many(&cache, 410..420, 900, SetOptions::new().tags(["tagged"])).await;
        set_many(&cache, 420..430, 900, SetOptions::new().ttl(Duration::from_secs(60))).await;
        // Longer than a segment: in chunks.
        set_many(&cache, 430..432, 100_000, SetOptions::new()).await;
        cache.sync().await.unwrap();
        set_many(&cache, (0..400).step_by(7), 900, SetOptions::new()).await;
        cache.purge_tag("tagged").await.unwrap();
        clock.advance(61_000);
        assert_eq!(cache.delete_many((100..110).chain([500]).map(key)).await.unwrap(), 10);
        // In an order that no segment has, some twice.
        let keys: Vec<u32> = (0..600).map(|n| n * 97 % 450).collect();
        let mut looped = Vec::new();
        for n in &keys {
            let hit = cache.get(key(*n)).await.unwrap();
            looped.push(hit.map(|hit| read_value(hit.value()).expect("a value").1));
        }
        let before = cache.stats().counts;
        assert_eq!(versions(&cache, &keys).await, looped, "{kind}");
        let after = cache.stats().counts;
        let hits = looped.iter().flatten().count() as u64;
        let all = |c: &esker::Counts| c.hits_memory + c.hits_buffer + c.hits_disk;
        assert_eq!(all(&after) - all(&before), hits, "{kind}");
        assert!(hits > 500 && looped.contains(&None), "{kind}: {hits}");
        let tenant = cache.namespace("tenant").unwrap();
        tenant.set_many([("one", "1"), ("two", "2")], SetOptions::new()).await.unwrap();
        let hits = tenant.get_many(["two", "none", "one"]).await.unwrap();
        let values: Vec<_> = hits.into_iter().map(|hit| hit.unwrap().map(|hit| hit.value().clone())).collect();
        assert_eq!(values, [Some("2".into()), None, Some("1".into())]);
        assert_eq!(
            (tenant.delete_many(["one", "none"]).await.unwrap(), cache.get("two").await.unwrap().is_none()),
            (1, true)
        );
        cache.close().await.unwrap();
        assert!(matches!(cache.get_many(["one"]).await, Err(Error::Closed)));
        assert!(matches!(cache.delete_many(["one"]).await, Err(Error::Closed)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_key_spoils_nothing_but_its_own_answer() {
    let cache = open(&Sim::new(1), small(16)).await;
    let long = vec![b'x'; 70_000];
    let keys: [&[u8]; 4] = [b"good", b"", &long, b"better"];
    let outcomes = cache.set_many(keys.map(|key| (key, "value")), SetOptions::new()).await.unwrap();
    let is_bad = |outcome: &Option<Error>| matches!(outcome, Some(Error::InvalidInput(_)));
    let bad: Vec<_> = outcomes.into_iter().map(|outcome| is_bad(&outcome.err())).collect();
    assert_eq!(bad, [false, true, true, false]);
    let hits = cache.get_many(keys).await.unwrap();
    let bad: Vec<_> = hits.iter().map(|hit| matches!(hit, Err(Error::InvalidInput(_)))).collect();
    assert_eq!(bad, [false, true, true, false]);
    assert_eq!(hits[3].as_ref().unwrap().as_ref().unwrap().value()[..], *b"value");
    assert!(matches!(cache.delete_many(keys).await, Err(Error::InvalidInput(_))));
    assert!(!cache.contains("good").await.unwrap() && !cache.contains("better").await.unwrap(), "all are tried");
    assert!(cache.get_many([""; 0]).await.unwrap().is_empty());
}

/// Neighbours are read together, and what waits for the disk waits for it once.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_asks_the_disk_less_often() {
    let sim = Sim::new(1);
    sim.set_faults(FaultPlan { read_now: ReadNow::WouldBlock, ..FaultPlan::default() });
    let cache = open(&sim, small(32)).await;
    let before = sim.counts();
    set_many(&cache, 0..500, 500, SetOptions::new().durability(SYNCED)).await;
    let after = sim.counts();
    assert!(after.syncs - before.syncs < 20, "{before:?} {after:?}");
    let keys: Vec<u32> = (0..500).rev().collect();
    assert!(versions(&cache, &keys).await.into_iter().all(|version| version == Some(1)));
    let reads = sim.counts().reads - after.reads;
    assert!(reads < 40, "{reads} reads");
    let before = sim.counts();
    assert_eq!(cache.delete_many((0..500).map(key)).await.unwrap(), 500);
    assert!(sim.counts().syncs - before.syncs < 20);
    // And it was true.
    drop(cache);
    sim.power_loss();
    let sim = sim.reopen();
    let cache = open(&sim, small(32)).await;
    assert!(versions(&cache, &keys).await.into_iter().all(|version| version.is_none()));
}

/// Under eviction and writes a batch never goes back (P2).
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_see_no_older_value_than_was_written_while_eviction_works() {
    const KEYS: u32 = 64;
    let cache = open(&Sim::new(1), small(12)).await;
    let written: Arc<Vec<AtomicU64>> = Arc::new((0..KEYS).map(|_| AtomicU64::new(0)).collect());
    let writer = tokio::spawn({
        let (cache, written) = (cache.clone(), written.clone());
        async move {
            for version in 1..400_u32 {
                let keys = (0..KEYS).filter(|n| (n + version) % 3 == 0);
                let items: Vec<_> = keys.map(|n| (n, value(n, version, 300 + n as usize * 60))).collect();
                let outcomes = cache.set_many(items.iter().map(|(n, v)| (key(*n), v.clone())), SetOptions::new());
                for (outcome, (n, _)) in outcomes.await.unwrap().into_iter().zip(&items) {
                    assert!(outcome.unwrap().is_stored());
                    written[*n as usize].store(version.into(), Ordering::SeqCst);
                }
            }
        }
    });
    let (mut found, mut batches) = (0, 0);
    while !writer.is_finished() || batches < 100 {
        let least: Vec<u64> = written.iter().map(|version| version.load(Ordering::SeqCst)).collect();
        let keys: Vec<u32> = (0..KEYS).collect();
        for (n, version) in versions(&cache, &keys).await.into_iter().enumerate() {
            let Some(version) = version else { continue };
            assert!(u64::from(version) >= least[n], "key {n}: {version} after {}", least[n]);
            found += 1;
        }
        batches += 1;
    }
    writer.await.unwrap();
    assert!(found > 1_000, "{found}");
}
