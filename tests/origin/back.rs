//! Write-back: what the cache took is served, is not dropped, and gets to the origin, whatever comes between.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use esker::backend::sim::{DiskError, FaultPlan, OpKind, Sim, When};
use esker::{BackendKind, Config, DiskCache, Durability, Error, FetchOptions, OriginCache, SetOptions, WriteBack};

use super::common::{Dice, SEGMENT_LEN_BYTES, small};
use super::{Mock, eventually};

/// Flushed only when it is asked for.
const NEVER: Duration = Duration::from_secs(3_600);

async fn open(sim: &Sim) -> DiskCache {
    let config = Config { io_timeout_ms: 2_000, ..small(16) };
    DiskCache::builder("/cache").config(config).backend_with(Arc::new(sim.clone())).open().await.unwrap()
}

async fn over(cache: &DiskCache, origin: &Arc<Mock>, options: WriteBack) -> OriginCache {
    cache.with_write_back(origin.clone(), options, FetchOptions::new()).await.unwrap()
}

async fn shown(cache: &OriginCache, key: &str) -> Option<String> {
    let hit = cache.get(key).await.unwrap()?;
    Some(String::from_utf8(hit.value().to_vec()).unwrap())
}

fn taken(origin: &Mock) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let taken = origin.taken.lock().unwrap();
    taken.iter().map(|(key, value)| format!("{} {}", text(key), value.as_deref().map_or("-".into(), text))).collect()
}

