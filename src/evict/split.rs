//! Two logs: one of new entries, and the main one of those that were wanted again. Where the capacity is split between
//! them is steered by two ghosts, as in ARC (Megiddo and Modha, FAST'03): what is asked for again after the log of new
//! entries dropped it says that this log is too short; after the main one dropped it, that it is too long.

use crate::format::ghosts::GroupGhosts;
use crate::memory::ghost::{Ghost, Limit};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::types::{Digest, EvictionPolicy};

/// Fewer segments are not split: an open segment of each log would be most of the cache.
const MIN_SEGMENTS: u64 = 12;
/// The share of the log of new entries at first, and for good where nothing steers it, in percent.
const FIRST_PERCENT: u64 = 10;
/// The least and the most that this log takes, in percent. With less, an entry would be gone before it can be read twice.
const LEAST_PERCENT: u64 = 5;
const MOST_PERCENT: u64 = 90;
/// How much more than its own bytes one entry moves the split, at most.
const MAX_WEIGHT: f64 = 10.0;
/// The mean length of an entry is that of about so many.
const MEAN_OF: u64 = 1_024;
/// How much longer than the mean an entry may be that goes to the main log because it was dropped too early, where sizes count.
/// Of 1, 2 and 4 this misses least over the traces of docs/policies.md.
const MAX_MEANS: u64 = 2;
/// A ghost remembers no more entries than there are units of so many bytes in the cache.
const BYTES_AN_ENTRY: u64 = 128;

/// See the module's documentation.
pub struct Split {
    policy: EvictionPolicy,
    capacity_bytes: u64,
    segment_len_bytes: u64,
    may_recall: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// What the log of new entries shall take.
    new_bytes: u64,
    of_new: Ghost,
    of_main: Ghost,
    /// Of what was dropped lately.
    mean_len_bytes: u64,
}

impl Split {
    /// For a cache of so many segments of this length.
    pub fn new(policy: EvictionPolicy, segments: u64, segment_len_bytes: u64) -> Self {
        let capacity_bytes = segments * segment_len_bytes;
        let ghost = || Ghost::new(Limit { bytes: capacity_bytes, entries: capacity_bytes / BYTES_AN_ENTRY });
        let new_bytes = (capacity_bytes * FIRST_PERCENT / 100).max(segment_len_bytes);
        Self {
            policy,
            capacity_bytes,
            segment_len_bytes,
            may_recall: AtomicBool::new(false),
            state: Mutex::new(State { new_bytes, of_new: ghost(), of_main: ghost(), mean_len_bytes: 0 }),
        }
    }

    /// Whether there are two logs.
    pub fn has_main(&self) -> bool {
        self.policy.has_main() && self.capacity_bytes >= MIN_SEGMENTS * self.segment_len_bytes
    }

    /// Bytes that the log of new entries takes before it is the one that gives up a segment; `None`: there is one log.
    pub fn new_log_bytes(&self) -> Option<u64> {
        self.has_main().then(|| self.state.lock().new_bytes)
    }

    /// Eviction dropped an entry.
    pub fn dropped(&self, from_main: bool, digest: Digest, len_bytes: u64) {
        if !self.has_main() {
            return;
        }
        let state = &mut *self.state.lock();
        state.mean_len_bytes = (state.mean_len_bytes * (MEAN_OF - 1) + len_bytes).div_ceil(MEAN_OF);
        if from_main { &mut state.of_main } else { &mut state.of_new }.add(digest, len_bytes);
        self.may_recall.store(true, Ordering::Relaxed);
    }

    /// Whether an entry that comes now was dropped a while ago: then it goes to the main log, and the split moves.
    pub fn recalls(&self, digest: Digest, len_bytes: u64) -> bool {
        // Without a lock where nothing was dropped yet.
        if !self.may_recall.load(Ordering::Relaxed) {
            return false;
        }
        let state = &mut *self.state.lock();
        // It is written again like any new one: what it would take in the main log is worth more to several short ones.
        if self.policy == EvictionPolicy::SizeAware && len_bytes > MAX_MEANS * state.mean_len_bytes {
            return false;
        }
        let (new, main) = (state.of_new.bytes() as f64, state.of_main.bytes() as f64);
        let moved = |other: f64, this: f64| (len_bytes as f64 * (other / this.max(1.0)).clamp(1.0, MAX_WEIGHT)) as u64;
        let new_bytes = if state.of_new.take(digest, len_bytes) {
            state.new_bytes + moved(main, new)
        } else if state.of_main.take(digest, len_bytes) {
            state.new_bytes.saturating_sub(moved(new, main))
        } else {
            return false;
        };
        if self.policy != EvictionPolicy::S3Fifo {
            state.new_bytes = self.clamped(new_bytes);
        }
        true
    }

    fn clamped(&self, new_bytes: u64) -> u64 {
        let percent = |percent: u64| (self.capacity_bytes / 100 * percent).max(self.segment_len_bytes);
        new_bytes.clamp(percent(LEAST_PERCENT), percent(MOST_PERCENT))
    }

