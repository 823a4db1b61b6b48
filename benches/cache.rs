//! Criterion benches of the cache's operations: by value size, by tasks at once, warm and cold, on both backends, from
//! memory and from disk, and at capacity: `cargo bench --bench cache [-- FILTER]`. The name of a bench is
//! `group/backend/parameter`, so `-- get_cold`, `-- tokio_fs` or `-- /4096` choose. With `ESKER_BENCH_QUICK=1`, or
//! criterion's own `--quick`, the samples are few.

mod common;

use std::cell::Cell;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Outcome, Random, Store, Values, gets, sets};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use esker::{BackendKind, DiskCache};
use tokio::runtime::Runtime;

/// Value lengths in bytes.
const LENGTHS: [usize; 5] = [1 << 10, 4 << 10, 100 << 10, 1 << 20, 10 << 20];
/// Tasks at once.
const TASKS: [usize; 5] = [1, 8, 32, 128, 512];
/// Length of the values that many tasks share.
const SHARED_LEN: usize = 4 << 10;
/// The ways to the disk that a default build has.
const BACKENDS: &[BackendKind] =
    if cfg!(has_uring) { &[BackendKind::Uring, BackendKind::TokioFs] } else { &[BackendKind::TokioFs] };
/// Bytes of values in each cache, and fewest values.
const SET_BYTES: u64 = 128 << 20;
const MIN_ENTRIES: u64 = 12;
/// What the hot tier may take: so much that one part of it admits the longest value.
const HOT_TIER_BYTES: u64 = 2 << 30;
/// Length of a segment in bytes: the longest value fits.
const SEGMENT_BYTES: u64 = 16 << 20;
/// Segments of a cache that has room, and of one that is at capacity.
const ROOMY: u64 = 24;
const TIGHT: u64 = 8;

/// A runtime and a directory for caches.
struct Place {
    runtime: Runtime,
    dir: tempfile::TempDir,
    values: Values,
    made: Cell<u32>,
}

/// A cache with every entry in it, on disk.
struct Filled {
    cache: DiskCache,
    files: Vec<PathBuf>,
    dir: PathBuf,
    entries: u64,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
        let runtime = Runtime::new().expect("a runtime");
        Self { runtime, dir, values: Values::new(10 << 20), made: Cell::new(0) }
    }

    fn fresh_dir(&self) -> PathBuf {
        self.made.set(self.made.get() + 1);
        self.dir.path().join(self.made.get().to_string())
    }

    fn open(&self, dir: &Path, kind: BackendKind, segments: u64, memory_bytes: u64) -> DiskCache {
        let builder = DiskCache::builder(dir)
            .capacity_bytes(SEGMENT_BYTES * segments + esker::config::DIRECTORY_OVERHEAD_BYTES)
            .segment_len_bytes(SEGMENT_BYTES)
            .memory_bytes(memory_bytes)
            .backend(kind);
        self.runtime.block_on(builder.open()).expect("the cache opens")
    }

    fn filled(&self, kind: BackendKind, len: usize, memory_bytes: u64) -> Filled {
        let dir = self.fresh_dir();
        let cache = self.open(&dir, kind, ROOMY, memory_bytes);
        let entries = (SET_BYTES / len as u64).max(MIN_ENTRIES);
        self.wait(async {
            sets(&cache, (0..entries).collect(), &self.values, len, 8, false).await?;
            Ok(cache.sync().await?)
        });
        assert_eq!(cache.stats().entries, entries, "it was meant to have room");
        let files = common::segment_files(&dir).expect("list");
        Filled { cache, files, dir, entries }
    }

    fn wait<T>(&self, work: impl Future<Output = Outcome<T>>) -> T {
        self.runtime.block_on(work).expect("the work is done")
    }

    /// Closes the cache and removes its files.
    fn done(&self, cache: DiskCache, dir: &Path) {
        self.runtime.block_on(cache.close()).expect("close");
        drop(cache);
        std::fs::remove_dir_all(dir).expect("remove");
    }
}

