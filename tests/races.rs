//! Two at once: openers of one directory, closers of one cache, and readers of a place that is used again.

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::hook::{Hook, Hooked};
use esker::backend::IoFuture;
use esker::backend::sim::{FaultPlan, OpKind, ReadNow, Sim};
use esker::clock::ManualClock;
use esker::config::DIRECTORY_OVERHEAD_BYTES;
use esker::{Config, DiskCache, Durability, Millis, SetOptions};

const DIR: &str = "/cache";
const SEGMENT_LEN_BYTES: u64 = 64 << 10;
const SEGMENTS: u64 = 6;

fn builder(backend: impl esker::backend::Backend) -> esker::Builder {
    let config = Config {
        capacity_bytes: SEGMENTS * SEGMENT_LEN_BYTES + DIRECTORY_OVERHEAD_BYTES,
        segment_len_bytes: Some(SEGMENT_LEN_BYTES),
        flush_interval_ms: 5,
        ..Config::default()
    };
    DiskCache::builder(DIR).config(config).backend_with(Arc::new(backend))
}

fn synced() -> SetOptions {
    SetOptions::new().durability(Durability::Synced)
}

async fn serves(cache: &DiskCache, key: &str) -> bool {
    cache.get(key).await.expect("get").is_some()
}

/// A whole life of another cache, after this opener has listed the directory and before it has the lock.
#[tokio::test]
async fn an_opener_that_comes_second_to_the_lock_sees_what_the_first_one_wrote() {
    for is_new in [true, false] {
        let sim = Sim::new(1);
        if !is_new {
            builder(sim.clone()).open().await.expect("open").close().await.expect("close");
        }
        let (first, was_here) = (sim.clone(), AtomicBool::new(false));
        let hook: Hook = Arc::new(move |op, path: &Path| {
            if op != OpKind::Open || !path.ends_with("LOCK") || was_here.swap(true, Ordering::SeqCst) {
                return None;
            }
            let first = builder(first.clone()).seed([1; 16]);
            let life: IoFuture<()> = Box::pin(async move {
                let cache = first.open().await.expect("the first opens");
                assert!(cache.set_with("k", "v", synced()).await.expect("set").is_stored());
                cache.close().await.expect("close");
                Ok(())
            });
            Some(life)
        });
        let second = builder(Hooked { inner: Arc::new(sim.clone()), hook, linger: Duration::ZERO })
            .seed([2; 16])
            .open()
            .await
            .expect("open");
        assert!(serves(&second, "k").await, "new: {is_new}: {:?}", second.recovery_report());
        assert!(!second.recovery_report().created);
        second.close().await.expect("close");
        assert!(serves(&builder(sim).open().await.expect("open"), "k").await);
    }
}

/// `close` says Ok when it is closed: so does a second one at the same time.
#[tokio::test]
async fn a_second_close_waits_for_the_first() {
    let sim = Sim::new(2);
    let cache = builder(sim.clone()).open().await.expect("open");
    assert!(cache.set("k", "v").await.expect("set").is_stored());
    sim.set_faults(FaultPlan { stalled: vec![OpKind::Sync], ..FaultPlan::default() });
    let close = |cache: DiskCache| tokio::spawn(async move { cache.close().await });
    let closers = [close(cache.clone()), close(cache.clone())];
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(closers.iter().all(|closing| !closing.is_finished()), "closed while the disk stands still");
    sim.clear_faults();
    for closing in closers {
        closing.await.expect("join").expect("close");
    }
    assert!(serves(&builder(sim).open().await.expect("open"), "k").await);
}