    /// What is kept over a clean close, of up to so many entries; `None` if nothing was dropped, or nothing is remembered.
    pub fn save(&self, tag: u64, most: usize) -> Option<GroupGhosts> {
        if !self.may_recall.load(Ordering::Relaxed) {
            return None;
        }
        let state = self.state.lock();
        let (of_new, of_main) = (state.of_new.save(most / 2), state.of_main.save(most / 2));
        Some(GroupGhosts { tag, new_bytes: state.new_bytes, mean_len_bytes: state.mean_len_bytes, of_new, of_main })
    }

    /// Goes on from what was kept.
    pub fn load(&self, saved: GroupGhosts) {
        if !self.has_main() {
            return;
        }
        let state = &mut *self.state.lock();
        if self.policy != EvictionPolicy::S3Fifo {
            state.new_bytes = self.clamped(saved.new_bytes);
        }
        state.mean_len_bytes = saved.mean_len_bytes;
        state.of_new.load(saved.of_new);
        state.of_main.load(saved.of_main);
        self.may_recall.store(true, Ordering::Relaxed);
    }

    /// Memory that the ghosts take, in bytes.
    pub fn ghost_bytes(&self) -> u64 {
        let state = self.state.lock();
        state.of_new.allocated_bytes() + state.of_main.allocated_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u64 = 1 << 20;

    fn digest(n: u64) -> Digest {
        Digest(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    #[test]
    fn what_was_dropped_too_early_moves_the_split() {
        let split = Split::new(EvictionPolicy::Adaptive, 100, LEN);
        assert_eq!(split.new_log_bytes(), Some(10 * LEN));
        assert!(!split.recalls(digest(1), LEN));
        split.dropped(false, digest(1), LEN);
        assert!(split.recalls(digest(1), LEN) && !split.recalls(digest(1), LEN));
        assert_eq!(split.new_log_bytes(), Some(11 * LEN));
        split.dropped(true, digest(2), LEN);
        assert!(split.recalls(digest(2), LEN));
        assert_eq!(split.new_log_bytes(), Some(10 * LEN));
    }

    #[test]
    fn the_rarer_ghost_weighs_more_and_each_log_keeps_something() {
        let split = Split::new(EvictionPolicy::Adaptive, 100, LEN);
        (0..50).for_each(|n| split.dropped(false, digest(n), LEN));
        split.dropped(true, digest(99), LEN / 8);
        assert!(split.recalls(digest(99), LEN / 8));
        assert_eq!(split.new_log_bytes(), Some(10 * LEN - 10 * (LEN / 8)));
        for n in 100..400 {
            split.dropped(true, digest(n), LEN);
            assert!(split.recalls(digest(n), LEN));
        }
        assert_eq!(split.new_log_bytes(), Some(5 * LEN));
        for n in 1_000..1_400 {
            split.dropped(false, digest(n), LEN);
            assert!(split.recalls(digest(n), LEN));
        }
        assert_eq!(split.new_log_bytes(), Some(90 * LEN));
    }

    #[test]
    fn a_long_entry_that_comes_again_moves_nothing_where_sizes_count() {
        let split = Split::new(EvictionPolicy::SizeAware, 100, LEN);
        (0..5_000).for_each(|n| split.dropped(false, digest(n), 1_000));
        split.dropped(false, digest(9_999), 50_000);
        assert!(!split.recalls(digest(9_999), 50_000));
        assert_eq!(split.new_log_bytes(), Some(10 * LEN));
        split.dropped(false, digest(10_000), 1_900);
        assert!(split.recalls(digest(4_999), 1_000) && split.recalls(digest(10_000), 1_900));
        assert!(split.new_log_bytes() > Some(10 * LEN));
    }

    #[test]
    fn what_was_kept_steers_on() {
        let split = Split::new(EvictionPolicy::Adaptive, 100, LEN);
        assert!(split.save(7, usize::MAX).is_none(), "nothing was dropped");
        split.dropped(false, digest(1), LEN);
        split.dropped(false, digest(2), LEN);
        assert!(split.recalls(digest(2), LEN));
        let saved = split.save(7, usize::MAX).expect("something was dropped");
        assert_eq!((saved.tag, saved.new_bytes), (7, 11 * LEN));
        let next = Split::new(EvictionPolicy::Adaptive, 100, LEN);
        next.load(saved.clone());
        assert_eq!(next.new_log_bytes(), Some(11 * LEN));
        assert!(next.recalls(digest(1), LEN) && !next.recalls(digest(2), LEN));
        let smaller = Split::new(EvictionPolicy::Adaptive, 12, LEN);
        smaller.load(saved);
        assert_eq!(smaller.new_log_bytes(), Some(12 * LEN / 100 * 90));
    }

    #[test]
    fn what_nothing_steers_stays() {
        let fixed = Split::new(EvictionPolicy::S3Fifo, 100, LEN);
        fixed.dropped(false, digest(1), LEN);
        assert!(fixed.recalls(digest(1), LEN));
        assert_eq!(fixed.new_log_bytes(), Some(10 * LEN));
        for one_log in [Split::new(EvictionPolicy::Clock, 100, LEN), Split::new(EvictionPolicy::Adaptive, 11, LEN)] {
            one_log.dropped(false, digest(1), LEN);
            assert!(!one_log.recalls(digest(1), LEN));
            assert_eq!((one_log.new_log_bytes(), one_log.has_main()), (None, false));
        }
    }
}
