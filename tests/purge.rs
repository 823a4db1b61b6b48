//! Purging: many entries go at once, stay gone, and what is set afterwards stays.

#[path = "common/mod.rs"]
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::hook::{Hook, Hooked};
use common::small;
use esker::backend::sim::{DiskError, FaultPlan, OpKind, ReadNow, Sim, When};
use esker::clock::ManualClock;
use esker::inspect::{EntryState, Inspector, Verdict};
use esker::{Config, DiskCache, Durability, Error, Hit, Millis, SetOptions};
use tokio::sync::{Notify, Semaphore};

const DIR: &str = "/cache";
const START: Millis = Millis(1_700_000_000_000);

/// A disk, a clock, and the cache's settings.
struct Place {
    sim: Sim,
    clock: Arc<ManualClock>,
    config: Config,
}

impl Place {
    fn new(seed: u64, segments: u64) -> Self {
        Self { sim: Sim::new(seed), clock: Arc::new(ManualClock::new(START)), config: small(segments) }
    }

    async fn open(&self) -> DiskCache {
        let builder = DiskCache::builder(DIR).config(self.config.clone()).clock(self.clock.clone());
        builder.backend_with(Arc::new(self.sim.clone())).open().await.unwrap()
    }

    /// The process is killed, or the power goes.
    async fn reopen(&mut self, cache: DiskCache, is_power_lost: bool) -> DiskCache {
        if is_power_lost {
            self.sim.power_loss()
        } else {
            self.sim.crash_process()
        }
        drop(cache);
        self.sim = self.sim.reopen();
        self.open().await
    }
}

async fn set(cache: &DiskCache, key: &str) {
    assert!(cache.set(key, format!("the value of {key}")).await.unwrap().is_stored());
}

/// Which of these are served, each with its own value.
async fn served<'a>(cache: &DiskCache, keys: &[&'a str]) -> Vec<&'a str> {
    let mut found = Vec::new();
    for key in keys {
        if let Some(hit) = cache.get(key).await.unwrap() {
            assert!(hit.value().starts_with(format!("the value of {key}").as_bytes()), "{key}: {hit:?}");
            found.push(*key);
        }
    }
    found
}

const KEYS: [&str; 5] = ["a/1", "a/2", "a", "b/1", "ab"];

/// A9, P2. Also after a kill and after a power loss: the purge was durable when it returned.
#[tokio::test(flavor = "multi_thread")]
async fn what_begins_with_a_prefix_goes_at_once_and_stays_gone() {
    let mut place = Place::new(1, 8);
    place.config.memory_bytes = 1 << 20;
    let mut cache = place.open().await;
    for key in KEYS {
        set(&cache, key).await;
    }
    cache.sync().await.unwrap();
    assert_eq!(served(&cache, &KEYS).await.len(), 5);
    cache.purge_prefix("a/").await.unwrap();
    assert_eq!(cache.stats().purge_marks, 1);
    set(&cache, "a/2").await;
    cache.sync().await.unwrap();
    for is_power_lost in [false, true, true] {
        assert_eq!(served(&cache, &KEYS).await, ["a/2", "a", "b/1", "ab"]);
        assert!(!cache.contains("a/1").await.unwrap() && cache.get_range("a/1", 0..3).await.unwrap().is_none());
        assert!(cache.reader("a/1").await.unwrap().is_none());
        assert_eq!(cache.set_metadata("a/1", "new", Durability::Synced).await.unwrap(), None);
        cache = place.reopen(cache, is_power_lost).await;
    }
    assert_eq!(cache.stats().purge_marks, 1);
    let counts = cache.stats().counts;
    assert_eq!((counts.misses_purged, counts.purges), (0, 0));
    cache.get("a/1").await.unwrap();
    assert_eq!(cache.stats().counts.misses_purged, 1);
    cache.get("a/1").await.unwrap();
    assert_eq!(cache.stats().counts.misses_unknown, 1, "known to be gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_longer_ago_goes() {
    let mut place = Place::new(2, 8);
    let cache = place.open().await;
    for key in ["one", "two", "three"] {
        set(&cache, key).await;
        place.clock.advance(1_000);
    }
    cache.purge_older_than(Duration::from_millis(1_500)).await.unwrap();
    assert_eq!(served(&cache, &["one", "two", "three"]).await, ["three"]);
    let cache = place.reopen(cache, true).await;
    assert_eq!(served(&cache, &["one", "two", "three"]).await, ["three"]);
}

/// Values in chunks, metadata that is set anew, and entries with a time to live are purged like all others.
#[tokio::test(flavor = "multi_thread")]
async fn objects_and_short_lived_entries_are_purged_too() {
    let mut place = Place::new(3, 16);
    let cache = place.open().await;
    let mut writer = cache.writer("a/object", SetOptions::new()).await.unwrap();
    writer.write_bytes(vec![7; 50_000].into()).await.unwrap();
    assert!(writer.finish().await.unwrap().is_stored());
    let short = SetOptions::new().ttl(Duration::from_secs(30));
    assert!(cache.set_with("a/short", "short", short).await.unwrap().is_stored());
    set(&cache, "a/renewed").await;
    cache.set_metadata("a/renewed", "m", Durability::Synced).await.unwrap();
    let mut reader = cache.reader("a/object").await.unwrap().unwrap();
    cache.purge_prefix("a/").await.unwrap();
    for key in ["a/object", "a/short", "a/renewed"] {
        assert!(cache.get(key).await.unwrap().is_none(), "{key}");
    }
    // Who was reading may go on, or is told.
    while let Ok(Some(_)) = reader.next_bytes().await {}
    let cache = place.reopen(cache, true).await;
    for key in ["a/object", "a/short", "a/renewed"] {
        assert!(cache.get(key).await.unwrap().is_none(), "{key} after a power loss");
    }
}

/// F5. The room comes back as segments go, and with the last of what it covers the mark goes too.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_goes_with_what_it_covers() {
    let mut place = Place::new(4, 8);
    let mut cache = place.open().await;
    for n in 0..40 {
        cache.set(format!("a/{n}"), vec![0; 4_000]).await.unwrap();
        cache.get(format!("a/{n}")).await.unwrap();
    }
    cache.purge_prefix("a/").await.unwrap();
    for turn in 0..3 {
        for n in 0..60 {
            cache.set(format!("b/{turn}/{n}"), vec![0; 7_000]).await.unwrap();
        }
        cache.sync().await.unwrap();
        for n in 0..40 {
            assert!(cache.get(format!("a/{n}")).await.unwrap().is_none(), "a/{n} in turn {turn}");
        }
        cache = place.reopen(cache, turn == 1).await;
    }
    let stats = cache.stats();
    assert_eq!(stats.purge_marks, 0, "{stats:?}");
    assert_eq!(stats.counts.entries_reinserted, 0, "{stats:?}");
}

