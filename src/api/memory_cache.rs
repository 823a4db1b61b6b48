//! A cache in memory only.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use bytes::Bytes;

use super::{BoxFuture, Cache, Hit, RefuseReason, SetOptions, SetOutcome};
use crate::clock::{Clock, SteadyClock, SystemClock};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::memory::{Bounded, ITEM_OVERHEAD_BYTES, Item, Verdict};
use crate::stats::{Counters, Stats};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::{Digest, Durability, MAX_METADATA_BYTES, Sequence};

/// A cache in memory, for tests and for where there is no disk: the promises of [`super::DiskCache`] but those about
/// restarts. A handle: clones share one cache.
///
/// Its capacity counts key, metadata and value of every entry and a fixed overhead each; they are copied in. When it is
/// full, entries go by SIEVE. It is split into 1 to 16 shards of at least 8 MiB, and an entry larger than an eighth of a
/// shard is refused as too large: [`MemoryCache::max_entry_bytes`] says what fits.
///
/// No future here ever waits: each is done at its first poll, so that there is nothing to cancel, and needs no runtime.
/// None panics.
#[derive(Clone)]
pub struct MemoryCache {
    inner: Arc<Inner>,
}

/// What of a [`Config`] is about a cache without a disk.
struct Limits {
    capacity_bytes: u64,
    /// Of key, metadata and value of one entry together.
    max_payload_bytes: u64,
    max_value_bytes: u64,
    max_key_bytes: usize,
    default_ttl_ms: Option<u64>,
    retention_ms: Option<u64>,
}

struct Inner {
    entries: Bounded<Item>,
    /// Secret and of this cache alone, so that nobody chooses keys that meet.
    hasher: RandomState,
    clock: SteadyClock,
    counters: Counters,
    /// The last that was given to an entry.
    sequence: AtomicU64,
    limits: Limits,
}

impl MemoryCache {
    /// An empty cache of `capacity_bytes`.
    pub fn new(capacity_bytes: u64) -> Self {
        Self::with_clock(capacity_bytes, Arc::new(SystemClock))
    }

    /// An empty cache of `capacity_bytes` with a clock of one's own.
    pub fn with_clock(capacity_bytes: u64, clock: Arc<dyn Clock>) -> Self {
        Self::with_config(&Config { memory_bytes: capacity_bytes, ..Config::default() }, clock)
    }

    /// An empty cache with the settings that are not about a disk: `memory_bytes`, `memory_max_item_bytes`,
    /// `max_value_bytes`, `max_key_bytes`, `default_ttl_ms`, `retention_ms`.
    pub(super) fn with_config(config: &Config, clock: Arc<dyn Clock>) -> Self {
        let entries = Bounded::new(config.memory_bytes);
        let fits = entries.max_cost_bytes().saturating_sub(ITEM_OVERHEAD_BYTES);
        let limits = Limits {
            capacity_bytes: config.memory_bytes,
            max_payload_bytes: config.memory_max_item_bytes.map_or(fits, |most| most.min(fits)),
            max_value_bytes: config.max_value_bytes.unwrap_or(u64::MAX),
            max_key_bytes: config.max_key_bytes,
            default_ttl_ms: config.default_ttl_ms,
            retention_ms: config.retention_ms,
        };
        let (hasher, clock, counters) = (RandomState::new(), SteadyClock::new(clock), Counters::default());
        let sequence = AtomicU64::new(0);
        Self { inner: Arc::new(Inner { entries, hasher, clock, counters, sequence, limits }) }
    }

    /// The most that key, metadata and value of one entry may have together, in bytes.
    pub fn max_entry_bytes(&self) -> u64 {
        self.inner.limits.max_payload_bytes
    }

    /// The newest accepted value of exactly this key, or `None`.
    ///
    /// Cancel safe: done at the first poll. Never panics.
    ///
    /// # Errors
    /// `InvalidInput` for an empty or overlong key.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Hit>> {
        self.inner.get(key.as_ref())
    }

    /// Whether there is an entry of this key. Counts as neither hit nor miss.
    ///
    /// Cancel safe: done at the first poll. Never panics.
    ///
    /// # Errors
    /// As [`MemoryCache::get`].
    pub async fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.inner.contains(key.as_ref())
    }

    /// Stores a value without metadata, for ever.
    ///
    /// Cancel safe: done at the first poll. Never panics.
    ///
    /// # Errors
    /// `InvalidInput` for a key out of limits. A refused write is `Ok(Refused)`.
    pub async fn set(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<SetOutcome> {
        self.inner.set(key.as_ref(), &value.into(), SetOptions::new())
    }

    /// Stores a value with options. There is nothing to make durable: whatever durability is asked for, the outcome
    /// says `Buffered`. Tags are not kept: nothing is purged by them here.
    ///
    /// Cancel safe: done at the first poll. Never panics.
    ///
    /// # Errors
    /// `InvalidInput` for a key or metadata out of limits.
    pub async fn set_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        self.inner.set(key.as_ref(), &value.into(), options)
    }

    /// Removes the key; whether there was an entry.
    ///
    /// Cancel safe: done at the first poll. Never panics.
    ///
    /// # Errors
    /// As [`MemoryCache::get`].
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.inner.delete(key.as_ref())
    }

    /// Removes every entry that was set before.
    ///
    /// Cancel safe: done at the first poll. Never panics.
    ///
    /// # Errors
    /// None now; the signature is that of every cache.
    pub async fn clear(&self) -> Result<()> {
        self.inner.clear();
        Ok(())
    }

    /// Statistics now. `used_bytes`, `memory_bytes` and `capacity_bytes` are of memory; nothing is of a disk.
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }
}

