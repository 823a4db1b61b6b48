//! What every test here works on: a cache over a simulated disk, with a clock of its own, that can be killed.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

pub use crate::common::SEGMENT_LEN_BYTES;
use crate::common::small;
use esker::backend::sim::Sim;
use esker::clock::ManualClock;
use esker::format::footer::{self, Row};
use esker::format::segment_header::{DATA_START, FREE_STREAM, SegmentHeader};
use esker::{Config, DiskCache, Durability, Millis, SetOptions};

pub const DIR: &str = "/cache";
pub const SEED: [u8; 16] = *b"traps fixed seed";
/// When every test begins.
pub const START: Millis = Millis(1_700_000_000_000);

/// A machine: its disk, its clock, and how the cache on it is configured.
pub struct Table {
    pub sim: Sim,
    pub clock: Arc<ManualClock>,
    pub config: Config,
    opens: AtomicU8,
}

impl Table {
    /// A cache of `segments` segments of 64 KiB.
    pub fn new(sim_seed: u64, segments: u64) -> Self {
        let config = Config { index_shards: 1, ..small(segments) };
        Self { sim: Sim::new(sim_seed), clock: Arc::new(ManualClock::new(START)), config, opens: AtomicU8::new(0) }
    }

    pub async fn open(&self) -> DiskCache {
        self.open_on(&self.sim).await
    }

    pub async fn open_on(&self, sim: &Sim) -> DiskCache {
        let mut seed = SEED;
        // The first makes the directory; each draws other segment ids.
        seed[15] ^= self.opens.fetch_add(1, Ordering::Relaxed);
        let builder = DiskCache::builder(DIR).config(self.config.clone()).seed(seed).clock(self.clock.clone());
        builder.backend_with(Arc::new(sim.clone())).open().await.expect("open")
    }

    /// `kill -9`, and the next process on the same disk.
    pub async fn kill(&mut self, cache: DiskCache) -> DiskCache {
        self.sim = self.sim.reopen();
        drop(cache);
        self.open().await
    }

    /// Asserts that `key` is a miss and `witness` still a hit, now, after many deaths from this moment, and after a
    /// clean close. The witness shows that the place where the old version stands is still there.
    pub async fn assert_dead_for_ever(&mut self, cache: DiskCache, key: &str, witness: &str) {
        self.assert_dead(&cache, key, witness, "now").await;
        for seed in 0..6 {
            let sim = self.sim.fork(seed);
            let how = if seed % 2 == 0 { "after power loss" } else { "after a kill" };
            if seed % 2 == 0 {
                sim.power_loss()
            } else {
                sim.crash_process()
            };
            let after = self.open_on(&sim.reopen()).await;
            self.assert_dead(&after, key, witness, how).await;
        }
        cache.close().await.expect("close");
        drop(cache);
        for reopened in ["after a close", "after the second close"] {
            let after = self.open().await;
            self.assert_dead(&after, key, witness, reopened).await;
            after.close().await.expect("close");
        }
    }

    async fn assert_dead(&self, cache: &DiskCache, key: &str, witness: &str, when: &str) {
        assert_eq!(get(cache, key).await, None, "{key} came back {when}: {:?}", cache.recovery_report());
        // Unless eviction made room right after the open.
        let is_there = cache.contains(witness).await.unwrap() || cache.stats().counts.segments_evicted > 0;
        assert!(is_there, "the witness of {key} is gone {when}: the test proves nothing");
    }

    /// The rows of every sealed segment, with its stream.
    pub fn sealed_rows(&self) -> Vec<(u8, Row)> {
        let mut all = Vec::new();
        for path in self.segment_files() {
            let bytes = self.sim.read_file(path).unwrap();
            let Ok(header) = SegmentHeader::decode(&bytes) else { continue };
            if header.stream == FREE_STREAM {
                continue;
            }
            let Ok(trailer) = footer::decode_trailer(&bytes, header.id, SEGMENT_LEN_BYTES) else { continue };
            let rows = footer::decode_rows(&bytes[trailer.rows_offset as usize..], &trailer).unwrap();
            all.extend(rows.into_iter().map(|row| (header.stream, row)));
        }
        all
    }

    pub fn segment_files(&self) -> Vec<PathBuf> {
        let files = self.sim.list_files(DIR).unwrap();
        files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "esk")).collect()
    }

    /// The file and offset where `needle` stands on the disk. It must stand in one place only.
    pub fn find_on_disk(&self, needle: &[u8]) -> (PathBuf, u64) {
        let mut found = Vec::new();
        for path in self.segment_files() {
            let bytes = self.sim.read_file(&path).unwrap();
            // Not in the header, where a random directory id may hold a short needle.
            let at = bytes.windows(needle.len()).enumerate().skip(DATA_START as usize).filter(|(_, w)| *w == needle);
            found.extend(at.map(|(at, _)| (path.clone(), at as u64)));
        }
        assert_eq!(found.len(), 1, "{} is on the disk at {found:?}", needle.escape_ascii());
        found.remove(0)
    }
}

/// The value of a key, as text.
pub async fn get(cache: &DiskCache, key: &str) -> Option<String> {
    let hit = cache.get(key).await.expect("get");
    hit.map(|hit| String::from_utf8(hit.value().to_vec()).expect("text"))
}

pub fn synced() -> SetOptions {
    SetOptions::new().durability(Durability::Synced)
}

/// The options of an entry that goes to the stream of short-lived ones, and does not expire soon.
pub fn short_lived() -> SetOptions {
    synced().ttl(Duration::from_secs(60))
}

pub async fn put(cache: &DiskCache, key: &str, value: &str, options: SetOptions) {
    let outcome = cache.set_with(key, value.to_owned(), options).await.expect("set");
    assert!(outcome.is_stored(), "{key}: {outcome:?}");
}

/// Writes fillers of 8 KiB, which nobody reads, to the stream of new entries until `is_done`.
pub async fn fill_until(cache: &DiskCache, is_done: impl Fn(&DiskCache) -> bool) {
    for n in 0..2000 {
        if is_done(cache) {
            return;
        }
        assert!(cache.set(format!("filler {n}"), vec![n as u8; 8 << 10]).await.unwrap().is_stored());
        tokio::task::yield_now().await;
    }
    panic!("nothing came of filling: {:?}", cache.stats());
}

/// Waits until `is_done`, which background work brings about; panics after ten seconds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut is_done: impl FnMut() -> F) {
    for _ in 0..1000 {
        if is_done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came: {what}");
}
