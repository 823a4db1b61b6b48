//! Filling the index at start with many records at once. They are sorted by sub-table first, so that each is built at
//! its final size while it is in the processor's cache: one insertion after the other waits for memory most of the time.

use std::ops::Range;

use hashbrown::hash_table::Entry;

use super::slot::{HASH_BITS, Slot};
use super::table::Table;
use super::{Index, Location, Route, TABLES};
use crate::types::{Digest, Sequence};

/// What a record that was found says of its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It can be served.
    Serve = 0,
    /// It has expired.
    Expired = 1,
    /// It only says that what is older is dead: a delete or a marker.
    Cover = 2,
}

const CLAIMS: [Claim; 3] = [Claim::Serve, Claim::Expired, Claim::Cover];
/// Bits of the length class; the claim is kept above them.
const CLASS_BITS: u32 = 11;

/// A record on its way into the index.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// The digest; once in its batch, the sub-table and the hash.
    key: u64,
    /// The sequence, and below it one bit: with equal sequences what covers wins over what it was left for.
    rank: u64,
    offset_units: u32,
    class_and_claim: u16,
    slot: u16,
}

impl Candidate {
    /// A record at this place.
    pub fn new(digest: Digest, sequence: Sequence, claim: Claim, at: Location) -> Self {
        Self {
            key: digest.0,
            rank: sequence.0 << 1 | u64::from(claim == Claim::Cover),
            offset_units: at.offset_units,
            class_and_claim: at.class | (claim as u16) << CLASS_BITS,
            slot: at.slot,
        }
    }

    /// Its sequence.
    pub fn sequence(&self) -> Sequence {
        Sequence(self.rank >> 1)
    }

    /// What it says.
    pub fn claim(&self) -> Claim {
        CLAIMS.get(usize::from(self.class_and_claim >> CLASS_BITS)).copied().unwrap_or(Claim::Cover)
    }

    /// Orders the records of a digest, but for a record and its moved copy, which are equal.
    pub fn rank(&self) -> u64 {
        self.rank
    }

    /// Where it is.
    pub fn location(&self) -> Location {
        let class = self.class_and_claim & ((1 << CLASS_BITS) - 1);
        Location { slot: self.slot, offset_units: self.offset_units, class }
    }

    fn hash(&self) -> u64 {
        self.key & ((1 << HASH_BITS) - 1)
    }

    fn table(&self) -> usize {
        (self.key >> HASH_BITS) as usize
    }
}

/// Records of one segment, in the order of the shards.
#[derive(Debug, Default)]
pub struct Batch {
    candidates: Vec<Candidate>,
    /// Where each shard's records end.
    ends: Vec<usize>,
}

impl Batch {
    /// How many there are.
    pub fn records(&self) -> usize {
        self.candidates.len()
    }

    fn of_shard(&self, shard: usize) -> &[Candidate] {
        let start = if shard == 0 { 0 } else { self.ends[shard - 1] };
        &self.candidates[start..self.ends[shard]]
    }
}

/// Decides what enters the index.
pub trait Judge {
    /// Whether a record counts at all.
    fn accepts(&mut self, found: &Candidate) -> bool;
    /// Whether `a` is newer than `b`, another record of its digest.
    fn is_newer(&mut self, a: &Candidate, b: &Candidate) -> bool;
    /// Whether a digest's newest record enters; `older`: there were others.
    fn enters(&mut self, newest: &Candidate, older: bool) -> bool;
}

/// Fills shards; what it needs for one serves for the next.
pub struct Loader<'a> {
    index: &'a Index,
    batches: &'a [Batch],
    candidates: Vec<Candidate>,
    /// Which candidate is in each bucket of the sub-table that is being built.
    newest: Vec<u32>,
}

impl Index {
    /// Shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Sorts records by shard. They are gone through twice: `found` and `again` give the same ones.
    pub fn batch(&self, found: impl Iterator<Item = Candidate>, again: impl Iterator<Item = Candidate>) -> Batch {
        let routed = |c: Candidate| {
            let Route { shard, table, hash } = self.route(Digest(c.key));
            (shard, Candidate { key: (table as u64) << HASH_BITS | hash, ..c })
        };
        let mut candidates = Vec::new();
        let ends = scatter(self.shards.len(), found.map(routed), again.map(routed), &mut candidates);
        Batch { candidates, ends }
    }

    /// Fills this index, which must be empty, from batches that it made.
    pub fn loader<'a>(&'a self, batches: &'a [Batch]) -> Loader<'a> {
        Loader { index: self, batches, candidates: Vec::new(), newest: Vec::new() }
    }
}

impl Loader<'_> {
    /// Fills a shard.
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn load(&mut self, shard: usize, judge: &mut impl Judge) {
        let found = || self.batches.iter().flat_map(|batch| batch.of_shard(shard)).map(|c| (c.table(), *c));
        let ends = scatter(TABLES, found(), found(), &mut self.candidates);
        let mut tables = self.index.shards[shard].tables.lock();
        let mut start = 0;
        for (table, end) in tables.iter_mut().zip(ends) {
            *table = self.judge(start..end, judge);
            start = end;
        }
        self.index.shards[shard].recount(&tables);
    }

    /// A sub-table, from its candidates.
    fn judge(&mut self, own: Range<usize>, judge: &mut impl Judge) -> Table {
        let own = &self.candidates[own];
        // There is room for all, so that no slot changes its bucket meanwhile.
        let mut table = Table::with_room(own.len());
        self.newest.resize(table.num_buckets().max(self.newest.len()), 0);
        for (i, candidate) in own.iter().enumerate() {
            if !judge.accepts(candidate) {
                continue;
            }
            let slot = |older| Slot::new(candidate.hash(), candidate.location(), older, 0);
            match table.entry(candidate.hash()) {
                Entry::Vacant(entry) => self.newest[entry.insert(slot(false)).bucket_index()] = i as u32,
                Entry::Occupied(mut entry) => {
                    let newest = &mut self.newest[entry.bucket_index()];
                    if judge.is_newer(candidate, &own[*newest as usize]) {
                        *newest = i as u32;
                        *entry.get_mut() = slot(true);
                    } else {
                        entry.get_mut().set_older();
                    }
                }
            }
        }
        table.retain_buckets(|bucket, found| judge.enters(&own[self.newest[bucket] as usize], found.older));
        table
    }
}

/// Sorts items by their place, below `places`; where those of each place end. `items` and `again` are the same ones. What
/// `sorted` held is overwritten.
fn scatter(
    places: usize,
    items: impl Iterator<Item = (usize, Candidate)>,
    again: impl Iterator<Item = (usize, Candidate)>,
    sorted: &mut Vec<Candidate>,
) -> Vec<usize> {
    let mut next = vec![0; places];
    items.for_each(|(place, _)| next[place] += 1);
    let mut total = 0;
    for count in &mut next {
        total += std::mem::replace(count, total);
    }
    let nothing = Candidate { key: 0, rank: 0, offset_units: 0, class_and_claim: 0, slot: 0 };
    sorted.resize(total.max(sorted.len()), nothing);
    for (place, item) in again {
        sorted[next[place]] = item;
        next[place] += 1;
    }
    next
}
