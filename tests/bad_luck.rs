//! Bad input and bad luck: a directory that cannot be used is refused by name, with the remedy, and left as it was; a
//! disk that fills or fails at run time is survived.

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::{SEGMENT_LEN_BYTES, small};
use esker::backend::Backend;
use esker::backend::sim::{DiskError, FaultPlan, OpKind, Sim, When};
use esker::format::manifest::Manifest;
use esker::{Config, DiskCache, Durability, Error, RefuseReason, SetOptions, SetOutcome};

const DIR: &str = "/cache";

/// As messages name it: Windows puts a drive before it.
fn named() -> PathBuf {
    std::path::absolute(DIR).unwrap()
}

fn config() -> Config {
    small(8)
}

fn builder(sim: &Sim) -> esker::Builder {
    DiskCache::builder(DIR).config(config()).backend_with(Arc::new(sim.clone()))
}

fn synced() -> SetOptions {
    SetOptions::new().durability(Durability::Synced)
}

/// A disk with a closed cache of one entry.
async fn disk_with_a_cache(seed: u64) -> Sim {
    let sim = Sim::new(seed);
    let cache = builder(&sim).open().await.unwrap();
    assert!(cache.set_with("k", "v", synced()).await.unwrap().is_stored());
    cache.close().await.unwrap();
    sim
}

fn all_bytes(sim: &Sim) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = sim.list_files(DIR).unwrap();
    files.into_iter().map(|path| (path.clone(), sim.read_file(path).unwrap())).collect()
}

async fn is_served(cache: &DiskCache, key: &str) -> bool {
    cache.get(key).await.expect("get").is_some_and(|hit| &hit.value()[..] == b"v")
}

