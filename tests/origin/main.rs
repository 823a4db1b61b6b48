//! A cache in front of an origin: what is written goes there, and the cache is never behind it (A7, P2).

mod back;
#[path = "../common/mod.rs"]
mod common;
mod crashes;
mod writing;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use esker::{BoxError, BoxFuture, Fetched, Origin, SetOptions};
use tokio::sync::Semaphore;

/// A value and its metadata.
type Pair = (Bytes, Bytes);

/// An origin in memory: it counts who asks, takes its time, fails when it is told to, and remembers what it took.
struct Mock {
    values: Mutex<HashMap<Bytes, Pair>>,
    /// Each value that it took or removed, in order.
    taken: Mutex<Vec<(Bytes, Option<Bytes>)>>,
    loads: AtomicU64,
    /// The next so many writes fail.
    failures: AtomicU64,
    /// Whether a write that fails takes effect all the same.
    lies: bool,
    /// Who asks takes a permit, and waits for it.
    gate: Semaphore,
}

impl Mock {
    fn new() -> Arc<Self> {
        Self::build(false, Semaphore::MAX_PERMITS)
    }

    /// One that lets nobody go until permits are added.
    fn shut() -> Arc<Self> {
        Self::build(false, 0)
    }

    fn build(lies: bool, permits: usize) -> Arc<Self> {
        let (values, taken, loads, failures) = Default::default();
        Arc::new(Self { values, taken, loads, failures, lies, gate: Semaphore::new(permits) })
    }

    fn has(&self, key: &str) -> Option<Bytes> {
        self.values.lock().unwrap().get(key.as_bytes()).map(|(value, _)| value.clone())
    }

    fn put(&self, key: &str, value: &str) {
        let pair = (Bytes::copy_from_slice(value.as_bytes()), Bytes::new());
        self.values.lock().unwrap().insert(Bytes::copy_from_slice(key.as_bytes()), pair);
    }

    fn loads(&self) -> u64 {
        self.loads.load(Ordering::SeqCst)
    }

    async fn pass(&self) {
        let Ok(permit) = self.gate.acquire().await else { return };
        if self.gate.available_permits() < 1 << 20 {
            permit.forget();
        }
    }

    async fn take(&self, key: &[u8], pair: Option<Pair>) -> Result<(), BoxError> {
        self.pass().await;
        let fails = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if !fails || self.lies {
            let key = Bytes::copy_from_slice(key);
            self.taken.lock().unwrap().push((key.clone(), pair.as_ref().map(|(value, _)| value.clone())));
            match pair {
                Some(pair) => drop(self.values.lock().unwrap().insert(key, pair)),
                None => drop(self.values.lock().unwrap().remove(&key)),
            }
        }
        if fails { Err(io::Error::other("the origin is ill").into()) } else { Ok(()) }
    }
}

impl Origin for Mock {
    fn load<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Fetched>, BoxError>> {
        Box::pin(async move {
            self.loads.fetch_add(1, Ordering::SeqCst);
            let found = self.values.lock().unwrap().get(key).cloned();
            // What it gives is what it had when it was asked.
            self.pass().await;
            Ok(found.map(|(value, metadata)| Fetched::new(value).options(SetOptions::new().metadata(metadata))))
        })
    }

    fn store<'a>(&'a self, key: &'a [u8], value: Bytes, metadata: Bytes) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(self.take(key, Some((value, metadata))))
    }

    fn remove<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(self.take(key, None))
    }
}

/// Until something is so.
async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never came: {what}");
}