/// A get that is so slow that the place it reads is used again, for a newer value of the same key at the same offset.
#[tokio::test]
async fn a_slow_get_does_not_bury_the_entry_that_took_the_place() {
    let sim = Sim::new(3);
    sim.set_faults(FaultPlan { read_now: ReadNow::WouldBlock, ..FaultPlan::default() });
    let (armed, go_on) = (Arc::new(AtomicBool::new(false)), Arc::new(tokio::sync::Notify::new()));
    let (is_armed, gate) = (armed.clone(), go_on.clone());
    let hook: Hook = Arc::new(move |op, path: &Path| {
        if op != OpKind::Read || !path.ends_with("seg-0000.esk") || !is_armed.swap(false, Ordering::SeqCst) {
            return None;
        }
        let gate = gate.clone();
        let wait: IoFuture<()> = Box::pin(async move {
            gate.notified().await;
            Ok(())
        });
        Some(wait)
    });
    let cache =
        builder(Hooked { inner: Arc::new(sim.clone()), hook, linger: Duration::ZERO }).open().await.expect("open");
    // One entry a segment, so that each stands at the same offset of its own.
    let version = |n: u8| vec![n; 50 << 10];
    let stands_there = |n: u8| sim.read_file("/cache/seg-0000.esk").is_ok_and(|file| file[30_000] == n);
    assert!(cache.set_with("k", version(1), synced()).await.expect("set").is_stored());
    // Sealed by the next one, so that the reader does not hold the writer's lock.
    assert!(cache.set_with("other", version(1), synced()).await.expect("set").is_stored());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(stands_there(1));
    armed.store(true, Ordering::SeqCst);
    let slow = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get("k").await }
    });
    while armed.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    let mut newest = 1;
    while newest == 1 || !stands_there(newest) {
        newest += 1;
        assert!(newest < 100, "the place is never used again");
        let outcome = cache.set_with("k", version(newest), synced()).await.expect("set");
        assert!(outcome.is_stored(), "{newest}: {outcome:?}, {:?}", cache.stats());
    }
    go_on.notify_one();
    let hit = slow.await.expect("join").expect("get").expect("the newest is served");
    assert_eq!(hit.value()[..], version(newest)[..]);
    assert!(serves(&cache, "k").await, "the newest was buried: {:?}", cache.stats());
    assert_eq!(cache.stats().counts.entries_damaged, 0);
}

/// P3. A file that was written to stays locked for a moment after its last operation was answered: whoever uses it next
/// waits for that, and nothing is refused.
#[tokio::test(flavor = "multi_thread")]
async fn trap_07_a_lock_that_lingers_for_a_moment_refuses_nothing() {
    let hook: Hook = Arc::new(|_, _| None);
    let backend = Hooked { inner: Arc::new(Sim::new(3)), hook, linger: Duration::from_millis(20) };
    let cache = builder(backend).open().await.unwrap();
    for n in 0..600 {
        let outcome = cache.set(format!("k{n}"), vec![1; 4096]).await.unwrap();
        assert!(outcome.is_stored(), "{n}: {outcome:?}");
    }
    let counts = cache.stats().counts;
    assert!(counts.segments_evicted > 20 && counts.evictions_failed == 0, "{counts:?}");
    cache.close().await.unwrap();
}

/// An entry that is replaced whenever it is about to be read is a miss in the end, and counted as such.
#[tokio::test]
async fn an_entry_that_moves_at_every_attempt_to_read_it_is_a_miss() {
    let sim = Sim::new(4);
    sim.set_faults(FaultPlan { read_now: ReadNow::WouldBlock, ..FaultPlan::default() });
    let (moved, mover) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::<Option<DiskCache>>::default()));
    let hook: Hook = {
        let (moved, mover) = (moved.clone(), mover.clone());
        Arc::new(move |op, path: &Path| {
            let is_record = op == OpKind::Read && path.extension() == Some("esk".as_ref());
            let cache = mover.lock().expect("the mover").clone().filter(|_| is_record)?;
            let n = moved.fetch_add(1, Ordering::SeqCst);
            let moving: IoFuture<()> = Box::pin(async move {
                assert!(cache.set_with("k", format!("v{n}"), synced()).await.expect("set").is_stored());
                // As if what was there were evicted.
                Err(std::io::ErrorKind::NotFound.into())
            });
            Some(moving)
        })
    };
    let cache =
        builder(Hooked { inner: Arc::new(sim.clone()), hook, linger: Duration::ZERO }).open().await.expect("open");
    assert!(cache.set_with("k", "v", synced()).await.expect("set").is_stored());
    *mover.lock().expect("the mover") = Some(cache.clone());
    assert!(!serves(&cache, "k").await);
    let counts = cache.stats().counts;
    assert_eq!((counts.misses_evicted, counts.misses_io), (1, 0));
    assert_eq!(moved.load(Ordering::SeqCst), 8, "attempts");
    // Else the cache would hold itself.
    *mover.lock().expect("the mover") = None;
}

