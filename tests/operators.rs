//! What operators do to a directory, on the real file system: each has a stated result, and none serves a wrong value.

#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "the files are handled behind the back of the library")]

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use esker::backend::tokio_fs::TokioFs;
use esker::clock::{Clock, ManualClock, SystemClock};
use esker::inspect::Inspector;
use esker::{BackendKind, DiskCache, Durability, Error, Millis, RecoveryReport, SetOptions};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const LIVES: u64 = 4;

fn builder(dir: &Path) -> esker::Builder {
    DiskCache::builder(dir).capacity_bytes(2 << 20).segment_len_bytes(64 << 10).backend(BackendKind::TokioFs)
}

async fn open(dir: &Path) -> DiskCache {
    builder(dir).open().await.expect("open")
}

fn value(life: u64) -> String {
    format!("the value of life {life}")
}

async fn put(cache: &DiskCache, key: &str, value: String) {
    let options = SetOptions::new().durability(Durability::Synced);
    assert!(cache.set_with(key, value, options).await.expect("set").is_stored());
}

async fn get(cache: &DiskCache, key: &str) -> Option<String> {
    let hit = cache.get(key).await.expect("get");
    hit.map(|hit| String::from_utf8(hit.value().to_vec()).expect("text"))
}

/// A closed directory of one small segment a life. `life n` stands in the nth alone, `k` in each.
async fn directory() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().expect("a directory");
    let dir = parent.path().join("cache");
    for life in 0..LIVES {
        let cache = open(&dir).await;
        put(&cache, &format!("life {life}"), value(life)).await;
        put(&cache, "k", value(life)).await;
        cache.close().await.expect("close");
    }
    (parent, dir)
}

/// The segment file in which this life's entry stands.
fn segment_of(dir: &Path, life: u64) -> PathBuf {
    let needle = format!("life {life}the value");
    let holds = |path: &PathBuf| {
        let bytes = std::fs::read(path).expect("read");
        bytes.windows(needle.len()).any(|w| w == needle.as_bytes())
    };
    files(dir).into_keys().filter(|path| path.extension().is_some_and(|e| e == "esk")).find(holds).expect("a segment")
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(dir).expect("list").map(|entry| entry.expect("entry").path());
    entries.map(|path| (path.clone(), std::fs::read(&path).unwrap_or_default())).collect()
}

/// `cp -r`.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("make the copy");
    for (path, bytes) in files(from) {
        std::fs::write(to.join(path.file_name().expect("a name")), bytes).expect("copy");
    }
}

/// Which lives' entries are served; a value of another life is wrong.
async fn lives(cache: &DiskCache) -> Vec<u64> {
    let mut there = Vec::new();
    for life in 0..LIVES {
        if let Some(found) = get(cache, &format!("life {life}")).await {
            assert_eq!(found, value(life));
            there.push(life);
        }
    }
    there
}

fn is_noted(report: &RecoveryReport, text: &str) -> bool {
    report.notes.iter().any(|note| note.contains(text))
}

/// P7. Everything else goes on: an entry that stood in it is a miss. What it replaced may come back, as is stated.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_middle_segment_costs_what_it_held() {
    let (_parent, dir) = directory().await;
    std::fs::remove_file(segment_of(&dir, 1)).expect("remove");
    for _ in 0..2 {
        let cache = open(&dir).await;
        assert_eq!(lives(&cache).await, [0, 2, 3], "{:?}", cache.recovery_report());
        assert_eq!(get(&cache, "k").await, Some(value(LIVES - 1)), "the newest stands in the last segment");
        put(&cache, "after", "a".into()).await;
        assert_eq!(get(&cache, "after").await.as_deref(), Some("a"));
        cache.close().await.expect("close");
    }
}

/// P7. A cut file: what it held may have replaced anything older, so that is forgotten and counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_was_cut_short_brings_nothing_older_back() {
    let (_parent, dir) = directory().await;
    let path = segment_of(&dir, LIVES - 1);
    std::fs::OpenOptions::new().write(true).open(&path).expect("open").set_len(4096 + 8).expect("cut");
    for opened in 0..3 {
        let cache = open(&dir).await;
        let report = cache.recovery_report();
        assert_eq!(get(&cache, "k").await, None, "an older value came back: {report:?}");
        if opened == 0 {
            assert!(report.dropped_damaged >= 1 && report.dropped_doubtful >= 1, "{report:?}");
            assert!(is_noted(&report, "cut off"), "{report:?}");
        }
        cache.close().await.expect("close");
    }
}

