//! What was asked of a cache, when, and what it answered: and whether the promises allow it.
//!
//! Moments are numbered in the order in which they came. A write acts at some moment between its begin and its end; one
//! that was given up may act at any later moment, or never.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Versions from here on have the tag that is purged.
pub const TAGGED: u32 = 1_000;

/// What a write was, or turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// This version was stored.
    Stored(u32),
    /// It was refused or it failed: neither it nor anything older is served.
    Failed(u32),
    /// Whatever was there is gone.
    Removed,
    /// It is, if it had the tag.
    Purged,
    /// Begun, and not heard of again: this version, or a removal.
    Open(Option<u32>),
}

impl Write {
    fn version(self) -> Option<u32> {
        match self {
            Self::Stored(version) | Self::Failed(version) => Some(version),
            Self::Open(version) => version,
            Self::Removed | Self::Purged => None,
        }
    }

    /// Whether a miss may come of it.
    fn may_remove(self) -> bool {
        matches!(self, Self::Failed(_) | Self::Removed | Self::Purged | Self::Open(None))
    }
}

#[derive(Debug, Clone, Copy)]
struct Event {
    begin: u64,
    end: u64,
    write: Write,
    /// Whether it survives a power loss.
    is_durable: bool,
    /// Whether it is what a fetch found in a moment: nothing that began later may be undone by it, and it undoes nothing.
    is_fetched: bool,
}

impl Event {
    /// Whether this one, if it came after another, left nothing of it.
    fn undoes(&self, other: &Self) -> bool {
        let is_tagged = || other.write.version().is_none_or(|version| version >= TAGGED);
        other.end < self.begin && (self.write != Write::Purged || is_tagged())
    }
}

#[derive(Debug, Clone, Copy)]
struct Got {
    end: u64,
    /// When the write that it saw began and ended.
    of: (u64, u64),
}

#[derive(Debug, Default)]
struct Key {
    writes: Vec<Event>,
    gets: Vec<Got>,
}

#[derive(Debug, Default)]
struct All {
    now: u64,
    keys: BTreeMap<u32, Key>,
}

/// A write that was begun.
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    key: u32,
    place: usize,
}

/// See the module's documentation. Nobody holds it while another task may run.
#[derive(Debug, Clone, Default)]
pub struct History {
    all: Arc<Mutex<All>>,
    /// Whether misses need no reason: eviction is at work, or the disk fails.
    pub may_forget: bool,
}

