//! The lives of a cache over the simulated disk: random work, a death, a reopen, and the model asked at each step.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use esker::backend::Backend;
use esker::backend::sim::{FaultPlan, ReadNow, Sim};
use esker::clock::ManualClock;
use esker::config::{DIRECTORY_OVERHEAD_BYTES, MIN_SEGMENTS};
use esker::{AdmissionPolicy, Config, DiskCache, EvictionPolicy, MemoryFill, Millis, PinOutcome};

use crate::common::{Dice, SEGMENT_LEN_BYTES, read_value};
use crate::crew::Broken;
use crate::streamed;

mod birth;
mod death;
mod doom;
mod model;
mod plan;
mod tally;
mod tenants;
mod weather;
mod write;

pub use plan::{Keeps, Kind, Plan};
pub use tally::Tally;

use doom::Doom;
use model::{Fate, Level, Model};
use tenants::{are_together, check_quotas, door, stream_of, user_key};
use write::TAGS;

const DIR: &str = "/cache";
/// No step takes this long, not even where every disk operation takes its 30 seconds to fail.
const PATIENCE: Duration = Duration::from_secs(600);
const START_MS: u64 = 1_700_000_000_000;
/// The largest hot tier: of all values that the keys can have, most.
const MOST_MEMORY_BYTES: u64 = 256 << 10;

pub(crate) struct Lives {
    pub(crate) plan: Plan,
    pub(crate) dice: Dice,
    pub(crate) sim: Sim,
    pub(crate) clock: Arc<ManualClock>,
    /// The latest time that the clock showed: what the cache goes by.
    pub(crate) now: u64,
    pub(crate) model: Model,
    pub(crate) version: u32,
    pub(crate) cache: Option<DiskCache>,
    /// How long entries of this life live at the most.
    pub(crate) retention_ms: Option<u64>,
    /// The disk is having a bad time, so that writes may fail.
    pub(crate) is_stormy: bool,
    pub(crate) doom: Doom,
    pub(crate) tally: Tally,
    births: Cell<u128>,
    /// What was done, for whoever reads a failure.
    pub(crate) diary: Vec<String>,
}

/// Lives through all of a seed on a runtime of its own, whose time stands still unless all sleep.
pub fn live(seed: u64, plan: Plan, tally: &mut Tally) -> Result<Vec<String>, Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.map_err(|e| (e.to_string(), String::new()))?;
    runtime.block_on(async {
        let mut lives = Lives::new(seed, plan).await.map_err(|what| (what, String::new()))?;
        let outcome = lives.all().await;
        lives.end_life();
        tally.add(&lives.tally);
        match outcome {
            Ok(()) => Ok(lives.diary),
            Err(what) => Err((what, lives.diary.join("\n"))),
        }
    })
}

impl Lives {
    pub(crate) async fn new(seed: u64, plan: Plan) -> Result<Self, String> {
        let sim = Sim::new(seed);
        sim.create_dir_all(Path::new(DIR)).await.map_err(|e| e.to_string())?;
        sim.sync_dir(Path::new("/")).await.map_err(|e| e.to_string())?;
        Ok(Self {
            plan,
            dice: Dice::new(seed),
            sim,
            clock: Arc::new(ManualClock::new(Millis(START_MS))),
            now: START_MS,
            model: Model::new(plan.keeps),
            version: 0,
            cache: None,
            retention_ms: None,
            is_stormy: false,
            doom: Doom::default(),
            tally: Tally::default(),
            births: Cell::new(0),
            diary: Vec::new(),
        })
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.diary.push(text.into());
    }

    async fn all(&mut self) -> Result<(), String> {
        for life in 0..self.plan.lives {
            self.note(format!("-- life {life}"));
            self.be_born().await?;
            let steps = self.dice.below(self.plan.steps) + 1;
            for _ in 0..steps {
                let step = tokio::time::timeout(PATIENCE, self.step()).await;
                step.map_err(|_| "a step never ended".to_owned())??;
                self.check_size()?;
                if self.dice.one_in(self.plan.steps_a_look) {
                    self.look().await?;
                }
            }
            self.die().await?;
        }
        self.be_born().await
    }

