//! What a harm may cost, by docs/durability.md: worked out from the layout, apart from the code that is judged.

use std::collections::BTreeSet;
use std::ops::Range;

use esker::format::digest::digest;
use esker::format::footer::{self, FooterDefect, TRAILER_BYTES};
use esker::format::segment_header::{DATA_START, SEGMENT_HEADER_BYTES};
use esker::{Digest, RecordKind};

use super::directory::{Directory, SEED};
use super::layout::{Layout, Place, Used};
use crate::common::{SEGMENT_LEN_BYTES, key, read_value};

/// The stream of moved records, whose sequences are in no order.
const REINSERTED: u8 = 1;

/// A record: its file and its place there.
type At = (usize, usize);

/// What is to come.
#[derive(Debug, Default)]
pub struct Expected {
    /// The directory must be refused.
    pub is_refused: bool,
    /// Records that are damaged. What they replaced stays dead.
    pub lost: BTreeSet<At>,
    /// Records that look as if they had never been written: what docs/durability.md does not promise yet.
    pub dropped: BTreeSet<At>,
    /// Up to this sequence everything may be forgotten.
    pub floor: u64,
}

/// What may be answered for a key.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// It must be a hit.
    pub must_hit: bool,
    /// The newest version, if it is not dead.
    pub newest: Option<u32>,
    /// An older version, where the newer record looks as if it had never been written.
    pub older: Option<u32>,
}

/// What was done to one file.
struct Change<'a> {
    old: &'a [u8],
    new: &'a [u8],
    from: usize,
    until: usize,
}

impl<'a> Change<'a> {
    fn of(old: &'a [u8], new: &'a [u8]) -> Self {
        let differs = |at: &usize| old[*at] != new[*at];
        let from = (0..new.len()).find(differs).unwrap_or(new.len());
        let until = (0..new.len()).rev().find(differs).map_or(from, |at| at + 1);
        Self { old, new, from, until }
    }

    fn is_cut(&self) -> bool {
        self.new.len() < self.old.len()
    }

    fn touches(&self, range: Range<u64>) -> bool {
        let (from, until) = (range.start as usize, range.end as usize);
        if until > self.new.len() {
            return true;
        }
        let (from, until) = (from.max(self.from), until.min(self.until));
        from < until && self.old[from..until] != self.new[from..until]
    }
}

impl Expected {
    /// What these changed files may cost.
    pub fn of(directory: &Directory, changed: &[(usize, Vec<u8>)]) -> Self {
        let mut expected = Self::default();
        for (file, new) in changed {
            let old = &directory.files[*file].1;
            let change = Change::of(old, new);
            if old == new {
                continue;
            }
            match &directory.layouts[*file] {
                Layout::Manifest => expected.is_refused = true,
                Layout::Lock => {}
                // Nothing says that it was free.
                Layout::Free => {
                    if !new.is_empty() && is_beheaded(&change) {
                        expected.floor = u64::MAX;
                    }
                }
                Layout::Used(used) => expected.in_segment(directory, *file, used, &change),
            }
        }
        expected
    }

    fn in_segment(&mut self, directory: &Directory, file: usize, used: &Used, change: &Change<'_>) {
        let all = || (0..used.places.len()).map(|place| (file, place));
        let trailer_at = SEGMENT_LEN_BYTES - TRAILER_BYTES as u64;
        let has_trailer = used.trailer.is_some() && !change.touches(trailer_at..SEGMENT_LEN_BYTES);
        let looks_new = change.new.iter().take(SEGMENT_HEADER_BYTES).all(|b| *b == 0);
        if looks_new && is_beheaded(change) && !has_trailer {
            // As if the file had been removed by hand, or never been begun.
            self.dropped.extend(all());
        } else if is_beheaded(change) && !has_trailer {
            self.lost.extend(all());
            self.floor = u64::MAX;
        } else if change.is_cut() {
            let len = change.new.len() as u64;
            self.lost.extend(all().filter(|(_, place)| used.places[*place].all.end > len));
            self.floor = self.floor.max(before_the_next(directory, used));
        } else if has_trailer && used.rows().is_some_and(|rows| !change.touches(rows)) {
            self.lost.extend(all().filter(|(_, place)| change.touches(used.places[*place].payload.clone())));
        } else {
            self.walked(directory, file, used, change, has_trailer);
        }
    }

