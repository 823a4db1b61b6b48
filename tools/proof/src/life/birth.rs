//! Recoveries, and how they are judged: of the disk that lives on, and of copies that only die.

use std::collections::BTreeMap;
use std::sync::Arc;

use esker::backend::sim::Sim;
use esker::clock::Clock;
use esker::{DiskCache, Millis};

use super::doom::{Doom, kill};
use super::model::{Death, Model};
use super::{Keeps, Lives, read};

/// Operations of a recovery: a second crash comes at one of so many.
const RECOVERY_OPERATIONS: u64 = 60;

/// A recovery's report, without the time it took: a seed tells the same story each time.
fn told(cache: &DiskCache) -> String {
    let mut report = cache.recovery_report();
    report.elapsed_ms = 0;
    format!("{report:?}")
}

impl Lives {
    /// Opens the cache, maybe after dying at it, and asks for every key.
    pub(crate) async fn be_born(&mut self) -> Result<(), String> {
        let faults = self.faults();
        self.sim.set_faults(faults);
        self.set_stormy(false);
        self.clock.set(Millis(self.now));
        if self.dice.one_in(5) {
            let death = self.draw_death();
            let operations = self.dice.below(RECOVERY_OPERATIONS);
            self.model.opens(self.retention_of_a_birth(), self.clock.now().0);
            self.sim = self.die_at_open(&self.sim, operations, death).await;
            self.note(format!("died at the open, after {operations} operations: {death:?}"));
            self.model.died(death, self.now);
            self.tally.second_crashes += 1;
        }
        // After a clean close the clock may have stepped back.
        if self.model.was_closed() && self.dice.one_in(3) {
            self.clock.set(Millis(self.now - self.dice.below(6_000)));
            self.note("the clock stepped back between the lives");
        }
        let backend = self.doom.backend(&self.sim);
        self.retention_ms = self.retention_of_a_birth();
        self.model.opens(self.retention_ms, self.clock.now().0);
        let cache = self.open_on(backend).await.map_err(|e| format!("cannot open: {e}"))?;
        self.note(told(&cache));
        let stats = cache.stats();
        if stats.used_bytes > stats.capacity_bytes {
            return Err(format!("opened with {} bytes, the capacity is {}", stats.used_bytes, stats.capacity_bytes));
        }
        let mut model = std::mem::take(&mut self.model);
        let judged = self.ask(&cache, &mut model).await;
        self.model = model;
        self.cache = Some(cache);
        self.clock.set(Millis(self.now));
        judged
    }

    /// Asks a cache that was just opened for every key.
    pub(crate) async fn ask(&mut self, cache: &DiskCache, model: &mut Model) -> Result<(), String> {
        self.tally.recovered(&cache.recovery_report());
        self.tally.retained += model.too_old();
        let before = (self.plan.keeps == Keeps::All).then(|| model.clone());
        model.born();
        let mut answers = BTreeMap::new();
        for n in model.keys() {
            let answer = read(cache, n).await?;
            self.note(format!("get {n}: {answer:?}"));
            model.judge(n, answer, self.now)?;
            answers.insert(n, answer);
        }
        if model.has_crashed() {
            self.tally.points += 1;
            self.tally.judged += answers.len() as u64;
            self.tally.hits += answers.values().flatten().count() as u64;
        }
        before.map_or(Ok(()), |before| model.judge_prefix(&before, &answers, self.now))
    }

    /// Crashes a copy of the disk as it stands, between two steps, and judges its recovery.
    pub(crate) async fn look(&mut self) -> Result<(), String> {
        let copy = self.sim.fork(self.dice.next());
        let model = self.model.clone();
        self.judge_copy(copy, model).await
    }

    /// Crashes a copy of the disk, maybe a second time in its recovery, and asks for every key.
    pub(crate) async fn judge_copy(&mut self, mut copy: Sim, mut model: Model) -> Result<(), String> {
        let (kept, death) = (self.diary.len(), self.draw_death());
        self.note(format!("a copy dies: {death:?}"));
        self.tally.power_losses += u64::from(death == Death::PowerLoss);
        kill(&copy, death);
        model.died(death, self.now);
        model.is_stormy = false;
        copy = copy.reopen();
        copy.set_faults(self.faults());
        if self.dice.one_in(4) {
            let (death, operations) = (self.draw_death(), self.dice.below(RECOVERY_OPERATIONS));
            model.opens(self.retention_of_a_birth(), self.clock.now().0);
            copy = self.die_at_open(&copy, operations, death).await;
            self.note(format!("and in its recovery, after {operations} operations: {death:?}"));
            model.died(death, self.now);
            self.tally.second_crashes += 1;
        }
        model.opens(self.retention_of_a_birth(), self.clock.now().0);
        let opened = self.open_on(Arc::new(copy.clone())).await;
        let cache = opened.map_err(|e| format!("cannot open a copy: {e}"))?;
        self.note(told(&cache));
        self.ask(&cache, &mut model).await?;
        copy.crash_process();
        drop(cache);
        // What held needs no telling.
        self.diary.truncate(kept);
        Ok(())
    }

    /// Begins to open, and dies at an operation of it or right after. The disk for the next.
    async fn die_at_open(&self, sim: &Sim, operations: u64, death: Death) -> Sim {
        let doom = Doom::default();
        doom.plan(operations, death, Vec::new());
        let opening = self.open_on(doom.backend(sim));
        tokio::select! {
            biased;
            () = doom.comes() => {}
            opened = opening => drop(opened),
        }
        doom.now(sim);
        sim.reopen()
    }

    pub(crate) fn draw_death(&mut self) -> Death {
        if self.dice.one_in(2) { Death::Killed } else { Death::PowerLoss }
    }
}
