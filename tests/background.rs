//! A cache that is indexed in the background answers at once, and never with what it must not.

use std::sync::Arc;
use std::time::Duration;

use esker::backend::sim::{DiskError, FaultPlan, OpKind, Sim, When};
use esker::{DiskCache, Error, RefuseReason, SetOutcome};

const DIR: &str = "/cache";

async fn open(sim: &Sim, in_background: bool) -> DiskCache {
    let builder = DiskCache::builder(DIR).capacity_bytes(8 << 20).segment_len_bytes(64 << 10);
    let builder = builder.backend_with(Arc::new(sim.clone())).index_in_background(in_background);
    builder.open().await.unwrap()
}

/// A disk with a closed cache of 200 entries, in several segments.
async fn filled() -> Sim {
    let sim = Sim::new(1);
    let cache = open(&sim, false).await;
    for n in 0..200 {
        assert!(cache.set(format!("k{n}"), vec![n as u8; 1000]).await.unwrap().is_stored());
    }
    cache.close().await.unwrap();
    sim
}

async fn value(cache: &DiskCache, key: &str) -> Option<u8> {
    cache.get(key).await.unwrap().map(|hit| hit.value()[0])
}

/// P1, P2, P3. Before the index is there: misses, waits and refusals. After it: everything, but for what was refused.
#[tokio::test(flavor = "multi_thread")]
async fn until_it_is_indexed_gets_miss_and_writes_wait() {
    let sim = filled().await;
    // Only segments are asked for their length.
    sim.set_faults(FaultPlan { stalled: vec![OpKind::Len], ..FaultPlan::default() });
    let cache = open(&sim, true).await;
    assert_eq!((value(&cache, "k1").await, cache.contains("k2").await.unwrap()), (None, false));
    assert!(matches!(cache.get("").await, Err(Error::InvalidInput(_))));
    let refused = cache.try_set("k3", "new").await.unwrap();
    assert_eq!(refused, SetOutcome::Refused { reason: RefuseReason::Busy });
    let writing = tokio::spawn({
        let cache = cache.clone();
        async move { (cache.set("k4", vec![255]).await.unwrap(), cache.delete("k5").await.unwrap()) }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!writing.is_finished());
    let (progress, stats) = (cache.recovery_progress(), cache.stats());
    assert!(!progress.is_done && progress.segments_done < progress.segments_total, "{progress:?}");
    assert_eq!((stats.entries, stats.counts.misses_indexing, stats.counts.refused_busy), (0, 1, 1));

    sim.clear_faults();
    cache.ready().await.unwrap();
    let progress = cache.recovery_progress();
    assert!(progress.is_done && progress.segments_done == progress.segments_total && progress.segments_total > 2);
    let (set, deleted) = writing.await.unwrap();
    assert!(set.is_stored() && deleted);
    for round in ["now", "after a restart"] {
        let cache = if round == "now" { cache.clone() } else { open(&sim, false).await };
        for n in 0..200u8 {
            let expected = match n {
                3 | 5 => None,
                4 => Some(255),
                n => Some(n),
            };
            assert_eq!(value(&cache, &format!("k{n}")).await, expected, "k{n} {round}");
        }
        cache.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_cannot_be_indexed_says_why() {
    let sim = filled().await;
    sim.set_faults(FaultPlan::default().fail_on(".esk", OpKind::Read, When::Always, DiskError::Eio));
    let cache = open(&sim, true).await;
    let failed = cache.ready().await.unwrap_err();
    assert!(matches!(&failed, Error::OpenFailed(why) if matches!(**why, Error::Io { .. })), "{failed}");
    assert!(failed.to_string().contains(".esk"), "{failed}");
    assert!(matches!(cache.get("k1").await, Err(Error::OpenFailed(_))));
    assert!(matches!(cache.set("k1", "v").await, Err(Error::OpenFailed(_))));
    // The directory is free again.
    sim.clear_faults();
    assert_eq!(value(&open(&sim, false).await, "k1").await, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_dropped_before_it_is_indexed_lets_go_of_its_directory() {
    let sim = filled().await;
    sim.set_faults(FaultPlan { stalled: vec![OpKind::Len], ..FaultPlan::default() });
    drop(open(&sim, true).await);
    sim.clear_faults();
    let again = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            let builder = DiskCache::builder(DIR).capacity_bytes(8 << 20);
            match builder.backend_with(Arc::new(sim.clone())).open().await {
                Err(Error::Locked { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
                other => return other.unwrap(),
            }
        }
    });
    assert_eq!(value(&again.await.unwrap(), "k1").await, Some(1));
}
