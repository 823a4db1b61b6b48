//! Sixteen tasks on a few hundred keys, in rounds: after each, all that was seen is judged.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use esker::clock::{Clock, ManualClock};
use esker::{BackendKind, Config, DiskCache, Durability, MemoryFill, Millis, NamespaceConfig, SetOptions};

use super::history::{Did, Event, History};
use crate::common::{Dice, key, read_value, value};
use crate::streamed::{self, Door};

/// Tasks at work.
pub const TASKS: u64 = 16;
/// Keys that all tasks share,
const HOT_KEYS: u64 = 96;
/// and all keys: more than the cache holds.
const KEYS: u64 = 4_096;
/// One operation in so many is followed by a look at the quotas.
const OPERATIONS_A_LOOK: u64 = 64;
/// One get in so many returns what the canary keeps.
const STALE_ONE_IN: u64 = 200;
const START_MS: u64 = 1_700_000_000_000;
/// Keys are in the first, in the second, which has a quota of so many segments, or in none.
const NAMES: [&str; 2] = ["kept", "limited"];
const QUOTA: u64 = 6;

/// What a field is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The cache.
    pub dir: PathBuf,
    /// Its settings.
    pub config: Config,
    /// Where the dice begin.
    pub seed: u64,
    /// Microseconds that the clock goes on with each operation.
    pub step_us: u64,
    /// The canary: a task keeps what it got of a key, and returns it later.
    pub keeps_stale: bool,
}

/// What was counted.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// All.
    pub operations: u64,
    /// Gets that returned a value.
    pub hits: u64,
    /// Gets that did not.
    pub misses: u64,
    /// Sets accepted.
    pub sets: u64,
    /// Sets refused.
    pub refused: u64,
    /// Deletes.
    pub deletes: u64,
    /// Entries that eviction dropped.
    pub evicted: u64,
    /// Entries that eviction rewrote.
    pub reinserted: u64,
    /// Gets of what had expired.
    pub expired: u64,
    /// Gets answered from the hot tier.
    pub hot: u64,
}

impl Tally {
    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.hits += other.hits;
        self.misses += other.misses;
        self.sets += other.sets;
        self.refused += other.refused;
        self.deletes += other.deletes;
        self.evicted += other.evicted;
        self.reinserted += other.reinserted;
        self.expired += other.expired;
        self.hot += other.hot;
    }

    /// The counts by name.
    pub fn named(&self) -> Vec<(String, u64)> {
        let counts = [
            ("operations", self.operations),
            ("hits", self.hits),
            ("misses", self.misses),
            ("sets", self.sets),
            ("refused", self.refused),
            ("deletes", self.deletes),
            ("entries evicted", self.evicted),
            ("entries reinserted", self.reinserted),
            ("gets of expired entries", self.expired),
            ("hits in the hot tier", self.hot),
        ];
        counts.map(|(name, count)| (name.to_owned(), count)).to_vec()
    }
}

/// A cache small enough that eviction is always at work.
pub fn config(backend: BackendKind, memory_bytes: u64, memory_fill: MemoryFill) -> Config {
    let segment_len_bytes = 256 << 10;
    Config {
        backend,
        capacity_bytes: 24 * segment_len_bytes + esker::config::DIRECTORY_OVERHEAD_BYTES,
        segment_len_bytes: Some(segment_len_bytes),
        memory_bytes,
        memory_fill,
        chunk_len_bytes: 4 << 10,
        namespaces: vec![
            NamespaceConfig { name: NAMES[0].into(), share_bytes: 8 * segment_len_bytes, ..NamespaceConfig::default() },
            NamespaceConfig {
                name: NAMES[1].into(),
                quota_bytes: Some(QUOTA * segment_len_bytes),
                ..NamespaceConfig::default()
            },
        ],
        ..Config::default()
    }
}

/// What all tasks share.
struct Shared {
    plan: Plan,
    clock: Arc<ManualClock>,
    /// The order of begins and ends.
    counter: AtomicU64,
    /// Versions given out, each once.
    versions: AtomicU64,
    clock_us: AtomicU64,
}