/// P2. A purge that the disk refused is in force all the same, and is written when the disk answers again.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_cannot_be_written_is_in_force_and_is_tried_again() {
    let mut place = Place::new(5, 8);
    let cache = place.open().await;
    for key in KEYS {
        set(&cache, key).await;
    }
    cache.sync().await.unwrap();
    place.sim.set_faults(FaultPlan::default().fail_on("seg-", OpKind::Write, When::Always, DiskError::Eio));
    let refused = cache.purge_prefix("a/").await;
    assert!(matches!(refused, Err(Error::WriteFailed)), "{refused:?}");
    assert_eq!(served(&cache, &KEYS).await, ["a", "b/1", "ab"]);
    place.sim.clear_faults();
    // Says Ok only once what was refused is on the device.
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while cache.sync().await.is_err() {
        assert!(std::time::Instant::now() < until, "the purge was never written");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let cache = place.reopen(cache, true).await;
    assert_eq!(served(&cache, &KEYS).await, ["a", "b/1", "ab"]);
}

/// Many marks stay cheap, and the shorter prefix stands for the longer ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_prefix_stands_for_the_longer_ones() {
    let mut place = Place::new(6, 16);
    let cache = place.open().await;
    set(&cache, "k/1/x").await;
    let mut purges = tokio::task::JoinSet::new();
    for n in 0..500 {
        let cache = cache.clone();
        purges.spawn(async move { cache.purge_prefix(format!("k/{n}/")).await.unwrap() });
    }
    purges.join_all().await;
    assert_eq!(cache.stats().purge_marks, 500);
    let cache = place.reopen(cache, true).await;
    assert_eq!(cache.stats().purge_marks, 500);
    cache.purge_prefix("k/").await.unwrap();
    assert_eq!(cache.stats().purge_marks, 1);
    let cache = place.reopen(cache, true).await;
    assert_eq!((cache.stats().purge_marks, served(&cache, &["k/1/x"]).await.len()), (1, 0));
    cache.clear().await.unwrap();
    assert_eq!(cache.stats().purge_marks, 0);
    let cache = place.reopen(cache, true).await;
    assert_eq!(cache.stats().purge_marks, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_has_limits() {
    let cache = Place::new(7, 8).open().await;
    // The last does not fit a segment of this cache.
    for prefix in [vec![], vec![b'x'; 65_536], vec![b'x'; 65_535]] {
        let refused = cache.purge_prefix(&prefix).await;
        assert!(matches!(refused, Err(Error::InvalidInput(_))), "{refused:?}");
    }
    cache.purge_prefix(vec![b'x'; 50_000]).await.unwrap();
    cache.close().await.unwrap();
    assert!(matches!(cache.purge_prefix("x").await, Err(Error::Closed)));
    assert!(matches!(cache.purge_older_than(Duration::ZERO).await, Err(Error::Closed)));
}

/// P3. A purge whose record is damaged may have covered anything older: all of that is gone, and nothing comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_purge_costs_what_is_older_and_nothing_comes_back() {
    for (offset_in_record, is_readable) in [(4, false), (36 + 1, false), (36 + 3, true)] {
        let place = Place::new(8, 8);
        let cache = place.open().await;
        for key in KEYS {
            set(&cache, key).await;
        }
        cache.purge_prefix("a/").await.unwrap();
        set(&cache, "later").await;
        cache.close().await.unwrap();
        let path = std::path::Path::new(DIR).join("seg-0000.esk");
        let bytes = place.sim.read_file(&path).unwrap();
        // The last: what stands before the key of a put may end like it.
        let at = bytes.windows(3).rposition(|w| w == b"\x01a/").unwrap() as u64 - 36;
        place.sim.flip_bit(&path, at + offset_in_record).unwrap();
        for open in 0..2 {
            let sim = place.sim.reopen();
            let place = Place { sim: sim.clone(), clock: place.clock.clone(), config: place.config.clone() };
            let cache = place.open().await;
            // Once: then the manifest says what it may have covered.
            let damaged = u64::from(!is_readable && open == 0);
            assert_eq!(cache.recovery_report().dropped_damaged, damaged, "byte {offset_in_record}, open {open}");
            let expected: &[&str] = if is_readable { &["a", "b/1", "ab"] } else { &[] };
            assert_eq!(served(&cache, &KEYS).await, expected, "byte {offset_in_record}, open {open}");
            assert_eq!(served(&cache, &["later"]).await, ["later"], "byte {offset_in_record}, open {open}");
            let inspector = Inspector::new(Arc::new(sim), DIR, place.clock_now());
            let verdict = inspector.get(b"a/1").await.unwrap().verdict;
            assert_ne!(verdict, Verdict::Served, "byte {offset_in_record}, open {open}");
        }
    }
}