fn check_metadata(metadata: &[u8]) -> Result<()> {
    match metadata.len() {
        0..=MAX_METADATA_BYTES => Ok(()),
        len => Err(Error::InvalidInput(format!("the metadata has {len} bytes; the most is {MAX_METADATA_BYTES}"))),
    }
}

impl Inner {
    fn digest(&self, key: &[u8]) -> Result<Digest> {
        let most = self.limits.max_key_bytes;
        match key.len() {
            0 => Err(Error::InvalidInput("the key is empty; the shortest has 1 byte".into())),
            len if len > most => Err(Error::InvalidInput(format!("the key has {len} bytes; the longest has {most}"))),
            _ => Ok(Digest(self.hasher.hash_one(key))),
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Hit>> {
        let d = self.digest(key)?;
        let now = self.clock.now();
        let mut why = &self.counters.misses_unknown;
        let found = self.entries.get(d, |item| {
            if item.key() != key {
                why = &self.counters.misses_collision;
                Verdict::Miss
            } else if item.is_expired(now) {
                why = &self.counters.misses_expired;
                Verdict::Drop
            } else {
                why = &self.counters.hits_memory;
                Verdict::Serve(item.hit(now))
            }
        });
        why.add_one();
        Ok(found)
    }

    fn contains(&self, key: &[u8]) -> Result<bool> {
        let d = self.digest(key)?;
        let now = self.clock.now();
        let mut there = false;
        self.entries.get(d, |item| {
            there = item.key() == key && !item.is_expired(now);
            Verdict::<()>::Miss
        });
        Ok(there)
    }

    fn set(&self, key: &[u8], value: &Bytes, options: SetOptions) -> Result<SetOutcome> {
        let d = self.digest(key)?;
        check_metadata(&options.metadata)?;
        let created = self.clock.now();
        let ttl_ms = options.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let Limits { default_ttl_ms, retention_ms, max_payload_bytes, max_value_bytes, .. } = self.limits;
        let ttl_ms = ttl_ms.or(default_ttl_ms).into_iter().chain(retention_ms).min();
        let expires = ttl_ms.map(|ms| created.after_ms(ms));
        let payload_bytes = (key.len() + options.metadata.len() + value.len()) as u64;
        if payload_bytes > max_payload_bytes || value.len() as u64 > max_value_bytes {
            // The older value goes all the same: it must not outlive an update (P2).
            self.entries.remove_if(d, |item| item.key() == key);
            return Ok(self.refuse());
        }
        let sequence = Sequence(self.sequence.fetch_add(1, Ordering::Relaxed) + 1);
        let item = Item::copy(key, &options.metadata, value, created, expires).at(sequence);
        let cost_bytes = item.cost_bytes();
        let admission = self.entries.put(d, item, cost_bytes, |_| true);
        self.counters.entries_evicted.add(admission.evicted);
        if !admission.admitted {
            return Ok(self.refuse());
        }
        self.counters.sets.add_one();
        self.counters.bytes_admitted.add(payload_bytes);
        Ok(SetOutcome::Stored { durability: Durability::Buffered })
    }

    fn refuse(&self) -> SetOutcome {
        self.counters.refused_too_large.add_one();
        SetOutcome::Refused { reason: RefuseReason::TooLarge }
    }

    fn delete(&self, key: &[u8]) -> Result<bool> {
        let d = self.digest(key)?;
        let now = self.clock.now();
        let removed = self.entries.remove_if(d, |item| item.key() == key);
        let there = removed.is_some_and(|item| !item.is_expired(now));
        if there {
            self.counters.deletes.add_one();
        }
        Ok(there)
    }

    fn clear(&self) {
        self.entries.clear();
        self.counters.clears.add_one();
    }

    fn stats(&self) -> Stats {
        let (entries, used_bytes) = (self.entries.len(), self.entries.used_bytes());
        Stats {
            counts: self.counters.snapshot(),
            backend: None,
            entries,
            objects: 0,
            live_bytes: used_bytes.saturating_sub(entries * ITEM_OVERHEAD_BYTES),
            dead_bytes: 0,
            used_bytes,
            capacity_bytes: self.limits.capacity_bytes,
            open_files: 0,
            segments: 0,
            segments_free: 0,
            index_bytes: 0,
            objects_bytes: 0,
            memory_bytes: used_bytes,
            ghost_bytes: 0,
            new_log_bytes: None,
            held_bytes: 0,
            purge_marks: 0,
            namespaces: Vec::new(),
            pinned_entries: 0,
            pinned_bytes: 0,
            dirty_bytes: 0,
            origin_dirty_entries: 0,
            origin_dirty_bytes: 0,
            buffers_made: 0,
            buffers_reused: 0,
            buffers_idle_bytes: 0,
        }
    }
}

impl std::fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryCache").field("capacity_bytes", &self.inner.limits.capacity_bytes).finish_non_exhaustive()
    }
}

impl Cache for MemoryCache {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Hit>>> {
        Box::pin(async move { self.inner.get(key) })
    }

    fn set<'a>(&'a self, key: &'a [u8], value: Bytes) -> BoxFuture<'a, Result<SetOutcome>> {
        Box::pin(async move { self.inner.set(key, &value, SetOptions::new()) })
    }

    fn delete<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move { self.inner.delete(key) })
    }

    fn clear(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.inner.clear();
            Ok(())
        })
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }
}
