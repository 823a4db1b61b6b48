//! Pinned entries stay while others go, within a bound (V5).

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::hook::{Hook, Hooked};
use common::{SEGMENT_LEN_BYTES, settled, small};
use esker::backend::sim::{FaultPlan, OpKind, ReadNow, Sim};
use esker::clock::ManualClock;
use esker::{
    AdmissionPolicy, BackendKind, Config, DiskCache, Durability, Error, EvictionPolicy, Millis, PinOutcome, SetOptions,
    SetOutcome,
};

const SEGMENTS: u64 = 16;

async fn open(sim: &Sim, config: Config) -> DiskCache {
    DiskCache::builder("/cache").config(config).backend_with(Arc::new(sim.clone())).open().await.unwrap()
}

fn value(n: usize) -> Vec<u8> {
    vec![n as u8; 1_000]
}

/// Writes so much that the whole capacity was replaced several times.
async fn churn(cache: &DiskCache, turns: u64) {
    for n in 0..turns * SEGMENTS * SEGMENT_LEN_BYTES / 4_000 {
        assert!(cache.set(format!("other {n}"), vec![n as u8; 4_000]).await.unwrap().is_stored());
    }
    settled(cache).await;
    let stats = cache.stats();
    assert!(stats.used_bytes <= stats.capacity_bytes, "{stats:?}");
}

async fn pin(cache: &DiskCache, n: usize) -> PinOutcome {
    assert!(cache.set(format!("pinned {n}"), value(n)).await.unwrap().is_stored());
    cache.pin(format!("pinned {n}")).await.unwrap()
}

async fn is_whole(cache: &DiskCache, n: usize) -> bool {
    match cache.get(format!("pinned {n}")).await.unwrap() {
        Some(hit) => {
            assert_eq!(hit.value()[..], value(n));
            true
        }
        None => false,
    }
}

