//! Markers that could not be written yet: what they cover must stay dead (trap 4).

use std::collections::{BTreeMap, HashSet};

use parking_lot::Mutex;

use crate::types::{Digest, SegmentId, Sequence};

/// Most markers owed for keys that the index does not know.
const MAX_OWED: usize = 100_000;

/// A marker to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Debt {
    /// Everything older of the digest is dead.
    pub sequence: Sequence,
    /// It stands in no segment younger than this one. Kept, since a marker that were given a younger one each time it
    /// finds no room would never go.
    pub horizon: SegmentId,
}

/// One marker a digest: the newest covers what the others do.
#[derive(Default)]
pub(super) struct Owed(Mutex<BTreeMap<u64, Debt>>);

impl Owed {
    /// Another one.
    pub(super) fn add(&self, digest: Digest, debt: Debt) {
        let mut owed = self.0.lock();
        let there = owed.entry(digest.0).or_insert(debt);
        there.sequence = there.sequence.max(debt.sequence);
        there.horizon = there.horizon.max(debt.horizon);
    }

    /// One of them.
    pub(super) fn first(&self) -> Option<(Digest, Debt)> {
        self.0.lock().first_key_value().map(|(digest, debt)| (Digest(*digest), *debt))
    }

    /// This much is written.
    pub(super) fn paid(&self, digest: Digest, debt: Debt) {
        let mut owed = self.0.lock();
        if owed.get(&digest.0) == Some(&debt) {
            owed.remove(&digest.0);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Whether there are so many that only those for known entries are added.
    pub(super) fn is_full(&self) -> bool {
        self.0.lock().len() >= MAX_OWED
    }

    pub(super) fn digests(&self) -> HashSet<Digest> {
        self.0.lock().keys().map(|digest| Digest(*digest)).collect()
    }
}
