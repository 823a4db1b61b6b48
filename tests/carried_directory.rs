//! A directory is the same on every machine: written alike it is the same bytes, whatever the byte order, the word length
//! or the operating system, and one machine's directory opens on another.
//!
//! `ESKER_CARRIED` names a directory where other machines leave theirs. What this one writes stays there too, under the
//! name of its architecture and system; without the variable it has only its own, from two caches.

#![allow(clippy::disallowed_methods, reason = "files are compared behind the back of the library")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use common::{key, value};
use esker::clock::ManualClock;
use esker::format::file_name::{LOCK, MANIFEST};
use esker::format::manifest::Manifest;
use esker::{BackendKind, Config, DiskCache, Durability, Millis, Sequence, SetOptions};

const NOW: Millis = Millis(1_700_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);
const SECOND: Duration = Duration::from_secs(1);
const KEYS: u32 = 120;
/// A value that takes more than a segment.
const STREAMED: u32 = 1_000;
const STREAMED_BYTES: usize = 100_000;

/// What is random in a new directory, and what depends on the machine.
fn manifest() -> Manifest {
    Manifest {
        directory_id: 0x0123_4567_89ab_cdef,
        segment_len_bytes: 64 << 10,
        seed: std::array::from_fn(|i| 0xf0 + i as u8),
        created: NOW,
        cleared: Sequence(0),
        index_shards: 4,
        stored: Sequence(0),
    }
}

async fn open(dir: &Path, clock: &Arc<ManualClock>) -> DiskCache {
    let config = Config {
        capacity_bytes: 2 << 20,
        backend: BackendKind::TokioFs,
        // Where a record ends up must not depend on how quick the machine is.
        flush_interval_ms: 3_600_000,
        ..Config::default()
    };
    DiskCache::builder(dir).config(config).clock(clock.clone()).seed(*b"what chance says").open().await.unwrap()
}

fn len_of(n: u32) -> usize {
    [12, 700, 3000, 4096][n as usize % 4] + n as usize
}

/// Everything a log holds, one write at a time: long, short, with metadata, expiring (in a stream of their own too),
/// replaced, deleted, cleared, in chunks.
async fn write(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join(MANIFEST), manifest().encode()).unwrap();
    let clock = Arc::new(ManualClock::new(NOW));
    let cache = open(dir, &clock).await;
    let synced = || SetOptions::new().durability(Durability::Synced);
    assert!(cache.set_with("cleared", "x", synced()).await.unwrap().is_stored());
    cache.clear().await.unwrap();
    for n in 0..KEYS {
        clock.advance(7);
        let options = match n % 5 {
            0 => synced().ttl(DAY),
            1 => synced().ttl(10 * SECOND),
            2 => synced().metadata(key(n)),
            _ => synced(),
        };
        assert!(cache.set_with(key(n), value(n, 0, len_of(n)), options).await.unwrap().is_stored());
    }
    for n in (0..KEYS).step_by(7) {
        assert!(cache.set_with(key(n), value(n, 1, len_of(n)), synced()).await.unwrap().is_stored());
    }
    for n in (0..KEYS).step_by(11) {
        assert!(cache.delete(key(n)).await.unwrap());
        cache.sync().await.unwrap();
    }
    let mut writer = cache.writer("streamed", synced().metadata("in chunks")).await.unwrap();
    writer.write_bytes(value(STREAMED, 0, STREAMED_BYTES).into()).await.unwrap();
    assert!(writer.finish().await.unwrap().is_stored());
    cache.close().await.unwrap();
}

/// On a copy: opening a directory writes to it.
async fn read(dir: &Path) {
    let copy = tempfile::tempdir().unwrap();
    for (name, bytes) in files(dir) {
        std::fs::write(copy.path().join(name), bytes).unwrap();
    }
    let cache = open(copy.path(), &Arc::new(ManualClock::new(NOW))).await;
    let report = cache.recovery_report();
    assert_eq!((report.dropped_damaged, report.dropped_doubtful, report.torn_bytes), (0, 0, 0), "{report:?}");
    assert_eq!(report.segments_scanned, 0, "a closed directory has a footer in each segment: {report:?}");
    assert!(cache.get("cleared").await.unwrap().is_none());
    let streamed = cache.get("streamed").await.unwrap().expect("the value in chunks is gone");
    assert!(streamed.value()[..] == value(STREAMED, 0, STREAMED_BYTES) && streamed.metadata() == "in chunks");
    assert_eq!(report.objects_kept, 1);
    for n in 0..KEYS {
        let hit = cache.get(key(n)).await.unwrap();
        if n % 11 == 0 {
            assert!(hit.is_none(), "key {n} was deleted");
            continue;
        }
        let hit = hit.unwrap_or_else(|| panic!("key {n} is gone from {}", dir.display()));
        let version = u32::from(n % 7 == 0);
        assert_eq!(hit.value()[..], value(n, version, len_of(n)), "key {n}");
        let metadata = if version == 0 && n % 5 == 2 { key(n) } else { Vec::new() };
        assert_eq!(hit.metadata()[..], metadata, "key {n}");
        let expires = (version == 0).then(|| [DAY, 10 * SECOND].get(n as usize % 5).copied()).flatten();
        let set_at = UNIX_EPOCH + Duration::from_millis(NOW.0 + 7 * (u64::from(n) + 1));
        assert_eq!(hit.expires_at(), expires.map(|ttl| set_at + ttl), "key {n}");
    }
    cache.close().await.unwrap();
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let names = entries.map(|entry| entry.file_name().into_string().unwrap()).filter(|name| name != LOCK);
    names.map(|name| (name.clone(), std::fs::read(dir.join(name)).unwrap())).collect()
}

/// Where they differ first, by name and offset.
fn difference(ours: &Path, theirs: &Path) -> Option<String> {
    let (a, b) = (files(ours), files(theirs));
    if !a.keys().eq(b.keys()) {
        return Some(format!("{:?} against {:?}", a.keys(), b.keys()));
    }
    a.iter().zip(b.values()).find(|((_, x), y)| x != y).map(|((name, x), y)| {
        let at = x.iter().zip(y).position(|(x, y)| x != y);
        format!("{name} of {} bytes and of {} differs first at {at:?}", x.len(), y.len())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_machines_write_alike_is_the_same_bytes_and_each_reads_the_others() {
    let own = tempfile::tempdir().unwrap();
    let yard = std::env::var_os("ESKER_CARRIED").map_or(own.path().join("yard"), PathBuf::from);
    let ours = yard.join(format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS));
    let twin = own.path().join("twin");
    write(&twin).await;
    if !ours.exists() {
        write(&ours).await;
    }
    assert!(files(&ours).len() > 5, "several segments and a manifest");
    for theirs in std::fs::read_dir(&yard).unwrap() {
        let theirs = theirs.unwrap().path();
        assert_eq!(difference(&twin, &theirs), None, "ours and {}", theirs.display());
        read(&theirs).await;
        println!("same bytes, and read: {}", theirs.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn canary_one_byte_that_differs_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    write(&one).await;
    write(&other).await;
    assert_eq!(difference(&one, &other), None);
    let path = other.join("seg-0001.esk");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[12] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let found = difference(&one, &other).unwrap();
    assert!(found.contains("seg-0001.esk") && found.contains("Some(12)"), "{found}");
}
