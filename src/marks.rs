//! Purge marks: which entries are dead because of their key, their tags or their age, whoever asks. A mark is set in constant
//! time and asked on every read; what it covers goes when its segment does.
//!
//! A mark covers what is older than its own record. While that is on its way the mark covers everything that there is, so
//! that nothing slips by: an entry that moves, or is renewed, takes its place in the order first and asks then. So it
//! finds the mark, or its place is before the mark's.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use hashbrown::HashTable;
use serde::Serialize;

use crate::format::purge::Selector;
use crate::format::tags::Tags;
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::types::{Digest, Millis, SegmentId, Sequence};

/// Most marks. Who sets more gives up the oldest half: it then stands for all that is as old.
pub const MAX_MARKS: usize = 1 << 17;

/// A table of tags whose marks are gone keeps room for so many.
const ROOM_KEPT: usize = 1 << 10;

/// A mark's place in the order, and its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Its record's; the largest there is while that is on its way.
    pub sequence: Sequence,
    /// What it covers stands in no younger segment.
    pub horizon: SegmentId,
    /// Whether its record is in the log.
    pub is_written: bool,
}

const PENDING: Mark = Mark { sequence: Sequence::MAX, horizon: SegmentId::MAX, is_written: false };

/// By what an entry is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PurgedBy {
    /// A prefix of its key.
    Prefix,
    /// One of its tags.
    Tag,
    /// Its age.
    Age,
    /// Its place: it is older than a purge that was damaged or given up, and might have been covered by it.
    Place,
}

/// See the module's documentation.
#[derive(Default)]
pub struct Marks {
    /// Whether there is any that an entry without tags may be covered by, or a floor: asked without a lock.
    has_any: AtomicBool,
    /// Whether there is one of a tag: likewise.
    has_tags: AtomicBool,
    /// Whether the record of one may have to be written.
    has_unwritten: AtomicBool,
    /// How often one was given up, since nothing is left that it covers.
    given_up: AtomicU64,
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    prefixes: BTreeMap<Bytes, Mark>,
    /// By the tags themselves, which are digests: nobody can choose some that collide, and a schedule can be repeated.
    tags: HashTable<(Digest, Mark)>,
    /// The latest time that was asked for covers what earlier ones do.
    older_than: Option<(Millis, Mark)>,
    /// All up to this is dead.
    floor: Sequence,
}

impl Marks {
    /// Whether an entry of this key, these tags, this place and time is dead.
    #[inline]
    pub fn cover(&self, key: &[u8], tags: Tags<'_>, sequence: Sequence, created: Millis) -> bool {
        self.covering(key, tags, sequence, created).is_some()
    }

    /// By what it is dead, if it is.
    #[inline]
    pub fn covering(&self, key: &[u8], tags: Tags<'_>, sequence: Sequence, created: Millis) -> Option<PurgedBy> {
        // Set before whoever purges goes on, and nobody who asks before that needs to know.
        let is_asked =
            self.has_any.load(Ordering::SeqCst) || (!tags.is_empty() && self.has_tags.load(Ordering::SeqCst));
        if is_asked { self.inner.read().covering(key, tags, sequence, created) } else { None }
    }

