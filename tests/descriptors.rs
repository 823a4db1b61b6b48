//! Open files: as many as are needed and no more, all closed in the end, and a capacity that would need more than the
//! process may have is refused at the open.

#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use esker::config::DIRECTORY_OVERHEAD_BYTES;
use esker::{BackendKind, Config, DiskCache, Error};

/// Descriptors belong to the process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());
const SEGMENT_LEN_BYTES: u64 = 64 << 10;

fn config(segments: u64, backend: BackendKind) -> Config {
    Config {
        capacity_bytes: segments * SEGMENT_LEN_BYTES + DIRECTORY_OVERHEAD_BYTES,
        segment_len_bytes: Some(SEGMENT_LEN_BYTES),
        backend,
        ..Config::default()
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits until this process has no more descriptors than that: what was in flight closes its file when it lands. It may
/// have fewer: the test harness and the runtime close some of theirs late. What leaks does so in every round.
async fn settle_at(expected: usize, when: &str) {
    for _ in 0..500 {
        if descriptors() <= expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let open: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|e| std::fs::read_link(e.unwrap().path()).ok())
        .collect();
    panic!("{when}: {} descriptors, {expected} before: {open:?}", descriptors());
}

async fn live(dir: &Path, backend: BackendKind, is_closed: bool) -> DiskCache {
    let cache = DiskCache::builder(dir).config(config(12, backend)).open().await.unwrap();
    for n in 0..300u32 {
        assert!(cache.set(n.to_le_bytes(), vec![n as u8; 7_000]).await.unwrap().is_stored());
        cache.get((n / 2).to_le_bytes()).await.unwrap();
    }
    cache.sync().await.unwrap();
    let stats = cache.stats();
    assert!(stats.counts.segments_evicted > 10, "too little happened: {stats:?}");
    // The lock, a file for each segment, and what is being sealed or freed at this moment.
    assert!((stats.segments / 2..=stats.segments + 16).contains(&stats.open_files), "{stats:?}");
    if is_closed {
        cache.close().await.unwrap();
    }
    cache
}

/// Rotation, eviction, reopening, with and without a close: no descriptor is left behind.
#[test]
fn every_descriptor_comes_back() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for backend in [BackendKind::Auto, BackendKind::TokioFs] {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let before = descriptors();
            for round in 0..8 {
                let is_closed = round % 2 == 0;
                let cache = live(dir.path(), backend, is_closed).await;
                if is_closed {
                    for _ in 0..500 {
                        if cache.stats().open_files == 0 {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    assert_eq!(cache.stats().open_files, 0, "a closed cache holds files open while a handle lives");
                }
                drop(cache);
                settle_at(before, &format!("{backend}, round {round}")).await;
            }
        });
    }
}

/// Runs [`child`] in a process of its own, under limits that the shell sets first.
fn under(limits: &str) -> (Output, tempfile::TempDir) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let exe = std::env::current_exe().unwrap();
    let run = format!("{limits} && exec \"$0\" --exact child --ignored --nocapture");
    let out = Command::new("sh").args(["-c", &run]).arg(exe).env("ESKER_TEST_DIR", dir.path()).output().unwrap();
    (out, dir)
}

/// 600 segments. Prints what came of it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the tests below, under limits"]
async fn child() {
    let Some(dir) = std::env::var_os("ESKER_TEST_DIR") else { return };
    match DiskCache::builder(&dir).config(config(600, BackendKind::TokioFs)).open().await {
        Ok(cache) => {
            assert!(cache.set("k", "v").await.unwrap().is_stored());
            cache.close().await.unwrap();
            println!("it opened");
        }
        Err(Error::InvalidConfig(text)) => println!("refused: {text}"),
        Err(other) => panic!("{other}"),
    }
}

/// The number that is needed, and what to do, are said; and no manifest fixes the length of the segments yet.
#[test]
fn a_capacity_that_needs_too_many_files_is_refused_with_the_remedy() {
    let (out, dir) = under("ulimit -n 300");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("refused"), "{said}{}", String::from_utf8_lossy(&out.stderr));
    for part in ["needs 664 open files", "may have 300", "`ulimit -n 664`", "segment_len_bytes"] {
        assert!(said.contains(part), "`{part}` is missing: {said}");
    }
    assert!(!dir.path().join("MANIFEST").exists());
}

#[test]
fn a_soft_limit_is_raised_as_far_as_the_hard_one_allows() {
    for limits in ["ulimit -Sn 300 && ulimit -Hn 700", "ulimit -n 664"] {
        let (out, _dir) = under(limits);
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success() && said.contains("it opened"), "{said}{}", String::from_utf8_lossy(&out.stderr));
    }
}
