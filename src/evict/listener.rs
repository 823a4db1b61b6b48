//! Who wants to know what eviction drops. Nobody is waited for: what a listener does not take in time, it misses.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::format::namespace;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, Notify};

/// Most evictions that wait for one listener.
const MOST_WAITING: usize = 16_384;

/// An entry that left the cache though nobody removed or replaced it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Evicted {
    /// The namespace that it was in, if it was in one.
    pub namespace: Option<String>,
    /// Its key, within its namespace.
    #[serde(skip)]
    pub key: Bytes,
    /// Why it went.
    pub reason: EvictReason,
    /// How long ago it was set.
    pub age: Duration,
    /// Hits since it was set, or since eviction last rewrote it: 0 to 3, 3 meaning 3 or more. Always 0
    /// with `EvictionPolicy::Fifo`, which does not count them.
    pub hits: u8,
}

impl Evicted {
    /// With the key as it stands on disk.
    pub(crate) fn new(key: Bytes, reason: EvictReason, age: Duration, hits: u8) -> Self {
        let (namespace, key) = match namespace::split(&key) {
            Some(split) => (Some(split.name.to_owned()), key.slice_ref(split.key)),
            None => (None, key),
        };
        Self { namespace, key, reason, age, hits }
    }
}

/// Why an entry was evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EvictReason {
    /// It had expired.
    Expired,
    /// It was purged.
    Purged,
    /// It waited in memory for a second use, which did not come.
    Unused,
    /// Room was needed, and the policy did not keep it.
    Room,
}

/// What eviction drops from now on, oldest first. See [`DiskCache::evictions`](crate::DiskCache::evictions).
pub struct Evictions {
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<VecDeque<Evicted>>,
    /// Whether no more will come.
    is_over: Mutex<bool>,
    told: Notify,
    missed: AtomicU64,
}

impl Evictions {
    /// The next one; waits for it. `None`: the cache was closed, or dropped.
    ///
    /// Cancel safe: nothing is lost.
    pub async fn next(&mut self) -> Option<Evicted> {
        let queue = self.queue.clone();
        loop {
            let told = queue.told.notified();
            if let Some(evicted) = self.try_next() {
                return Some(evicted);
            }
            if *queue.is_over.lock() {
                return self.try_next();
            }
            told.await;
        }
    }

    /// The next one, if there is one now.
    pub fn try_next(&mut self) -> Option<Evicted> {
        self.queue.waiting.lock().pop_front()
    }

    /// How many were not told, since more than 16,384 waited.
    pub fn missed(&self) -> u64 {
        self.queue.missed.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Evictions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evictions").field("missed", &self.missed()).finish_non_exhaustive()
    }
}

/// All that listen.
#[derive(Default)]
pub struct Listeners(Mutex<Vec<Weak<Queue>>>);

impl Listeners {
    /// Another one.
    pub fn listen(&self) -> Evictions {
        let queue = Arc::<Queue>::default();
        let mut queues = self.0.lock();
        queues.retain(|other| other.strong_count() > 0);
        queues.push(Arc::downgrade(&queue));
        Evictions { queue }
    }

    /// Whether anyone does.
    pub fn is_heard(&self) -> bool {
        self.0.lock().iter().any(|queue| queue.strong_count() > 0)
    }

    /// Tells all of them.
    pub fn tell(&self, evicted: &Evicted) {
        for queue in self.0.lock().iter().filter_map(Weak::upgrade) {
            let mut waiting = queue.waiting.lock();
            if waiting.len() < MOST_WAITING {
                waiting.push_back(evicted.clone());
            } else {
                queue.missed.fetch_add(1, Ordering::Relaxed);
            }
            drop(waiting);
            queue.told.notify_one();
        }
    }

    /// No more will come.
    pub fn end(&self) {
        for queue in self.0.lock().drain(..).filter_map(|queue| queue.upgrade()) {
            *queue.is_over.lock() = true;
            queue.told.notify_one();
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evicted(n: usize) -> Evicted {
        Evicted::new(n.to_string().into(), EvictReason::Room, Duration::ZERO, 0)
    }

    #[tokio::test]
    async fn who_does_not_listen_in_time_misses_some_and_is_told_how_many() {
        let listeners = Listeners::default();
        assert!(!listeners.is_heard());
        let (mut one, other) = (listeners.listen(), listeners.listen());
        (0..MOST_WAITING + 3).for_each(|n| listeners.tell(&evicted(n)));
        assert_eq!((one.missed(), one.next().await), (3, Some(evicted(0))));
        drop(other);
        assert!(listeners.is_heard());
        listeners.end();
        let mut rest = 0;
        while one.next().await.is_some() {
            rest += 1;
        }
        assert_eq!(rest, MOST_WAITING - 1);
        assert!(!listeners.is_heard());
    }
}
