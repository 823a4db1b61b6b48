//! Sixteen tasks on a few hundred keys, in rounds: after each, all that was seen is judged.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use esker::clock::{Clock, ManualClock};
use esker::{BackendKind, Config, DiskCache, MemoryFill, Millis, NamespaceConfig};

use super::history::{Did, Event, History};
use super::worker::{Seen, Worker};
use crate::common::Dice;

/// Tasks at work.
pub const TASKS: u64 = 16;
/// Keys that all tasks share,
pub(super) const HOT_KEYS: u64 = 96;
/// and all keys: more than the cache holds.
pub(super) const KEYS: u64 = 4_096;
const START_MS: u64 = 1_700_000_000_000;
/// Keys are in the first, in the second, which has a quota of so many segments, or in none.
pub(super) const NAMES: [&str; 2] = ["kept", "limited"];
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
    /// The canary.
    pub fault: Option<Fault>,
}

/// What the canary plants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A task keeps what it got of a key, and returns it later.
    StaleGet,
    /// Eviction ignores pins: each ends in the moment in which it is set.
    ForgottenPin,
    /// A purge that is said to be done is not.
    SkippedPurge,
}

impl Fault {
    /// Each in turn, by the number of a case.
    pub const ALL: [Self; 3] = [Self::StaleGet, Self::ForgottenPin, Self::SkippedPurge];
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
    /// Purges of a tag.
    pub purges: u64,
    /// Entries pinned.
    pub pinned: u64,
    /// Gets of an entry that had to be there since it was pinned.
    pub kept: u64,
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
        self.purges += other.purges;
        self.pinned += other.pinned;
        self.kept += other.kept;
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
            ("purges of a tag", self.purges),
            ("entries pinned", self.pinned),
            ("gets of pinned entries", self.kept),
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
pub(super) struct Shared {
    pub(super) plan: Plan,
    pub(super) clock: Arc<ManualClock>,
    /// The order of begins and ends.
    pub(super) counter: AtomicU64,
    /// Versions given out, each once.
    pub(super) versions: AtomicU64,
    pub(super) clock_us: AtomicU64,
}

/// The field.
pub struct Field {
    shared: Arc<Shared>,
    cache: Option<DiskCache>,
    histories: Vec<History>,
    /// Keys that each task has pinned.
    pinned: Vec<Vec<u32>>,
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
        let pinned = vec![Vec::new(); TASKS as usize];
        Self { shared: Arc::new(shared), cache: None, histories, pinned, round: 0, tally: Tally::default() }
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
        // Pins end with the process.
        self.histories.iter_mut().for_each(History::unpin);
        self.pinned.iter_mut().for_each(Vec::clear);
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
                let pinned = std::mem::take(&mut self.pinned[task as usize]);
                let worker = Worker::new(self.shared.clone(), cache.clone(), dice, task as u32, pinned);
                tokio::spawn(worker.work(operations / TASKS))
            })
            .collect();
        let mut events: Vec<Vec<Event>> = vec![Vec::new(); KEYS as usize];
        let mut purges = Vec::new();
        for (task, ended) in tasks.into_iter().enumerate() {
            let seen: Seen = ended.await.map_err(|e| format!("a task panicked: {e}"))??;
            for (key, event) in seen.events {
                self.count(&event);
                events[key as usize].push(event);
            }
            purges.extend(seen.purges);
            self.pinned[task] = seen.pinned;
        }
        self.tally.purges += purges.len() as u64;
        let dropped = cache.stats().counts.pins_dropped;
        if dropped > 0 {
            return Err(format!("round {}: there is room for what is pinned, and {dropped} went", self.round));
        }
        for (key, (history, events)) in self.histories.iter_mut().zip(&events).enumerate() {
            self.tally.kept += history.judge(events, &purges).map_err(|what| {
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
            Did::Pinned { .. } => self.tally.pinned += 1,
            Did::Unpinned => {}
            Did::Deleted => self.tally.deletes += 1,
            Did::Missed => self.tally.misses += 1,
        }
    }
}
