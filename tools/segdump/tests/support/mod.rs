//! A small cache on disk, the program, and damage.

#![allow(clippy::disallowed_methods, reason = "damage is done behind the back of the library")]
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use esker::{BackendKind, Builder, DiskCache, SetOptions};
use serde_json::Value;

pub const SEGMENT: u64 = 64 << 10;
pub const HOSTILE: &[u8] = b"\x1b[31mred\x07\r\n\x00\xff\xe2\x80\xae\xc2\x9b\x7f";

pub fn builder(dir: &Path) -> Builder {
    DiskCache::builder(dir).capacity_bytes(1 << 20).segment_len_bytes(SEGMENT).backend(BackendKind::TokioFs)
}

pub fn value(n: u64) -> Vec<u8> {
    (0..2000 + n as usize % 700).map(|i| (n as usize * 31 + i) as u8).collect()
}

/// A few segments without eviction: 100 entries, some replaced, deleted, expired, with metadata and a hostile key.
pub async fn fill(cache: &DiskCache) {
    for n in 0..100u64 {
        cache.set(format!("key {n}"), value(n)).await.unwrap();
    }
    for n in 0..10u64 {
        cache.set(format!("key {n}"), value(n + 1000)).await.unwrap();
    }
    for n in 10..20u64 {
        assert!(cache.delete(format!("key {n}")).await.unwrap());
    }
    let short = || SetOptions::new().ttl(Duration::from_millis(1));
    cache.set_with("expired", "x", short()).await.unwrap();
    cache.set_with("key 20", "x", short()).await.unwrap();
    // Keeps the segment of short-lived entries from being evicted as soon as the cache opens.
    cache.set_with("lives", "x", SetOptions::new().ttl(Duration::from_secs(50))).await.unwrap();
    cache.set_with("long", "x", SetOptions::new().ttl(Duration::from_secs(3600)).metadata("meta")).await.unwrap();
    cache.set_with(HOSTILE, HOSTILE.to_vec(), SetOptions::new().metadata(HOSTILE)).await.unwrap();
    cache.flush().await.unwrap();
}

/// A filled and closed directory.
pub async fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let cache = builder(dir.path()).open().await.unwrap();
    fill(&cache).await;
    cache.close().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    dir
}

pub fn segdump(args: &[&str]) -> Output {
    let out = Command::new(env!("CARGO_BIN_EXE_segdump")).args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(!errors.contains("panicked"), "{args:?}: {errors}");
    out
}

/// Runs a command on a path, with `--json`; the exit code and the answer.
pub fn json(command: &str, path: &Path) -> (i32, Value) {
    let out = segdump(&[command, path.to_str().unwrap(), "--json"]);
    (out.status.code().unwrap(), serde_json::from_slice(&out.stdout).unwrap_or_default())
}

pub fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    write_at(&OpenOptions::new().write(true).open(path).unwrap(), offset, bytes);
}

pub fn flip(path: &Path, offset: u64) {
    let mut file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.read_exact(&mut byte).unwrap();
    write_at(&file, offset, &[byte[0] ^ 0x10]);
}

fn write_at(mut file: &File, offset: u64, bytes: &[u8]) {
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(bytes).unwrap();
}

pub fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    to
}

/// The name and the records of the first sealed segment that holds puts of some length.
pub fn sealed(dir: &Path) -> (PathBuf, Vec<Value>) {
    let (_, segments) = json("segments", dir);
    let one = segments.as_array().unwrap().iter().find(|s| s["state"] == "sealed" && s["records"].as_u64() > Some(8));
    let path = dir.join(one.unwrap()["file"].as_str().unwrap());
    let (code, listing) = json("records", &path);
    assert_eq!(code, 0);
    let records = listing["records"].as_array().unwrap().iter().filter(|r| r["kind"] == "put");
    let records = records.cloned().collect();
    (path, records)
}

/// Everything that a write could change.
pub fn traces(dir: &Path) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
    let mut all: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .map(|path| {
            let modified = path.metadata().unwrap().modified().unwrap();
            (path.clone(), std::fs::read(&path).unwrap(), modified)
        })
        .collect();
    all.push((dir.to_owned(), Vec::new(), dir.metadata().unwrap().modified().unwrap()));
    all.sort();
    all
}

/// Keys that would do harm if they were taken at their word.
pub const STRANGE: [&[u8]; 4] = [b"../../etc/passwd", b"/etc/passwd", b"<script>alert(1)</script>&\"'", HOSTILE];

/// As many bytes as make an object of several segments.
pub fn large() -> Vec<u8> {
    (0..150_000u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// A filled and closed directory with strange keys, a namespace and an object in chunks besides.
pub async fn strange() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let cache = builder(dir.path()).open().await.unwrap();
    fill(&cache).await;
    for key in STRANGE {
        cache.set(key, key.to_vec()).await.unwrap();
    }
    cache.namespace("<b>te/nant").unwrap().set("key 1", "of the tenant").await.unwrap();
    let mut writer = cache.writer("large", SetOptions::new().metadata("meta")).await.unwrap();
    for piece in large().chunks(7_000) {
        writer.write_bytes(piece.to_vec().into()).await.unwrap();
    }
    assert!(writer.finish().await.unwrap().is_stored());
    cache.close().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    dir
}

/// A directory without an entry.
pub async fn empty() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    builder(dir.path()).open().await.unwrap().close().await.unwrap();
    dir
}

/// Flips a bit in the value of a record that is served, and returns its key.
pub fn damage_a_value(dir: &Path) -> String {
    let (path, records) = sealed(dir);
    // The first ones were replaced, deleted, expired.
    let is_served = |key: &str| key.strip_prefix("key ").and_then(|n| n.parse().ok()).is_some_and(|n: u64| n > 20);
    let record = records.iter().rev().find(|record| is_served(record["key"].as_str().unwrap())).unwrap();
    flip(&path, record["offset"].as_u64().unwrap() + 500);
    record["key"].as_str().unwrap().to_owned()
}

/// Asserts that nothing in it steers a terminal.
pub fn assert_tame(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap();
    let steers = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!text.contains(steers), "{text:?}");
}
