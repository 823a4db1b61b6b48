//! Criterion bench of batches: `get_many`, `set_many` and `delete_many` of 1, 10, 100 and 1,000 keys, each beside the loop over
//! `get`, `set` and `delete`: `cargo bench --bench batch [-- FILTER]`. The keys of a batch were written one after the other
//! (`near`), or are random (`far`). With `ESKER_BENCH_QUICK=1` the samples are few.
//!
//! At the end it prints how many times as fast as the loop each batch was.

mod common;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{Random, Values, key};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use esker::{DiskCache, Durability, SetOptions};
use tokio::runtime::Runtime;

/// Keys of a batch.
const SIZES: [u64; 4] = [1, 10, 100, 1_000];
const VALUE_LEN: usize = 1 << 10;
const ENTRIES: u64 = 64_000;
const SEGMENT_BYTES: u64 = 16 << 20;
const SEGMENTS: u64 = 24;

struct Place {
    runtime: Runtime,
    cache: DiskCache,
    files: Vec<PathBuf>,
    values: Values,
    _dir: tempfile::TempDir,
    /// Nanoseconds a key, by what was done, how many at once, and whether as a batch.
    times: std::cell::RefCell<BTreeMap<(String, u64, bool), f64>>,
}

/// Which keys make a batch.
#[derive(Clone, Copy, PartialEq)]
enum Keys {
    Near,
    Far,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
        let runtime = Runtime::new().expect("a runtime");
        let builder = DiskCache::builder(dir.path())
            .capacity_bytes(SEGMENT_BYTES * SEGMENTS + esker::config::DIRECTORY_OVERHEAD_BYTES)
            .segment_len_bytes(SEGMENT_BYTES);
        let cache = runtime.block_on(builder.open()).expect("the cache opens");
        let values = Values::new(VALUE_LEN);
        runtime.block_on(async {
            let items = (0..ENTRIES).map(|n| (key(n), values.of(n, VALUE_LEN)));
            for outcome in cache.set_many(items, SetOptions::new()).await.expect("open") {
                assert!(outcome.expect("set").is_stored());
            }
            cache.sync().await.expect("sync");
        });
        let files = common::segment_files(dir.path()).expect("list");
        common::warm_pages(&files).expect("read");
        Self { runtime, cache, files, values, _dir: dir, times: Default::default() }
    }

    /// Measures a batch beside the loop: `work` does one of them for the keys that it is given, and says how long
    /// that took.
    fn compare<W: Future<Output = Duration>>(
        &self,
        c: &mut Criterion,
        name: &str,
        (keys, is_cold): (Keys, bool),
        work: impl Fn(Vec<u64>, bool) -> W,
    ) {
        let mut group = c.benchmark_group(name);
        group.sampling_mode(SamplingMode::Flat);
        let turn = Cell::new(0);
        for size in SIZES {
            group.throughput(Throughput::Elements(size));
            for is_batch in [false, true] {
                let id = BenchmarkId::new(if is_batch { "batch" } else { "loop" }, size);
                group.bench_function(id, |b| {
                    b.iter_custom(|count| {
                        let mut total = Duration::ZERO;
                        for _ in 0..count {
                            turn.set(turn.get() + 1);
                            let mut random = Random::new(turn.get());
                            let first = random.below(ENTRIES - size);
                            let chosen = match keys {
                                Keys::Near => (first..first + size).collect(),
                                Keys::Far => random.choose(size as usize, ENTRIES),
                            };
                            if is_cold {
                                common::drop_pages(&self.files).expect("empty the page cache");
                            }
                            total += self.runtime.block_on(work(chosen, is_batch));
                        }
                        let time = total.as_nanos() as f64 / (count * size) as f64;
                        self.times.borrow_mut().insert((name.to_owned(), size, is_batch), time);
                        total
                    });
                });
            }
        }
    }

    async fn get(&self, keys: Vec<u64>, is_batch: bool) -> Duration {
        let began = Instant::now();
        if is_batch {
            let hits = self.cache.get_many(keys.into_iter().map(key)).await.expect("open");
            assert!(hits.into_iter().all(|hit| hit.expect("get").is_some()));
        } else {
            for n in keys {
                assert!(self.cache.get(key(n)).await.expect("get").is_some());
            }
        }
        began.elapsed()
    }

    async fn set(&self, keys: Vec<u64>, is_batch: bool, durability: Durability) -> Duration {
        let options = SetOptions::new().durability(durability);
        let value = |n| self.values.of(n, VALUE_LEN);
        let began = Instant::now();
        if is_batch {
            let items = keys.into_iter().map(|n| (key(n), value(n)));
            let outcomes = self.cache.set_many(items, options).await.expect("open");
            assert!(outcomes.into_iter().all(|outcome| outcome.expect("set").is_stored()));
        } else {
            for n in keys {
                assert!(self.cache.set_with(key(n), value(n), options.clone()).await.expect("set").is_stored());
            }
        }
        began.elapsed()
    }

    async fn delete(&self, keys: Vec<u64>, is_batch: bool) -> Duration {
        let keys: Vec<_> = keys.into_iter().map(|n| key(ENTRIES + n)).collect();
        let items = keys.iter().map(|key| (key, "there"));
        self.cache.set_many(items, SetOptions::new().durability(Durability::Synced)).await.expect("open");
        let began = Instant::now();
        if is_batch {
            assert_eq!(self.cache.delete_many(&keys).await.expect("delete"), keys.len() as u64);
        } else {
            for key in &keys {
                assert!(self.cache.delete(key).await.expect("delete"));
            }
        }
        began.elapsed()
    }
}

fn batches(c: &mut Criterion) {
    let place = &Place::new();
    for (name, keys, is_cold) in [
        ("get_warm_near", Keys::Near, false),
        ("get_warm_far", Keys::Far, false),
        ("get_cold_near", Keys::Near, true),
        ("get_cold_far", Keys::Far, true),
    ] {
        place.compare(c, name, (keys, is_cold), |keys, is_batch| place.get(keys, is_batch));
    }
    for durability in [Durability::Buffered, Durability::Written, Durability::Synced] {
        let name = format!("set_{durability:?}").to_lowercase();
        place.compare(c, &name, (Keys::Far, false), |keys, is_batch| place.set(keys, is_batch, durability));
    }
    place.compare(c, "delete", (Keys::Far, false), |keys, is_batch| place.delete(keys, is_batch));
    for ((name, size, is_batch), time) in place.times.borrow().iter().filter(|((.., is_batch), _)| *is_batch) {
        let looped = place.times.borrow()[&(name.clone(), *size, !is_batch)];
        println!(
            "{name}, {size} keys: {looped:.0} ns a key in a loop, {time:.0} in a batch: {:.2} times",
            looped / time
        );
    }
}

fn modest() -> Criterion {
    let quick = std::env::var_os("ESKER_BENCH_QUICK").is_some();
    let (warm_up, measure) = if quick { (20, 100) } else { (100, 500) };
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(warm_up))
        .measurement_time(Duration::from_millis(measure))
}

criterion_group! {
    name = benches;
    config = modest();
    targets = batches
}
criterion_main!(benches);