/// P2. A purge whose record is damaged when its segment goes: what it covered stays dead, also after a power loss.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_is_damaged_when_its_segment_goes_is_not_undone() {
    let mut place = Place::new(12, 12);
    let cache = place.open().await;
    for key in KEYS {
        set(&cache, key).await;
    }
    cache.purge_prefix("a/").await.unwrap();
    cache.sync().await.unwrap();
    let path = std::path::Path::new(DIR).join("seg-0000.esk");
    let bytes = place.sim.read_file(&path).unwrap();
    let at = bytes.windows(3).rposition(|w| w == b"\x01a/").unwrap() as u64;
    place.sim.flip_bit(&path, at + 1).unwrap();
    for n in 0..200 {
        assert!(cache.set(format!("b/{n}"), vec![0; 7_000]).await.unwrap().is_stored());
        assert_eq!(served(&cache, &["a/1", "a/2"]).await, [] as [&str; 0], "after {n}");
    }
    cache.sync().await.unwrap();
    assert!(cache.stats().counts.segments_evicted > 5 && cache.get("b/199").await.unwrap().is_some());
    let cache = place.reopen(cache, true).await;
    assert_eq!(served(&cache, &["a/1", "a/2"]).await, [] as [&str; 0]);
    assert!(cache.get("b/199").await.unwrap().is_some());
}

/// O5. Whoever looks at a directory sees what a purge covers.
#[tokio::test(flavor = "multi_thread")]
async fn an_inspector_knows_what_is_purged() {
    let place = Place::new(10, 8);
    let cache = place.open().await;
    for key in KEYS {
        set(&cache, key).await;
    }
    cache.purge_prefix("a/").await.unwrap();
    set(&cache, "a/2").await;
    cache.sync().await.unwrap();
    let inspector = Inspector::new(Arc::new(place.sim.clone()), DIR, place.clock_now());
    for (key, verdict) in [("a/1", Verdict::Purged), ("a/2", Verdict::Served), ("ab", Verdict::Served)] {
        assert_eq!(inspector.get(key.as_bytes()).await.unwrap().verdict, verdict, "{key}");
    }
    let mut purged = Vec::new();
    let mut look = |entry: esker::inspect::EntryInfo| {
        if entry.state == EntryState::Purged {
            purged.extend(entry.key);
        }
    };
    let entries = inspector.entries(&mut look).await.unwrap();
    assert_eq!((entries, cache.stats().entries), (5, 5), "it stays until it is asked for, or its segment goes");
    assert_eq!(purged, ["a/1"]);
    let report = inspector.verify(&mut |_| {}).await.unwrap();
    assert!(report.is_clean, "{report:#?}");
}