async fn writes_reads_and_flushes(cache: &DiskCache) {
    let origin = Mock::shut();
    let back = over(cache, &origin, WriteBack::new().flush_interval(NEVER)).await;
    let options = SetOptions::new().metadata("m").tags(["tag"]);
    assert!(back.set_with("key", "v1", options.clone()).await.unwrap().unwrap().is_stored());
    assert!(back.set("other", "o").await.unwrap().unwrap().is_stored());
    assert!(back.set_with("key", "v2", options).await.unwrap().unwrap().is_stored());
    assert_eq!((shown(&back, "key").await, origin.loads()), (Some("v2".into()), 0));
    let stats = cache.stats();
    assert_eq!((stats.origin_dirty_entries, stats.counts.origin_stores), (2, 0), "the origin lets nobody go");
    assert!(stats.origin_dirty_bytes >= 96, "{}", stats.origin_dirty_bytes);
    origin.gate.add_permits(tokio::sync::Semaphore::MAX_PERMITS);
    back.flush_keys(["key", "absent"]).await.unwrap();
    assert_eq!(taken(&origin), ["key v2"], "what was replaced is not asked for");
    assert_eq!(origin.values.lock().unwrap()[&b"key"[..]].1, "m");
    back.flush().await.unwrap();
    assert_eq!(taken(&origin), ["key v2", "other o"]);
    let stats = cache.stats();
    assert_eq!((stats.origin_dirty_entries, stats.origin_dirty_bytes, stats.counts.origin_stores), (0, 0, 2));
    assert_eq!(shown(&back, "other").await, Some("o".into()));
    back.flush().await.unwrap();
    assert_eq!(taken(&origin).len(), 2, "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_gets_the_newest_value_when_it_is_flushed() {
    writes_reads_and_flushes(&open(&Sim::new(1)).await).await;
    for kind in [BackendKind::TokioFs, BackendKind::Auto] {
        let dir = tempfile::tempdir().unwrap();
        let cache = DiskCache::builder(dir.path()).config(small(16)).backend(kind).open().await.unwrap();
        writes_reads_and_flushes(&cache).await;
        let tenant = cache.namespace("tenant").unwrap();
        let origin = Mock::new();
        let back = tenant.with_write_back(origin.clone(), WriteBack::new(), FetchOptions::new()).await.unwrap();
        back.set("key", "its own").await.unwrap();
        back.flush().await.unwrap();
        assert_eq!(taken(&origin), ["key its own"], "by the name that the namespace knows");
        cache.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_flushed_in_the_background_and_again_if_the_origin_fails() {
    let (sim, origin) = (Sim::new(1), Mock::new());
    let cache = open(&sim).await;
    let back = over(&cache, &origin, WriteBack::new().flush_interval(Duration::from_millis(2))).await;
    back.set("key", "v1").await.unwrap();
    eventually("the value", || origin.has("key").is_some()).await;
    origin.failures.store(3, Ordering::SeqCst);
    back.set("key", "v2").await.unwrap();
    eventually("the newer value", || origin.has("key").unwrap() == "v2").await;
    eventually("that it is known", || cache.stats().origin_dirty_entries == 0).await;
    assert_eq!(cache.stats().counts.origin_failures, 3);
    origin.failures.store(1, Ordering::SeqCst);
    back.set("key", "v3").await.unwrap();
    assert_eq!(shown(&back, "key").await, Some("v3".into()));
    eventually("the last value", || origin.has("key").unwrap() == "v3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_wait_goes_through() {
    let (sim, origin) = (Sim::new(1), Mock::new());
    let cache = open(&sim).await;
    let back = over(&cache, &origin, WriteBack::new().flush_interval(NEVER).max_dirty_bytes(4_096)).await;
    // What the first flush finds is not what this is about.
    back.flush().await.unwrap();
    back.set_with("short", "v", SetOptions::new().ttl(Duration::from_secs(60))).await.unwrap();
    assert_eq!(taken(&origin), ["short v"]);
    back.set("long", vec![b'x'; SEGMENT_LEN_BYTES as usize]).await.unwrap();
    assert_eq!((taken(&origin).len(), cache.stats().origin_dirty_entries), (2, 0));
    back.set("key", "v1").await.unwrap();
    assert_eq!((taken(&origin).len(), cache.stats().origin_dirty_entries), (2, 1));
    back.delete("key").await.unwrap();
    assert_eq!(taken(&origin)[2..], ["key v1", "key -"], "first what is dirty");
    assert_eq!((shown(&back, "key").await, cache.stats().origin_dirty_entries), (None, 0));
    // Until the bound is reached.
    let mut dirty = 0;
    while origin.has(&format!("key {dirty}")).is_none() {
        dirty += 1;
        back.set(format!("key {dirty}"), vec![b'.'; 1_000]).await.unwrap();
        assert!(dirty < 10 && cache.stats().origin_dirty_bytes <= 4_096);
    }
    assert_eq!(dirty, 4);
    eventually("a flush that the bound asked for", || cache.stats().origin_dirty_entries == 0).await;
    // What fails there leaves nothing behind that the origin does not have.
    back.set("key", "v2").await.unwrap();
    origin.failures.store(1, Ordering::SeqCst);
    let failed = back.set_with("key", "v3", SetOptions::new().ttl(Duration::from_secs(60))).await;
    assert!(matches!(failed, Err(Error::Origin { .. })), "{failed:?}");
    assert_eq!((shown(&back, "key").await, cache.stats().origin_dirty_entries), (Some("v2".into()), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_options_are_refused_and_so_is_a_second_handle() {
    let (sim, origin) = (Sim::new(1), Mock::new());
    let cache = open(&sim).await;
    let refused = async |options: WriteBack| {
        let refused = cache.with_write_back(origin.clone(), options, FetchOptions::new()).await;
        refused.err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert!(refused(WriteBack::new().flush_interval(Duration::ZERO)).await.contains("flush interval"));
    assert!(refused(WriteBack::new().max_dirty_bytes(1 << 40)).await.contains("max_dirty_bytes is 1099511627776"));
    let first = over(&cache, &origin, WriteBack::new()).await;
    assert!(refused(WriteBack::new()).await.contains("another write-back handle"));
    let tenant = cache.namespace("tenant").unwrap();
    drop(tenant.with_write_back(origin.clone(), WriteBack::new(), FetchOptions::new()).await.unwrap());
    drop(first);
    for attempt in 0.. {
        // Whoever flushes in the background may still hold it.
        match cache.with_write_back(origin.clone(), WriteBack::new(), FetchOptions::new()).await {
            Ok(_) => break,
            Err(error) if attempt == 500 => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_does_not_wait_for_the_origin_and_a_flush_ends_though_nobody_waits() {
    let (sim, origin) = (Sim::new(1), Mock::shut());
    let cache = open(&sim).await;
    let back = over(&cache, &origin, WriteBack::new().flush_interval(NEVER)).await;
    back.set("key", "v1").await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(20), back.flush()).await.is_err(), "the origin is slow");
    back.set("key", "v2").await.unwrap();
    assert_eq!((shown(&back, "key").await, taken(&origin).len()), (Some("v2".into()), 0));
    origin.gate.add_permits(1);
    eventually("the flush that nobody waits for", || !taken(&origin).is_empty()).await;
    origin.gate.add_permits(1 << 20);
    back.flush().await.unwrap();
    assert_eq!((taken(&origin), cache.stats().origin_dirty_entries), (vec!["key v1".into(), "key v2".into()], 0));
}

/// Many times what the cache holds, past the handle.
async fn flood(cache: &DiskCache) {
    for n in 0..800 {
        let _ = cache.set(format!("flood {n}"), vec![7; 4_000]).await.unwrap();
    }
    assert!(cache.stats().counts.segments_evicted > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn eviction_drops_nothing_that_the_origin_does_not_have() {
    for seed in 0..4 {
        let (sim, origin) = (Sim::new(seed), Mock::shut());
        let cache = open(&sim).await;
        let back = over(&cache, &origin, WriteBack::new().flush_interval(NEVER)).await;
        for n in 0..100 {
            back.set(format!("key {n}"), format!("value {n}")).await.unwrap();
        }
        assert_eq!(cache.stats().origin_dirty_entries, 100);
        flood(&cache).await;
        assert_eq!((cache.stats().origin_dirty_entries, origin.loads()), (100, 0));
        // Nor after a kill, with nobody there who would flush it.
        drop((back, cache));
        sim.crash_process();
        let sim = sim.reopen();
        let cache = open(&sim).await;
        flood(&cache).await;
        assert_eq!(cache.stats().origin_dirty_entries, 100);
        let origin = Mock::new();
        let back = over(&cache, &origin, WriteBack::new().flush_interval(NEVER)).await;
        back.flush().await.unwrap();
        for n in 0..100 {
            assert_eq!(origin.has(&format!("key {n}")).unwrap(), format!("value {n}"));
        }
        drop((back, cache));
        sim.crash_process();
        let cache = open(&sim.reopen()).await;
        assert_eq!(cache.stats().origin_dirty_entries, 0, "what was flushed is not flushed again");
        assert_eq!(cache.stats().counts.origin_lost, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_drops_what_is_dirty_and_room_comes_back() {
    let (sim, origin) = (Sim::new(1), Mock::shut());
    let cache = open(&sim).await;
    let back = over(&cache, &origin, WriteBack::new().flush_interval(NEVER)).await;
    for n in 0..100 {
        back.set(format!("key {n}"), format!("value {n}")).await.unwrap();
    }
    cache.purge_prefix("key").await.unwrap();
    back.set("key 7", "newer").await.unwrap();
    flood(&cache).await;
    assert_eq!(cache.stats().origin_dirty_entries, 1);
    origin.gate.add_permits(1 << 20);
    back.flush().await.unwrap();
    assert_eq!(taken(&origin), ["key 7 newer"]);
    back.set("key 8", "v").await.unwrap();
    cache.clear().await.unwrap();
    assert_eq!(cache.stats().origin_dirty_entries, 0);
}

const KEYS: usize = 6;

/// What a key may be: what it was when it was last said to be durable, or what came after.
type May = Vec<Option<String>>;

/// Writes until the process dies. Each key has a writer of its own.
async fn work(
    back: OriginCache,
    key: usize,
    mut dice: Dice,
    is_power_loss: bool,
    may: Arc<std::sync::Mutex<Vec<May>>>,
) {
    for version in 0_u64.. {
        let name = format!("key {key}");
        let (value, done) = match dice.below(10) {
            0 => (None, back.delete(&name).await),
            n => {
                let value = format!("{:020} {}", dice.below(u64::MAX), ".".repeat(dice.below(6_000) as usize));
                may.lock().unwrap()[key].push(Some(value.clone()));
                let durability = if is_power_loss { Durability::Synced } else { Durability::Buffered };
                let options = SetOptions::new().durability(durability);
                let options = if n == 1 { options.ttl(Duration::from_secs(9_999)) } else { options };
                (Some(value.clone()), back.set_with(&name, value, options).await.map(drop))
            }
        };
        match done {
            Ok(()) => may.lock().unwrap()[key] = vec![value],
            Err(_) if value.is_none() => may.lock().unwrap()[key].push(None),
            Err(_) => {}
        }
        if version > 200 || matches!(done, Err(Error::Closed)) {
            return;
        }
    }
}

/// Lives of one directory. What was said to be stored is served or at the origin, and in the end it is there.
async fn live_and_die(seed: u64, recovered: &AtomicUsize) {
    let mut dice = Dice::new(seed);
    let (origin, mut sim) = (Mock::new(), Sim::new(seed));
    let may = Arc::new(std::sync::Mutex::new(vec![vec![None]; KEYS]));
    for _ in 0..5 {
        let cache = open(&sim).await;
        recovered.fetch_add(cache.stats().origin_dirty_entries as usize, Ordering::SeqCst);
        let is_power_loss = dice.one_in(2);
        let interval = Duration::from_micros(1 + dice.below(3_000));
        let back = over(&cache, &origin, WriteBack::new().flush_interval(interval)).await;
        for key in 0..KEYS {
            let shown = shown(&back, &format!("key {key}")).await;
            let may = &mut may.lock().unwrap()[key];
            assert!(may.contains(&shown), "seed {seed}, key {key}: {shown:.30?} is none of {may:.30?}");
            // A power cut later may uncover nothing older than what was synced before it.
            *may = vec![shown];
        }
        cache.sync().await.unwrap();
        origin.failures.store(dice.below(8), Ordering::SeqCst);
        let workers: Vec<_> = (0..KEYS)
            .map(|key| {
                let dice = Dice::new(seed * 100 + key as u64 + dice.below(1 << 40));
                tokio::spawn(work(back.clone(), key, dice, is_power_loss, may.clone()))
            })
            .collect();
        tokio::time::sleep(Duration::from_micros(dice.below(30_000))).await;
        if is_power_loss {
            sim.power_loss()
        } else {
            sim.crash_process()
        }
        cache.close().await.ok();
        for worker in workers {
            let _ = worker.await;
        }
        drop((back, cache));
        // A value that was on its way to the origin arrives.
        while Arc::strong_count(&origin) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sim = sim.reopen();
        sim.set_faults(FaultPlan::default());
    }
    origin.failures.store(0, Ordering::SeqCst);
    let cache = open(&sim).await;
    let back = over(&cache, &origin, WriteBack::new().flush_interval(NEVER)).await;
    back.flush().await.unwrap();
    for (key, may) in may.lock().unwrap().iter().enumerate() {
        let has = origin.has(&format!("key {key}")).map(|value| String::from_utf8(value.to_vec()).unwrap());
        assert!(may.contains(&has), "seed {seed}, key {key}: the origin has {has:.30?}, none of {may:.30?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_before_a_crash_gets_to_the_origin_after_it() {
    let recovered = AtomicUsize::new(0);
    for seed in 0..30 {
        live_and_die(seed, &recovered).await;
    }
    let recovered = recovered.into_inner();
    assert!(recovered > 20, "{recovered} dirty entries were found at an open: it proves little");
}

/// What the disk loses before the origin has it is counted apart.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_disk_loses_before_the_origin_has_it_is_counted() {
    let (sim, origin) = (Sim::new(1), Mock::new());
    let cache = open(&sim).await;
    let back = over(&cache, &origin, WriteBack::new().flush_interval(NEVER)).await;
    back.flush().await.unwrap();
    assert!(cache.set("plain", "v").await.unwrap().is_stored());
    back.set("key", "v").await.unwrap();
    sim.set_faults(FaultPlan::default().fail_on("seg-", OpKind::Sync, When::Always, DiskError::Eio));
    assert!(matches!(back.flush().await, Err(Error::WriteFailed)), "it is not brought there before it is durable");
    assert!(taken(&origin).is_empty());
    let counts = cache.stats().counts;
    assert_eq!((counts.origin_lost, counts.entries_lost), (1, 2));
    assert_eq!((shown(&back, "key").await, cache.stats().origin_dirty_entries), (None, 0));
}