    /// Changes whenever a mark is given up. Who looked an entry up before, and is told after it that no mark covers it, looks
    /// it up again: eviction forgets what a mark covers before it gives up the mark.
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::SeqCst)
    }

    /// Sets a mark whose record is on its way.
    pub fn begin(&self, selector: &Selector) {
        let mut inner = self.inner.write();
        inner.set(selector, PENDING);
        self.follow(&inner);
    }

    /// To be called under the lock.
    fn follow(&self, inner: &Inner) {
        let has_any = !inner.prefixes.is_empty() || inner.older_than.is_some() || inner.floor > Sequence(0);
        self.has_any.store(has_any, Ordering::SeqCst);
        self.has_tags.store(!inner.tags.is_empty(), Ordering::SeqCst);
    }

    /// Gives a mark its place in the order: `next`'s, which is asked while nobody can ask for marks. Its record is in the
    /// log, or is still to be written.
    pub fn place(
        &self,
        selector: &Selector,
        horizon: SegmentId,
        is_written: bool,
        next: impl FnOnce() -> Sequence,
    ) -> Sequence {
        let mut inner = self.inner.write();
        let mark = Mark { sequence: next(), horizon, is_written };
        // Unless another one covers it by now.
        if inner.get(selector).is_some_and(|there| there == PENDING || there.sequence <= mark.sequence) {
            inner.set(selector, mark);
        }
        if !is_written {
            self.has_unwritten.store(true, Ordering::SeqCst);
        }
        mark.sequence
    }

    /// The record of the mark with this place is in the log.
    pub fn wrote(&self, sequence: Sequence) {
        let mut inner = self.inner.write();
        inner.all_mut().filter(|mark| mark.sequence == sequence).for_each(|mark| mark.is_written = true);
    }

    /// A mark that recovery found. The newest of those with the same selector counts.
    pub fn adopt(&self, selector: &Selector, mark: Mark) {
        let mut inner = self.inner.write();
        if inner.over(selector).is_none_or(|there| there.sequence < mark.sequence) {
            inner.set(selector, mark);
        }
        self.follow(&inner);
    }

    /// The record of this place was lost to a failing disk. Whether it was a mark's.
    pub fn lost(&self, sequence: Sequence) -> bool {
        let mut inner = self.inner.write();
        let Some(mark) = inner.all_mut().find(|mark| mark.sequence == sequence) else { return false };
        mark.is_written = false;
        self.has_unwritten.store(true, Ordering::SeqCst);
        true
    }

    /// Whether the record of one is to be written.
    pub fn owes(&self) -> bool {
        self.has_unwritten.load(Ordering::SeqCst)
    }

    /// Whether the records of all are in the log. Cheap where they are.
    pub fn are_written(&self) -> bool {
        !self.owes() || self.unwritten().is_none()
    }

    /// A mark whose record is to be written.
    pub fn unwritten(&self) -> Option<(Selector, Mark)> {
        let inner = self.inner.write();
        let unwritten = inner.all().find(|(_, mark)| !mark.is_written && *mark != PENDING);
        self.has_unwritten.store(unwritten.is_some(), Ordering::SeqCst);
        unwritten
    }

    /// What eviction makes of a record that says this: whether it must be carried on, though what it covers may still be
    /// there (`has_covered`). If not, its mark goes, unless that is another one by now.
    pub fn is_needed(&self, selector: &Selector, sequence: Sequence, has_covered: bool) -> bool {
        let mut inner = self.inner.write();
        match inner.get(selector) {
            Some(mark) if mark.sequence == sequence => {
                if !has_covered {
                    self.given_up.fetch_add(1, Ordering::SeqCst);
                    inner.remove(selector);
                    self.follow(&inner);
                }
                has_covered
            }
            // Another one stands for it, unless that is not on disk yet.
            _ => has_covered && !inner.is_replaced(selector, sequence),
        }
    }

    /// Nothing up to here is there any more, whatever the marks say.
    pub fn clear(&self, up_to: Sequence) {
        let mut inner = self.inner.write();
        self.given_up.fetch_add(1, Ordering::SeqCst);
        inner.forget(up_to);
        inner.floor = if inner.floor > up_to { inner.floor } else { Sequence(0) };
        self.follow(&inner);
    }

    /// All up to this is dead, though it is still there: older marks say nothing more.
    pub fn raise_floor(&self, floor: Sequence) {
        let mut inner = self.inner.write();
        inner.forget(floor);
        inner.floor = inner.floor.max(floor);
        self.follow(&inner);
    }

    /// Up to where all is dead.
    pub fn floor(&self) -> Sequence {
        self.inner.read().floor
    }

    /// If there are too many: the place up to which the older half stands for all that is as old.
    pub fn overflow(&self) -> Option<Sequence> {
        let inner = self.inner.read();
        if inner.prefixes.len() + inner.tags.len() <= MAX_MARKS {
            return None;
        }
        let marks = inner.prefixes.values().chain(inner.tags.iter().map(|(_, mark)| mark));
        let mut places: Vec<_> = marks.map(|mark| mark.sequence).collect();
        let middle = places.len() / 2;
        let (_, median, _) = places.select_nth_unstable(middle);
        (*median != PENDING.sequence).then_some(*median)
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        let inner = self.inner.read();
        (inner.prefixes.len() + inner.tags.len()) as u64 + u64::from(inner.older_than.is_some())
    }
}

