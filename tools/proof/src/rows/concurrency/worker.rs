//! One of the tasks: what it does, and what it notes of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use esker::clock::Clock;
use esker::{DiskCache, Durability, PinOutcome, SetOptions};

use super::field::{Fault, HOT_KEYS, KEYS, NAMES, Shared, TASKS};
use super::history::{Did, Event, Purge, TAGS, tag_of};
use crate::common::{Dice, key, read_value, value};
use crate::streamed::{self, Door};

/// One operation in so many is followed by a look at the quotas.
const OPERATIONS_A_LOOK: u64 = 64;
/// One get in so many returns what the canary keeps.
const STALE_ONE_IN: u64 = 200;
/// Keys that are got at once.
const BATCH_KEYS: usize = 8;
/// Keys that a task has pinned at a time: those of all take less than may be pinned.
const MOST_PINNED: usize = 24;

/// What a task did in a round.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// To which key.
    pub(super) events: Vec<(u32, Event)>,
    pub(super) purges: Vec<Purge>,
    /// Keys that it has pinned.
    pub(super) pinned: Vec<u32>,
}

/// A task.
pub(super) struct Worker {
    shared: Arc<Shared>,
    cache: DiskCache,
    dice: Dice,
    /// Its number: of the keys whose pins are its own.
    task: u32,
    seen: Seen,
    /// The canary's.
    kept: Vec<(u32, u32)>,
}

impl Worker {
    /// One that has pinned some keys before.
    pub(super) fn new(shared: Arc<Shared>, cache: DiskCache, dice: Dice, task: u32, pinned: Vec<u32>) -> Self {
        let seen = Seen { pinned, ..Seen::default() };
        Self { shared, cache, dice, task, seen, kept: Vec::new() }
    }

    /// Works.
    ///
    /// # Errors
    /// The cache's; or it answered what cannot be, whatever the others did.
    pub(super) async fn work(mut self, operations: u64) -> Result<Seen, String> {
        self.seen.events.reserve(operations as usize);
        for _ in 0..operations {
            let hot = self.dice.below(4) > 0;
            let k = self.dice.below(if hot { HOT_KEYS } else { KEYS }) as u32;
            let begin = self.tick();
            match self.dice.below(1_000) {
                0..590 => {
                    let did = self.get(k).await?;
                    self.saw(k, begin, did);
                }
                590..600 => self.get_many(k, begin).await?,
                600..960 => {
                    let did = self.set(k).await?;
                    self.saw(k, begin, did);
                }
                960..980 => self.pins(begin).await?,
                980..999 => {
                    self.door(k)?.delete(&key(k)).await.map_err(|e| format!("delete {k}: {e}"))?;
                    self.saw(k, begin, Did::Deleted);
                }
                _ => self.purge(begin).await?,
            }
            if self.dice.one_in(OPERATIONS_A_LOOK) {
                self.check_quotas()?;
            }
            self.go_on();
        }
        Ok(self.seen)
    }

    fn saw(&mut self, k: u32, begin: u64, did: Did) {
        let end = self.tick();
        self.seen.events.push((k, Event { begin, end, did }));
    }

    /// Pins a key of this task's own, ends such a pin, or looks at what is pinned.
    async fn pins(&mut self, begin: u64) -> Result<(), String> {
        let pinned = self.seen.pinned.len();
        let one = self.dice.below(pinned.max(1) as u64) as usize;
        match self.dice.below(4) {
            _ if pinned == 0 => self.pin(begin).await,
            0 | 1 => {
                let k = self.seen.pinned[one];
                let did = self.get(k).await?;
                self.saw(k, begin, did);
                Ok(())
            }
            2 if pinned < MOST_PINNED => self.pin(begin).await,
            _ => {
                let k = self.seen.pinned.swap_remove(one);
                self.door(k)?.unpin(&key(k)).await.map_err(|e| format!("unpin {k}: {e}"))?;
                self.saw(k, begin, Did::Unpinned);
                Ok(())
            }
        }
    }

    async fn pin(&mut self, begin: u64) -> Result<(), String> {
        let k = self.dice.below(KEYS / TASKS) as u32 * TASKS as u32 + self.task;
        let door = self.door(k)?;
        let outcome = door.pin(&key(k)).await.map_err(|e| format!("pin {k}: {e}"))?;
        if outcome == PinOutcome::Pinned && !self.seen.pinned.contains(&k) {
            self.seen.pinned.push(k);
        }
        if self.shared.plan.fault == Some(Fault::ForgottenPin) {
            door.unpin(&key(k)).await.map_err(|e| format!("unpin {k}: {e}"))?;
        }
        let did = match (outcome, self.get(k).await?) {
            // That it is there now matters no more.
            (PinOutcome::Absent, _) => Did::Missed,
            // Unless it was replaced in between, this is what was pinned.
            (PinOutcome::Pinned, Did::Got { version, clock }) => Did::Pinned { version, clock },
            (_, did) => did,
        };
        self.saw(k, begin, did);
        Ok(())
    }

    async fn purge(&mut self, begin: u64) -> Result<(), String> {
        let tag = self.dice.below(TAGS) as u32;
        if self.shared.plan.fault != Some(Fault::SkippedPurge) {
            self.cache.purge_tag(tag.to_le_bytes()).await.map_err(|e| format!("purge {tag}: {e}"))?;
        }
        let end = self.tick();
        self.seen.purges.push(Purge { begin, end, tag });
        Ok(())
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
        self.got(k, clock, found.as_ref().map(|(bytes, _)| &bytes[..]))
    }

    /// Gets keys that go in by one door.
    async fn get_many(&mut self, first: u32, begin: u64) -> Result<(), String> {
        let keys: Vec<u32> = (first..KEYS as u32).step_by(1 + NAMES.len()).take(BATCH_KEYS).collect();
        let clock = self.shared.clock.now().0;
        let hits = self.door(first)?.get_many(keys.iter().map(|k| key(*k)).collect()).await;
        for (k, hit) in keys.into_iter().zip(hits.map_err(|e| format!("get {first} and more: {e}"))?) {
            let hit = hit.map_err(|e| format!("get {k} of many: {e}"))?;
            let did = self.got(k, clock, hit.as_ref().map(|hit| &hit.value()[..]))?;
            self.saw(k, begin, did);
        }
        Ok(())
    }

    /// What a get found.
    fn got(&mut self, k: u32, clock: u64, bytes: Option<&[u8]>) -> Result<Did, String> {
        let Some(bytes) = bytes else { return Ok(Did::Missed) };
        let version = match read_value(bytes) {
            Some((of, version)) if of == k => version,
            other => return Err(format!("key {k}: bytes that were never stored under it: {other:?}")),
        };
        if self.shared.plan.fault == Some(Fault::StaleGet) {
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
        if let Some(tag) = tag_of(version) {
            options = options.tags([tag.to_le_bytes()]);
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