    pub(crate) fn faults(&mut self) -> FaultPlan {
        let calm = self.dice.one_in(3);
        FaultPlan {
            max_yields: if calm { 0 } else { self.dice.below(5) as u32 },
            short_read: if calm { 0.0 } else { 0.1 },
            short_write: if calm { 0.0 } else { 0.2 },
            stale_bytes: self.dice.one_in(2),
            late_write: if self.plan.keeps != Keeps::Nothing || calm { 0.0 } else { 0.3 },
            read_now: if calm { ReadNow::Serve } else { ReadNow::ServeWithProbability(0.5) },
            lie_about_sync: self.plan.lie_about_sync,
            ..FaultPlan::default()
        }
    }

    pub(crate) fn open_on(
        &self,
        backend: Arc<dyn Backend>,
    ) -> impl Future<Output = esker::Result<DiskCache>> + Send + use<> {
        DiskCache::builder(DIR)
            .config(Config {
                index_shards: 1,
                chunk_len_bytes: 4 << 10,
                eviction: self.policy_of_a_birth(),
                admission: self.admission_of_a_birth(),
                namespaces: self.namespaces_of_a_birth(),
                capacity_bytes: self.capacity_of_a_birth(),
                retention_ms: self.retention_of_a_birth().filter(|_| !self.plan.forgets_retention),
                ..self.memory_of_a_birth()
            })
            .segment_len_bytes(SEGMENT_LEN_BYTES)
            .backend_with(backend)
            .clock(self.clock.clone())
            .seed(self.seed_of_a_birth())
            .open()
    }

    /// Each in turn: a directory may be opened with another one.
    fn policy_of_a_birth(&self) -> EvictionPolicy {
        EvictionPolicy::ALL[self.births.get() as usize % EvictionPolicy::ALL.len()]
    }

    /// The plan's, or now and then a smaller one, where nothing must be kept.
    pub(super) fn capacity_of_a_birth(&self) -> u64 {
        let least = MIN_SEGMENTS * SEGMENT_LEN_BYTES + DIRECTORY_OVERHEAD_BYTES;
        match self.births.get() % 5 {
            3 if self.plan.keeps == Keeps::Nothing => (self.plan.capacity_bytes * 6 / 10).max(least),
            _ => self.plan.capacity_bytes,
        }
    }

    /// Now and then a short one, or one that most entries do not reach.
    pub(super) fn retention_of_a_birth(&self) -> Option<u64> {
        match self.births.get() % 7 {
            2 => Some(6_000),
            5 => Some(40_000),
            _ => None,
        }
    }

    /// In one life of three new entries wait in memory, where nothing must be kept.
    fn admission_of_a_birth(&self) -> AdmissionPolicy {
        match self.births.get() % 3 {
            0 if self.plan.keeps == Keeps::Nothing => AdmissionPolicy::SecondUse { held_bytes: Some(96 << 10) },
            _ => AdmissionPolicy::All,
        }
    }

    /// A hot tier of any size, filled in each way, of entries of any length; of a warm life at each birth, else now and then.
    /// Drawn from dice of its own.
    fn memory_of_a_birth(&self) -> Config {
        let mut dice = Dice::new(self.births.get() as u64);
        if !(self.plan.is_warm || dice.one_in(4)) {
            return Config::default();
        }
        Config {
            memory_bytes: 1 + dice.below(MOST_MEMORY_BYTES),
            memory_max_item_bytes: dice.one_in(2).then(|| dice.below(self.plan.max_value_bytes)),
            memory_fill: MemoryFill::ALL[dice.below(3) as usize],
            ..Config::default()
        }
    }

    /// Another one at each open, and drawn from no dice: a copy's recovery changes nothing of what comes after.
    fn seed_of_a_birth(&self) -> [u8; 16] {
        self.births.set(self.births.get() + 1);
        self.births.get().to_le_bytes()
    }

