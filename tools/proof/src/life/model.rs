//! What a cache may answer: for each key everything that happened to it, and how durable that is.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::Keeps;
use super::tenants::STREAMS;
use super::write::tags_of;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// Closed, and it said Ok.
    Closed,
    /// Killed.
    Killed,
    /// The power went.
    PowerLoss,
}

/// How safe an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It may be forgotten.
    Volatile,
    /// It survives a kill.
    Written,
    /// It survives a power loss.
    Synced,
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was set to this version, then, which is good until then (in milliseconds).
    Set { version: u32, created: u64, expires: Option<u64> },
    /// It was deleted or cleared.
    Gone,
    /// A newer value of it was refused or lost, or its delete failed: it is gone, but a crash may bring it back.
    Refused,
}

#[derive(Debug, Clone)]
struct Event {
    order: u64,
    /// In which life of the cache.
    life: u32,
    fate: Fate,
    level: Level,
    /// The append stream that its record went to.
    stream: Option<u8>,
    /// Of this process, so that syncing is about it.
    is_present: bool,
    /// Whether it was older than the retention of some process.
    age: Age,
}

/// Whether an entry has come of age.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    /// It has not.
    #[default]
    Young,
    /// It has: it may be gone for good.
    Due,
    /// It is gone, durably.
    Over,
}

/// What the process that is open does to entries that are older than it.
#[derive(Debug, Clone, Copy, Default)]
struct Retention {
    /// How old an entry may be.
    most_ms: Option<u64>,
    /// When it was opened, or before: whatever was too old then is gone at once.
    opened: u64,
}

impl Retention {
    /// Whether something that was set then may have come of age.
    fn may_end(&self, created: u64, now: u64) -> bool {
        self.most_ms.is_some_and(|ms| created.saturating_add(ms) <= now)
    }

    /// Whether it had when the process was opened, for sure.
    fn has_ended(&self, created: u64) -> bool {
        self.most_ms.is_some_and(|ms| created.saturating_add(ms) < self.opened)
    }
}

#[derive(Debug, Clone, Default)]
struct Key {
    events: Vec<Event>,
    /// Where the events begin of which the last death may have left any, until a get tells which; and whether the
    /// first of them is durable.
    candidates: Option<(usize, bool)>,
    /// A get missed, so without a new write there is nothing.
    is_missing: bool,
}

/// The model.
#[derive(Debug, Clone, Default)]
pub struct Model {
    keys: BTreeMap<u32, Key>,
    /// Tags that were purged, durably, and when.
    purged: Vec<(u64, &'static str)>,
    /// Keys whose entries are pinned: they are not evicted.
    pinned: BTreeSet<u32>,
    order: u64,
    life: u32,
    /// How the last process ended, if not by itself since.
    last_death: Option<Death>,
    /// The disk fails reads, so that a miss may be no more than that.
    pub is_stormy: bool,
    /// What must not be forgotten.
    keeps: Keeps,
    /// What goes by its age.
    retention: Retention,
}

impl Model {
    /// Nothing has happened yet.
    pub fn new(keeps: Keeps) -> Self {
        Self { keeps, ..Self::default() }
    }

    /// Notes what happened to a key. `stream` if it has a record in the log.
    pub fn happened(&mut self, key: u32, fate: Fate, level: Level, stream: Option<u8>) {
        self.order += 1;
        let (order, life, age) = (self.order, self.life, Age::Young);
        let event = Event { order, life, fate, level, stream, is_present: true, age };
        self.pinned.remove(&key);
        let key = self.keys.entry(key).or_default();
        key.events.push(event);
        key.candidates = None;
        key.is_missing = false;
    }

    /// An entry is in memory only, until it is used.
    pub fn held(&mut self, key: u32, fate: Fate) {
        self.happened(key, fate, Level::Volatile, None);
        if let Some(event) = self.keys.get_mut(&key).and_then(|key| key.events.last_mut()) {
            event.is_present = false;
        }
    }