/// V5. Also where the policy keeps nothing, and at the most that may be pinned.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_pinned_stays_through_every_policy_while_the_log_turns() {
    for eviction in EvictionPolicy::ALL {
        let most = small(SEGMENTS).most_kept_bytes(SEGMENT_LEN_BYTES);
        let cache = open(&Sim::new(1), Config { eviction, pinned_bytes: Some(most), ..small(SEGMENTS) }).await;
        let mut pinned = 0;
        while pin(&cache, pinned).await == PinOutcome::Pinned {
            pinned += 1;
        }
        assert!(pinned > 200, "{eviction}: {pinned}");
        // What is not pinned is there to go.
        assert!(is_whole(&cache, pinned).await);
        for _ in 0..2 {
            churn(&cache, 3).await;
            for n in 0..pinned {
                assert!(is_whole(&cache, n).await, "{eviction}: {n} of {pinned}: {:?}", cache.stats());
            }
        }
        assert!(!cache.contains("other 0").await.unwrap());
        let stats = cache.stats();
        assert_eq!((stats.pinned_entries, stats.counts.pins_dropped), (pinned as u64, 0), "{eviction}: {stats:?}");
        assert!(stats.pinned_bytes <= most);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_beyond_the_bound_is_refused_and_ends_when_its_entry_does() {
    let clock = Arc::new(ManualClock::new(Millis(1_700_000_000_000)));
    let config = Config { pinned_bytes: Some(3_200), ..small(SEGMENTS) };
    let builder = DiskCache::builder("/cache").config(config).clock(clock.clone());
    let cache = builder.backend_with(Arc::new(Sim::new(1))).open().await.unwrap();
    assert_eq!(cache.pin("nothing").await.unwrap(), PinOutcome::Absent);
    for (n, outcome) in
        [PinOutcome::Pinned, PinOutcome::Pinned, PinOutcome::Pinned, PinOutcome::Full].iter().enumerate()
    {
        assert_eq!(pin(&cache, n).await, *outcome, "{n}");
    }
    assert!(is_whole(&cache, 3).await, "it is there, and not pinned");
    assert_eq!(cache.pin("pinned 0").await.unwrap(), PinOutcome::Pinned, "once more takes nothing");
    let pinned = || cache.stats().pinned_entries;
    assert_eq!(
        (cache.unpin("pinned 0").await.unwrap(), cache.unpin("pinned 0").await.unwrap(), pinned()),
        (true, false, 2)
    );
    cache.set("pinned 1", "new").await.unwrap();
    assert_eq!(pinned(), 1, "replaced");
    cache.set_metadata("pinned 2", "new", Durability::Buffered).await.unwrap();
    assert_eq!(pinned(), 1, "the same entry");
    assert!(cache.delete("pinned 2").await.unwrap());
    assert_eq!((pinned(), cache.stats().pinned_bytes), (0, 0), "deleted");
    cache.set_with("pinned 4", "brief", SetOptions::new().ttl(Duration::from_secs(1))).await.unwrap();
    assert_eq!(cache.pin("pinned 4").await.unwrap(), PinOutcome::Pinned);
    clock.advance(1_000);
    assert!(!cache.contains("pinned 4").await.unwrap());
    assert_eq!((pinned(), cache.pin("pinned 4").await.unwrap()), (0, PinOutcome::Absent), "expired");
    assert_eq!(pin(&cache, 5).await, PinOutcome::Pinned);
    cache.purge_prefix("pinned").await.unwrap();
    assert_eq!(cache.pin("pinned 5").await.unwrap(), PinOutcome::Absent, "purged");
    assert_eq!(pin(&cache, 6).await, PinOutcome::Pinned);
    cache.clear().await.unwrap();
    assert_eq!((pinned(), cache.stats().pinned_bytes), (0, 0), "cleared");
}

/// A value in chunks is pinned with all of them, and counts with all of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_in_chunks_is_pinned_as_a_whole() {
    let cache = open(&Sim::new(1), Config { pinned_bytes: Some(160_000), ..small(SEGMENTS) }).await;
    for key in ["one", "two"] {
        assert!(cache.set(key, vec![7; 100_000]).await.unwrap().is_stored());
    }
    assert_eq!(cache.pin("one").await.unwrap(), PinOutcome::Pinned);
    assert_eq!(cache.pin("two").await.unwrap(), PinOutcome::Full);
    assert!(cache.stats().pinned_bytes > 100_000);
    churn(&cache, 5).await;
    assert_eq!(cache.get("one").await.unwrap().unwrap().value()[..], [7; 100_000]);
    assert!(!cache.contains("two").await.unwrap());
    cache.delete("one").await.unwrap();
    assert_eq!(cache.stats().pinned_bytes, 0);
}

/// Pins the next of these keys before each read, but for those that this makes.
fn pins_at_reads(cache: &Arc<Mutex<Option<DiskCache>>>, keys: usize, outcomes: &Arc<Mutex<Vec<PinOutcome>>>) -> Hook {
    let (cache, outcomes, is_busy) = (cache.clone(), outcomes.clone(), AtomicBool::new(false));
    let (busy, next) = (Arc::new(is_busy), Arc::new(AtomicUsize::new(0)));
    Arc::new(move |kind, _| {
        let cache = cache.lock().unwrap().clone();
        let cache = cache.filter(|_| kind == OpKind::Read && !busy.swap(true, Ordering::SeqCst))?;
        let (n, outcomes, busy) = (next.fetch_add(1, Ordering::SeqCst), outcomes.clone(), busy.clone());
        Some(Box::pin(async move {
            if n < keys {
                let outcome = cache.pin(format!("late {n}")).await.unwrap();
                outcomes.lock().unwrap().push(outcome);
            }
            busy.store(false, Ordering::SeqCst);
            Ok(())
        }))
    })
}