/// The field.
pub struct Field {
    shared: Arc<Shared>,
    cache: Option<DiskCache>,
    histories: Vec<History>,
    round: u64,
    /// What was counted.
    pub tally: Tally,
}

impl Field {
    /// Nothing has happened yet, and no cache is open.
    pub fn new(plan: Plan) -> Self {
        let shared = Shared {
            plan,
            clock: Arc::new(ManualClock::new(Millis(START_MS))),
            counter: AtomicU64::new(1),
            versions: AtomicU64::new(1),
            clock_us: AtomicU64::new(0),
        };
        let histories = vec![History::default(); KEYS as usize];
        Self { shared: Arc::new(shared), cache: None, histories, round: 0, tally: Tally::default() }
    }

    /// Opens the cache.
    ///
    /// # Errors
    /// It does not open.
    pub async fn open(&mut self) -> Result<(), String> {
        let plan = &self.shared.plan;
        let builder = DiskCache::builder(&plan.dir).config(plan.config.clone()).clock(self.shared.clock.clone());
        self.cache = Some(builder.open().await.map_err(|e| format!("open: {e}"))?);
        Ok(())
    }

    /// Closes it.
    ///
    /// # Errors
    /// It does not close.
    pub async fn close(&mut self) -> Result<(), String> {
        let Some(cache) = self.cache.take() else { return Ok(()) };
        let counts = cache.stats().counts;
        self.tally.evicted += counts.entries_evicted;
        self.tally.reinserted += counts.entries_reinserted;
        self.tally.expired += counts.misses_expired;
        self.tally.hot += counts.hits_memory;
        cache.close().await.map_err(|e| format!("close: {e}"))
    }

    /// The open cache.
    ///
    /// # Errors
    /// None is open.
    pub fn cache(&self) -> Result<&DiskCache, String> {
        self.cache.as_ref().ok_or_else(|| "no cache is open".to_owned())
    }

    /// Milliseconds that the clock has gone on.
    pub fn clock_ms(&self) -> u64 {
        self.shared.clock.now().0 - START_MS
    }

