//! Markers that could not be written yet: what they cover must stay dead (trap 4).

use std::collections::{BTreeMap, HashSet};

use crate::sync::Mutex;
use crate::types::{Digest, SegmentId, Sequence};

/// Most markers owed for keys that the index does not know.
const MAX_OWED: usize = 100_000;

/// The how-manieth marker that was owed, so that who waits for those owed so far does not wait for later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(u64);

/// A marker to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Debt {
    /// Everything older of the digest is dead.
    pub sequence: Sequence,
    /// It stands in no segment younger than this one. Kept, since a marker that were given a younger one each time it
    /// finds no room would never go.
    pub horizon: SegmentId,
}

/// Which debt it was that was paid: it is another one as soon as more is owed for its digest, or the same once more, since the
/// marker was lost before its writer could say that it is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(u64);

/// What is owed for a digest.
struct Owing {
    debt: Debt,
    /// The number of the oldest that it stands for.
    oldest: Number,
    stamp: Stamp,
}

/// One marker a digest: the newest covers what the others do.
#[derive(Default)]
pub(super) struct Owed(Mutex<Debts>);

#[derive(Default)]
struct Debts {
    /// By digest.
    debts: BTreeMap<u64, Owing>,
    last: u64,
    stamps: u64,
}

impl Debts {
    fn add(&mut self, digest: Digest, debt: Debt, number: Number) {
        self.stamps += 1;
        let stamp = Stamp(self.stamps);
        let there = self.debts.entry(digest.0).or_insert(Owing { debt, oldest: number, stamp });
        there.debt.sequence = there.debt.sequence.max(debt.sequence);
        there.debt.horizon = there.debt.horizon.max(debt.horizon);
        (there.oldest, there.stamp) = (number.min(there.oldest), stamp);
    }
}

impl Owed {
    /// Another one.
    pub(super) fn add(&self, digest: Digest, debt: Debt) {
        let mut owed = self.0.lock();
        owed.last += 1;
        let number = Number(owed.last);
        owed.add(digest, debt, number);
    }

    /// One that was paid before, with a record that was lost. It counts as the oldest of all: who waited for it when it
    /// was owed first must not take it for paid.
    pub(super) fn add_again(&self, digest: Digest, debt: Debt) {
        self.0.lock().add(digest, debt, Number(0));
    }

    /// One of them.
    pub(super) fn first(&self) -> Option<(Digest, Debt, Stamp)> {
        self.0.lock().debts.first_key_value().map(|(digest, there)| (Digest(*digest), there.debt, there.stamp))
    }

    /// It is written, as it was when it had this stamp.
    pub(super) fn paid(&self, digest: Digest, stamp: Stamp) {
        let mut owed = self.0.lock();
        if owed.debts.get(&digest.0).is_some_and(|there| there.stamp == stamp) {
            owed.debts.remove(&digest.0);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().debts.is_empty()
    }

    /// The number of the newest.
    pub(super) fn last(&self) -> Number {
        Number(self.0.lock().last)
    }

    /// Whether all are paid up to this one.
    pub(super) fn is_paid(&self, last: Number) -> bool {
        self.0.lock().debts.values().all(|there| there.oldest > last)
    }

    /// Whether there are so many that only those for known entries are added.
    pub(super) fn is_full(&self) -> bool {
        self.0.lock().debts.len() >= MAX_OWED
    }

    pub(super) fn digests(&self) -> HashSet<Digest> {
        self.0.lock().debts.keys().map(|digest| Digest(*digest)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debt(sequence: u64, horizon: u64) -> Debt {
        Debt { sequence: Sequence(sequence), horizon: SegmentId(horizon) }
    }

    #[test]
    fn who_waits_for_what_is_owed_does_not_wait_for_later_debts() {
        let owed = Owed::default();
        assert!(owed.is_empty() && owed.is_paid(owed.last()));
        owed.add(Digest(1), debt(1, 1));
        let first = owed.last();
        owed.add(Digest(2), debt(2, 1));
        assert!(!owed.is_empty() && !owed.is_paid(first));
        let (digest, owing, stamp) = owed.first().unwrap();
        assert_eq!((digest, owing), (Digest(1), debt(1, 1)));
        owed.paid(digest, stamp);
        assert!(owed.is_paid(first) && !owed.is_paid(owed.last()));
        assert_eq!(owed.digests(), HashSet::from([Digest(2)]));
    }

    #[test]
    fn one_marker_covers_all_that_is_owed_for_a_digest() {
        let owed = Owed::default();
        owed.add(Digest(1), debt(5, 2));
        let (first, (_, _, before)) = (owed.last(), owed.first().unwrap());
        owed.add(Digest(1), debt(4, 3));
        let (_, owing, stamp) = owed.first().unwrap();
        assert_eq!(owing, debt(5, 3));
        owed.paid(Digest(1), before);
        assert!(!owed.is_paid(first), "it covers less than what is owed by now");
        owed.paid(Digest(1), stamp);
        assert!(owed.is_empty());
    }

    #[test]
    fn a_debt_whose_payment_was_lost_is_waited_for_again() {
        let owed = Owed::default();
        owed.add(Digest(1), debt(1, 1));
        let (first, (_, _, stamp)) = (owed.last(), owed.first().unwrap());
        owed.paid(Digest(1), stamp);
        assert!(owed.is_paid(first));
        owed.add_again(Digest(1), debt(1, 1));
        assert!(!owed.is_paid(first));
        // Lost once more, before whoever wrote it says that it is paid.
        let (_, _, stamp) = owed.first().unwrap();
        owed.add_again(Digest(1), debt(1, 1));
        owed.paid(Digest(1), stamp);
        assert!(!owed.is_paid(first) && !owed.is_empty());
    }

    #[test]
    fn debts_for_unknown_keys_have_a_limit() {
        let owed = Owed::default();
        for n in 1..MAX_OWED as u64 {
            owed.add(Digest(n), debt(n, 1));
        }
        assert!(!owed.is_full());
        owed.add(Digest(0), debt(1, 1));
        assert!(owed.is_full());
    }
}
