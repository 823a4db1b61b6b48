//! Which segment goes next, and which of its entries are worth rewriting: pure functions over summaries, one for each
//! [`EvictionPolicy`], which says where each comes from.

use std::cmp::Reverse;

use crate::index::MAX_HITS;
use crate::segment::Stream;
use crate::types::{EvictionPolicy, Group, Millis, SegmentId};

/// Hits that an entry needs to get from the log of new entries to the main one. It was written once, so this is its third
/// use.
const PROMOTED_AT: u8 = 2;

/// What is read or written now counts as read so often.
pub const IN_USE: u8 = u8::MAX;

/// The parts of the cache, where there are two logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The log of new entries.
    New,
    /// The log of those that were wanted again.
    Main,
    /// New entries that expire soon: their segments go by themselves.
    ShortLived,
}

impl Part {
    /// That of a stream's segments.
    pub fn of(stream: Stream) -> Self {
        match stream {
            Stream::ShortLived => Self::ShortLived,
            _ if stream.is_main() => Self::Main,
            _ => Self::New,
        }
    }

    /// The one that gives up a segment, of so many segments of new entries, of short-lived ones and of all; the log of new
    /// entries has a share of `most_new`. What is short-lived is left to expire as long as it is no more than half of all.
    pub fn over(new: u64, most_new: u64, short_lived: u64, all: u64) -> Self {
        match () {
            () if 2 * short_lived > all => Self::ShortLived,
            () if new > most_new => Self::New,
            () => Self::Main,
        }
    }
}

/// A sealed segment.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// Its id: the smaller, the older.
    pub id: SegmentId,
    /// Its slot.
    pub slot: u16,
    /// Whose it is.
    pub group: Group,
    /// What it is a part of.
    pub part: Part,
    /// Entries in it that are served.
    pub live_entries: u64,
    /// Bytes that are served, or must be carried on.
    pub live_bytes: u64,
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
    /// The policy says so.
    Policy,
}

/// What a group takes.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Segments of it, not counting those that go.
    pub segments: u64,
    /// Segments that are kept for it.
    pub share: u64,
    /// The part that gives up a segment; `None`: there is one log.
    pub over: Option<Part>,
    /// Whether a segment of it is full and will be sealed soon: it is worth waiting for before another group gives up one that
    /// is within its share.
    pub is_sealing: bool,
}

/// The group that gives up a segment, of those that have one to give: which has most above its share. So one that has no
/// more than its share gives up nothing as long as another has more than its own.
pub fn group_to_shrink(usages: &[Usage], has_candidate: impl Fn(Group) -> bool) -> Option<Group> {
    let above = |usage: &Usage| i128::from(usage.segments) - i128::from(usage.share);
    let groups = usages.iter().enumerate().map(|(n, usage)| (Group(n as u8), above(usage)));
    // Of two alike the first.
    groups.filter(|(group, _)| has_candidate(*group)).min_by_key(|(_, above)| Reverse(*above)).map(|(group, _)| group)
}

/// What there is to choose from.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// How it is chosen.
    pub policy: EvictionPolicy,
    /// The sealed segments.
    pub candidates: &'a [Candidate],
    /// The time.
    pub now: Millis,
    /// Length of a segment.
    pub segment_len_bytes: u64,
    /// By group.
    pub usages: &'a [Usage],
}

