//! The newest record of each digest, and what recovery would make of it. The rules are those of `recover`;
//! `tests/inspect.rs` compares the two.

use std::collections::HashMap;

use super::examine::Examined;
use crate::format::digest::digest;
use crate::format::footer::Row;
use crate::format::ghosts;
use crate::marks::Marks;
use crate::segment::{Doubt, Extent, summarize};
use crate::types::{Digest, Millis, RecordKind, SegmentId, Sequence, UNIT_BYTES};

/// Versions of the digest asked for that are kept, the newest ones: a hostile directory may hold millions.
const MAX_VERSIONS: usize = 64;

/// Where a record is. 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// Which of the segments it stands in: a directory has at most 65,536 segment files.
    pub segment: u16,
    /// Where, in units of 16 bytes.
    pub offset_units: u32,
    /// The class of its length.
    pub class: u16,
}

impl At {
    /// Where in the file, in bytes.
    pub fn offset(self) -> u64 {
        u64::from(self.offset_units) * UNIT_BYTES
    }
}

/// The newest record of a digest. 40 bytes with the digest.
#[derive(Debug, Clone, Copy)]
pub struct Newest {
    /// Its sequence.
    pub sequence: Sequence,
    /// Where it stands.
    pub at: At,
    /// Its row's expiry, in seconds.
    expires_s: u32,
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
    /// Slots and ids of the segments seen.
    segments: Vec<(u16, SegmentId)>,
    newest: HashMap<u64, Newest>,
    /// The newest copy of each chunk, by the digest of its key. Chunks are no entries: the same digest there is another's.
    chunks: HashMap<u64, At>,
    /// Records of the digest asked for, as they came.
    versions: Vec<Newest>,
    /// How many there were.
    versions_seen: u64,
    /// Rows of the digest asked for that a `clear` made void.
    pub cleared: u64,
    /// Where purges are.
    pub purges: Vec<(Sequence, At)>,
    /// What they say.
    pub marks: Marks,
}

impl Fold {
    /// Keeps every digest; nothing up to the sequence `floor`.
    pub fn of_all(floor: Sequence) -> Self {
        Self { floor, ..Self::default() }
    }

    /// Keeps the records of one digest, and all chunks: which are its own, its heads say.
    pub fn of_one(floor: Sequence, only: Digest) -> Self {
        Self { floor, only: Some(only), ..Self::default() }
    }

    /// Takes in the segment in this slot. Its index in what [`At::segment`] counts.
    pub fn add(&mut self, slot: u16, one: &Examined) {
        // The trailer may say the id where the header is lost.
        self.segments.push((slot, one.segment.map_or(SegmentId(0), |(_, id)| id)));
        self.doubts.extend(one.doubt);
        self.extents
            .extend(one.segment.and_then(|(stream, id)| Extent::of(stream, id, &summarize(one.rows.iter().copied()))));
        self.doubtful = self.doubts.iter().map(|doubt| doubt.floor(&self.extents)).max().unwrap_or_default();
        for row in &one.rows {
            let segment = (self.segments.len() - 1) as u16;
            let at = At { segment, offset_units: row.offset_units, class: row.class.bits() };
            match row.kind {
                RecordKind::Chunk => self.add_chunk(row.digest, at),
                RecordKind::Purge if row.sequence > self.floor => self.purges.push((row.sequence, at)),
                RecordKind::Purge => {}
                _ => self.add_row(row, at),
            }
        }
    }

    /// Of a chunk and its moved copy the later segment's counts. No `clear` and no doubt is about chunks: their heads are.
    fn add_chunk(&mut self, digest: Digest, at: At) {
        let segments = &self.segments;
        let id = |at: &At| segments.get(at.segment as usize).map(|(_, id)| *id);
        self.chunks
            .entry(digest.0)
            .and_modify(|found| {
                if id(&at) > id(found) {
                    *found = at;
                }
            })
            .or_insert(at);
    }

    fn add_row(&mut self, row: &Row, at: At) {
        if self.only.is_some_and(|digest| digest != row.digest) {
            return;
        }
        let (sequence, expires_s, kind) = (row.sequence, row.expires_s, row.kind);
        let this = Newest { sequence, at, expires_s, kind, second: Sequence(0) };
        if self.only.is_some() {
            self.add_version(this);
        }
        if row.sequence <= self.floor {
            self.cleared += 1;
            return;
        }
        let segments = &self.segments;
        self.newest
            .entry(row.digest.0)
            .and_modify(|found| {
                let is_newer = rank(&this, segments) > rank(found, segments);
                let (winner, loser) = if is_newer { (this, *found) } else { (*found, this) };
                let second = winner.second.max(loser.second).max(loser.sequence);
                *found = Newest { second, ..winner };
            })
            .or_insert(this);
    }

    fn add_version(&mut self, this: Newest) {
        self.versions_seen += 1;
        self.versions.push(this);
        if self.versions.len() > 2 * MAX_VERSIONS {
            self.versions = self.versions();
        }
    }

    /// Records of the digest asked for, the newest first, up to a limit; those that a `clear` made void too.
    pub fn versions(&self) -> Vec<Newest> {
        let mut all = self.versions.clone();
        all.sort_by_key(|n| std::cmp::Reverse(rank(n, &self.segments)));
        all.truncate(MAX_VERSIONS);
        all
    }

    /// How many records of the digest asked for there are.
    pub fn versions_seen(&self) -> u64 {
        self.versions_seen
    }

    /// Slot and id of a segment.
    pub fn segment(&self, at: At) -> Option<(u16, SegmentId)> {
        self.segments.get(at.segment as usize).copied()
    }

    /// Where the chunk with this digest is.
    pub fn chunk(&self, digest: Digest) -> Option<At> {
        self.chunks.get(&digest.0).copied()
    }

    /// How many chunks there are.
    pub fn chunks(&self) -> u64 {
        self.chunks.len() as u64
    }

    /// Every digest's newest record.
    pub fn all(&self) -> impl Iterator<Item = &Newest> {
        self.newest.values()
    }

    /// Where the record is that the cache keeps for itself, in a directory with this seed: no entry of the user's.
    pub fn own(&self, seed: &[u8; 16]) -> Option<At> {
        self.get(digest(seed, ghosts::KEY)).map(|own| own.at)
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
            RecordKind::Put | RecordKind::Head if is_expired => Fate::Expired { stays: self.has_older(newest) },
            RecordKind::Put | RecordKind::Head => Fate::Served,
            _ => Fate::Deleted,
        }
    }

    /// Whether a `clear` made it void.
    pub fn is_cleared(&self, record: &Newest) -> bool {
        record.sequence <= self.floor
    }

    /// Whether something older of the digest counts, so that its newest record must not be forgotten.
    pub fn has_older(&self, newest: &Newest) -> bool {
        newest.second > Sequence(0) && newest.second > self.doubtful
    }
}

/// A marker has the sequence of the record that it was left for; it wins, wherever it stands. A record that was moved has
/// its twin's sequence; the later segment's is the copy.
fn rank(n: &Newest, segments: &[(u16, SegmentId)]) -> (Sequence, bool, SegmentId) {
    let covers = !matches!(n.kind, RecordKind::Put | RecordKind::Head);
    let id = segments.get(n.at.segment as usize).map_or(SegmentId(0), |(_, id)| *id);
    (n.sequence, covers, id)
}
