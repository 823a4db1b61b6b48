//! The lives of a cache over the simulated disk: random work, a death, a reopen, and the model asked at each step.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use esker::backend::Backend;
use esker::backend::sim::{FaultPlan, ReadNow, Sim};
use esker::clock::ManualClock;
use esker::{DiskCache, Millis};

pub use super::plan::Plan;

use super::model::{Death, Fate, Level, Model};
use super::{Dice, SEGMENT_LEN_BYTES, key, read_value};

pub const DIR: &str = "/cache";
/// No step takes this long, not even where every disk operation takes its 30 seconds to fail.
const PATIENCE: Duration = Duration::from_secs(600);
const START_MS: u64 = 1_700_000_000_000;

pub struct Lives {
    pub(super) plan: Plan,
    pub(super) dice: Dice,
    pub(super) sim: Sim,
    pub(super) clock: Arc<ManualClock>,
    /// The latest time that the clock showed: what the cache goes by.
    pub(super) now: u64,
    pub(super) model: Model,
    pub(super) version: u32,
    pub(super) cache: Option<DiskCache>,
    /// The disk is having a bad time, so that writes may fail.
    pub(super) is_stormy: bool,
    /// What was done, for whoever reads a failure.
    pub(super) diary: Vec<String>,
}

/// Lives through all of a seed on a runtime of its own, whose time stands still unless all sleep.
pub fn live(seed: u64, plan: Plan) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let mut lives = Lives::new(seed, plan).await?;
        let outcome = lives.all().await;
        outcome.map_err(|text| format!("seed {seed}: {text}\n{}", lives.diary.join("\n")))
    })
}