    /// A write failed: it is gone, but what was written of it may show after a crash.
    pub fn failed(&mut self, key: u32, fate: Fate) {
        self.happened(key, fate, Level::Volatile, None);
        if let Some(event) = self.keys.get_mut(&key).and_then(|key| key.events.last_mut()) {
            event.is_present = false;
        }
        self.happened(key, Fate::Refused, Level::Volatile, None);
    }

    /// All that has a tag was purged: durably, or not so, if the disk failed.
    pub fn purged_tag(&mut self, tag: &'static str, is_durable: bool) {
        let has_it = |key: &Key| matches!(key.events.last().map(|e| e.fate), Some(Fate::Set { version, .. }) if tags_of(version).contains(&tag));
        let keys: Vec<u32> = self.keys.iter().filter(|(_, key)| has_it(key)).map(|(n, _)| *n).collect();
        for key in keys {
            match is_durable {
                true => self.happened(key, Fate::Gone, Level::Synced, None),
                false => self.happened(key, Fate::Refused, Level::Volatile, None),
            }
        }
        if is_durable {
            self.order += 1;
            self.purged.push((self.order, tag));
        }
    }

    /// The entry of a key is pinned.
    pub fn pinned(&mut self, key: u32) {
        if !self.is_stormy {
            self.pinned.insert(key);
        }
    }

    /// It is not any more.
    pub fn unpinned(&mut self, key: u32) {
        self.pinned.remove(&key);
    }

    /// None is.
    pub fn unpin_all(&mut self) {
        self.pinned.clear();
    }

    /// Every key was cleared.
    pub fn cleared(&mut self, level: Level) {
        for key in self.keys.keys().copied().collect::<Vec<_>>() {
            self.happened(key, Fate::Gone, level, None);
        }
    }

    /// A clear failed: what was there may be gone, now or after a crash.
    pub fn was_maybe_cleared(&mut self) {
        self.keys.values_mut().flat_map(|key| &mut key.events).for_each(|e| e.is_present = false);
    }

    /// A settling failed: of what was not synced, anything may have been lost, and is not told again.
    pub fn was_told_of_loss(&mut self) {
        let events = self.keys.values_mut().flat_map(|key| &mut key.events);
        events.filter(|e| e.level < Level::Synced).for_each(|e| e.is_present = false);
    }

    /// Everything that is there is at least this durable.
    pub fn settled(&mut self, level: Level) {
        let events = self.keys.values_mut().flat_map(|k| &mut k.events);
        for event in events.filter(|e| e.is_present && e.fate != Fate::Refused) {
            event.level = event.level.max(level);
        }
    }

    /// A process is about to be opened, not before `opened`, whose entries live no longer than this.
    pub fn opens(&mut self, retention_ms: Option<u64>, opened: u64) {
        self.retention = Retention { most_ms: retention_ms, opened };
    }

    /// A process ended: of each key's events since the last durable one, any may be the last that is left.
    pub fn died(&mut self, death: Death, now: u64) {
        self.last_death = Some(death);
        self.come_of_age(death, now);
        self.unpin_all();
        let safe = match death {
            Death::Closed => {
                let events = self.keys.values_mut().flat_map(|k| &mut k.events);
                events.filter(|e| e.is_present).for_each(|e| e.level = Level::Synced);
                Level::Synced
            }
            Death::Killed => Level::Written,
            Death::PowerLoss => Level::Synced,
        };
        for key in self.keys.values_mut() {
            let durable = key.events.iter().rposition(|e| e.level >= safe);
            // What a get has missed before need not be there.
            let is_there = durable.is_some_and(|at| key.events[at].is_present && !key.is_missing);
            let floor = (durable.unwrap_or(0), is_there);
            // Died twice without a get between: the harder death decides.
            key.candidates = Some(key.candidates.map_or(floor, |earlier| earlier.min(floor)));
            key.is_missing = false;
            key.events.iter_mut().for_each(|e| e.is_present = false);
        }
    }