impl History {
    fn with(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A moment.
    pub fn now(&self) -> u64 {
        let mut all = self.with();
        all.now += 1;
        all.now
    }

    /// A write begins: of this version, or a removal.
    pub fn begin(&self, key: u32, version: Option<u32>) -> Begun {
        let begin = self.now();
        let mut all = self.with();
        let writes = &mut all.keys.entry(key).or_default().writes;
        writes.push(Event { begin, end: u64::MAX, write: Write::Open(version), is_durable: false, is_fetched: false });
        Begun { key, place: writes.len() - 1 }
    }

    /// A fetch finds this version, now. It may be stored, or not.
    pub fn fetched(&self, key: u32, version: u32) -> u64 {
        let now = self.now();
        let event = Event { begin: now, end: now, write: Write::Stored(version), is_durable: false, is_fetched: true };
        self.with().keys.entry(key).or_default().writes.push(event);
        now
    }

    /// It ended.
    pub fn end(&self, begun: Begun, write: Write, is_durable: bool) {
        let end = self.now();
        if let Some(event) = self.with().keys.get_mut(&begun.key).and_then(|key| key.writes.get_mut(begun.place)) {
            *event = Event { end, write, is_durable, ..*event };
        }
    }

    /// A purge of the tag ended. Of what had it, what ended before is durable: what that replaced must not come back.
    pub fn purged(&self, begun: &[Begun], is_durable: bool) {
        for begun in begun {
            self.end(*begun, Write::Purged, is_durable);
            if let Some(key) = self.with().keys.get_mut(&begun.key).filter(|_| is_durable) {
                let purge = key.writes[begun.place];
                key.writes
                    .iter_mut()
                    .filter(|w| w.write.version().is_some() && purge.undoes(w))
                    .for_each(|w| w.is_durable = true);
            }
        }
    }

    /// Everything that ended before this moment is durable now.
    pub fn synced(&self, before: u64) {
        for key in self.with().keys.values_mut() {
            key.writes.iter_mut().filter(|w| w.end < before).for_each(|w| w.is_durable = true);
        }
    }

    /// A get that began then has just found this version, or nothing.
    ///
    /// # Panics
    /// It must not.
    pub fn got(&self, key: u32, begin: u64, found: Option<u32>) {
        let end = self.now();
        let mut all = self.with();
        let key_of = all.keys.entry(key).or_default();
        let ended_between =
            |after: &Event| key_of.writes.iter().any(|x| !x.is_fetched && x.undoes(after) && x.end < begin);
        let Some(version) = found else {
            let is_due = key_of.writes.iter().any(|w| matches!(w.write, Write::Stored(_)) && w.end < begin);
            let is_undone = |w: &&Event| w.write.may_remove() && w.begin < end;
            let explained = key_of.writes.iter().filter(is_undone).any(|w| !ended_between(w));
            assert!(self.may_forget || !is_due || explained, "key {key} was lost: {key_of:?}, get {begin}-{end}");
            return;
        };
        let write = key_of.writes.iter().find(|w| w.write.version() == Some(version));
        let Some(write) = write.copied().filter(|w| w.begin < end) else {
            panic!("key {key}: version {version} was never stored: {key_of:?}, get {begin}-{end}")
        };
        assert!(!ended_between(&write), "key {key}: stale version {version}: {key_of:?}, get {begin}-{end}");
        let is_failed = matches!(write.write, Write::Failed(_)) && write.end < begin;
        assert!(!is_failed, "key {key}: version {version} failed and is served: {key_of:?}, get {begin}-{end}");
        let went_back = key_of.gets.iter().any(|g| g.end < begin && write.end < g.of.0);
        assert!(!went_back, "key {key}: version {version} after a newer one: {key_of:?}, get {begin}-{end}");
        if !write.is_fetched {
            key_of.gets.push(Got { end, of: (write.begin, write.end) });
        }
    }

    /// After a power loss and a new open, this version of a key is there, or nothing.
    ///
    /// # Panics
    /// It must not.
    pub fn survived(&self, key: u32, found: Option<u32>) {
        let all = self.with();
        let Some(of) = all.keys.get(&key) else {
            assert!(found.is_none(), "key {key} was never written, and holds {found:?}");
            return;
        };
        let covered = |by: &Event| of.writes.iter().any(|x| x.is_durable && x.undoes(by));
        if let Some(version) = found {
            let write = of.writes.iter().find(|w| w.write.version() == Some(version));
            let Some(write) = write else { panic!("key {key}: version {version} was never stored: {of:?}") };
            assert!(!covered(write), "key {key}: version {version} came back after the power loss: {of:?}");
            return;
        }
        let is_due = of.writes.iter().any(|w| w.is_durable && matches!(w.write, Write::Stored(_)));
        let explained = of.writes.iter().any(|w| w.write.may_remove() && !covered(w));
        assert!(self.may_forget || !is_due || explained, "key {key} was durable and is lost: {of:?}");
    }

    /// What was learnt of a key at this moment was said to a call that began then.
    ///
    /// # Panics
    /// Something was written in between, from its beginning to its end.
    pub fn said(&self, key: u32, moment: u64, begin: u64) {
        let all = self.with();
        let between = |w: &&Event| !w.is_fetched && moment < w.begin && w.end < begin;
        let between = all.keys.get(&key).and_then(|of| of.writes.iter().find(between));
        assert!(
            between.is_none(),
            "key {key}: what was so at {moment} was said to a call from {begin} on: {between:?}"
        );
    }

    /// The keys that were written.
    pub fn keys(&self) -> Vec<u32> {
        self.with().keys.keys().copied().collect()
    }
}