impl std::fmt::Debug for Marks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Marks").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Inner {
    fn covering(&self, key: &[u8], tags: Tags<'_>, sequence: Sequence, created: Millis) -> Option<PurgedBy> {
        let is_newer = |mark: &Mark| sequence < mark.sequence;
        if sequence <= self.floor {
            Some(PurgedBy::Place)
        } else if self.older_than.is_some_and(|(time, mark)| created < time && is_newer(&mark)) {
            Some(PurgedBy::Age)
        } else if self.of_key(key).is_some_and(|(_, mark)| is_newer(mark)) {
            Some(PurgedBy::Prefix)
        } else if !self.tags.is_empty() && tags.iter().any(|tag| self.of_tag(tag).is_some_and(is_newer)) {
            Some(PurgedBy::Tag)
        } else {
            None
        }
    }

    fn of_tag(&self, tag: Digest) -> Option<&Mark> {
        self.tags.find(tag.0, |(there, _)| *there == tag).map(|(_, mark)| mark)
    }

    /// Marks up to here go.
    fn forget(&mut self, up_to: Sequence) {
        self.prefixes.retain(|_, mark| mark.sequence > up_to);
        self.tags.retain(|(_, mark)| mark.sequence > up_to);
        self.shrink_tags();
        self.older_than = self.older_than.filter(|(_, mark)| mark.sequence > up_to);
    }

    /// Gives room back that a table of fewer tags does not need.
    fn shrink_tags(&mut self) {
        if self.tags.capacity() > ROOM_KEPT.max(4 * self.tags.len()) {
            self.tags.shrink_to(2 * self.tags.len(), |(tag, _)| tag.0);
        }
    }

    /// The mark of the longest prefix that a key begins with. Prefixes that another one begins are gone once that was
    /// set later, so a longer one is the newer one.
    fn of_key(&self, key: &[u8]) -> Option<(&Bytes, &Mark)> {
        let mut bound = Bound::Included(key);
        loop {
            let (prefix, mark) = self.prefixes.range::<[u8], _>((Bound::Unbounded, bound)).next_back()?;
            if key.starts_with(prefix) {
                return Some((prefix, mark));
            }
            // Whatever the key begins with is no longer than what it shares with this one.
            let shared = prefix.iter().zip(key).take_while(|(a, b)| a == b).count();
            if shared == 0 {
                return None;
            }
            bound = Bound::Included(&key[..shared]);
        }
    }

    fn get(&self, selector: &Selector) -> Option<Mark> {
        match selector {
            Selector::Prefix(prefix) => self.prefixes.get(prefix).copied(),
            Selector::OlderThan(time) => self.older_than.filter(|(there, _)| there == time).map(|(_, mark)| mark),
            Selector::Tag(tag) => self.of_tag(*tag).copied(),
        }
    }

    /// The newest mark that covers all that this selector does.
    fn over(&self, selector: &Selector) -> Option<Mark> {
        match selector {
            Selector::Prefix(prefix) => self.of_key(prefix).map(|(_, mark)| *mark),
            Selector::OlderThan(time) => self.older_than.filter(|(there, _)| there >= time).map(|(_, mark)| mark),
            Selector::Tag(tag) => self.of_tag(*tag).copied(),
        }
    }

    fn is_replaced(&self, selector: &Selector, sequence: Sequence) -> bool {
        let over = self.over(selector);
        sequence <= self.floor || over.is_some_and(|mark| mark.is_written && mark.sequence >= sequence)
    }

    fn set(&mut self, selector: &Selector, mark: Mark) {
        match selector {
            Selector::Prefix(prefix) => {
                self.remove_longer(prefix, mark.sequence);
                self.prefixes.insert(prefix.clone(), mark);
            }
            Selector::OlderThan(time) if self.older_than.is_none_or(|(there, _)| there <= *time) => {
                self.older_than = Some((*time, mark));
            }
            Selector::OlderThan(_) => {}
            Selector::Tag(tag) => match self.tags.find_mut(tag.0, |(there, _)| there == tag) {
                Some((_, there)) => *there = mark,
                None => {
                    self.tags.insert_unique(tag.0, (*tag, mark), |(tag, _)| tag.0);
                }
            },
        }
    }

    fn remove(&mut self, selector: &Selector) {
        match selector {
            Selector::Prefix(prefix) => drop(self.prefixes.remove(prefix)),
            Selector::OlderThan(_) => self.older_than = None,
            Selector::Tag(tag) => {
                if let Ok(found) = self.tags.find_entry(tag.0, |(there, _)| there == tag) {
                    found.remove();
                    self.shrink_tags();
                }
            }
        }
    }

    /// What begins with a prefix is covered by its mark from now on.
    fn remove_longer(&mut self, prefix: &Bytes, sequence: Sequence) {
        let longer = |from: &Self| {
            let range = from.prefixes.range::<[u8], _>((Bound::Excluded(&prefix[..]), Bound::Unbounded));
            let older = range.take_while(|(p, _)| p.starts_with(prefix)).find(|(_, mark)| mark.sequence <= sequence);
            older.map(|(p, _)| p.clone())
        };
        while let Some(gone) = longer(self) {
            self.prefixes.remove(&gone);
        }
    }

    fn all(&self) -> impl Iterator<Item = (Selector, Mark)> {
        let prefixes = self.prefixes.iter().map(|(prefix, mark)| (Selector::Prefix(prefix.clone()), *mark));
        let tags = self.tags.iter().map(|(tag, mark)| (Selector::Tag(*tag), *mark));
        prefixes.chain(tags).chain(self.older_than.map(|(time, mark)| (Selector::OlderThan(time), mark)))
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Mark> {
        let tags = self.tags.iter_mut().map(|(_, mark)| mark);
        self.prefixes.values_mut().chain(tags).chain(self.older_than.as_mut().map(|(_, mark)| mark))
    }
}

#[cfg(test)]
mod tests;
