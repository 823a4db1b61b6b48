//! Which segment goes next, and which of its entries are worth rewriting: pure functions over summaries.
//!
//! FIFO with reinsertion: the oldest segment is dropped, what was read since it was written is rewritten, the most
//! read first, up to a bound (the 2-bit counter of CLOCK, per entry; Corbató 1968). `reinsert_percent` = 0 is plain
//! FIFO. Choose it where every byte written counts more than the hit ratio.

use crate::types::{Millis, SegmentId};

/// A sealed segment.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// Its id: the smaller, the older.
    pub id: SegmentId,
    /// Its slot.
    pub slot: u16,
    /// Entries in it that are served.
    pub live_entries: u64,
    /// When its last entry expires, in unix seconds; `u32::MAX`: never.
    pub last_expiry_s: u32,
    /// Deletes and markers in it, which must be carried on.
    pub markers: u32,
    /// Nothing relies on it, though markers are owed.
    pub is_void: bool,
}

/// Why a segment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// All its entries have expired.
    Expired,
    /// Nothing in it is served any more.
    Dead,
    /// It is the oldest.
    Oldest,
}

/// The segment that goes next. One that costs nothing goes first, if it holds no markers: these are dropped only when
/// what they cover is gone, so taking such a segment out of turn would move them for ever.
pub fn pick(candidates: &[Candidate], now: Millis) -> Option<(Candidate, Reason)> {
    let oldest = |reason: Reason, of: &dyn Fn(&&Candidate) -> bool| {
        candidates.iter().filter(of).min_by_key(|c| c.id).map(|c| (*c, reason))
    };
    oldest(Reason::Expired, &|c| is_expired(c, now))
        .or_else(|| oldest(Reason::Dead, &|c| c.markers == 0 && c.live_entries == 0))
        .or_else(|| oldest(Reason::Oldest, &|_| true))
}

/// Whether all entries of a segment have expired, and it can go at once.
pub fn is_expired(candidate: &Candidate, now: Millis) -> bool {
    let last = candidate.last_expiry_s;
    candidate.markers == 0 && last != u32::MAX && now.0 >= u64::from(last) * 1000
}

/// An entry of the segment that goes.
#[derive(Debug, Clone, Copy)]
pub struct Resident {
    /// Which row it is.
    pub row: usize,
    /// Its length in bytes.
    pub len_bytes: u64,
    /// How often it was read, 0 to 3.
    pub hits: u8,
}

/// The rows to rewrite: those that were read, the most read first, then the newest, within `budget_bytes`.
pub fn worth_keeping(mut residents: Vec<Resident>, budget_bytes: u64) -> Vec<usize> {
    residents.retain(|r| r.hits > 0);
    residents.sort_by_key(|r| std::cmp::Reverse((r.hits, r.row)));
    let mut left = budget_bytes;
    let mut rows = Vec::new();
    for resident in residents {
        if let Some(rest) = left.checked_sub(resident.len_bytes) {
            left = rest;
            rows.push(resident.row);
        }
    }
    rows.sort_unstable();
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: u64, live_entries: u64, last_expiry_s: u32, markers: u32) -> Candidate {
        Candidate { id: SegmentId(id), slot: id as u16, live_entries, last_expiry_s, markers, is_void: false }
    }

    #[test]
    fn picks_expired_then_dead_then_oldest() {
        let never = u32::MAX;
        type Case<'a> = (&'a [Candidate], Option<(u64, Reason)>);
        let table: &[Case<'_>] = &[
            (&[], None),
            (&[candidate(2, 1, never, 0), candidate(1, 1, never, 0)], Some((1, Reason::Oldest))),
            (&[candidate(1, 1, never, 0), candidate(2, 0, never, 0)], Some((2, Reason::Dead))),
            (&[candidate(1, 1, never, 0), candidate(2, 0, never, 1)], Some((1, Reason::Oldest))),
            (&[candidate(1, 0, never, 0), candidate(2, 5, 10, 0)], Some((2, Reason::Expired))),
            (&[candidate(1, 1, never, 0), candidate(2, 5, 11, 0)], Some((1, Reason::Oldest))),
            (&[candidate(1, 1, never, 0), candidate(2, 5, 10, 1)], Some((1, Reason::Oldest))),
        ];
        for (candidates, expected) in table {
            let picked = pick(candidates, Millis(10_000)).map(|(c, reason)| (c.id.0, reason));
            assert_eq!(picked, *expected, "{candidates:?}");
        }
    }

    #[test]
    fn keeps_the_most_read_within_the_budget() {
        let resident = |row, len_bytes, hits| Resident { row, len_bytes, hits };
        let all = vec![resident(0, 40, 1), resident(1, 40, 3), resident(2, 40, 0), resident(3, 40, 2)];
        assert_eq!(worth_keeping(all.clone(), 80), [1, 3]);
        assert_eq!(worth_keeping(all.clone(), 1000), [0, 1, 3]);
        assert_eq!(worth_keeping(all, 0), [0usize; 0]);
    }
}
