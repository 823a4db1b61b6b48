//! Traps 7 and 8, over real files: the lock of each writable segment, and files that shrink under the reader.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use esker::{BackendKind, Config, DiskCache, Durability, Error, SetOptions};

use crate::table::get;

fn builder(dir: &Path, lock_wait_ms: u64) -> esker::Builder {
    DiskCache::builder(dir).config(Config {
        capacity_bytes: 4 << 20,
        segment_len_bytes: Some(256 << 10),
        backend: BackendKind::TokioFs,
        lock_wait_ms,
        ..Config::default()
    })
}

async fn put(cache: &DiskCache, key: &str, value: &str) {
    let options = SetOptions::new().durability(Durability::Synced);
    assert!(cache.set_with(key, value.to_owned(), options).await.unwrap().is_stored());
}

/// A directory whose process died while it wrote, and its unsealed segment, locked as by writes that still land.
async fn left_behind(dir: &Path) -> (PathBuf, File) {
    let cache = builder(dir, 1000).open().await.unwrap();
    put(&cache, "k", "v").await;
    drop(cache);
    let path = dir.join("seg-0000.esk");
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    for _ in 0..500 {
        match file.try_lock() {
            Ok(()) => return (path, file),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("a dropped cache keeps the lock of its segment");
}

/// Through the file that holds the lock: on Windows nobody else gets at what is locked.
fn content(mut file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn overwrite(mut file: &File, bytes: &[u8]) {
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(bytes).unwrap();
}

/// P7. Open waits for the lock as long as it was told, then says which file is locked, and changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn trap_07_a_segment_that_is_still_written_to_makes_open_wait_and_then_refuse() {
    let dir = tempfile::tempdir().unwrap();
    let (path, file) = left_behind(dir.path()).await;
    let before = content(&file);
    let began = Instant::now();
    let refused = builder(dir.path(), 300).open().await.expect_err("locked");
    assert!(matches!(&refused, Error::Locked { path: locked } if *locked == path), "{refused}");
    assert!(began.elapsed() >= Duration::from_millis(300), "it did not wait");
    assert_eq!(content(&file), before);
    drop(file);
    let cache = builder(dir.path(), 300).open().await.expect("the lock is gone");
    assert_eq!(get(&cache, "k").await.as_deref(), Some("v"));
}

/// P7. Open waits, and goes on when the last write has landed.
#[tokio::test(flavor = "multi_thread")]
async fn trap_07_open_goes_on_when_the_lock_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let (_, file) = left_behind(dir.path()).await;
    let began = Instant::now();
    let release = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(file);
    });
    let cache = builder(dir.path(), 20_000).open().await.expect("waited for the lock");
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(290) && waited < Duration::from_secs(15), "{waited:?}");
    release.await.unwrap();
    assert_eq!(get(&cache, "k").await.as_deref(), Some("v"));
}

/// P2. A file that looks free may be the one whose first write is still on its way: what it holds is there when open
/// returns, or never. Else it comes back at the next open, over what was written meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn trap_07_open_waits_for_the_first_write_to_a_file_that_looks_free() {
    let dir = tempfile::tempdir().unwrap();
    drop(left_behind(dir.path()).await);
    let cache = builder(dir.path(), 1000).open().await.unwrap();
    put(&cache, "k", "newer").await;
    drop(cache);
    let path = dir.path().join("seg-0001.esk");
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    while file.try_lock().is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // As the disk was before the write: there is the file, and nothing in it.
    let written = content(&file);
    overwrite(&file, &vec![0; written.len()]);
    let landing = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        overwrite(&file, &written);
    });
    let cache = builder(dir.path(), 20_000).open().await.expect("waited for the lock");
    let shown = get(&cache, "k").await;
    landing.await.unwrap();
    cache.close().await.unwrap();
    let cache = builder(dir.path(), 1000).open().await.unwrap();
    assert_eq!(get(&cache, "k").await, shown, "a dead writer's write appeared after open had returned");
    assert_eq!(shown.as_deref(), Some("newer"));
}

/// P1. A segment file that is truncated while the cache runs costs its entries: misses, no signal, no panic.
#[tokio::test(flavor = "multi_thread")]
async fn trap_08_a_file_truncated_under_the_reader_is_a_miss() {
    let dir = tempfile::tempdir().unwrap();
    let cache = builder(dir.path(), 1000).open().await.unwrap();
    put(&cache, "sealed", "s").await;
    cache.close().await.unwrap();
    drop(cache);
    let cache = builder(dir.path(), 1000).open().await.unwrap();
    put(&cache, "open", "o").await;
    assert_eq!(get(&cache, "sealed").await.as_deref(), Some("s"));
    let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let files: Vec<_> = files.iter().filter(|path| path.extension().is_some_and(|e| e == "esk")).collect();
    assert_eq!(files.len(), 2);
    for path in files {
        OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
    }
    assert_eq!(get(&cache, "sealed").await, None);
    assert_eq!(get(&cache, "open").await, None);
    assert!(cache.stats().counts.misses_damaged + cache.stats().counts.misses_io >= 2);
}
