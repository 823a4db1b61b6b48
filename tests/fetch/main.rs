//! `get_or_fetch` and `get_or_refresh`: one fetch a key, shared by all who wait; and what is older is never stored over what
//! is newer.

#[path = "../common/mod.rs"]
mod common;
mod failures;
mod refresh;
mod sharing;
mod truth;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::small;
use esker::backend::sim::Sim;
use esker::clock::ManualClock;
use esker::{Config, DiskCache, Error, FetchOptions, Fetched, Hit, Millis, SetOptions};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// A disk, a clock, and how the cache is configured.
struct Machine {
    sim: Sim,
    clock: Arc<ManualClock>,
    config: Config,
}

impl Machine {
    fn new() -> Self {
        Self { sim: Sim::new(1), clock: Arc::new(ManualClock::new(Millis(1_700_000_000_000))), config: small(16) }
    }

    async fn open(&self) -> DiskCache {
        let builder = DiskCache::builder("/cache").config(self.config.clone()).clock(self.clock.clone());
        builder.backend_with(Arc::new(self.sim.clone())).open().await.expect("open")
    }

    /// Asserts that the key has this value, now and in the next process.
    async fn assert_value(&self, cache: DiskCache, key: &str, expected: Option<&str>) {
        assert_eq!(get(&cache, key).await.as_deref(), expected, "{key} now");
        cache.close().await.expect("close");
        let cache = self.open().await;
        assert_eq!(get(&cache, key).await.as_deref(), expected, "{key} after a reopen");
        cache.close().await.expect("close");
    }
}

/// Where values come from: it counts who asks, and lets nobody go until it is told.
#[derive(Clone)]
struct Origin(Arc<Inner>);

struct Inner {
    calls: AtomicU64,
    begun: Semaphore,
    gate: Semaphore,
}

impl Origin {
    /// One that lets nobody go.
    fn shut() -> Self {
        Self(Arc::new(Inner { calls: AtomicU64::new(0), begun: Semaphore::new(0), gate: Semaphore::new(0) }))
    }

    /// One that answers at once.
    fn open() -> Self {
        let origin = Self::shut();
        origin.let_go(1 << 20);
        origin
    }

    fn let_go(&self, fetches: usize) {
        self.0.gate.add_permits(fetches);
    }

    fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// Waits until one more fetch has begun.
    async fn begun(&self) {
        self.0.begun.acquire().await.unwrap().forget();
    }

    async fn asked(&self) {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        self.0.begun.add_permits(1);
        self.0.gate.acquire().await.unwrap().forget();
    }

    /// A fetch of this value.
    fn fetch(&self, value: &str) -> impl FnOnce() -> Fetching + Send + 'static {
        self.fetch_with(value.as_bytes().to_vec(), SetOptions::new())
    }

    fn fetch_with(&self, value: Vec<u8>, options: SetOptions) -> impl FnOnce() -> Fetching + Send + 'static {
        let this = self.clone();
        || {
            Box::pin(async move {
                this.asked().await;
                Ok(Fetched::new(value).options(options))
            })
        }
    }

    /// A fetch that fails.
    fn fail(&self, why: &'static str) -> impl FnOnce() -> Fetching + Send + 'static {
        let this = self.clone();
        move || {
            Box::pin(async move {
                this.asked().await;
                Err(io::Error::new(io::ErrorKind::NotFound, why))
            })
        }
    }

    /// A call in a task of its own.
    fn call(&self, cache: &DiskCache, key: &'static str, value: &str) -> JoinHandle<Result<Hit, Error>> {
        let (cache, fetch) = (cache.clone(), self.fetch(value));
        tokio::spawn(async move { cache.get_or_fetch(key, FetchOptions::new(), fetch).await })
    }
}

type Fetching = std::pin::Pin<Box<dyn Future<Output = io::Result<Fetched>> + Send>>;

fn text(hit: &Hit) -> &str {
    std::str::from_utf8(hit.value()).unwrap()
}

async fn get(cache: &DiskCache, key: &str) -> Option<String> {
    cache.get(key).await.unwrap().map(|hit| text(&hit).to_owned())
}

fn ttl(seconds: u64) -> SetOptions {
    SetOptions::new().ttl(Duration::from_secs(seconds))
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never came: {what}");
}

/// Until so many have asked. On a runtime of one thread they have taken their seats then: there is nothing to wait for between
/// the miss and the seat.
async fn waiting(cache: &DiskCache, misses: u64) {
    eventually("all have asked", || cache.stats().counts.misses_unknown >= misses).await;
}