impl Choice<'_> {
    /// The segment that goes next. One that costs nothing goes first, if it holds no markers: these are dropped only when
    /// what they cover is gone, so taking such a segment out of turn would move them for ever.
    pub fn pick(&self) -> Option<(Candidate, Reason)> {
        let oldest = |reason: Reason, of: &dyn Fn(&&Candidate) -> bool| {
            self.candidates.iter().filter(of).min_by_key(|c| c.id).map(|c| (*c, reason))
        };
        oldest(Reason::Expired, &|c| is_expired(c, self.now))
            .or_else(|| oldest(Reason::Dead, &|c| c.markers == 0 && c.live_entries == 0))
            .or_else(|| self.by_policy().map(|c| (*c, Reason::Policy)))
    }

    fn by_policy(&self) -> Option<&Candidate> {
        let usage = |group: Group| self.usages.get(usize::from(group.0));
        let has_candidate = |group| self.candidates.iter().any(|c| c.group == group);
        let has_one_soon = |group| has_candidate(group) || usage(group).is_some_and(|usage| usage.is_sealing);
        let group = group_to_shrink(self.usages, has_one_soon)?;
        let over = usage(group)?.over;
        let all = || self.candidates.iter().filter(|c| c.group == group);
        let oldest = |of: &dyn Fn(&&Candidate) -> bool| all().filter(of).min_by_key(|c| c.id);
        match (self.policy, over) {
            (EvictionPolicy::MostDead, _) => all().min_by_key(|c| (c.live_bytes, c.id)),
            (EvictionPolicy::Hybrid, _) => all().max_by(|a, b| self.benefit(a).total_cmp(&self.benefit(b))),
            (_, Some(over)) => oldest(&|c| c.part == over)
                .or_else(|| oldest(&|c| c.part != Part::ShortLived))
                .or_else(|| oldest(&|_| true)),
            (_, None) => oldest(&|_| true),
        }
    }

    /// Of moving a segment's live part to free the rest: bytes freed times age, for bytes read and written.
    fn benefit(&self, candidate: &Candidate) -> f64 {
        let newest = self.candidates.iter().map(|c| c.id.0).max().unwrap_or(0);
        let age = (newest - candidate.id.0 + 1) as f64;
        let live = (candidate.live_bytes as f64 / self.segment_len_bytes as f64).min(1.0);
        (1.0 - live) * age / (1.0 + live)
    }
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
    /// How often it was read, up to [`MAX_HITS`], or [`IN_USE`].
    pub hits: u8,
}

/// What a segment's entries have on average: short ones that are read are worth more than long ones, as in GDSF
/// (Cherkasova, HP Labs 1998).
struct HitsAByte {
    hits: u128,
    bytes: u128,
}

impl HitsAByte {
    fn of(residents: &[Resident]) -> Self {
        let hits = |r: &Resident| u128::from(r.hits.min(MAX_HITS));
        Self { hits: residents.iter().map(hits).sum(), bytes: residents.iter().map(|r| u128::from(r.len_bytes)).sum() }
    }

    /// Whether the entry has at least so many times the mean.
    fn is_reached(&self, resident: &Resident, times: u8) -> bool {
        u128::from(resident.hits) * self.bytes >= u128::from(times) * u128::from(resident.len_bytes) * self.hits
    }
}

