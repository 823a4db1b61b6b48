//! Criterion benches of the cache's operations by value size: `cargo bench --bench cache [-- FILTER]`. With
//! `ESKER_BENCH_QUICK=1`, or criterion's own `--quick`, the samples are few.

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Random, Values, key};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use esker::{BackendKind, DiskCache};
use tokio::runtime::Runtime;

/// Value lengths in bytes.
const LENGTHS: [usize; 4] = [1 << 10, 4 << 10, 64 << 10, 1 << 20];
/// Bytes of values in each cache.
const SET_BYTES: u64 = 256 << 20;
/// Length of a segment in bytes.
const SEGMENT_BYTES: u64 = 16 << 20;

/// A runtime and a directory for caches.
struct Place {
    runtime: Runtime,
    dir: tempfile::TempDir,
    values: Values,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
        Self { runtime: Runtime::new().expect("a runtime"), dir, values: Values::new(1 << 20) }
    }

    fn open(&self, dir: &Path, memory_bytes: u64) -> DiskCache {
        let builder = DiskCache::builder(dir)
            .capacity_bytes(2 * SET_BYTES)
            .segment_len_bytes(SEGMENT_BYTES)
            .memory_bytes(memory_bytes)
            .backend(BackendKind::Auto);
        self.runtime.block_on(builder.open()).expect("the cache opens")
    }

    /// A cache with every entry in it, on disk, and in the page cache too.
    fn filled(&self, name: &str, len: usize, memory_bytes: u64) -> (DiskCache, u64) {
        let dir = self.dir.path().join(format!("{name}-{len}"));
        let cache = self.open(&dir, memory_bytes);
        let entries = SET_BYTES / len as u64 / 2;
        self.runtime.block_on(async {
            for n in 0..entries {
                cache.set(key(n), self.values.of(n, len)).await.expect("set");
            }
            cache.sync().await.expect("sync");
        });
        common::warm_pages(&common::segment_files(&dir).expect("list")).expect("read");
        (cache, entries)
    }

    /// Times `count` operations of one task.
    fn time<F: Future<Output = ()>>(&self, count: u64, mut op: impl FnMut(u64) -> F) -> Duration {
        self.runtime.block_on(async {
            let began = Instant::now();
            for n in 0..count {
                op(n).await;
            }
            began.elapsed()
        })
    }
}

fn set(c: &mut Criterion) {
    let place = Place::new();
    let mut group = c.benchmark_group("set");
    for len in LENGTHS {
        let cache = place.open(&place.dir.path().join(format!("set-{len}")), 0);
        let values: Vec<Bytes> = (0..64).map(|n| place.values.of(n, len)).collect();
        let mut next = 0;
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::from_parameter(len), |b| {
            b.iter_custom(|count| {
                place.time(count, |n| {
                    next += 1;
                    let (cache, value) = (&cache, values[n as usize % values.len()].clone());
                    async move {
                        cache.set(key(next), value).await.expect("set");
                    }
                })
            });
        });
        place.runtime.block_on(cache.close()).expect("close");
    }
}

fn get(c: &mut Criterion) {
    let place = Place::new();
    for (name, memory_bytes) in [("get/memory", 2 * SET_BYTES), ("get/disk_warm", 0)] {
        let mut group = c.benchmark_group(name);
        for len in LENGTHS {
            let (cache, entries) = place.filled(&name.replace('/', "-"), len, memory_bytes);
            let mut random = Random::new(3);
            group.throughput(Throughput::Bytes(len as u64));
            group.bench_function(BenchmarkId::from_parameter(len), |b| {
                b.iter_custom(|count| {
                    place.time(count, |_| {
                        let (cache, n) = (&cache, random.below(entries));
                        async move {
                            assert!(cache.get(key(n)).await.expect("get").is_some());
                        }
                    })
                });
            });
            place.runtime.block_on(cache.close()).expect("close");
        }
    }
}

/// Four gets to one set, of keys of which some come more often, at capacity.
fn mixed(c: &mut Criterion) {
    let place = Place::new();
    let mut group = c.benchmark_group("mixed");
    for len in LENGTHS {
        let (cache, entries) = place.filled("mixed", len, 0);
        let mut random = Random::new(4);
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::from_parameter(len), |b| {
            b.iter_custom(|count| {
                place.time(count, |n| {
                    let bound = random.below(entries * 4) + 1;
                    let (cache, chosen) = (&cache, random.below(bound));
                    let value = (n % 5 == 0).then(|| place.values.of(chosen, len));
                    async move {
                        match value {
                            Some(value) => drop(cache.set(key(chosen), value).await.expect("set")),
                            None => drop(cache.get(key(chosen)).await.expect("get")),
                        }
                    }
                })
            });
        });
        place.runtime.block_on(cache.close()).expect("close");
    }
}

/// Opening after a clean close.
fn recover(c: &mut Criterion) {
    let place = Place::new();
    let mut group = c.benchmark_group("recover");
    for len in LENGTHS {
        let (cache, entries) = place.filled("recover", len, 0);
        place.runtime.block_on(cache.close()).expect("close");
        drop(cache);
        let dir = place.dir.path().join(format!("recover-{len}"));
        group.throughput(Throughput::Elements(entries));
        group.bench_function(BenchmarkId::from_parameter(len), |b| {
            b.iter_custom(|count| {
                let mut total = Duration::ZERO;
                for _ in 0..count {
                    let began = Instant::now();
                    let cache = place.open(&dir, 0);
                    total += began.elapsed();
                    assert_eq!(cache.stats().entries, entries);
                    place.runtime.block_on(cache.close()).expect("close");
                }
                total
            });
        });
    }
}

fn modest() -> Criterion {
    let quick = std::env::var_os("ESKER_BENCH_QUICK").is_some();
    let (warm_up, measure) = if quick { (50, 200) } else { (500, 2_000) };
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