/// P7. What is not ours is named, and left alone byte for byte.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_files_in_the_directory_are_left_alone() {
    let (_parent, dir) = directory().await;
    let strange = ["notes.txt", "seg-0001.esk.bak", "SEG-0002.ESK", "seg-00001.esk", "evil \u{1b}[31m\n"];
    strange.iter().for_each(|name| std::fs::write(dir.join(name), "not ours").expect("write"));
    std::fs::create_dir(dir.join("seg-0099.esk")).expect("a directory by a segment's name");
    let cache = open(&dir).await;
    let report = cache.recovery_report();
    assert_eq!(lives(&cache).await, [0, 1, 2, 3]);
    for name in ["notes.txt", "seg-0001.esk.bak", "seg-0099.esk", "evil \\u{1b}[31m\\n"] {
        assert!(is_noted(&report, &format!("{name} is not ours")), "{name}: {report:?}");
    }
    assert!(report.notes.iter().all(|note| !note.contains(char::is_control)), "{report:?}");
    for n in 0..200 {
        put(&cache, &format!("filler {n}"), "f".repeat(20_000)).await;
    }
    cache.close().await.expect("close");
    for name in strange {
        assert_eq!(std::fs::read(dir.join(name)).expect("it is still there"), b"not ours");
    }
    assert!(dir.join("seg-0099.esk").is_dir());
}

/// P7. Of a newer format: refused by name, and left alone byte for byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_format_is_refused_and_left_alone() {
    let (_parent, dir) = directory().await;
    let manifest = dir.join("MANIFEST");
    let mut bytes = std::fs::read(&manifest).expect("read");
    bytes[8] = 2;
    std::fs::write(&manifest, bytes).expect("write");
    let before = files(&dir);
    let error = builder(&dir).open().await.expect_err("it must be refused");
    assert!(matches!(error, Error::NewerFormat { found: 2, supported: 1, .. }), "{error}");
    assert_eq!(files(&dir), before);
}

/// A link in place of a segment is not followed: what it points to is no segment of ours, and stays as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_place_of_a_segment_is_not_followed() {
    let (parent, dir) = directory().await;
    let (path, elsewhere) = (segment_of(&dir, 1), parent.path().join("elsewhere"));
    std::fs::rename(&path, &elsewhere).expect("move");
    symlink(&elsewhere, &path).expect("link");
    let before = std::fs::read(&elsewhere).expect("read");
    let cache = open(&dir).await;
    let name = path.file_name().expect("a name").to_str().expect("text");
    assert_eq!(lives(&cache).await, [0, 2, 3], "{:?}", cache.recovery_report());
    assert!(is_noted(&cache.recovery_report(), &format!("{name} is not ours")), "{:?}", cache.recovery_report());
    for n in 0..200 {
        put(&cache, &format!("filler {n}"), "f".repeat(20_000)).await;
    }
    cache.close().await.expect("close");
    assert_eq!(std::fs::read(&elsewhere).expect("read"), before);
    assert!(std::fs::symlink_metadata(&path).expect("it is still there").is_symlink());
}

/// A link in place of the manifest or the lock is refused: nobody is to be led to another file.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_place_of_the_manifest_or_the_lock_is_refused() {
    for name in ["MANIFEST", "LOCK"] {
        let (parent, dir) = directory().await;
        let (path, elsewhere) = (dir.join(name), parent.path().join("elsewhere"));
        std::fs::rename(&path, &elsewhere).expect("move");
        symlink(&elsewhere, &path).expect("link");
        let before = files(&dir);
        let error = builder(&dir).open().await.expect_err("it must be refused");
        assert!(error.to_string().contains(path.to_str().expect("text")), "{error}");
        assert_eq!(files(&dir), before);
    }
}

/// The directory itself may be a link, to one of ours: operators move caches to larger disks so.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_the_directory_is_followed_and_locks_the_same_cache() {
    let (parent, dir) = directory().await;
    let link = parent.path().join("link");
    symlink(&dir, &link).expect("link");
    let cache = open(&link).await;
    assert_eq!(lives(&cache).await, [0, 1, 2, 3]);
    let second = builder(&dir).open().await.expect_err("it is in use");
    assert!(matches!(second, Error::Locked { .. }), "{second}");
    cache.close().await.expect("close");
}

