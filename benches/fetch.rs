//! Criterion bench of `get_or_fetch`: many tasks want one key that is not there, and its fetch takes 50 ms. The last of them
//! must have the value within 1.2 times that: `cargo bench --bench fetch`. With `ESKER_BENCH_QUICK=1` the samples are few.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use esker::{DiskCache, FetchOptions, Fetched};
use tokio::runtime::Runtime;

/// Tasks that want the key.
const TASKS: [usize; 3] = [1, 100, 1000];
const FETCH_TIME: Duration = Duration::from_millis(50);
const VALUE_LEN: usize = 64 << 10;
/// What the last of them may take, in times of the fetch.
const MOST: f64 = 1.2;

/// One key: how long it takes until all tasks have its value.
async fn fetch_once(cache: &DiskCache, key: String, tasks: usize) -> Duration {
    let fetches = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let call = |_| {
        let (cache, key, fetches) = (cache.clone(), key.clone(), fetches.clone());
        tokio::spawn(async move {
            let fetch = || async move {
                fetches.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(FETCH_TIME).await;
                Ok::<_, std::io::Error>(Fetched::new(vec![7; VALUE_LEN]))
            };
            cache.get_or_fetch(key, FetchOptions::new(), fetch).await.expect("a value").len_bytes()
        })
    };
    for call in (0..tasks).map(call).collect::<Vec<_>>() {
        assert_eq!(call.await.expect("a task"), VALUE_LEN as u64);
    }
    assert_eq!(fetches.load(Ordering::Relaxed), 1, "one flight a key");
    began.elapsed()
}

fn followers(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
    let cache = runtime.block_on(DiskCache::builder(dir.path()).capacity_bytes(256 << 20).open()).expect("open");
    let mut group = c.benchmark_group("fetch_followers");
    group.sampling_mode(SamplingMode::Flat);
    let mut key = 0;
    for tasks in TASKS {
        let mut times = Vec::new();
        group.bench_function(BenchmarkId::from_parameter(tasks), |b| {
            b.iter_custom(|count| {
                let mut total = Duration::ZERO;
                for _ in 0..count {
                    key += 1;
                    let time = runtime.block_on(fetch_once(&cache, key.to_string(), tasks));
                    times.push(time);
                    total += time;
                }
                total
            });
        });
        times.sort();
        if let Some(median) = times.get(times.len() / 2) {
            let ratio = median.as_secs_f64() / FETCH_TIME.as_secs_f64();
            eprintln!("  {tasks} tasks: {ratio:.3} times the fetch, at most {MOST}");
            assert!(ratio <= MOST, "who waits for a fetch waits {ratio:.3} times as long");
        }
    }
    group.finish();
    runtime.block_on(cache.close()).expect("close");
}

fn modest() -> Criterion {
    let quick = std::env::var_os("ESKER_BENCH_QUICK").is_some();
    let measure = if quick { 200 } else { 2_000 };
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(measure))
}

criterion_group! {
    name = benches;
    config = modest();
    targets = followers
}
criterion_main!(benches);