    /// What was older than a process let it be may be gone for good; if that was closed, it is.
    fn come_of_age(&mut self, death: Death, now: u64) {
        let retention = self.retention;
        for event in self.keys.values_mut().flat_map(|key| &mut key.events) {
            let Fate::Set { created, .. } = event.fate else { continue };
            if retention.may_end(created, now) {
                event.age = event.age.max(Age::Due);
            }
            if death == Death::Closed && retention.has_ended(created) {
                event.age = Age::Over;
            }
        }
    }

    /// From here on anything may be forgotten.
    pub fn forgives(&mut self) {
        self.keeps = Keeps::Nothing;
    }

    /// Whether the last process was closed, and none began since.
    pub fn was_closed(&self) -> bool {
        self.last_death == Some(Death::Closed)
    }

    /// Whether the last process did not end by itself.
    pub fn has_crashed(&self) -> bool {
        self.last_death.is_some_and(|death| death != Death::Closed)
    }

    /// Judges what a get answered at `now`.
    pub fn judge(&mut self, key: u32, answer: Option<u32>, now: u64) -> Result<(), String> {
        let is_stormy = self.is_stormy;
        let keeps = if is_stormy { Keeps::Nothing } else { self.keeps };
        let retention = self.retention;
        let Some(state) = self.keys.get_mut(&key) else {
            return answer.map_or(Ok(()), |v| Err(format!("key {key}: version {v} of a key that was never set")));
        };
        let Some((from, is_durable)) = state.candidates.take() else {
            let was_missing = state.is_missing;
            if answer.is_none() && self.pinned.contains(&key) && state.must_be_served(now, retention) {
                return Err(format!("key {key}: {:?} is pinned, and was evicted", state.events.last()));
            }
            let judged = state.judge_live(key, answer, now, keeps, retention);
            state.is_missing &= was_missing || !is_stormy;
            return judged;
        };
        match answer {
            Some(version) => {
                let is_it = |e: &Event| matches!(e.fate, Fate::Set { version: v, .. } if v == version);
                let Some(at) = state.events.iter().rposition(is_it) else {
                    return Err(format!("key {key}: version {version} was never set, or was lost before"));
                };
                let order = state.events[at].order;
                let purge = self.purged.iter().find(|(when, tag)| *when > order && tags_of(version).contains(tag));
                if let Some((_, tag)) = purge {
                    return Err(format!(
                        "key {key}: after a crash version {version} is there, though {tag} was purged"
                    ));
                }
                if at < from {
                    let events = &state.events[at..];
                    return Err(format!("key {key}: after a crash version {version} is older than durable {events:?}"));
                }
                state.events.truncate(at + 1);
                state.events[at].is_present = true;
                state.judge_live(key, answer, now, keeps, retention)
            }
            None => {
                state.is_missing = true;
                state.doubt_what_age_may_hide(from, now, retention);
                let is_kept = state.events.last().is_some_and(|e| e.is_kept(keeps));
                let must_hit =
                    is_kept && is_durable && from + 1 == state.events.len() && state.must_be_served(now, retention);
                if must_hit {
                    Err(format!("key {key}: durable {:?} was forgotten", state.events[from]))
                } else {
                    Ok(())
                }
            }
        }
    }