/// P2. A get that looked the entry up before eviction forgot it, and was read after its mark was given up, does not serve it.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_read_does_not_outlive_the_mark() {
    let place = Place::new(11, 12);
    place.sim.set_faults(FaultPlan { read_now: ReadNow::ServeWithProbability(0.0), ..FaultPlan::default() });
    let gate = Arc::new(Semaphore::new(0));
    let (is_armed, is_waiting) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let hook: Hook = {
        let (gate, is_armed, is_waiting) = (gate.clone(), is_armed.clone(), is_waiting.clone());
        Arc::new(move |kind, path| {
            let is_it =
                kind == OpKind::Read && path.ends_with("seg-0000.esk") && is_armed.swap(false, Ordering::SeqCst);
            let (gate, is_waiting) = (gate.clone(), is_waiting.clone());
            is_it.then(|| -> esker::backend::IoFuture<()> {
                Box::pin(async move {
                    is_waiting.notify_one();
                    drop(gate.acquire().await);
                    Ok(())
                })
            })
        })
    };
    let backend = Hooked { inner: Arc::new(place.sim.clone()), hook, linger: Duration::ZERO };
    let builder = DiskCache::builder(DIR).config(place.config.clone()).clock(place.clock.clone());
    let cache = builder.backend_with(Arc::new(backend)).open().await.unwrap();
    set(&cache, "a/1").await;
    cache.purge_prefix("a/").await.unwrap();
    is_armed.store(true, Ordering::SeqCst);
    let slow = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get("a/1").await }
    });
    is_waiting.notified().await;
    let mut n = 0;
    while cache.stats().purge_marks > 0 {
        assert!(cache.set(format!("b/{n}"), vec![0; 7_000]).await.unwrap().is_stored());
        n += 1;
    }
    gate.add_permits(1);
    assert_eq!(slow.await.unwrap().unwrap().map(Hit::into_value), None);
}

impl Place {
    fn clock_now(&self) -> Millis {
        esker::clock::Clock::now(&*self.clock)
    }
}

/// Whoever gives up a purge that waits for room has purged all the same; what is set afterwards is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_is_dropped_while_it_waits_is_done() {
    let mut place = Place::new(31, 64);
    place.config.write_buffer_bytes = 1 << 20;
    let cache = place.open().await;
    for key in ["a1", "a2", "b1"] {
        set(&cache, key).await;
    }
    cache.sync().await.unwrap();
    place.sim.set_faults(FaultPlan { stalled: vec![OpKind::Write], ..FaultPlan::default() });
    let mut filled = 0;
    while cache.try_set(format!("c{filled}"), vec![0; 10_000]).await.unwrap().is_stored() {
        filled += 1;
    }
    let purge = tokio::time::timeout(Duration::from_millis(50), cache.purge_prefix("a"));
    assert!(purge.await.is_err(), "it does not wait for room after {filled} sets");
    assert_eq!(served(&cache, &["a1", "a2", "b1"]).await, ["b1"]);
    place.sim.clear_faults();
    cache.sync().await.unwrap();
    set(&cache, "a2").await;
    assert_eq!(served(&cache, &["a1", "a2", "b1"]).await, ["a2", "b1"]);
    cache.sync().await.unwrap();
    let cache = place.reopen(cache, true).await;
    assert_eq!(served(&cache, &["a1", "a2", "b1"]).await, ["a2", "b1"]);
}

/// What an open reads of the purges that it finds is in its report.
#[tokio::test(flavor = "multi_thread")]
async fn what_recovery_reads_of_purges_is_counted() {
    let mut read = Vec::new();
    for is_purge in [false, true] {
        let mut place = Place::new(32, 16);
        let cache = place.open().await;
        set(&cache, "a1").await;
        if is_purge {
            cache.purge_prefix("a").await.unwrap();
        } else {
            assert!(cache.delete("a1").await.unwrap());
        }
        cache.close().await.unwrap();
        let cache = place.reopen(cache, false).await;
        read.push(cache.recovery_report().bytes_read);
    }
    assert_eq!(read[1], read[0] + 48, "the purge's record, besides the footers");
}