impl Filled {
    /// Times gets of random entries. Cold ones ask for each entry once, then the page cache is emptied again.
    fn time_gets(&self, place: &Place, count: u64, len: usize, tasks: usize, is_cold: bool) -> Duration {
        let mut random = Random::new(count);
        let (mut left, mut total) = (count, Duration::ZERO);
        while left > 0 {
            let now = if is_cold { left.min(self.entries) } else { left };
            let keys = if is_cold {
                common::drop_pages(&self.files).expect("empty the page cache");
                random.choose(now as usize, self.entries)
            } else {
                (0..now).map(|_| random.below(self.entries)).collect()
            };
            total += place.wait(gets(&self.cache, keys, len, tasks, false)).elapsed;
            left -= now;
        }
        total
    }
}

fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat);
    group
}

fn backend_name(kind: BackendKind) -> String {
    kind.to_string()
}

/// Sets of new keys: one task by size, then many tasks.
fn set(c: &mut Criterion) {
    let place = Place::new();
    let by_size = LENGTHS.map(|len| ("set", len, 1));
    let by_tasks = TASKS.map(|tasks| ("set_tasks", SHARED_LEN, tasks));
    for &kind in BACKENDS {
        for (name, len, tasks) in by_size.into_iter().chain(by_tasks) {
            let mut group = group(c, name);
            group.throughput(Throughput::Bytes(len as u64));
            let parameter = if name == "set" { len } else { tasks };
            let mut opened: Option<(DiskCache, PathBuf)> = None;
            let mut next = 0;
            group.bench_function(BenchmarkId::new(backend_name(kind), parameter), |b| {
                let (cache, _) = opened.get_or_insert_with(|| {
                    let dir = place.fresh_dir();
                    (place.open(&dir, kind, ROOMY, 0), dir)
                });
                b.iter_custom(|count| {
                    let keys = (next..next + count).collect();
                    next += count;
                    place.wait(sets(cache, keys, &place.values, len, tasks, false)).elapsed
                });
            });
            if let Some((cache, dir)) = opened {
                place.done(cache, &dir);
            }
        }
    }
}

/// Gets of entries that are there. The cache is filled only if a bench of it is chosen.
fn bench_gets(c: &mut Criterion, place: &Place, name: &str, kind: BackendKind, shape: (usize, usize, usize)) {
    let (len, tasks, parameter) = shape;
    let is_cold = name.starts_with("get_cold");
    let memory_bytes = if name == "get_memory" { HOT_TIER_BYTES } else { 0 };
    let mut filled: Option<Filled> = None;
    let mut group = group(c, name);
    group.throughput(Throughput::Bytes(len as u64));
    group.bench_function(BenchmarkId::new(backend_name(kind), parameter), |b| {
        let filled = filled.get_or_insert_with(|| {
            let filled = place.filled(kind, len, memory_bytes);
            common::warm_pages(&filled.files).expect("read");
            if memory_bytes > 0 {
                let all = (0..filled.entries).collect();
                place.wait(gets(&filled.cache, all, len, 1, false));
            }
            filled
        });
        b.iter_custom(|count| filled.time_gets(place, count, len, tasks, is_cold));
    });
    if let Some(filled) = filled {
        if memory_bytes > 0 {
            let counts = filled.cache.stats().counts;
            assert!(counts.hits_memory > counts.hits_disk, "the hot tier did not answer: {counts:?}");
        }
        place.done(filled.cache, &filled.dir);
    }
}

fn get(c: &mut Criterion) {
    let place = Place::new();
    for len in LENGTHS {
        bench_gets(c, &place, "get_memory", BackendKind::Auto, (len, 1, len));
    }
    for &kind in BACKENDS {
        for len in LENGTHS {
            bench_gets(c, &place, "get_warm", kind, (len, 1, len));
            bench_gets(c, &place, "get_cold", kind, (len, 1, len));
        }
        for tasks in TASKS {
            bench_gets(c, &place, "get_warm_tasks", kind, (SHARED_LEN, tasks, tasks));
            bench_gets(c, &place, "get_cold_tasks", kind, (SHARED_LEN, tasks, tasks));
        }
    }
}