/// What is made is for its owner alone, however loose the mask of the process is.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_can_read_what_is_made() {
    const CHILD: &str = "ESKER_TEST_LOOSE_MASK";
    if std::env::var_os(CHILD).is_none() {
        // The mask is the process's: other tests must not see it.
        let this = std::env::current_exe().expect("this program");
        let script = "umask 000; exec \"$0\" --exact nobody_else_can_read_what_is_made";
        let ended = std::process::Command::new("sh").args(["-c", script]).arg(this).env(CHILD, "1").status();
        assert!(ended.expect("a shell").success());
        return;
    }
    let (_parent, dir) = directory().await;
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for path in files(&dir).into_keys() {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

/// What may not be read is refused by its name, with what to do, and nothing is changed.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_by_name() {
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: root may read everything");
        return;
    }
    let (_parent, dir) = directory().await;
    for path in [dir.clone(), dir.join("MANIFEST"), dir.join("LOCK"), segment_of(&dir, 1)] {
        let before = std::fs::metadata(&path).expect("there").permissions();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).expect("close it");
        let error = builder(&dir).open().await.expect_err("it must be refused");
        let text = error.to_string();
        assert!(text.contains(path.to_str().expect("text")) && text.contains("read and write access"), "{text}");
        std::fs::set_permissions(&path, before).expect("open it");
    }
    assert_eq!(lives(&open(&dir).await).await, [0, 1, 2, 3]);
}

/// The second opener is told which file is locked and what to do; the first goes on, and so does whoever only looks.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_opener_is_refused_and_an_inspector_is_not() {
    let (_parent, dir) = directory().await;
    let cache = open(&dir).await;
    put(&cache, "live", "l".into()).await;
    let error = builder(&dir).open().await.expect_err("it is in use");
    let text = error.to_string();
    assert!(matches!(error, Error::Locked { .. }) && text.contains("close it there"), "{text}");
    let inspector = Inspector::new(Arc::new(TokioFs), &dir, SystemClock.now());
    let report = inspector.verify(&mut |_| {}).await.expect("verify");
    assert!(report.is_clean, "{report:?}");
    assert_eq!(&inspector.get(b"live").await.expect("get").value[..], b"l");
    assert_eq!(get(&cache, "live").await.as_deref(), Some("l"));
}

/// P2. A day back and a day on, with the cache open and across restarts: no entry lives again, none lives longer than the
/// clock that never steps back says.
#[tokio::test(flavor = "multi_thread")]
async fn the_clock_steps_a_day_both_ways() {
    let parent = tempfile::tempdir().expect("a directory");
    let dir = parent.path().join("cache");
    let start = Millis(1_700_000_000_000);
    let clock = Arc::new(ManualClock::new(start));
    let open = async || builder(&dir).clock(clock.clone()).open().await.expect("open");
    let hour = || SetOptions::new().durability(Durability::Synced).ttl(Duration::from_secs(3600));
    let cache = open().await;
    put(&cache, "for ever", "f".into()).await;
    cache.set_with("an hour", "h", hour()).await.expect("set");
    clock.set(Millis(start.0 - DAY_MS));
    assert_eq!(get(&cache, "an hour").await.as_deref(), Some("h"), "the time that was seen counts on");
    cache.set_with("another hour", "a", hour()).await.expect("set");
    clock.set(Millis(start.0 + DAY_MS));
    for key in ["an hour", "another hour"] {
        assert_eq!(get(&cache, key).await, None, "{key}");
    }
    cache.close().await.expect("close");
    for (step, at) in [("back", start.0 - DAY_MS), ("on", start.0 + 2 * DAY_MS), ("back again", start.0)] {
        clock.set(Millis(at));
        let cache = open().await;
        assert_eq!(get(&cache, "for ever").await.as_deref(), Some("f"), "{step}");
        for key in ["an hour", "another hour"] {
            assert_eq!(get(&cache, key).await, None, "{key}, {step}");
        }
        cache.set_with("new", "n", hour()).await.expect("set");
        assert_eq!(get(&cache, "new").await.as_deref(), Some("n"), "{step}");
        cache.close().await.expect("close");
    }
}