/// A program that another thread is about to start holds every lock until it runs: the directory's too, which was closed.
#[tokio::test(start_paused = true)]
async fn trap_07_a_directory_that_was_closed_opens_again_while_its_lock_lingers() {
    let hook: Hook = Arc::new(|_, _| None);
    let backend = Hooked { inner: Arc::new(Sim::new(4)), hook, linger: Duration::from_millis(20) };
    for round in 0..3 {
        let cache = builder(backend.clone()).open().await.expect("open");
        assert!(round == 0 || serves(&cache, "k").await);
        assert!(cache.set("k", "v").await.expect("set").is_stored());
        cache.close().await.expect("close");
    }
}

/// P2, P3. Eviction has forgotten an entry, and its file is not freed yet: a delete that comes now is written all the same.
#[tokio::test]
async fn a_delete_between_forgetting_and_freeing_holds() {
    let sim = Sim::new(5);
    let (deleter, dead) = (Arc::new(Mutex::new(None::<DiskCache>)), Arc::new(Mutex::new(None::<Sim>)));
    let hook: Hook = {
        let (sim, deleter, dead) = (sim.clone(), deleter.clone(), dead.clone());
        Arc::new(move |op, path: &Path| {
            if op != OpKind::Open || !path.ends_with("seg-0000.esk") {
                return None;
            }
            let cache = deleter.lock().expect("the deleter").take()?;
            let (sim, dead) = (sim.clone(), dead.clone());
            let deleting: IoFuture<()> = Box::pin(async move {
                assert!(!cache.delete("k").await.expect("delete"), "it is not forgotten: the test proves nothing");
                let copy = sim.fork(1);
                copy.power_loss();
                *dead.lock().expect("the copy") = Some(copy.reopen());
                Ok(())
            });
            Some(deleting)
        })
    };
    let cache = builder(Hooked { inner: Arc::new(sim), hook, linger: Duration::ZERO }).open().await.expect("open");
    assert!(cache.set_with("k", "v", synced()).await.expect("set").is_stored());
    for n in 0.. {
        assert!(n < 2000, "nothing is evicted");
        assert!(cache.set_with(format!("filler {n}"), vec![1; 8 << 10], synced()).await.expect("set").is_stored());
        if n == 9 {
            // By now the first segment is sealed, and opened next when it is freed.
            assert_eq!(cache.stats().counts.segments_evicted, 0);
            *deleter.lock().expect("the deleter") = Some(cache.clone());
        }
        if dead.lock().expect("the copy").is_some() {
            break;
        }
    }
    let dead = dead.lock().expect("the copy").take().expect("a copy");
    assert!(!serves(&builder(dead).open().await.expect("open"), "k").await, "what was deleted came back");
}

/// A get that reads an entry which has expired, while another value takes its place in the index: it leaves that one alone.
#[tokio::test]
async fn a_slow_get_does_not_bury_what_replaced_an_expired_entry() {
    let (sim, clock) = (Sim::new(4), Arc::new(ManualClock::new(Millis(1_700_000_000_000))));
    sim.set_faults(FaultPlan { read_now: ReadNow::WouldBlock, ..FaultPlan::default() });
    let (armed, cell) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Option<DiskCache>>>::default());
    let (is_armed, inside) = (armed.clone(), cell.clone());
    let hook: Hook = Arc::new(move |op, _: &Path| {
        let cache = inside.lock().expect("the cache").clone();
        let cache = cache.filter(|_| op == OpKind::Read && is_armed.swap(false, Ordering::SeqCst))?;
        let set: IoFuture<()> = Box::pin(async move {
            assert!(cache.set("k", "new").await.expect("set").is_stored());
            Ok(())
        });
        Some(set)
    });
    let backend = Hooked { inner: Arc::new(sim.clone()), hook, linger: Duration::ZERO };
    let cache = builder(backend).clock(clock.clone()).open().await.expect("open");
    *cell.lock().expect("the cache") = Some(cache.clone());
    let options = synced().ttl(Duration::from_secs(1));
    assert!(cache.set_with("k", "old", options).await.expect("set").is_stored());
    clock.advance(1_000);
    armed.store(true, Ordering::SeqCst);
    let _ = cache.get("k").await.expect("get");
    assert!(!armed.load(Ordering::SeqCst), "nothing came between");
    assert_eq!(cache.get("k").await.expect("get").expect("it is there").value()[..], b"new"[..]);
    // The cache holds the hook.
    *cell.lock().expect("the cache") = None;
}