/// Also where eviction is at its segment already, and had decided to drop it: values in one piece, and in chunks. It reads what it
/// rewrites, and, once all that is done, each delete that it carries on.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_pinned_while_its_segment_is_being_emptied_stays() {
    const KEYS: usize = 8;
    for (len, with_deletes) in [(1_000, false), (5_000, false), (1_000, true), (5_000, true)] {
        let (sim, cell, outcomes) = (Sim::new(1), Arc::default(), Arc::default());
        sim.set_faults(FaultPlan { read_now: ReadNow::WouldBlock, ..FaultPlan::default() });
        let backend =
            Hooked { inner: Arc::new(sim), hook: pins_at_reads(&cell, KEYS, &outcomes), linger: Duration::ZERO };
        let builder = DiskCache::builder("/cache").config(small(SEGMENTS)).backend_with(Arc::new(backend));
        let cache = builder.open().await.unwrap();
        for n in 0..KEYS {
            if with_deletes {
                assert!(cache.set(format!("gone {n}"), value(n)).await.unwrap().is_stored());
                assert!(cache.delete(format!("gone {n}")).await.unwrap());
            } else {
                assert_eq!(pin(&cache, n).await, PinOutcome::Pinned);
            }
            assert!(stream(&cache, &format!("late {n}"), vec![n as u8; len]).await.is_stored());
        }
        cache.sync().await.unwrap();
        *cell.lock().unwrap() = Some(cache.clone());
        churn(&cache, 3).await;
        let outcomes = outcomes.lock().unwrap().clone();
        let pinned = outcomes.iter().filter(|outcome| **outcome == PinOutcome::Pinned).count();
        assert!(pinned > 3, "{len}, {with_deletes}: {outcomes:?}");
        assert_eq!(cache.stats().counts.pins_dropped, 0, "{len}, {with_deletes}: {outcomes:?}");
        for (n, _) in outcomes.iter().enumerate().filter(|(_, outcome)| **outcome == PinOutcome::Pinned) {
            let hit = cache.get(format!("late {n}")).await.unwrap();
            assert_eq!(hit.expect("it is pinned").value()[..], vec![n as u8; len], "{len}, {with_deletes}: {n}");
        }
        // The cache holds the hook.
        *cell.lock().unwrap() = None;
    }
}

async fn stream(cache: &DiskCache, key: &str, value: Vec<u8>) -> SetOutcome {
    let mut writer = cache.writer(key, SetOptions::new()).await.unwrap();
    writer.write_bytes(value.into()).await.unwrap();
    writer.finish().await.unwrap()
}

/// Pins are in memory. What waits for its second use is written first, or there would be nothing to rewrite.
#[tokio::test(flavor = "multi_thread")]
async fn pins_end_with_the_process_and_what_is_held_is_written_to_be_pinned() {
    let sim = Sim::new(1);
    let config = Config { admission: AdmissionPolicy::SecondUse { held_bytes: Some(64 << 10) }, ..small(SEGMENTS) };
    let cache = open(&sim, config.clone()).await;
    assert_eq!(pin(&cache, 1).await, PinOutcome::Pinned);
    assert_eq!((cache.stats().held_bytes, cache.stats().pinned_entries), (0, 1));
    cache.close().await.unwrap();
    let cache = open(&sim.reopen(), config).await;
    assert_eq!((cache.stats().pinned_entries, cache.stats().pinned_bytes), (0, 0));
    assert!(is_whole(&cache, 1).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_eviction_can_keep_is_refused_at_open() {
    let most = small(SEGMENTS).most_kept_bytes(SEGMENT_LEN_BYTES);
    assert_eq!(most, (SEGMENTS - 9) * SEGMENT_LEN_BYTES / 2);
    let try_open = |pinned_bytes| {
        let config = Config { pinned_bytes: Some(pinned_bytes), ..small(SEGMENTS) };
        DiskCache::builder("/cache").config(config).backend_with(Arc::new(Sim::new(1))).open()
    };
    assert!(matches!(try_open(most + 1).await, Err(Error::InvalidConfig(text)) if text.contains("pinned_bytes")));
    assert!(try_open(most).await.is_ok());
}

async fn turns_on(kind: BackendKind, dir: &Path) {
    let cache = DiskCache::builder(dir).config(small(SEGMENTS)).backend(kind).open().await.unwrap();
    for n in 0..50 {
        assert_eq!(pin(&cache, n).await, PinOutcome::Pinned);
    }
    churn(&cache, 3).await;
    for n in 0..50 {
        assert!(is_whole(&cache, n).await, "{kind}: {n}");
    }
    cache.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_hold_on_real_disks() {
    for kind in [BackendKind::TokioFs, BackendKind::Auto] {
        turns_on(kind, tempfile::tempdir().unwrap().path()).await;
    }
}