    /// Runs so many operations of all tasks together, and judges what they saw.
    ///
    /// # Errors
    /// What cannot have happened.
    pub async fn round(&mut self, operations: u64) -> Result<(), String> {
        let cache = self.cache()?.clone();
        self.round += 1;
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let dice = Dice::new(self.shared.plan.seed ^ self.round << 8 ^ task << 48);
                let worker = Worker { shared: self.shared.clone(), cache: cache.clone(), dice, kept: Vec::new() };
                tokio::spawn(worker.work(operations / TASKS))
            })
            .collect();
        let mut events: Vec<Vec<Event>> = vec![Vec::new(); KEYS as usize];
        for task in tasks {
            let seen = task.await.map_err(|e| format!("a task panicked: {e}"))??;
            for (key, event) in seen {
                self.count(&event);
                events[key as usize].push(event);
            }
        }
        for (key, (history, events)) in self.histories.iter_mut().zip(&events).enumerate() {
            history.judge(events).map_err(|what| {
                let near: Vec<_> = events.iter().rev().take(24).rev().map(|e| format!("\n{e:?}")).collect();
                format!("round {}, key {key}: {what}; its last operations: {}", self.round, near.concat())
            })?;
        }
        Ok(())
    }

    fn count(&mut self, event: &Event) {
        self.tally.operations += 1;
        match event.did {
            Did::Set { .. } => self.tally.sets += 1,
            Did::Refused => self.tally.refused += 1,
            Did::Got { .. } => self.tally.hits += 1,
            Did::Deleted => self.tally.deletes += 1,
            Did::Missed => self.tally.misses += 1,
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    cache: DiskCache,
    dice: Dice,
    /// The canary's.
    kept: Vec<(u32, u32)>,
}

impl Worker {
    async fn work(mut self, operations: u64) -> Result<Vec<(u32, Event)>, String> {
        let mut seen = Vec::with_capacity(operations as usize);
        for _ in 0..operations {
            let hot = self.dice.below(4) > 0;
            let k = self.dice.below(if hot { HOT_KEYS } else { KEYS }) as u32;
            let begin = self.tick();
            let did = match self.dice.below(100) {
                0..60 => self.get(k).await?,
                60..98 => self.set(k).await?,
                _ => {
                    self.door(k)?.delete(&key(k)).await.map_err(|e| format!("delete {k}: {e}"))?;
                    Did::Deleted
                }
            };
            let end = self.tick();
            seen.push((k, Event { begin, end, did }));
            if self.dice.one_in(OPERATIONS_A_LOOK) {
                self.check_quotas()?;
            }
            self.go_on();
        }
        Ok(seen)
    }

    /// The way to a key.
    fn door(&self, k: u32) -> Result<Door, String> {
        match (k % 3).checked_sub(1).and_then(|n| NAMES.get(n as usize)) {
            Some(name) => Door::named(&self.cache, name).map_err(|e| e.to_string()),
            None => Ok((&self.cache).into()),
        }
    }

    /// V4.
    fn check_quotas(&self) -> Result<(), String> {
        let is_over = |used: Option<u64>, quota: Option<u64>| quota.is_some_and(|quota| used > Some(quota));
        match self.cache.stats().namespaces.into_iter().find(|one| is_over(one.used_bytes, one.quota_bytes)) {
            Some(one) => Err(format!("over its quota: {one:?}")),
            None => Ok(()),
        }
    }

    /// The clock goes on, and never steps back.
    fn go_on(&self) {
        let step = self.shared.plan.step_us;
        let us = self.shared.clock_us.fetch_add(step, Ordering::Relaxed);
        let ms = (us + step) / 1000 - us / 1000;
        if ms > 0 {
            self.shared.clock.advance(ms);
        }
    }

    fn tick(&self) -> u64 {
        self.shared.counter.fetch_add(1, Ordering::SeqCst)
    }

    async fn get(&mut self, k: u32) -> Result<Did, String> {
        let clock = self.shared.clock.now().0;
        let found = streamed::take(self.door(k)?, k, &key(k)).await.map_err(|e| format!("get {k}: {e}"))?;
        let Some((bytes, _)) = found else { return Ok(Did::Missed) };
        let version = match read_value(&bytes) {
            Some((of, version)) if of == k => version,
            other => return Err(format!("key {k}: bytes that were never stored under it: {other:?}")),
        };
        if self.shared.plan.keeps_stale {
            if let Some((_, kept)) =
                self.kept.iter().find(|(of, _)| *of == k).filter(|_| self.dice.one_in(STALE_ONE_IN))
            {
                return Ok(Did::Got { version: *kept, clock });
            }
            self.kept.retain(|(of, _)| *of != k);
            self.kept.push((k, version));
            self.kept.truncate(64);
        }
        Ok(Did::Got { version, clock })
    }

    async fn set(&mut self, k: u32) -> Result<Did, String> {
        let version = self.shared.versions.fetch_add(1, Ordering::Relaxed) as u32;
        let len = match self.dice.below(16) {
            0 => 8_000,
            1..4 => 1_500,
            _ => 200,
        };
        let mut options = SetOptions::new();
        let ttl_ms = match self.dice.below(8) {
            0 => Some(1 + self.dice.below(2_000)),
            1 => Some(60_000 + self.dice.below(60_000)),
            _ => None,
        };
        if let Some(ms) = ttl_ms {
            options = options.ttl(Duration::from_millis(ms));
        }
        match self.dice.below(512) {
            0 => options = options.durability(Durability::Synced),
            1..4 => options = options.durability(Durability::Written),
            _ => {}
        }
        let value = value(k, version, self.dice.below(len) as usize);
        let stored = streamed::put(self.door(k)?, &key(k), version, value, options).await;
        let stored = stored.map_err(|e| format!("set {k}: {e}"))?;
        if !stored.is_stored() {
            return Ok(Did::Refused);
        }
        // It was created by now, so it is dead by then.
        let dead_by = ttl_ms.map_or(u64::MAX, |ms| self.shared.clock.now().0 + ms);
        Ok(Did::Set { version, dead_by })
    }
}
