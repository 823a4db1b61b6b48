//! What the statistics count is what the files hold, recomputed from them, whatever was done in between (P5); and there
//! are no other files.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{Dice, key, value};
use esker::backend::sim::Sim;
use esker::clock::{Clock, ManualClock};
use esker::config::DIRECTORY_OVERHEAD_BYTES;
use esker::format::footer::footer_bytes;
use esker::format::record::record_len;
use esker::format::segment_header::DATA_START;
use esker::inspect::Inspector;
use esker::{BackendKind, Config, DiskCache, Millis, SetOptions, Stats};

const DIR: &str = "/cache";
const SEGMENT_LEN_BYTES: u64 = 64 << 10;
const SEGMENTS: u64 = 12;
const KEYS: u32 = 150;

fn config(segments: u64) -> Config {
    Config {
        capacity_bytes: segments * SEGMENT_LEN_BYTES + DIRECTORY_OVERHEAD_BYTES,
        segment_len_bytes: Some(SEGMENT_LEN_BYTES),
        flush_interval_ms: 20,
        ..Config::default()
    }
}

struct Books {
    sim: Sim,
    clock: Arc<ManualClock>,
    dice: Dice,
    version: u32,
}

impl Books {
    fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::new(Millis(1_700_000_000_000)));
        Self { sim: Sim::new(seed), clock, dice: Dice::new(seed), version: 0 }
    }

    async fn open(&self) -> DiskCache {
        let builder = DiskCache::builder(DIR).config(config(SEGMENTS)).clock(self.clock.clone());
        builder.backend_with(Arc::new(self.sim.clone())).open().await.expect("open")
    }

    async fn set(&mut self, cache: &DiskCache, n: u32, options: SetOptions) {
        self.version += 1;
        let len = self.dice.below(6_000) as usize;
        assert!(cache.set_with(key(n), value(n, self.version, len), options).await.expect("set").is_stored());
    }

    async fn fill(&mut self, cache: &DiskCache, sets: u32) {
        for _ in 0..sets {
            let n = self.dice.below(u64::from(KEYS)) as u32;
            self.set(cache, n, SetOptions::new()).await;
        }
    }

    /// What is wrong with the statistics, once everything is written.
    async fn difference(&self, cache: &DiskCache) -> Option<String> {
        cache.sync().await.expect("sync");
        let stats = cache.stats();
        let summary = Inspector::new(Arc::new(self.sim.clone()), DIR, self.clock.now()).summary().await.expect("read");
        let files = self.sim.list_files(DIR).expect("list");
        let len = |path: &Path| self.sim.read_file(path).expect("read").len() as u64;
        let is_segment = |path: &Path| path.extension().is_some_and(|e| e == "esk");
        let segment_bytes: u64 = files.iter().filter(|p| is_segment(p)).map(|p| len(p)).sum();
        let other_bytes: u64 = files.iter().filter(|p| !is_segment(p)).map(|p| len(p)).sum();
        assert!(other_bytes <= DIRECTORY_OVERHEAD_BYTES, "{other_bytes} bytes beside the segments");
        assert!(stats.used_bytes <= stats.capacity_bytes, "{stats:?}");
        let counted = [stats.entries, stats.live_bytes, stats.dead_bytes, stats.used_bytes, stats.segments];
        let found = [
            summary.entries,
            summary.live_bytes,
            summary.dead_bytes,
            segment_bytes + DIRECTORY_OVERHEAD_BYTES,
            summary.segments.len() as u64,
        ];
        let names = "entries, live, dead, used bytes, segments";
        (counted != found).then(|| format!("{names}: counted {counted:?}, found {found:?}"))
    }

    /// The books agree as soon as eviction rests, and then stay so: a drift would stay too.
    async fn assert_agree(&self, cache: &DiskCache, when: &str) -> Stats {
        let mut difference = None;
        for _ in 0..200 {
            difference = self.difference(cache).await;
            if difference.is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
                difference = self.difference(cache).await;
            }
            if difference.is_none() {
                return cache.stats();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{when}: {}", difference.unwrap_or_default());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_agree_after_everything_that_changes_them() {
    let mut books = Books::new(1);
    let cache = books.open().await;
    let empty = books.assert_agree(&cache, "empty").await;
    assert_eq!((empty.entries, empty.used_bytes), (0, DIRECTORY_OVERHEAD_BYTES));

    for n in 0..40 {
        books.set(&cache, n, SetOptions::new()).await;
    }
    let before = books.assert_agree(&cache, "sets").await;
    assert_eq!(before.entries, 40);

    for n in 0..40 {
        books.set(&cache, n, SetOptions::new()).await;
    }
    let after = books.assert_agree(&cache, "overwrites").await;
    assert!(after.entries == 40 && after.dead_bytes > before.dead_bytes, "{after:?}");

    for n in 0..10 {
        assert!(cache.delete(key(n)).await.expect("delete"));
    }
    assert_eq!(books.assert_agree(&cache, "deletes").await.entries, 30);

    for n in 100..120 {
        books.set(&cache, n, SetOptions::new().ttl(Duration::from_secs(5))).await;
    }
    books.set(&cache, 20, SetOptions::new().ttl(Duration::from_secs(5))).await;
    let before = books.assert_agree(&cache, "entries that expire").await;
    books.clock.advance(10_000);
    for n in (100..120).chain([20]) {
        assert!(cache.get(key(n)).await.expect("get").is_none());
    }
    let after = books.assert_agree(&cache, "expiry").await;
    assert_eq!(after.entries, before.entries - 21);

    cache.clear().await.expect("clear");
    let cleared = books.assert_agree(&cache, "clear").await;
    assert_eq!((cleared.entries, cleared.live_bytes), (0, 0));

    let mut rounds = 0;
    while cache.stats().counts.entries_reinserted < 20 || cache.stats().counts.segments_evicted < 20 {
        books.fill(&cache, 20).await;
        for n in 0..20 {
            cache.get(key(n)).await.expect("get");
        }
        rounds += 1;
        assert!(rounds < 200, "nothing is evicted: {:?}", cache.stats());
    }
    let before = books.assert_agree(&cache, "eviction and reinsertion").await;
    assert!(before.entries > 20 && before.counts.entries_evicted > 0, "{before:?}");

    // What eviction dropped is kept besides.
    cache.close().await.expect("close");
    let closed = cache.stats();
    let cache = books.open().await;
    let after = books.assert_agree(&cache, "a clean reopen").await;
    assert_eq!((after.entries, after.live_bytes), (before.entries, closed.live_bytes));
}

/// Everything at once, in a random order, with kills in between.
#[tokio::test(flavor = "multi_thread")]
async fn the_books_agree_after_random_work_and_kills() {
    for seed in 0..4 {
        let mut books = Books::new(seed);
        let (mut evicted, mut deleted, mut expiring) = (0, 0, KEYS);
        for life in 0..3 {
            let cache = books.open().await;
            books.assert_agree(&cache, "the open").await;
            for step in 0..4 {
                for _ in 0..120 {
                    let n = books.dice.below(u64::from(KEYS)) as u32;
                    match books.dice.below(20) {
                        0..12 => books.set(&cache, n, SetOptions::new()).await,
                        12..14 => {
                            let ttl = Duration::from_secs(1 + books.dice.below(100));
                            // Of keys used once: where other records of a key lie on disk, recovery keeps an expired
                            // one so that its eviction leaves a marker, and what runs may know that none is needed.
                            expiring += 1;
                            books.set(&cache, expiring, SetOptions::new().ttl(ttl)).await;
                        }
                        14..17 => drop(cache.get(key(n)).await.expect("get")),
                        17..19 => drop(cache.delete(key(n)).await.expect("delete")),
                        _ => books.clock.advance(books.dice.below(3) * 1_000),
                    }
                }
                // What has expired is counted until it is met; footers, which the other side reads, know whole seconds.
                books.clock.advance(1_000);
                for n in 0..=expiring {
                    cache.contains(key(n)).await.expect("contains");
                }
                books.assert_agree(&cache, &format!("seed {seed}, life {life}, step {step}")).await;
            }
            (evicted, deleted) =
                (evicted + cache.stats().counts.segments_evicted, deleted + cache.stats().counts.deletes);
            books.sim.crash_process();
            books.sim = books.sim.reopen();
        }
        assert!(evicted > 10 && deleted > 10, "seed {seed}: too little happened: {evicted} {deleted}");
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn expected_names(segments: usize) -> Vec<String> {
    let segments = (0..segments).map(|slot| format!("seg-{slot:04x}.esk"));
    ["LOCK".to_owned(), "MANIFEST".to_owned()].into_iter().chain(segments).collect()
}

/// README.md, "Files and inodes".
#[test]
fn the_arithmetic_of_the_readme_holds() {
    let (segment, gib) = (64u64 << 20, 1u64 << 30);
    let segments = |capacity_bytes| Config { capacity_bytes, ..Config::default() }.max_segments(segment);
    assert_eq!((DIRECTORY_OVERHEAD_BYTES, segments(gib), segments(gib + (16 << 10))), (16 << 10, 15, 16));
    let record = record_len(16, 0, 4096).unwrap().len_bytes();
    let fits = |n: u64| (DATA_START + n * record).next_multiple_of(4096) + footer_bytes(n as usize) <= segment;
    assert!(record == 4_160 && fits(16_038) && !fits(16_039));
    assert_eq!((gib / 4096).div_ceil(16_038), 17);
}

/// Sixteen segments' worth of entries take sixteen segment files, a manifest and a lock file, and no more: at the
/// default length of 64 MiB that is a GiB.
#[tokio::test(flavor = "multi_thread")]
async fn sixteen_segments_worth_of_entries_are_sixteen_files_and_two() {
    let dir = tempfile::tempdir().unwrap();
    // No padding by the clock: how much fits a segment is then the same for each.
    let config = Config { flush_interval_ms: 3_600_000, backend: BackendKind::TokioFs, ..config(32) };
    let cache = DiskCache::builder(dir.path()).config(config).open().await.unwrap();
    let mut set = 0u32;
    while cache.stats().segments < 2 {
        assert!(cache.set(key(set + 10_000), value(set, 0, 1_000)).await.unwrap().is_stored());
        set += 1;
    }
    let per_segment = set - 1;
    assert!((50..70).contains(&per_segment), "{per_segment} entries of 1,000 bytes in 64 KiB");
    while set < 16 * per_segment {
        assert!(cache.set(key(set + 10_000), value(set, 0, 1_000)).await.unwrap().is_stored());
        set += 1;
    }
    cache.sync().await.unwrap();
    assert_eq!(names(dir.path()), expected_names(16));
    assert_eq!(cache.stats().entries, u64::from(set), "nothing was evicted");
    cache.close().await.unwrap();
    assert_eq!(names(dir.path()), expected_names(16), "a close leaves nothing else");
    let bytes: u64 = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes <= 16 * SEGMENT_LEN_BYTES + DIRECTORY_OVERHEAD_BYTES, "{bytes}");
}
