//! The end of a life: closed, or dead at some operation of the disk in the middle of something.

use std::time::Duration;

use esker::SetOutcome;
use tokio::task::JoinHandle;

use super::Lives;
use super::model::{Death, Fate, Level};
use super::tenants::{door, user_key};
use super::write::{TAGS, Write};

/// Operations of the disk that a last deed may live to see.
const LAST_OPERATIONS: u64 = 24;

/// What was under way when the end came.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Write(Write),
    Delete(u32),
    /// What has a tag.
    Purge(&'static str),
    Clear,
    Close,
    Settle(Level),
}

/// What its task says: whether it was done.
type Done = JoinHandle<bool>;

impl Lives {
    /// Ends the life.
    pub(super) async fn die(&mut self) -> Result<(), String> {
        if self.dice.one_in(6) { self.close().await } else { self.crash().await }
    }

    pub(crate) async fn close(&mut self) -> Result<(), String> {
        let closed = self.cache()?.close().await;
        self.note(format!("closed: {closed:?}"));
        match closed {
            Ok(()) => self.model.died(Death::Closed, self.now),
            Err(_) if self.is_stormy => {
                self.model.was_told_of_loss();
                self.model.died(Death::Killed, self.now);
            }
            Err(e) => return Err(format!("close: {e}")),
        }
        self.tally.reopens += 1;
        self.end_life();
        self.sim = self.sim.reopen();
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(())
    }

    async fn crash(&mut self) -> Result<(), String> {
        let death = self.draw_death();
        let seeds = (0..self.plan.copies).map(|_| self.dice.next()).collect();
        let operations = self.dice.below(LAST_OPERATIONS);
        let deeds = self.last_deeds();
        self.note(format!("{death:?} after {operations} operations of {deeds:?}"));
        self.doom.plan(operations, death, seeds);
        let tasks: Vec<(Deed, Done)> =
            deeds.into_iter().map(|deed| Ok((deed, self.begin(deed)?))).collect::<Result<_, String>>()?;
        // A disk that hangs may keep the last deed for ever.
        tokio::select! {
            biased;
            () = self.doom.comes() => {}
            () = all_done(&tasks) => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        let copies = self.doom.now(&self.sim);
        // Several at once say nothing about the prefix: their order is unknown.
        let is_alone = tasks.len() == 1;
        for (deed, task) in tasks {
            let was_done = task.is_finished() && task.await.unwrap_or(false);
            self.tell(deed, was_done, is_alone);
        }
        let model = self.model.clone();
        self.model.died(death, self.now);
        self.tally.power_losses += u64::from(death == Death::PowerLoss);
        self.end_life();
        self.sim = self.sim.reopen();
        // What is left of the dead process finds its disk gone.
        tokio::time::sleep(Duration::from_millis(1)).await;
        for copy in copies {
            self.judge_copy(copy, model.clone()).await?;
        }
        if self.dice.one_in(4) {
            self.now += self.dice.below(20_000);
            self.note(format!("it is {}", self.now));
        }
        Ok(())
    }

    /// One thing, or several to different keys.
    fn last_deeds(&mut self) -> Vec<Deed> {
        let n = self.dice.below(u64::from(self.plan.keys)) as u32;
        match self.dice.below(12) {
            0 => vec![Deed::Clear],
            1 => vec![Deed::Close],
            2 => vec![Deed::Settle(Level::Synced)],
            3 => vec![Deed::Settle(Level::Written)],
            4 if self.dice.one_in(2) => vec![Deed::Purge(TAGS[n as usize % TAGS.len()])],
            4 => vec![Deed::Delete(n)],
            5..9 => vec![Deed::Write(self.plan_write(n))],
            _ => {
                let keys = self.plan.keys;
                let some = (n..n + 2 + self.dice.below(6) as u32).map(|n| n % keys);
                let mut deed = |n| if self.dice.one_in(3) { Deed::Delete(n) } else { Deed::Write(self.plan_write(n)) };
                some.map(&mut deed).collect()
            }
        }
    }

    fn begin(&self, deed: Deed) -> Result<Done, String> {
        let cache = self.cache()?;
        Ok(tokio::spawn(async move {
            match deed {
                Deed::Write(write) => matches!(write.run(&cache).await, Ok(SetOutcome::Stored { .. })),
                Deed::Delete(n) => match door(&cache, n) {
                    Ok(door) => door.delete(&user_key(n)).await.is_ok(),
                    Err(_) => false,
                },
                Deed::Purge(tag) => cache.purge_tag(tag).await.is_ok(),
                Deed::Clear => cache.clear().await.is_ok(),
                Deed::Close => cache.close().await.is_ok(),
                Deed::Settle(Level::Synced) => cache.sync().await.is_ok(),
                Deed::Settle(_) => cache.flush().await.is_ok(),
            }
        }))
    }

    /// Tells the model. What was not done may have happened all the same.
    fn tell(&mut self, deed: Deed, was_done: bool, is_alone: bool) {
        let level = |done| if was_done { done } else { Level::Volatile };
        self.note(format!("done: {was_done}, {deed:?}"));
        match deed {
            Deed::Write(write) => {
                let stream = is_alone.then_some(write.append_stream());
                self.model.happened(write.key, write.fate(), level(write.level()), stream);
            }
            Deed::Delete(n) => self.model.happened(n, Fate::Gone, level(Level::Synced), None),
            Deed::Purge(tag) => self.model.purged_tag(tag, was_done),
            Deed::Clear => self.model.cleared(level(Level::Synced)),
            Deed::Close if was_done => self.model.settled(Level::Synced),
            Deed::Settle(settled) if was_done => self.model.settled(settled),
            Deed::Close | Deed::Settle(_) => {}
        }
    }

    /// Lets go of the cache.
    pub(super) fn end_life(&mut self) {
        if let Some(cache) = self.cache.take() {
            self.tally.lived(&cache);
        }
    }
}

/// Until all tasks have ended.
async fn all_done(tasks: &[(Deed, Done)]) {
    while !tasks.iter().all(|(_, task)| task.is_finished()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