    pub(crate) fn set_stormy(&mut self, is_stormy: bool) {
        self.is_stormy = is_stormy;
        self.model.is_stormy = is_stormy;
        // Where the disk fails there may be no room for what is pinned.
        self.model.unpin_all();
    }

    pub(crate) fn cache(&self) -> Result<DiskCache, String> {
        self.cache.clone().ok_or_else(|| "no cache is open".to_owned())
    }

    pub(crate) fn judge(&mut self, n: u32, answer: Option<u32>) -> Result<(), String> {
        self.note(format!("get {n}: {answer:?}"));
        self.model.judge(n, answer, self.now)
    }

    pub(crate) async fn get(&self, n: u32) -> Result<Option<u32>, String> {
        read(&self.cache()?, n).await
    }

    pub(crate) async fn step(&mut self) -> Result<(), String> {
        let n = self.dice.below(u64::from(self.plan.keys)) as u32;
        if self.plan.has_weather && self.dice.one_in(12) {
            return self.weather(n).await;
        }
        let choice = self.dice.below(100);
        self.note(format!("step {choice} on {n}"));
        self.tally.steps += 1;
        match choice {
            0..46 => self.write(n).await,
            46..49 => self.pin(n).await,
            49 if self.dice.one_in(2) => self.purge_tag().await,
            49 => self.purge(n).await,
            50..72 => {
                let answer = self.get(n).await?;
                self.judge(n, answer)
            }
            72..80 => self.delete(n).await,
            80..84 => self.settle(Level::Written).await,
            84..87 => self.settle(Level::Synced).await,
            87..92 => {
                let ms = self.dice.below(300);
                self.note(format!("sleep {ms} ms"));
                tokio::time::sleep(Duration::from_millis(ms)).await;
                Ok(())
            }
            92..95 => self.move_clock(n).await,
            95..98 => self.burst().await,
            98 => self.set_and_get(n).await,
            _ if self.dice.one_in(3) => {
                let cleared = self.cache()?.clear().await;
                self.note(format!("clear: {cleared:?}"));
                match cleared {
                    Ok(()) => self.model.cleared(Level::Synced),
                    Err(_) if self.is_stormy => self.model.was_maybe_cleared(),
                    Err(e) => return Err(format!("clear: {e}")),
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Purges the keys that begin as one does, or the namespace that it is in.
    async fn purge(&mut self, n: u32) -> Result<(), String> {
        let mut prefix = user_key(n);
        prefix.truncate(prefix.len() - self.dice.below(2) as usize);
        if !are_together(n, 0) && self.dice.one_in(3) {
            prefix.clear();
            self.tally.namespaces_purged += 1;
        }
        let purged = door(&self.cache()?, n)?.purge(&prefix).await;
        self.note(format!("purge {} like {n}: {purged:?}", prefix.escape_ascii()));
        let is_covered = |other: &u32| are_together(n, *other) && user_key(*other).starts_with(&prefix);
        for n in self.model.keys().into_iter().filter(is_covered).collect::<Vec<_>>() {
            match &purged {
                Ok(()) => self.model.happened(n, Fate::Gone, Level::Synced, None),
                Err(_) if self.is_stormy => self.model.happened(n, Fate::Refused, Level::Volatile, None),
                Err(e) => return Err(format!("purge: {e}")),
            }
        }
        self.tally.purges += 1;
        Ok(())
    }

    /// Purges what has one of the tags.
    async fn purge_tag(&mut self) -> Result<(), String> {
        let tag = TAGS[self.dice.below(TAGS.len() as u64) as usize];
        let purged = self.cache()?.purge_tag(tag).await;
        self.note(format!("purge what is {tag}: {purged:?}"));
        match purged {
            Err(e) if !self.is_stormy => return Err(format!("purge: {e}")),
            purged => self.model.purged_tag(tag, purged.is_ok()),
        }
        self.tally.purges += 1;
        Ok(())
    }

    /// Pins the entry of a key, or ends its pin.
    async fn pin(&mut self, n: u32) -> Result<(), String> {
        if self.dice.one_in(4) {
            let unpinned = door(&self.cache()?, n)?.unpin(&user_key(n)).await;
            self.note(format!("unpin {n}: {unpinned:?}"));
            self.model.unpinned(n);
            return unpinned.map(drop).map_err(|e| format!("unpin: {e}"));
        }
        let pinned = door(&self.cache()?, n)?.pin(&user_key(n)).await;
        self.note(format!("pin {n}: {pinned:?}"));
        match pinned {
            Ok(PinOutcome::Pinned) => {
                self.model.pinned(n);
                self.tally.pinned += 1;
            }
            Ok(PinOutcome::Absent | PinOutcome::Full) => {}
            Err(e) => return Err(format!("pin: {e}")),
        }
        Ok(())
    }

    /// Asks for every key that was ever touched.
    pub(crate) async fn ask_all(&mut self) -> Result<(), String> {
        for n in self.model.keys() {
            let answer = self.get(n).await?;
            self.judge(n, answer)?;
        }
        Ok(())
    }

    async fn move_clock(&mut self, n: u32) -> Result<(), String> {
        if !self.dice.one_in(4) {
            self.now += self.dice.below(4_000);
            self.clock.set(Millis(self.now));
            self.note(format!("it is {}", self.now));
            return Ok(());
        }
        // A write reads the clock, so from here on the cache knows that it was that late.
        self.write(n).await?;
        self.clock.set(Millis(self.now - self.dice.below(6_000)));
        self.note("the clock steps back");
        for n in 0..4 {
            let answer = self.get(n).await?;
            self.judge(n, answer)?;
        }
        self.write(n).await?;
        self.clock.set(Millis(self.now));
        Ok(())
    }

    async fn settle(&mut self, level: Level) -> Result<(), String> {
        let cache = self.cache()?;
        let done = if level == Level::Synced { cache.sync().await } else { cache.flush().await };
        self.note(format!("settle {level:?}: {done:?}"));
        match done {
            Ok(()) => self.model.settled(level),
            Err(_) if self.is_stormy => self.model.was_told_of_loss(),
            failed => return Err(format!("{level:?}: {failed:?}")),
        }
        Ok(())
    }

    pub(crate) async fn delete(&mut self, n: u32) -> Result<(), String> {
        let deleted = door(&self.cache()?, n)?.delete(&user_key(n)).await;
        self.note(format!("delete {n}: {deleted:?}"));
        match deleted {
            Ok(was_there) => self.model.happened(n, Fate::Gone, Level::Synced, was_there.then_some(stream_of(n, 0))),
            Err(_) if self.is_stormy => self.model.happened(n, Fate::Refused, Level::Volatile, None),
            Err(e) => return Err(format!("delete: {e}")),
        }
        Ok(())
    }

    /// P5.
    fn check_size(&self) -> Result<(), String> {
        let (peak, capacity) = (self.sim.peak_bytes(), self.plan.capacity_bytes);
        if peak > capacity {
            return Err(format!("{peak} bytes on a disk of {capacity}"));
        }
        let hot_bytes = self.cache.as_ref().map_or(0, |cache| cache.stats().memory_bytes);
        if hot_bytes > MOST_MEMORY_BYTES {
            return Err(format!("{hot_bytes} bytes in a hot tier of at most {MOST_MEMORY_BYTES}"));
        }
        check_quotas(&self.cache()?)
    }
}

/// The version that a cache has of a key, if it has any.
pub(crate) async fn read(cache: &DiskCache, n: u32) -> Result<Option<u32>, String> {
    let found = streamed::take(door(cache, n)?, n, &user_key(n)).await?;
    found
        .map(|(value, metadata)| match read_value(&value) {
            Some((k, version)) if k == n && metadata[..] == version.to_le_bytes() => Ok(version),
            other => Err(format!("key {n}: the bytes of {other:?}, metadata {metadata:?}")),
        })
        .transpose()
}
