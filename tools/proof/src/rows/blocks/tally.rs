//! What was tried, counted.

use super::point::{Point, Way};

/// The counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Points judged on ext4.
    pub ext4: u64,
    /// Points judged on xfs.
    pub xfs: u64,
    /// All that was unflushed is there.
    prefixes: u64,
    /// Some of it.
    subsets: u64,
    /// The last write is torn.
    torn: u64,
    /// Points that the file system itself could not be mounted from.
    pub unmountable: u64,
    /// Lives recorded.
    pub recordings: u64,
    /// Their writes and flushes.
    pub entries: u64,
    /// Of these, flushes.
    pub flushes: u64,
    /// Durable deeds.
    pub durable: u64,
    /// Keys judged.
    pub judged: u64,
    /// Of these, hits.
    pub hits: u64,
}

impl Tally {
    /// A point was judged.
    pub fn way(&mut self, point: &Point) {
        match point.way {
            Way::Prefix => self.prefixes += 1,
            Way::Subset => self.subsets += 1,
            Way::Torn => self.torn += 1,
        }
    }

    /// All counts with their names.
    pub fn named(&self) -> Vec<(String, u64)> {
        [
            ("ext4 points", self.ext4),
            ("xfs points", self.xfs),
            ("prefixes", self.prefixes),
            ("subsets", self.subsets),
            ("torn", self.torn),
            ("unmountable", self.unmountable),
            ("recordings", self.recordings),
            ("log entries", self.entries),
            ("flushes", self.flushes),
            ("durable deeds", self.durable),
            ("keys judged", self.judged),
            ("hits", self.hits),
        ]
        .map(|(name, count)| (name.to_owned(), count))
        .to_vec()
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.ext4 += other.ext4;
        self.xfs += other.xfs;
        self.prefixes += other.prefixes;
        self.subsets += other.subsets;
        self.torn += other.torn;
        self.unmountable += other.unmountable;
        self.recordings += other.recordings;
        self.entries += other.entries;
        self.flushes += other.flushes;
        self.durable += other.durable;
        self.judged += other.judged;
        self.hits += other.hits;
    }
}