impl Lives {
    async fn new(seed: u64, plan: Plan) -> Result<Self, String> {
        let sim = Sim::new(seed);
        sim.create_dir_all(Path::new(DIR)).await.map_err(|e| e.to_string())?;
        sim.sync_dir(Path::new("/")).await.map_err(|e| e.to_string())?;
        Ok(Self {
            plan,
            dice: Dice::new(seed),
            sim,
            clock: Arc::new(ManualClock::new(Millis(START_MS))),
            now: START_MS,
            model: Model::new(plan.is_roomy),
            version: 0,
            cache: None,
            is_stormy: false,
            diary: Vec::new(),
        })
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
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
            }
            self.die().await?;
        }
        self.be_born().await
    }

    pub(super) fn faults(&mut self) -> FaultPlan {
        let calm = self.dice.one_in(3);
        FaultPlan {
            max_yields: if calm { 0 } else { self.dice.below(5) as u32 },
            short_read: if calm { 0.0 } else { 0.1 },
            short_write: if calm { 0.0 } else { 0.2 },
            late_write: if self.plan.is_roomy || calm { 0.0 } else { 0.3 },
            read_now: if calm { ReadNow::Serve } else { ReadNow::ServeWithProbability(0.5) },
            lie_about_sync: self.plan.lie_about_sync,
            ..FaultPlan::default()
        }
    }

    fn open(&self) -> impl Future<Output = esker::Result<DiskCache>> + Send + use<> {
        DiskCache::builder(DIR)
            .capacity_bytes(self.plan.capacity_bytes)
            .segment_len_bytes(SEGMENT_LEN_BYTES)
            .memory_bytes(self.plan.memory_bytes)
            .backend_with(Arc::new(self.sim.clone()))
            .clock(self.clock.clone())
            .seed([7; 16])
            .open()
    }

    /// Opens the cache, maybe after dying at it, and asks for every key.
    async fn be_born(&mut self) -> Result<(), String> {
        let faults = self.faults();
        self.sim.set_faults(faults);
        self.set_stormy(false);
        self.clock.set(Millis(self.now));
        if self.dice.one_in(5) {
            let opening = tokio::spawn(self.open());
            for _ in 0..self.dice.below(60) {
                tokio::task::yield_now().await;
            }
            let death = self.crash();
            opening.abort();
            drop(opening.await);
            self.note(format!("died at the open: {death:?}"));
            self.model.died(death);
            self.sim = self.sim.reopen();
        }
        let cache = self.open().await.map_err(|e| format!("cannot open: {e}"))?;
        self.note(format!("{:?}", cache.recovery_report()));
        self.cache = Some(cache);
        let before = self.model.clone();
        self.model.born();
        let mut answers = BTreeMap::new();
        for n in self.model.keys() {
            let answer = self.get(n).await?;
            answers.insert(n, answer);
            self.judge(n, answer)?;
        }
        if self.plan.is_roomy { self.model.judge_prefix(&before, &answers, self.now) } else { Ok(()) }
    }

    pub(super) fn set_stormy(&mut self, is_stormy: bool) {
        self.is_stormy = is_stormy;
        self.model.is_stormy = is_stormy;
    }

    pub(super) fn cache(&self) -> Result<DiskCache, String> {
        self.cache.clone().ok_or_else(|| "no cache is open".to_owned())
    }

    pub(super) fn judge(&mut self, n: u32, answer: Option<u32>) -> Result<(), String> {
        self.note(format!("get {n}: {answer:?}"));
        self.model.judge(n, answer, self.now)
    }

    pub(super) async fn get(&self, n: u32) -> Result<Option<u32>, String> {
        let hit = self.cache()?.get(key(n)).await.map_err(|e| format!("get: {e}"))?;
        hit.map(|hit| match read_value(hit.value()) {
            Some((k, version)) if k == n && hit.metadata()[..] == version.to_le_bytes() => Ok(version),
            other => Err(format!("key {n}: the bytes of {other:?}, metadata {:?}", hit.metadata())),
        })
        .transpose()
    }

    async fn step(&mut self) -> Result<(), String> {
        let n = self.dice.below(u64::from(self.plan.keys)) as u32;
        if self.plan.has_weather && self.dice.one_in(12) {
            return self.weather(n).await;
        }
        let choice = self.dice.below(100);
        self.note(format!("step {choice} on {n}"));
        match choice {
            0..50 => self.write(n).await,
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
            Err(_) if self.is_stormy => {}
            failed => return Err(format!("{level:?}: {failed:?}")),
        }
        Ok(())
    }

    async fn delete(&mut self, n: u32) -> Result<(), String> {
        let deleted = self.cache()?.delete(key(n)).await;
        self.note(format!("delete {n}: {deleted:?}"));
        match deleted {
            Ok(was_there) => self.model.happened(n, Fate::Gone, Level::Synced, was_there.then_some(0)),
            Err(_) if self.is_stormy => self.model.happened(n, Fate::Refused, Level::Volatile, None),
            Err(e) => return Err(format!("delete: {e}")),
        }
        Ok(())
    }

    fn crash(&mut self) -> Death {
        if self.dice.one_in(2) {
            self.sim.crash_process();
            Death::Killed
        } else {
            self.sim.power_loss();
            Death::PowerLoss
        }
    }

    /// Ends the life: closed, or killed in the middle of something.
    async fn die(&mut self) -> Result<(), String> {
        let Some(cache) = self.cache.take() else { return Ok(()) };
        if self.dice.one_in(5) {
            let closed = cache.close().await;
            self.note(format!("closed: {closed:?}"));
            match closed {
                Ok(()) => self.model.died(Death::Closed),
                Err(_) if self.is_stormy => self.model.died(Death::Killed),
                Err(e) => return Err(format!("close: {e}")),
            }
        } else {
            let n = self.dice.below(u64::from(self.plan.keys)) as u32;
            let (write, what) = (self.plan_write(n), self.dice.below(6));
            let working = cache.clone();
            let task = tokio::spawn(async move {
                match what {
                    0 => drop(working.clear().await),
                    1 => drop(working.delete(key(n)).await),
                    2 => drop(working.close().await),
                    _ => drop(write.run(&working).await),
                }
            });
            for _ in 0..self.dice.below(24) {
                tokio::task::yield_now().await;
            }
            let death = self.crash();
            task.abort();
            drop(task.await);
            self.note(format!("{death:?} at {what} of {write:?}"));
            match what {
                0 => self.model.cleared(Level::Volatile),
                1 => self.model.happened(n, Fate::Gone, Level::Volatile, None),
                2 => {}
                _ => self.model.happened(n, write.fate(), Level::Volatile, Some(write.stream())),
            }
            self.model.died(death);
        }
        drop(cache);
        self.sim = self.sim.reopen();
        // What is left of the dead process finds its disk gone.
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(())
    }

    /// P5.
    fn check_size(&self) -> Result<(), String> {
        let (peak, capacity) = (self.sim.peak_bytes(), self.plan.capacity_bytes);
        if peak > capacity {
            return Err(format!("{peak} bytes on a disk of {capacity}"));
        }
        Ok(())
    }
}