/// Opens, expects a refusal that names the directory and holds `remedy`, and that nothing was changed.
async fn refused_and_unchanged(sim: &Sim, builder: esker::Builder, remedy: &str) -> Error {
    let before = all_bytes(sim);
    let error = builder.open().await.expect_err("must be refused");
    let text = error.to_string();
    assert!(text.contains(named().to_str().unwrap()), "the path is missing: {text}");
    assert!(text.contains(remedy), "the remedy `{remedy}` is missing: {text}");
    assert!(all_bytes(sim) == before, "a refused directory was changed: {text}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_other_files_is_refused() {
    let sim = Sim::new(1);
    sim.write_file("/cache/thesis.txt", "years of work").unwrap();
    let error = refused_and_unchanged(&sim, builder(&sim), "choose an empty or new directory").await;
    assert!(matches!(error, Error::NotACache { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_without_a_manifest_are_refused() {
    let sim = Sim::new(2);
    sim.write_file("/cache/seg-0000.esk", vec![7; 4096]).unwrap();
    let error = refused_and_unchanged(&sim, builder(&sim), "choose an empty or new directory").await;
    assert!(matches!(&error, Error::NotACache { why, .. } if why.contains("MANIFEST")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_manifest_is_refused() {
    let sim = disk_with_a_cache(3).await;
    sim.flip_bit("/cache/MANIFEST", 40).unwrap();
    let error = refused_and_unchanged(&sim, builder(&sim), "choose an empty or new directory").await;
    assert!(matches!(&error, Error::NotACache { why, .. } if why.contains("damaged")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_format_is_refused() {
    let sim = disk_with_a_cache(4).await;
    let mut manifest = sim.read_file("/cache/MANIFEST").unwrap();
    manifest[8] = 9;
    sim.write_file("/cache/MANIFEST", manifest).unwrap();
    let error = refused_and_unchanged(&sim, builder(&sim), "upgrade Esker").await;
    assert!(matches!(error, Error::NewerFormat { found: 9, .. }), "{error}");
}

/// The format allows segments that the index has no offsets for.
#[tokio::test(flavor = "multi_thread")]
async fn segments_longer_than_the_index_reaches_are_refused() {
    let sim = disk_with_a_cache(5).await;
    let mut manifest = Manifest::decode(&sim.read_file("/cache/MANIFEST").unwrap()).unwrap();
    manifest.segment_len_bytes = 128 << 20;
    sim.write_file("/cache/MANIFEST", manifest.encode()).unwrap();
    let config = Config { capacity_bytes: 10 << 30, segment_len_bytes: None, ..config() };
    let error = refused_and_unchanged(&sim, builder(&sim).config(config), "65536 to 67108864").await;
    assert!(matches!(error, Error::InvalidConfig(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_is_refused_until_it_is_closed() {
    let sim = disk_with_a_cache(5).await;
    let cache = builder(&sim).open().await.unwrap();
    let error = refused_and_unchanged(&sim, builder(&sim), "close it there").await;
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    assert!(is_served(&cache, "k").await, "the first one goes on");
    cache.close().await.unwrap();
    assert!(is_served(&builder(&sim).open().await.unwrap(), "k").await);
}

/// The directory cannot be made, or nothing in it opened for writing.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_can_only_be_read_is_refused() {
    let sim = Sim::new(6);
    sim.set_faults(FaultPlan::default().fail(OpKind::CreateDir, When::Always, DiskError::Erofs));
    let error = builder(&sim).open().await.expect_err("must be refused");
    assert!(matches!(&error, Error::Io { path, .. } if *path == named()), "{error}");
    let text = error.to_string();
    assert!(text.contains(named().to_str().unwrap()) && text.contains("remount it writable"), "{text}");

    let sim = disk_with_a_cache(6).await;
    sim.set_faults(FaultPlan::default().fail_on("LOCK", OpKind::Open, When::Always, DiskError::Erofs));
    let error = refused_and_unchanged(&sim, builder(&sim), "remount it writable").await;
    assert!(matches!(&error, Error::Io { .. }), "{error}");
    sim.clear_faults();
    assert!(is_served(&builder(&sim).open().await.unwrap(), "k").await);
}

/// Only root may give a directory away, so only root can run this.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_someone_else_is_refused_and_left_alone() {
    const SOMEONE: u32 = 12_345;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    let open = || DiskCache::builder(&path).config(config()).open();
    open().await.unwrap().close().await.unwrap();
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give a directory to someone else");
        return;
    }
    std::os::unix::fs::chown(&path, Some(SOMEONE), None).unwrap();
    let names = || std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
    let before = names();
    let error = open().await.expect_err("must be refused");
    assert!(matches!(&error, Error::NotOwned { owner: SOMEONE, us: 0, .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()) && text.contains("run as that user"), "{text}");
    assert_eq!(names(), before);
    std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    open().await.unwrap().close().await.unwrap();
}

/// A file where the directory should be, on the real file system.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_not_a_directory() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"precious").unwrap();
    let path = file.path();
    let error = DiskCache::builder(path).config(config()).open().await.expect_err("must be refused");
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()) && text.contains("choose a directory"), "{text}");
    assert_eq!(std::fs::read(path).unwrap(), b"precious");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_at_open_is_refused_with_the_remedy() {
    let sim = Sim::new(7);
    sim.set_faults(FaultPlan { capacity_bytes: Some(0), ..FaultPlan::default() });
    let error = builder(&sim).open().await.expect_err("must be refused");
    let text = error.to_string();
    assert!(text.contains(named().to_str().unwrap()) && text.contains("free space on that disk"), "{text}");
    sim.clear_faults();
    builder(&sim).open().await.expect("what is left of the first attempt does no harm");
}

/// Too little capacity: the text says the smallest that works, and that does work.
#[tokio::test(flavor = "multi_thread")]
async fn a_capacity_that_is_too_small_is_refused_with_the_smallest_that_works() {
    let sim = Sim::new(8);
    let tiny = Config { capacity_bytes: 100_000, ..config() };
    let text = match builder(&sim).config(tiny.clone()).open().await.err() {
        Some(Error::InvalidConfig(text)) => text,
        other => panic!("{other:?}"),
    };
    assert!(sim.list_files(DIR).is_err(), "a directory was made");
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
    let smallest: u64 = numbers.filter(|n| *n > tiny.capacity_bytes).min().expect("a number that works");
    let just_less = Config { capacity_bytes: smallest - 1, ..tiny.clone() };
    assert!(matches!(builder(&sim).config(just_less).open().await, Err(Error::InvalidConfig(_))), "{text}");
    let cache = builder(&sim).config(Config { capacity_bytes: smallest, ..tiny }).open().await.expect(&text);
    for n in 0..100u32 {
        let outcome = cache.set_with(n.to_le_bytes(), vec![n as u8; 9000], synced()).await.unwrap();
        assert!(outcome.is_stored(), "{n}: {outcome:?}");
        assert!(cache.get(n.to_le_bytes()).await.unwrap().is_some());
    }
    assert!(sim.peak_bytes() <= smallest, "{} bytes were taken", sim.peak_bytes());
}

/// The device has no room for a single segment: sets are refused with the reason, and accepted when there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_for_a_segment_refuses_and_recovers() {
    let sim = Sim::new(9);
    let cache = builder(&sim).open().await.unwrap();
    let room = sim.used_bytes() + SEGMENT_LEN_BYTES / 2;
    sim.set_faults(FaultPlan { capacity_bytes: Some(room), ..FaultPlan::default() });
    let outcome = cache.set("k", "v").await.unwrap();
    assert_eq!(outcome, SetOutcome::Refused { reason: RefuseReason::DiskFull });
    assert_eq!(cache.stats().counts.refused_disk_full, 1);
    assert!(cache.get("k").await.unwrap().is_none());
    sim.clear_faults();
    recovers(&cache).await;
}

/// The device fills while the cache grows: it evicts within what it has, or refuses, and answers reads all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_is_lived_with() {
    let sim = Sim::new(10);
    let cache = builder(&sim).open().await.unwrap();
    let room = sim.used_bytes() + 4 * SEGMENT_LEN_BYTES + SEGMENT_LEN_BYTES / 2;
    sim.set_faults(FaultPlan { capacity_bytes: Some(room), ..FaultPlan::default() });
    let mut stored = 0;
    for n in 0..100u32 {
        let setting = cache.set_with(format!("k{n}"), vec![n as u8; 9000], synced());
        let outcome = tokio::time::timeout(Duration::from_secs(10), setting).await.expect("a set hangs");
        match outcome {
            Ok(SetOutcome::Stored { .. } | SetOutcome::Held) => {
                stored += 1;
                let hit = cache.get(format!("k{n}")).await.unwrap();
                assert_eq!(hit.map(|hit| hit.value()[0]), Some(n as u8));
            }
            Ok(SetOutcome::Refused { reason }) => assert_eq!(reason, RefuseReason::DiskFull),
            Err(error) => assert!(matches!(error, Error::WriteFailed), "{error}"),
        }
    }
    assert!(stored >= 20, "{stored} of 100 were stored on a disk with room for 28: {:?}", cache.stats());
    assert!(sim.used_bytes() <= room);
    sim.clear_faults();
    recovers(&cache).await;
}

/// The disk has room again while the cache is written to all the time: it grows again without a rest, up to the three
/// segments that eviction keeps available.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_cache_grows_again_once_a_full_disk_has_room() {
    let sim = Sim::new(18);
    let cache = builder(&sim).open().await.unwrap();
    let room = sim.used_bytes() + 5 * SEGMENT_LEN_BYTES + SEGMENT_LEN_BYTES / 2;
    sim.set_faults(FaultPlan { capacity_bytes: Some(room), ..FaultPlan::default() });
    for n in 0..100u32 {
        cache.set(n.to_le_bytes(), vec![n as u8; 9000]).await.unwrap();
    }
    assert!(cache.stats().segments <= 5, "the disk was not full");
    sim.clear_faults();
    let began = std::time::Instant::now();
    let mut n = 0u32;
    while cache.stats().segments < 6 {
        assert!(began.elapsed() < Duration::from_secs(5), "it stays at {} segments", cache.stats().segments);
        cache.set(n.to_le_bytes(), vec![n as u8; 9000]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        n += 1;
    }
}

/// A disk on which every operation of a kind fails: writes are refused or fail, reads go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_at_run_time_is_lived_with() {
    for (seed, op) in [(11, OpKind::Write), (12, OpKind::Sync), (13, OpKind::Open), (14, OpKind::Allocate)] {
        let sim = disk_with_a_cache(seed).await;
        let cache = builder(&sim).open().await.unwrap();
        sim.set_faults(FaultPlan::default().fail_on("seg-", op, When::Always, DiskError::Eio));
        for n in 0..5 {
            match cache.set_with(format!("lost {n}"), "x", synced()).await {
                Ok(SetOutcome::Refused { reason: RefuseReason::DiskFailed }) | Err(Error::WriteFailed) => {}
                other => panic!("{op:?}: {other:?}"),
            }
            assert!(is_served(&cache, "k").await, "{op:?}: reads go on");
        }
        sim.clear_faults();
        recovers(&cache).await;
        assert!(is_served(&cache, "k").await);
    }
}

/// A segment that was half made and cannot be removed is used once the disk lets it be finished.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_made_segment_that_stays_is_used() {
    let sim = Sim::new(15);
    let cache = builder(&sim).open().await.unwrap();
    let no_removal = FaultPlan::default().fail_on("seg-", OpKind::Remove, When::Always, DiskError::Eio);
    sim.set_faults(no_removal.clone().fail_on("seg-", OpKind::Allocate, When::Always, DiskError::Eio));
    let outcome = cache.set("k", "v").await.unwrap();
    assert_eq!(outcome, SetOutcome::Refused { reason: RefuseReason::DiskFailed });
    assert!(sim.read_file("/cache/seg-0000.esk").is_ok(), "it does not stay: the test proves nothing");
    assert_eq!(cache.stats().segments, 1, "it takes room that nobody counts");
    sim.set_faults(no_removal);
    recovers(&cache).await;
    assert_eq!(sim.read_file("/cache/seg-0000.esk").unwrap().len() as u64, SEGMENT_LEN_BYTES);
}

/// A free segment file that went, by a removal that the disk said had failed, is made anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_free_segment_that_is_gone_is_made_anew() {
    let sim = disk_with_a_cache(16).await;
    sim.write_file("/cache/seg-0001.esk", vec![0; SEGMENT_LEN_BYTES as usize]).unwrap();
    let cache = builder(&sim).open().await.unwrap();
    assert_eq!(cache.stats().segments_free, 1);
    sim.remove(Path::new("/cache/seg-0001.esk")).await.unwrap();
    assert!(cache.set_with("again", "v", synced()).await.unwrap().is_stored());
    sim.power_loss();
    let cache = builder(&sim.reopen()).open().await.unwrap();
    assert!(is_served(&cache, "again").await && is_served(&cache, "k").await);
}

/// What an open or a failed rotation removes does not come back with the power.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_stays_removed_after_a_power_loss() {
    let is_there = |sim: &Sim, name: &str| sim.read_file(format!("{DIR}/{name}")).is_ok();
    for seed in 0..8 {
        for name in ["MANIFEST.tmp", "seg-0003.esk"] {
            let sim = disk_with_a_cache(seed).await;
            sim.write_file(format!("{DIR}/{name}"), "half made").unwrap();
            sim.sync_dir(Path::new(DIR)).await.unwrap();
            let cache = builder(&sim).open().await.unwrap();
            assert!(!is_there(&sim, name));
            sim.power_loss();
            drop(cache);
            assert!(!is_there(&sim.reopen(), name), "{name} came back");
        }
        let sim = Sim::new(seed);
        let cache = builder(&sim).open().await.unwrap();
        sim.set_faults(FaultPlan::default().fail(OpKind::SyncDir, When::Nth(1), DiskError::Eio));
        assert!(!cache.set("k", "v").await.unwrap().is_stored());
        assert!(!is_there(&sim, "seg-0000.esk"));
        sim.power_loss();
        drop(cache);
        assert!(!is_there(&sim.reopen(), "seg-0000.esk"), "the half-made segment came back");
    }
}

/// An unreadable disk is an error that names the file, changes nothing, and goes away with the fault.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_cannot_be_read_fails_the_open_by_name() {
    let sim = disk_with_a_cache(17).await;
    sim.set_faults(FaultPlan::default().fail_on("seg-0000", OpKind::Read, When::Always, DiskError::Eio));
    let error = refused_and_unchanged(&sim, builder(&sim), "seg-0000.esk").await;
    assert!(matches!(error, Error::Io { .. }), "{error}");
    sim.clear_faults();
    assert!(is_served(&builder(&sim).open().await.unwrap(), "k").await);
}

/// A disk on which every operation of a kind hangs holds up nobody for longer than the limit, `close` included.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_is_lived_with() {
    let kinds = [OpKind::Open, OpKind::Allocate, OpKind::SyncDir, OpKind::Rename, OpKind::Remove, OpKind::Write];
    for (seed, op) in kinds.into_iter().enumerate() {
        let sim = disk_with_a_cache(seed as u64).await;
        let cache = builder(&sim).config(Config { io_timeout_ms: 50, ..config() }).open().await.unwrap();
        sim.set_faults(FaultPlan { stalled: vec![op], ..FaultPlan::default() });
        let calls = async {
            for n in 0..4 {
                let _ = cache.set_with(format!("{n}"), vec![7; 40 << 10], synced()).await;
            }
            let _ = cache.clear().await;
            let _ = cache.close().await;
        };
        let is_done = tokio::time::timeout(Duration::from_secs(30), calls).await.is_ok();
        assert!(is_done, "{op:?} holds up its callers");
        assert!(cache.stats().counts.failures_timed_out > 0, "{op:?}: nothing hung, the test proves nothing");
        sim.clear_faults();
        let cache = builder(&sim).open().await.expect("the next one opens");
        recovers(&cache).await;
    }
}

/// Writes are accepted again within ten seconds, without a restart.
async fn recovers(cache: &DiskCache) {
    for _ in 0..1000 {
        if matches!(cache.set_with("again", "v", synced()).await, Ok(SetOutcome::Stored { .. })) {
            assert!(is_served(cache, "again").await);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("writes are still refused: {:?}", cache.stats());
}