    /// The footer does not help: the records are walked.
    fn walked(&mut self, directory: &Directory, file: usize, used: &Used, change: &Change<'_>, has_trailer: bool) {
        let last = &change.new[change.new.len() - TRAILER_BYTES..];
        let defect = footer::decode_trailer(last, used.id, SEGMENT_LEN_BYTES).err();
        let is_sealed = has_trailer || matches!(defect, Some(FooterDefect::Crc | FooterDefect::Bounds));
        let places = &used.places;
        let has_head = |place: &Place| !change.touches(place.head.clone());
        let is_whole = |place: &Place| !change.touches(place.payload.clone());
        let found = places.iter().rposition(has_head).map_or(0, |n| n + 1);
        let vouched = places.iter().filter(|p| has_head(p)).filter_map(|p| p.header.vouched()).max().unwrap_or(0);
        // In a row of places that are hidden only the first shows where the damage begins.
        let begins = |n: usize| !is_whole(&places[n]) && (n == 0 || has_head(&places[n]) || has_head(&places[n - 1]));
        let is_torn = |n: &usize| !is_sealed && begins(*n) && places[*n].all.start >= vouched;
        let end = (0..found).find(is_torn).unwrap_or(found);
        for (n, place) in places.iter().enumerate() {
            if n >= end {
                self.dropped.insert((file, n));
            } else if !is_whole(place) {
                self.lost.insert((file, n));
            }
        }
        let hides = places[..end].iter().any(|place| !has_head(place));
        if hides {
            let behind = places[..end].iter().rev().find(|place| !place.is_pad()).filter(|place| has_head(place));
            let newest = match (used.trailer.filter(|_| has_trailer), behind) {
                (Some(trailer), _) => trailer.max_sequence.0 - 1,
                (None, Some(place)) if used.stream != REINSERTED => place.header.sequence.0 - 1,
                _ => before_the_next(directory, used),
            };
            self.floor = self.floor.max(newest);
        }
    }

    /// What may be answered for this key.
    pub fn answer(&self, directory: &Directory, n: u32) -> Answer {
        let newest = Some(directory.truth[&n]).filter(|version| *version > 0);
        let records = records_of(directory, n);
        let top = records.iter().map(|(_, place)| place.header.sequence.0).max().unwrap_or(0);
        let mut newest_ones = records.iter().filter(|(_, place)| place.header.sequence.0 == top);
        let is_there = |at: &At| !self.lost.contains(at) && !self.dropped.contains(at);
        let must_hit = directory.served.contains(&n)
            && top > self.floor
            && newest_ones.all(|(at, place)| is_there(at) && place.header.kind == RecordKind::Put);
        let is_dropped = records.iter().any(|(at, _)| self.dropped.contains(at));
        let left = records.iter().filter(|(at, _)| !self.dropped.contains(at));
        let first = left.max_by_key(|(_, place)| (place.header.sequence, place.header.kind != RecordKind::Put));
        let is_served = |(at, place): &&(At, &Place)| {
            let is_past = place.header.expires.is_some_and(|at| at <= directory.now);
            place.header.kind == RecordKind::Put && !self.lost.contains(at) && !is_past
        };
        let older =
            first.filter(|_| is_dropped).filter(is_served).and_then(|(at, place)| version(directory, *at, place));
        Answer { must_hit, newest, older }
    }

    /// Whether a record that was served is damaged, so that whoever reads all must find something.
    pub fn loses_something_served(&self, directory: &Directory) -> bool {
        directory.served.iter().any(|&n| {
            let records = records_of(directory, n);
            let top = records.iter().max_by_key(|(_, place)| place.header.sequence);
            top.is_some_and(|(at, _)| self.lost.contains(at))
        })
    }
}

/// Neither the header nor its twin is left.
fn is_beheaded(change: &Change<'_>) -> bool {
    let len = SEGMENT_HEADER_BYTES as u64;
    change.touches(0..len) && change.touches(DATA_START - len..DATA_START)
}

/// What is older than the next segment of the stream, or everything.
fn before_the_next(directory: &Directory, used: &Used) -> u64 {
    if used.stream == REINSERTED {
        return u64::MAX;
    }
    let later = directory.layouts.iter().filter_map(|layout| match layout {
        Layout::Used(other) if other.stream == used.stream && other.id > used.id => other.sequences().min(),
        _ => None,
    });
    later.min().map_or(u64::MAX, |sequence| sequence - 1)
}

/// Every record that speaks of a key.
fn records_of(directory: &Directory, n: u32) -> Vec<(At, &Place)> {
    let (key, digest): (_, Digest) = (key(n), digest(&SEED, &key(n)));
    let mut records = Vec::new();
    for (file, layout) in directory.layouts.iter().enumerate() {
        let Layout::Used(used) = layout else { continue };
        for (at, place) in used.places.iter().enumerate() {
            let is_its = match place.header.kind {
                RecordKind::Marker => place.key == digest.0.to_le_bytes(),
                _ => place.key == key,
            };
            if is_its && !place.is_pad() {
                records.push(((file, at), place));
            }
        }
    }
    records
}

fn version(directory: &Directory, at: At, place: &Place) -> Option<u32> {
    let from = place.head.end as usize + usize::from(place.header.metadata_len);
    let bytes = directory.files[at.0].1.get(from..from + place.header.value_len as usize)?;
    read_value(bytes).map(|(_, version)| version)
}