    /// P4 after a crash of a roomy cache, before anything else happened: if a record of a stream survived, so did what
    /// was in the stream before it. `answers` are all keys' versions.
    pub fn judge_prefix(&self, before: &Model, answers: &BTreeMap<u32, Option<u32>>, now: u64) -> Result<(), String> {
        for stream in 0..3 * STREAMS {
            let survived = before.keys.iter().filter_map(|(key, state)| {
                let version = answers.get(key).copied().flatten()?;
                let event = state.events.iter().rfind(|e| e.fate.is_version(version))?;
                event.is_of(stream, before.life).then_some(event.order)
            });
            let Some(last) = survived.max() else { continue };
            for (key, state) in &before.keys {
                let in_prefix = |e: &Event| e.is_of(stream, before.life) && e.order <= last;
                let Some(at) = state.events.iter().rposition(in_prefix) else { continue };
                let answer = answers.get(key).copied().flatten();
                let is_fine = match answer {
                    Some(version) => state.events[at..].iter().any(|e| e.fate.is_version(version)),
                    None => at + 1 < state.events.len() || !state.must_be_served(now, before.retention),
                };
                if !is_fine {
                    let event = &state.events[at];
                    return Err(format!(
                        "stream {stream}: {last} survived, key {key} shows {answer:?}, lost {event:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Entries that are gone by their age since the process was opened, of those that nothing else has happened to.
    pub fn too_old(&self) -> u64 {
        self.keys.values().filter(|key| key.is_over(self.retention) && key.is_served(self.retention.opened)).count()
            as u64
    }

    /// A new life begins.
    pub fn born(&mut self) {
        self.life += 1;
    }

    /// Every key that was ever touched.
    pub fn keys(&self) -> Vec<u32> {
        self.keys.keys().copied().collect()
    }
}

impl Fate {
    fn is_version(&self, version: u32) -> bool {
        matches!(self, Self::Set { version: v, .. } if *v == version)
    }
}

impl Event {
    fn is_kept(&self, keeps: Keeps) -> bool {
        match keeps {
            Keeps::Nothing => false,
            Keeps::Synced => self.level == Level::Synced,
            Keeps::All => true,
        }
    }

    fn is_of(&self, stream: u8, life: u32) -> bool {
        self.stream == Some(stream) && self.life == life
    }
}

impl Key {
    /// A miss right after an open, of a key of which anything from this event on may be left. If what is may be too old to be
    /// served, nothing is known of what came after it: the next process, which may have no retention, may find it.
    fn doubt_what_age_may_hide(&mut self, from: usize, now: u64, retention: Retention) {
        let may_hide = |e: &Event| match e.fate {
            Fate::Set { created, .. } => e.age >= Age::Due || retention.may_end(created, now),
            _ => false,
        };
        if let Some(oldest) = self.events.iter().skip(from).position(may_hide) {
            self.events.iter_mut().skip(from + oldest + 1).for_each(|e| e.level = Level::Volatile);
        }
    }

    /// Whether the last event is an entry that is gone by its age, now or since some earlier process.
    fn is_over(&self, retention: Retention) -> bool {
        self.events.last().is_some_and(|e| match e.fate {
            Fate::Set { created, .. } => e.age == Age::Over || retention.has_ended(created),
            _ => false,
        })
    }

    /// Whether the last event is an entry that has not expired.
    fn is_served(&self, now: u64) -> bool {
        match self.events.last().map(|e| e.fate) {
            Some(Fate::Set { expires, .. }) => expires.is_none_or(|at| now < at),
            _ => false,
        }
    }

    /// Whether it is an entry that has not come of age either.
    fn must_be_served(&self, now: u64, retention: Retention) -> bool {
        self.is_served(now)
            && self.events.last().is_some_and(|e| match e.fate {
                Fate::Set { created, .. } => e.age == Age::Young && !retention.may_end(created, now),
                _ => false,
            })
    }

    fn judge_live(
        &mut self,
        key: u32,
        answer: Option<u32>,
        now: u64,
        keeps: Keeps,
        retention: Retention,
    ) -> Result<(), String> {
        let last = self.events.last().map(|e| e.fate);
        match answer {
            Some(version) => {
                let is_newest = last.is_some_and(|fate| fate.is_version(version));
                if !is_newest {
                    return Err(format!("key {key}: version {version}, though the last that happened is {last:?}"));
                }
                if self.is_missing {
                    return Err(format!("key {key}: version {version} came back after a miss"));
                }
                if !self.is_served(now) {
                    return Err(format!("key {key}: version {version} has expired, it is {now}: {last:?}"));
                }
                if self.is_over(retention) {
                    return Err(format!(
                        "key {key}: version {version} is older than {retention:?} lets it be: {last:?}"
                    ));
                }
                Ok(())
            }
            None => {
                let was_missing = std::mem::replace(&mut self.is_missing, true);
                let is_kept = self.events.last().is_some_and(|e| e.is_kept(keeps));
                if is_kept && !was_missing && self.must_be_served(now, retention) {
                    return Err(format!("key {key}: {last:?} was forgotten"));
                }
                Ok(())
            }
        }
    }
}
