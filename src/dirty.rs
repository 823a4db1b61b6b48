//! Entries that the origin does not have yet (write-back). In memory by the place of the entry's record; on disk the record has a
//! flag, which counts if its sequence is greater than what the manifest says is stored.
//!
//! An entry is added, moved and ended as a pin is (see [`crate::pins`]): under the lock of the digest's index shard, for the record
//! that the index points at.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::format::length::class_bytes;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::{Digest, Location, Sequence};

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Dirty {
    /// How many there are; written under the lock, read without it.
    len: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    bytes: u64,
    places: HashMap<Location, (Digest, Sequence)>,
    /// How many writes have begun after each of these sequences, and are not done.
    begun: BTreeMap<Sequence, u64>,
    /// Key prefixes of those who bring their entries to an origin.
    owners: HashSet<Vec<u8>>,
}

/// A write that may add an entry; see [`Dirty::begin`].
pub struct Begun<'a>(&'a Dirty, Sequence);

/// Whose entries with this prefix are: nobody else's as long as it lives.
pub struct Owner(Arc<Dirty>, Vec<u8>);

impl Dirty {
    /// The record here, of this digest and sequence, is dirty.
    pub fn add(&self, at: Location, digest: Digest, sequence: Sequence) {
        self.change(|inner| {
            inner.end(at);
            inner.add(at, digest, sequence);
        });
    }

    /// The record moved, and has this sequence now.
    pub fn moved(&self, from: Location, to: Location, sequence: Sequence) {
        if self.is_empty() {
            return;
        }
        self.change(|inner| {
            if let Some((digest, _)) = inner.end(from) {
                inner.add(to, digest, sequence);
            }
        });
    }

    /// The record here is not dirty any more; whether it was.
    pub fn end(&self, at: Location) -> bool {
        !self.is_empty() && self.change(|inner| inner.end(at).is_some())
    }

    /// As [`Dirty::end`], if the record has this sequence.
    pub fn end_if(&self, at: Location, sequence: Sequence) {
        self.change(|inner| {
            if inner.places.get(&at).is_some_and(|(_, there)| *there == sequence) {
                inner.end(at);
            }
        });
    }

    /// Nothing is dirty any more.
    pub fn clear(&self) {
        self.change(|inner| (inner.bytes, inner.places) = Default::default());
    }

    /// The sequence of the record here, if it is dirty. Without a lock where nothing is.
    pub fn at(&self, at: Location) -> Option<Sequence> {
        if self.is_empty() { None } else { self.inner.lock().places.get(&at).map(|(_, sequence)| *sequence) }
    }

    /// All of them, oldest first.
    pub fn digests(&self) -> Vec<Digest> {
        let mut all: Vec<(Digest, Sequence)> = self.inner.lock().places.values().copied().collect();
        all.sort_by_key(|(_, sequence)| *sequence);
        all.into_iter().map(|(digest, _)| digest).collect()
    }

    /// Bytes of records.
    pub fn bytes(&self) -> u64 {
        self.inner.lock().bytes
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.len.load(Ordering::SeqCst)
    }

    /// Whether there are none. Takes no lock.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A write begins, when `last` is the highest sequence given out: as long as what is returned lives, nothing of a higher one
    /// counts as stored.
    pub fn begin(&self, last: Sequence) -> Begun<'_> {
        *self.inner.lock().begun.entry(last).or_default() += 1;
        Begun(self, last)
    }

    /// Up to which sequence nothing is dirty, where `last` was the highest given out.
    pub fn stored_up_to(&self, last: Sequence) -> Sequence {
        let inner = self.inner.lock();
        let dirty = inner.places.values().map(|(_, sequence)| Sequence(sequence.0.saturating_sub(1)));
        let begun = inner.begun.first_key_value().map(|(sequence, _)| *sequence);
        dirty.chain(begun).fold(last, Sequence::min)
    }

    fn change<R>(&self, change: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.inner.lock();
        let result = change(&mut inner);
        self.len.store(inner.places.len() as u64, Ordering::SeqCst);
        result
    }
}

impl Inner {
    fn add(&mut self, at: Location, digest: Digest, sequence: Sequence) {
        self.bytes += class_bytes(at.class);
        self.places.insert(at, (digest, sequence));
    }

    fn end(&mut self, at: Location) -> Option<(Digest, Sequence)> {
        let was = self.places.remove(&at)?;
        self.bytes -= class_bytes(at.class);
        Some(was)
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.inner.lock();
        if let Some(count) = inner.begun.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                inner.begun.remove(&self.1);
            }
        }
    }
}

impl Owner {
    /// Of the keys with this prefix; `None` if somebody else is.
    pub fn new(dirty: Arc<Dirty>, prefix: &[u8]) -> Option<Self> {
        let is_new = dirty.inner.lock().owners.insert(prefix.to_vec());
        is_new.then(|| Self(dirty, prefix.to_vec()))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.inner.lock().owners.remove(&self.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset_units: u32) -> Location {
        Location { slot: 0, offset_units, class: 3 }
    }

    #[test]
    fn entries_move_and_end_with_their_records() {
        let dirty = Dirty::default();
        assert!(dirty.is_empty() && !dirty.end(at(1)));
        dirty.add(at(1), Digest(1), Sequence(10));
        dirty.add(at(2), Digest(2), Sequence(9));
        assert_eq!((dirty.len(), dirty.bytes(), dirty.digests()), (2, 96, vec![Digest(2), Digest(1)]));
        dirty.moved(at(1), at(3), Sequence(10));
        dirty.moved(at(7), at(8), Sequence(11));
        assert_eq!((dirty.at(at(1)), dirty.at(at(3)), dirty.at(at(8))), (None, Some(Sequence(10)), None));
        dirty.end_if(at(3), Sequence(9));
        assert_eq!(dirty.at(at(3)), Some(Sequence(10)), "a newer one stands there");
        dirty.end_if(at(3), Sequence(10));
        assert!(dirty.end(at(2)) && !dirty.end(at(2)));
        assert_eq!((dirty.len(), dirty.bytes()), (0, 0));
        dirty.add(at(4), Digest(4), Sequence(1));
        dirty.clear();
        assert_eq!((dirty.is_empty(), dirty.bytes()), (true, 0));
    }

    #[test]
    fn nothing_counts_as_stored_that_is_dirty_or_being_written() {
        let dirty = Dirty::default();
        assert_eq!(dirty.stored_up_to(Sequence(20)), Sequence(20));
        let (first, second) = (dirty.begin(Sequence(14)), dirty.begin(Sequence(14)));
        dirty.add(at(1), Digest(1), Sequence(15));
        drop(first);
        assert_eq!(dirty.stored_up_to(Sequence(20)), Sequence(14), "another write may have got 15 too");
        drop(second);
        dirty.add(at(2), Digest(2), Sequence(18));
        assert_eq!(dirty.stored_up_to(Sequence(20)), Sequence(14));
        dirty.end(at(1));
        assert_eq!(dirty.stored_up_to(Sequence(20)), Sequence(17));
        dirty.end(at(2));
        assert_eq!(dirty.stored_up_to(Sequence(20)), Sequence(20));
    }

    #[test]
    fn a_prefix_has_one_owner() {
        let dirty = Arc::<Dirty>::default();
        let own = |prefix: &[u8]| Owner::new(dirty.clone(), prefix);
        let first = own(b"a").expect("nobody has it");
        assert!(own(b"a").is_none() && own(b"").is_some());
        drop(first);
        assert!(own(b"a").is_some());
    }
}