/// A closed directory is its files: it can be moved and copied. Each copy goes its own way.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_can_be_moved_and_copied() {
    let (parent, dir) = directory().await;
    let moved = parent.path().join("moved");
    std::fs::rename(&dir, &moved).expect("move");
    let copied = parent.path().join("copied");
    copy(&moved, &copied);
    let (one, two) = (open(&moved).await, open(&copied).await);
    for cache in [&one, &two] {
        assert_eq!(lives(cache).await, [0, 1, 2, 3], "{:?}", cache.recovery_report());
        assert_eq!(get(cache, "k").await, Some(value(LIVES - 1)));
    }
    put(&one, "k", "one's".into()).await;
    two.delete("k").await.expect("delete");
    for (cache, dir, expected) in [(one, &moved, Some("one's")), (two, &copied, None)] {
        cache.close().await.expect("close");
        assert_eq!(get(&open(dir).await, "k").await.as_deref(), expected);
    }
}

/// P1, P7. Some segments are missing, one is cut short: what is there is right, what is in doubt is forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_was_copied_in_part_serves_no_wrong_value() {
    let (parent, dir) = directory().await;
    let last = segment_of(&dir, LIVES - 1);
    let name = |path: &Path| path.file_name().expect("a name").to_owned();
    let (last, missing) = (name(&last), name(&segment_of(&dir, 1)));
    for len in [0, 30, 64, 4096, 5000, 65_535] {
        let copied = parent.path().join(format!("copy {len}"));
        copy(&dir, &copied);
        std::fs::remove_file(copied.join(&missing)).expect("remove");
        let file = std::fs::OpenOptions::new().write(true).open(copied.join(&last)).expect("open");
        file.set_len(len).expect("cut");
        let cache = open(&copied).await;
        let there = lives(&cache).await;
        assert!(!there.contains(&1), "{len}: {there:?}");
        // An empty file is as one that is missing: what its entries replaced may come back, and that is stated.
        let k = get(&cache, "k").await;
        assert!(k.is_none() || k == Some(value(LIVES - 1)) || len == 0, "{len}: {k:?}, {:?}", cache.recovery_report());
        put(&cache, "after", "a".into()).await;
        cache.close().await.expect("close");
        let cache = open(&copied).await;
        assert_eq!(lives(&cache).await, there, "{len}");
        assert_eq!(get(&cache, "after").await.as_deref(), Some("a"));
    }
    // Without the manifest it is no cache, and is left alone.
    let copied = parent.path().join("no manifest");
    copy(&dir, &copied);
    std::fs::remove_file(copied.join("MANIFEST")).expect("remove");
    let before = files(&copied);
    let error = builder(&copied).open().await.expect_err("it must be refused");
    assert!(matches!(&error, Error::NotACache { why, .. } if why.contains("MANIFEST")), "{error}");
    assert_eq!(files(&copied), before);
}

/// Sizes that cannot work are refused before anything is made, with the option's name and what works.
#[tokio::test(flavor = "multi_thread")]
async fn sizes_that_cannot_work_are_refused_with_what_works() {
    let parent = tempfile::tempdir().expect("a directory");
    let dir = parent.path().join("cache");
    let of = |capacity_bytes: u64, segment_len_bytes: Option<u64>| {
        let config = esker::Config { capacity_bytes, segment_len_bytes, ..esker::Config::default() };
        DiskCache::builder(&dir).config(config).backend(BackendKind::TokioFs)
    };
    let segments = "segment_len_bytes is ";
    let cases = [
        (0, None, "capacity_bytes is 0; "),
        (0, Some(64 << 10), "capacity_bytes is 0; "),
        (1, None, "capacity_bytes is 1; "),
        (u64::MAX, None, "capacity_bytes is "),
        (1 << 30, Some(0), segments),
        (1 << 30, Some(1), segments),
        (1 << 30, Some(4096), segments),
        (1 << 30, Some((64 << 10) + 1), segments),
        (1 << 30, Some(128 << 20), segments),
        (1 << 30, Some(u64::MAX), segments),
    ];
    for (capacity, segment, named) in cases {
        let text = match of(capacity, segment).open().await.err() {
            Some(Error::InvalidConfig(text)) => text,
            other => panic!("{capacity} {segment:?}: {other:?}"),
        };
        assert!(text.contains(named) && text.contains(|c: char| c.is_ascii_digit()), "{text}");
        assert!(["smallest", "largest", "between"].iter().any(|word| text.contains(word)), "what works? {text}");
        assert!(!dir.exists(), "{text}");
    }
}