/// The rows to rewrite within `budget_bytes`: those that were read often enough, what the policy prefers first.
/// `part`: what the segment is of; of what is short-lived only what is in use is kept. `has_main`: there are two logs.
pub fn worth_keeping(
    policy: EvictionPolicy,
    (part, has_main): (Part, bool),
    mut residents: Vec<Resident>,
    budget_bytes: u64,
) -> Vec<usize> {
    let least = match part {
        Part::ShortLived => IN_USE,
        Part::New if has_main => PROMOTED_AT,
        _ => 1,
    };
    let by_size = (policy == EvictionPolicy::SizeAware).then(|| HitsAByte::of(&residents));
    residents.retain(|r| match &by_size {
        _ if r.hits == IN_USE => true,
        Some(mean) => r.hits > 0 && mean.is_reached(r, least),
        None => r.hits >= least,
    });
    residents.sort_by_key(|r| {
        let worth = match policy {
            EvictionPolicy::Lru => 0,
            EvictionPolicy::Clock | EvictionPolicy::SizeAware => (u64::from(r.hits) << 48) / r.len_bytes.max(1),
            _ => u64::from(r.hits),
        };
        Reverse((worth, r.row))
    });
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

/// The hits that an entry has once it is rewritten.
pub fn hits_kept(policy: EvictionPolicy, hits: u8) -> u8 {
    if policy == EvictionPolicy::Lfu { hits / 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: u64, live_entries: u64, last_expiry_s: u32, markers: u32) -> Candidate {
        let live_bytes = live_entries * 10;
        let (id, slot) = (SegmentId(id), id as u16);
        let (group, part, is_void) = (Group::COMMON, Part::New, false);
        Candidate { id, slot, group, part, live_entries, live_bytes, last_expiry_s, markers, is_void }
    }

    fn pick(policy: EvictionPolicy, candidates: &[Candidate], over: Option<Part>) -> Option<(u64, Reason)> {
        let usages = [Usage { segments: 9, share: 9, over, is_sealing: false }];
        let choice = Choice { policy, candidates, now: Millis(10_000), segment_len_bytes: 100, usages: &usages };
        choice.pick().map(|(c, reason)| (c.id.0, reason))
    }

    #[test]
    fn picks_expired_then_dead_then_oldest() {
        let never = u32::MAX;
        type Case<'a> = (&'a [Candidate], Option<(u64, Reason)>);
        let table: &[Case<'_>] = &[
            (&[], None),
            (&[candidate(2, 1, never, 0), candidate(1, 1, never, 0)], Some((1, Reason::Policy))),
            (&[candidate(1, 1, never, 0), candidate(2, 0, never, 0)], Some((2, Reason::Dead))),
            (&[candidate(1, 1, never, 0), candidate(2, 0, never, 1)], Some((1, Reason::Policy))),
            (&[candidate(1, 0, never, 0), candidate(2, 5, 10, 0)], Some((2, Reason::Expired))),
            (&[candidate(1, 1, never, 0), candidate(2, 5, 11, 0)], Some((1, Reason::Policy))),
            (&[candidate(1, 1, never, 0), candidate(2, 5, 10, 1)], Some((1, Reason::Policy))),
        ];
        for (candidates, expected) in table {
            for policy in [EvictionPolicy::Fifo, EvictionPolicy::Clock, EvictionPolicy::Lru, EvictionPolicy::Lfu] {
                assert_eq!(pick(policy, candidates, None), *expected, "{policy:?}: {candidates:?}");
            }
        }
    }

    #[test]
    fn the_log_that_has_too_much_gives_up_its_oldest() {
        let main = |id| Candidate { part: Part::Main, ..candidate(id, 5, u32::MAX, 0) };
        let new = |id| candidate(id, 5, u32::MAX, 0);
        let both = [main(1), main(2), new(3), new(4)];
        assert_eq!(pick(EvictionPolicy::Adaptive, &both, Some(Part::New)), Some((3, Reason::Policy)));
        assert_eq!(pick(EvictionPolicy::Adaptive, &both, Some(Part::Main)), Some((1, Reason::Policy)));
        // There is no other than that of the other log.
        assert_eq!(pick(EvictionPolicy::Adaptive, &both[..2], Some(Part::New)), Some((1, Reason::Policy)));
        assert_eq!(pick(EvictionPolicy::Adaptive, &both[2..], Some(Part::Main)), Some((3, Reason::Policy)));
    }

    #[test]
    fn the_group_with_most_above_its_share_gives_up_a_segment() {
        let usage = |(segments, share)| Usage { segments, share, over: None, is_sealing: false };
        type Case<'a> = (&'a [(u64, u64)], &'a [u8], Option<u8>);
        let table: &[Case<'_>] = &[
            (&[(9, 9)], &[0], Some(0)),
            (&[(9, 9)], &[], None),
            // A flood takes from itself, whoever is at or below its share loses nothing.
            (&[(50, 60), (20, 20), (10, 0)], &[0, 1, 2], Some(2)),
            (&[(61, 60), (20, 20), (0, 0)], &[0, 1, 2], Some(0)),
            (&[(65, 60), (26, 20), (5, 0)], &[0, 1, 2], Some(1)),
            (&[(65, 60), (25, 20), (5, 0)], &[0, 1, 2], Some(0)),
            // What is open cannot be given up.
            (&[(60, 60), (20, 20), (4, 0)], &[0, 1], Some(0)),
            (&[(61, 60), (20, 20), (4, 0)], &[1], Some(1)),
            // Nothing else is left.
            (&[(4, 60), (19, 20), (15, 20)], &[0, 1, 2], Some(1)),
        ];
        for (usages, with_candidates, expected) in table {
            let usages: Vec<_> = usages.iter().copied().map(usage).collect();
            let picked = group_to_shrink(&usages, |group| with_candidates.contains(&group.0));
            assert_eq!(picked.map(|group| group.0), *expected, "{usages:?} {with_candidates:?}");
        }
    }

    #[test]
    fn the_policy_picks_within_the_group_but_what_costs_nothing_goes_first() {
        let of = |group, c| Candidate { group: Group(group), ..c };
        let never = u32::MAX;
        let all =
            [of(0, candidate(1, 5, never, 0)), of(1, candidate(2, 5, never, 0)), of(1, candidate(3, 5, never, 0))];
        let pick = |candidates: &[Candidate], over| {
            let usage = |segments| Usage { segments, share: 5, over: None, is_sealing: false };
            let usages = [usage(5), usage(over)];
            let (policy, now) = (EvictionPolicy::Adaptive, Millis(10_000));
            Choice { policy, candidates, now, segment_len_bytes: 100, usages: &usages }.pick().map(|(c, r)| (c.id.0, r))
        };
        assert_eq!(pick(&all, 6), Some((2, Reason::Policy)));
        assert_eq!(pick(&all, 4), Some((1, Reason::Policy)));
        // A group that is above its share and has nothing sealed yet is waited for, if it will.
        let sealing = |is_sealing| {
            let usages = [(5, false), (9, is_sealing)];
            let usages = usages.map(|(segments, is_sealing)| Usage { segments, share: 5, over: None, is_sealing });
            let (policy, now) = (EvictionPolicy::Adaptive, Millis(10_000));
            Choice { policy, candidates: &all[..1], now, segment_len_bytes: 100, usages: &usages }.pick()
        };
        assert_eq!((sealing(true).map(|_| ()), sealing(false).map(|(c, _)| c.id.0)), (None, Some(1)));
        let with_expired = [all[0], of(0, candidate(9, 5, 10, 0)), all[1]];
        assert_eq!(pick(&with_expired, 6), Some((9, Reason::Expired)));
    }

    #[test]
    fn dead_bytes_count_alone_or_with_age() {
        let all = [candidate(1, 8, u32::MAX, 0), candidate(8, 6, u32::MAX, 0), candidate(9, 5, u32::MAX, 0)];
        assert_eq!(pick(EvictionPolicy::MostDead, &all, None), Some((9, Reason::Policy)));
        // 0.2 x 9 / 1.8 = 1.0 against 0.4 x 2 / 1.6 = 0.5 and 0.5 / 1.5 = 0.33.
        assert_eq!(pick(EvictionPolicy::Hybrid, &all, None), Some((1, Reason::Policy)));
        let full = Candidate { live_bytes: 100, ..all[0] };
        assert_eq!(pick(EvictionPolicy::Hybrid, &[full, all[1], all[2]], None), Some((8, Reason::Policy)));
    }

    #[test]
    fn each_policy_keeps_what_it_prefers_within_the_budget() {
        let resident = |row, len_bytes, hits| Resident { row, len_bytes, hits };
        let all = [resident(0, 40, 1), resident(1, 40, 3), resident(2, 40, 0), resident(3, 10, 2), resident(4, 40, 1)];
        let kept = |policy, is_new, budget| {
            worth_keeping(policy, (if is_new { Part::New } else { Part::Main }, true), all.to_vec(), budget)
        };
        let policies = |of: fn(&EvictionPolicy) -> bool| EvictionPolicy::ALL.into_iter().filter(of);
        for policy in policies(|p| *p != EvictionPolicy::SizeAware) {
            assert_eq!(kept(policy, false, 0), [0usize; 0], "{policy:?}");
            assert_eq!(kept(policy, false, 1000), [0, 1, 3, 4], "{policy:?}");
        }
        for policy in [EvictionPolicy::S3Fifo, EvictionPolicy::Adaptive] {
            assert_eq!(kept(policy, true, 1000), [1, 3], "{policy:?}");
        }
        // Seven hits in 170 bytes.
        assert_eq!(kept(EvictionPolicy::SizeAware, false, 1000), [1, 3]);
        assert_eq!(kept(EvictionPolicy::SizeAware, true, 1000), [3]);
        // Where little is read, one hit is much.
        let mut cold: Vec<_> = (0..9).map(|row| resident(row, 40, 0)).collect();
        cold.extend([resident(9, 40, 1), resident(10, 400, 1), resident(11, 400, IN_USE)]);
        assert_eq!(worth_keeping(EvictionPolicy::SizeAware, (Part::New, true), cold, 1000), [9, 11]);
        assert_eq!(kept(EvictionPolicy::Adaptive, false, 50), [1, 3]);
        assert_eq!(kept(EvictionPolicy::Adaptive, true, 40), [1]);
        assert_eq!(kept(EvictionPolicy::SizeAware, true, 40), [3]);
        assert_eq!(kept(EvictionPolicy::Clock, false, 49), [3]);
        assert_eq!(kept(EvictionPolicy::Lru, false, 50), [3, 4]);
        assert_eq!(kept(EvictionPolicy::Lfu, false, 50), [1, 3]);
    }

    #[test]
    fn what_is_short_lived_is_left_to_expire_up_to_half_of_all() {
        let table = [
            ((5, 10, 0, 100), Part::Main),
            ((11, 10, 50, 100), Part::New),
            ((10, 10, 50, 100), Part::Main),
            ((11, 10, 51, 100), Part::ShortLived),
        ];
        for ((new, most_new, short_lived, all), expected) in table {
            assert_eq!(Part::over(new, most_new, short_lived, all), expected, "{new} {most_new} {short_lived} {all}");
        }
        let of = |part, id| Candidate { part, ..candidate(id, 5, u32::MAX, 0) };
        let all = [of(Part::ShortLived, 1), of(Part::New, 2), of(Part::Main, 3)];
        let policy = EvictionPolicy::Adaptive;
        assert_eq!(pick(policy, &all, Some(Part::Main)), Some((3, Reason::Policy)));
        assert_eq!(pick(policy, &all, Some(Part::ShortLived)), Some((1, Reason::Policy)));
        assert_eq!(pick(policy, &all[..2], Some(Part::Main)), Some((2, Reason::Policy)));
        assert_eq!(pick(policy, &all[..1], Some(Part::Main)), Some((1, Reason::Policy)));
    }

    #[test]
    fn of_what_is_short_lived_only_what_is_in_use_is_written_again() {
        let resident = |row, hits| Resident { row, len_bytes: 10, hits };
        let all = || vec![resident(0, 3), resident(1, IN_USE), resident(2, 0)];
        for policy in EvictionPolicy::ALL {
            for has_main in [false, true] {
                assert_eq!(worth_keeping(policy, (Part::ShortLived, has_main), all(), 1000), [1], "{policy:?}");
            }
        }
    }

    #[test]
    fn only_a_count_of_uses_outlives_a_move() {
        assert_eq!([0, 1, 2, 3].map(|hits| hits_kept(EvictionPolicy::Lfu, hits)), [0, 0, 1, 1]);
        assert_eq!(hits_kept(EvictionPolicy::Adaptive, 3), 0);
    }
}