/// Read-through: what is not there is set.
#[derive(Clone)]
struct ReadThrough {
    cache: DiskCache,
    values: Values,
    sets: Arc<AtomicU64>,
}

impl Store for ReadThrough {
    async fn get(&self, key: [u8; 16], len: usize) -> Outcome<bool> {
        if !Store::get(&self.cache, key, len).await? {
            let n = self.sets.fetch_add(1, Ordering::Relaxed);
            self.set(key, self.values.of(n, len)).await?;
        }
        Ok(true)
    }

    async fn set(&self, key: [u8; 16], value: Bytes) -> Outcome<()> {
        Store::set(&self.cache, key, value).await
    }
}

/// Read-through gets from 8 tasks, of four times as much as fits, the lower keys more often, with eviction going on.
fn mixed(c: &mut Criterion) {
    let place = Place::new();
    for (kind, len) in BACKENDS.iter().flat_map(|&kind| LENGTHS.map(|len| (kind, len))) {
        let mut group = group(c, "mixed");
        group.throughput(Throughput::Elements(1));
        let keys = 4 * TIGHT * SEGMENT_BYTES / len as u64;
        let mut opened: Option<(ReadThrough, PathBuf)> = None;
        let mut random = Random::new(4);
        group.bench_function(BenchmarkId::new(backend_name(kind), len), |b| {
            let (store, _) = opened.get_or_insert_with(|| {
                let dir = place.fresh_dir();
                let cache = place.open(&dir, kind, TIGHT, 0);
                let store = ReadThrough { cache, values: place.values.clone(), sets: Arc::default() };
                // At capacity before the first sample.
                let mut n = 0;
                while store.cache.stats().counts.segments_evicted < TIGHT {
                    let fillers = (n..n + 64).map(|n| (1 << 40) + n).collect();
                    place.wait(sets(&store.cache, fillers, &store.values, len, 8, false));
                    n += 64;
                }
                (store, dir)
            });
            b.iter_custom(|count| {
                let chosen = |_| {
                    let bound = random.below(keys) + 1;
                    random.below(bound)
                };
                place.wait(gets(store, (0..count).map(chosen).collect(), len, 8, false)).elapsed
            });
        });
        if let Some((store, dir)) = opened {
            let stats = store.cache.stats();
            let (evicted, ratio) = (stats.counts.segments_evicted, stats.hit_ratio());
            assert!(evicted >= TIGHT, "no capacity pressure: {stats:?}");
            eprintln!("  {evicted} segments evicted, {TIGHT} of them before the first sample; hit ratio {ratio:.2}");
            place.done(store.cache, &dir);
        }
    }
}

/// Opening after a clean close.
fn recover(c: &mut Criterion) {
    let place = Place::new();
    for len in LENGTHS {
        let mut group = group(c, "recover");
        let mut closed: Option<(PathBuf, u64)> = None;
        group.bench_function(BenchmarkId::new(backend_name(BackendKind::Auto), len), |b| {
            let (dir, entries) = closed.get_or_insert_with(|| {
                let filled = place.filled(BackendKind::Auto, len, 0);
                place.runtime.block_on(filled.cache.close()).expect("close");
                (filled.dir, filled.entries)
            });
            b.iter_custom(|count| {
                let mut total = Duration::ZERO;
                for _ in 0..count {
                    let began = Instant::now();
                    let cache = place.open(dir, BackendKind::Auto, ROOMY, 0);
                    total += began.elapsed();
                    assert_eq!(cache.stats().entries, *entries);
                    place.runtime.block_on(cache.close()).expect("close");
                }
                total
            });
        });
        if let Some((dir, _)) = closed {
            std::fs::remove_dir_all(dir).expect("remove");
        }
    }
}

fn modest() -> Criterion {
    let quick = std::env::var_os("ESKER_BENCH_QUICK").is_some();
    let (warm_up, measure) = if quick { (50, 200) } else { (200, 1_000) };
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(warm_up))
        .measurement_time(Duration::from_millis(measure))
}

criterion_group! {
    name = benches;
    config = modest();
    targets = set, get, mixed, recover
}
criterion_main!(benches);
