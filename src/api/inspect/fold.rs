//! The newest record of each digest, and what recovery would make of it. The rules are those of `recover`;
//! `tests/inspect.rs` compares the two.

use std::collections::HashMap;

use super::examine::Examined;
use crate::format::footer::Row;
use crate::segment::{Doubt, Extent, summarize};
use crate::types::{Digest, Millis, RecordKind, Sequence};

/// The newest record of a digest. 40 bytes with the digest.
#[derive(Debug, Clone, Copy)]
pub struct Newest {
    /// Its sequence.
    pub sequence: Sequence,
    /// Which of the segments it stands in.
    pub segment: u32,
    /// Its row's expiry, in seconds.
    expires_s: u32,
    /// Where, in units of 16 bytes.
    pub offset_units: u32,
    /// The class of its length.
    pub class: u16,
    /// Its kind.
    pub kind: RecordKind,
    /// The highest sequence of the digest's other records; 0: there is none.
    second: Sequence,
}

/// What becomes of the newest record of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is served, unless the record itself says that it expired within this second.
    Served,
    /// It expired.
    Expired {
        /// It stays in the index so that its eviction leaves a marker for an older record.
        stays: bool,
    },
    /// Damage may hide something newer: recovery counts it as cleared.
    Doubtful,
    /// It is a delete, a marker or a damaged record.
    Deleted,
}

impl Fate {
    /// Whether the index holds it.
    pub fn is_indexed(self) -> bool {
        matches!(self, Self::Served | Self::Expired { stays: true })
    }
}

/// Takes in segments one by one.
#[derive(Debug, Default)]
pub struct Fold {
    floor: Sequence,
    doubts: Vec<Doubt>,
    extents: Vec<Extent>,
    /// Up to here nothing is served, because of the doubts.
    doubtful: Sequence,
    only: Option<Digest>,
    /// Ids of the segments seen.
    ids: Vec<u64>,
    newest: HashMap<u64, Newest>,
    /// Rows of the digest asked for that a `clear` made void.
    pub cleared: u64,
}

impl Fold {
    /// Keeps every digest, or only one; nothing up to the sequence `floor`.
    pub fn new(floor: Sequence, only: Option<Digest>) -> Self {
        Self { floor, only, ..Self::default() }
    }

    /// Takes in a segment. Its index in what [`Newest::segment`] counts.
    pub fn add(&mut self, one: &Examined) {
        self.ids.push(one.segment.map_or(0, |(_, id)| id.0));
        self.doubts.extend(one.doubt);
        self.extents
            .extend(one.segment.and_then(|(stream, id)| Extent::of(stream, id, &summarize(one.rows.iter().copied()))));
        self.doubtful = self.doubts.iter().map(|doubt| doubt.floor(&self.extents)).max().unwrap_or_default();
        for row in &one.rows {
            self.add_row(row);
        }
    }

    fn add_row(&mut self, row: &Row) {
        if self.only.is_some_and(|digest| digest != row.digest) {
            return;
        }
        if row.sequence <= self.floor {
            self.cleared += 1;
            return;
        }
        let segment = self.ids.len() - 1;
        let this = Newest {
            sequence: row.sequence,
            // A directory has at most 65,536 segment files.
            segment: segment as u32,
            expires_s: row.expires_s,
            offset_units: row.offset_units,
            class: row.class.bits(),
            kind: row.kind,
            second: Sequence(0),
        };
        let ids = &self.ids;
        // A marker has the sequence of the record that it was left for; it wins, wherever it stands. A record that was
        // moved has its twin's sequence; the later segment's is the copy.
        let rank = |n: &Newest| {
            let covers = n.kind != RecordKind::Put;
            (n.sequence, covers, ids.get(n.segment as usize).copied().unwrap_or_default())
        };
        self.newest
            .entry(row.digest.0)
            .and_modify(|found| {
                let (winner, loser) = if rank(&this) > rank(found) { (this, *found) } else { (*found, this) };
                let second = winner.second.max(loser.second).max(loser.sequence);
                *found = Newest { second, ..winner };
            })
            .or_insert(this);
    }

    /// Every digest's newest record.
    pub fn all(&self) -> impl Iterator<Item = &Newest> {
        self.newest.values()
    }

    /// The digest's newest record.
    pub fn get(&self, digest: Digest) -> Option<&Newest> {
        self.newest.get(&digest.0)
    }

    /// What becomes of it.
    pub fn fate(&self, newest: &Newest, now: Millis) -> Fate {
        let is_known = newest.expires_s != 0 && newest.expires_s != u32::MAX;
        let is_expired = is_known && now.0 >= u64::from(newest.expires_s) * 1000;
        match newest.kind {
            _ if newest.sequence <= self.doubtful => Fate::Doubtful,
            RecordKind::Put if is_expired => {
                let counts = newest.second > Sequence(0) && newest.second > self.doubtful;
                Fate::Expired { stays: counts }
            }
            RecordKind::Put => Fate::Served,
            _ => Fate::Deleted,
        }
    }
}
