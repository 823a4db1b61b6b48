//! All segments of a directory: which file (slot) is in which life, how many live bytes it holds, and which are free.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Segment, Stream, StreamId};
use crate::backend::closed::Closed;
use crate::format::file_name;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Notify, RwLock};
use crate::types::{Group, SegmentId};

/// What a slot is.
#[derive(Clone)]
enum State {
    /// There is no file.
    Absent,
    /// There is a file that holds nothing.
    Free,
    /// There may be a file, which is not made to its end.
    HalfMade,
    /// Someone is about to use it, for a group, or to remove it.
    Taken(Option<Group>),
    /// A segment.
    Used(Arc<Segment>),
}

/// Which segment is in a slot, and what of it is served.
#[derive(Debug, Default)]
struct Live {
    /// Of the segment in the slot, 0 if there is none; written under the lock of the slots, read without it.
    id: AtomicU64,
    bytes: AtomicU64,
    entries: AtomicU64,
}

/// A slot given out to become an open segment.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// Its number.
    pub slot: u16,
    /// Whether the file exists, as far as is known.
    pub exists: bool,
    /// Whether it has its length, on the device.
    pub is_whole: bool,
}

/// How many slots are in which state.
#[derive(Debug, Clone, Copy, Default)]
pub struct Census {
    /// Files that exist.
    pub files: u64,
    /// Of these, free ones.
    pub free: u64,
    /// Segments that could be given out: free ones, and files that may still be made, or made to their end.
    pub available: u64,
    /// Segments that hold records and could be evicted.
    pub sealed: u64,
}

/// See the module's documentation.
pub struct SegmentSet {
    dir: PathBuf,
    segment_len_bytes: u64,
    limit: u64,
    /// By group: most segments of it, if there is a limit of its own.
    quotas: Vec<Option<u64>>,
    slots: RwLock<Vec<State>>,
    live: Vec<Live>,
    next_id: AtomicU64,
    cursor: AtomicU64,
    no_growth: AtomicBool,
    /// Told when a segment becomes free, when files may grow again, and when there is none to become free.
    pub room: Notify,
}

impl SegmentSet {
    /// A set of at most `limit` segments, of each group at most its quota, in a directory that has files in slots below
    /// `existing`.
    pub fn new(dir: PathBuf, segment_len_bytes: u64, limit: u64, quotas: Vec<Option<u64>>, existing: usize) -> Self {
        let len = existing.max(limit as usize);
        Self {
            dir,
            segment_len_bytes,
            limit,
            quotas,
            slots: RwLock::new(vec![State::Absent; len]),
            live: (0..len).map(|_| Live::default()).collect(),
            next_id: AtomicU64::new(1),
            cursor: AtomicU64::new(0),
            no_growth: AtomicBool::new(false),
            room: Notify::new(),
        }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Length of every segment, in bytes.
    pub fn segment_len_bytes(&self) -> u64 {
        self.segment_len_bytes
    }

    /// The path of a slot's file.
    pub fn path(&self, slot: u16) -> PathBuf {
        self.dir.join(file_name::segment_name(slot))
    }

    /// An id that was never used.
    pub fn next_id(&self) -> SegmentId {
        SegmentId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// The newest id given out.
    pub fn newest_id(&self) -> SegmentId {
        SegmentId(self.next_id.load(Ordering::Relaxed) - 1)
    }

    /// `id` was used.
    pub fn saw_id(&self, id: SegmentId) {
        self.next_id.fetch_max(id.0.saturating_add(1), Ordering::Relaxed);
    }

    /// The segment in a slot.
    pub fn get(&self, slot: u16) -> Option<Arc<Segment>> {
        match self.slots.read().get(slot as usize) {
            Some(State::Used(segment)) => Some(segment.clone()),
            _ => None,
        }
    }

    /// Whether this segment is in the slot, and not a later one.
    pub fn holds(&self, slot: u16, id: SegmentId) -> bool {
        matches!(self.slots.read().get(slot as usize), Some(State::Used(segment)) if segment.id == id)
    }

    /// Which segment is in the slot. Takes no lock.
    pub fn id_in(&self, slot: u16) -> Option<SegmentId> {
        let id = self.live.get(slot as usize)?.id.load(Ordering::Acquire);
        (id != 0).then_some(SegmentId(id))
    }

    /// Every segment in use.
    pub fn used(&self) -> Vec<Arc<Segment>> {
        let slots = self.slots.read();
        slots.iter().filter_map(|s| if let State::Used(segment) = s { Some(segment.clone()) } else { None }).collect()
    }

    /// Closes the files of all segments, each once the reads in flight are done. What is counted stays.
    pub fn close_files(&self) {
        for segment in self.used() {
            segment.read_only(Arc::new(Closed));
        }
    }

    /// Puts a segment in its slot.
    pub fn install(&self, segment: Arc<Segment>) {
        let slot = segment.slot as usize;
        let mut slots = self.slots.write();
        self.live[slot].id.store(segment.id.0, Ordering::Release);
        slots[slot] = State::Used(segment);
    }

    /// The slot's file holds nothing.
    pub fn set_free(&self, slot: u16) {
        self.slots.write()[slot as usize] = State::Free;
        self.room.notify_waiters();
    }

    /// The slot's file was not made to its end, and may be there: it counts, and is made the next time.
    pub fn set_half_made(&self, slot: u16) {
        self.slots.write()[slot as usize] = State::HalfMade;
        self.room.notify_waiters();
    }

    /// The slot has no file.
    pub fn set_absent(&self, slot: u16) {
        self.slots.write()[slot as usize] = State::Absent;
        self.room.notify_waiters();
    }

    /// No reader finds the segment any more; the slot is not given out before [`SegmentSet::set_free`].
    pub fn retire(&self, slot: u16) {
        let mut slots = self.slots.write();
        self.live[slot as usize].id.store(0, Ordering::Release);
        slots[slot as usize] = State::Taken(None);
    }

    /// Something that is not ours stands in the slot's place: it is never given out.
    pub fn block(&self, slot: u16) {
        if let Some(state) = self.slots.write().get_mut(slot as usize) {
            *state = State::Taken(None);
        }
    }

    /// How many segments are kept from a stream: the last for what eviction rewrites, since without it no room could be made.
    /// Where there are several groups the very last is for the common one's, which takes their markers. Of all, and of those
    /// of its group. `for_pinned` more are kept of all for what is pinned.
    pub fn reserves(&self, of: StreamId, for_pinned: u64) -> (u64, u64) {
        let rewrites = of.stream == Stream::Reinserted;
        let has_groups = u64::from(self.quotas.len() > 1);
        match (of.group, rewrites) {
            (Group::COMMON, true) => (0, 0),
            (_, true) => (has_groups, 0),
            (_, false) => (has_groups + 1 + for_pinned, 1),
        }
    }

    /// Gives out a slot for a segment of this stream if more are available than it must leave: a free file first, since
    /// written extents are quicker than fresh ones (FINDINGS.md); in turn, so that a slot number comes back late.
    pub fn take(&self, of: StreamId, for_pinned: u64) -> Option<Taken> {
        let (reserve, own_reserve) = self.reserves(of, for_pinned);
        let mut slots = self.slots.write();
        let may_grow = !self.is_growth_stopped();
        if self.census_of(&slots, may_grow).available <= reserve || self.room_of(&slots, of.group) <= own_reserve {
            return None;
        }
        let start = self.cursor.load(Ordering::Relaxed) as usize % slots.len();
        let order = (start..slots.len()).chain(0..start);
        let first = |wanted: fn(&State) -> bool| order.clone().find(|&i| wanted(&slots[i]));
        let whole = first(|state| matches!(state, State::Free));
        let there = whole.or_else(|| first(|state| matches!(state, State::HalfMade)).filter(|_| may_grow));
        let slot = there.or_else(|| (0..slots.len()).find(|&i| matches!(slots[i], State::Absent)))?;
        slots[slot] = State::Taken(Some(of.group));
        self.cursor.store(slot as u64 + 1, Ordering::Relaxed);
        Some(Taken { slot: slot as u16, exists: there.is_some(), is_whole: whole.is_some() })
    }

    /// Whether new files may be made. Off while the disk is full: room then comes from eviction alone.
    pub fn allow_growth(&self, allowed: bool) {
        let was_stopped = self.no_growth.swap(!allowed, Ordering::SeqCst);
        if was_stopped && allowed {
            self.room.notify_waiters();
        }
    }

    /// See [`SegmentSet::allow_growth`].
    pub fn is_growth_stopped(&self) -> bool {
        self.no_growth.load(Ordering::SeqCst)
    }

    /// How many slots are in which state.
    pub fn census(&self) -> Census {
        self.census_of(&self.slots.read(), !self.is_growth_stopped())
    }

    fn census_of(&self, slots: &[State], may_grow: bool) -> Census {
        let mut census = Census::default();
        let mut half_made = 0;
        for state in slots {
            match state {
                State::Absent => {}
                State::Free => {
                    census.files += 1;
                    census.free += 1;
                }
                State::HalfMade => {
                    census.files += 1;
                    half_made += 1;
                }
                State::Taken(_) => census.files += 1,
                State::Used(segment) => {
                    census.files += 1;
                    census.sealed += u64::from(segment.is_sealed());
                }
            }
        }
        let growth = if may_grow { half_made + self.limit.saturating_sub(census.files) } else { 0 };
        census.available = census.free + growth;
        census
    }

    /// Segments that a group may still take, as far as its own limit goes.
    pub fn group_room(&self, group: Group) -> u64 {
        if self.quota(group).is_none() { u64::MAX } else { self.room_of(&self.slots.read(), group) }
    }

    fn room_of(&self, slots: &[State], group: Group) -> u64 {
        self.quota(group).map_or(u64::MAX, |quota| quota.saturating_sub(held(slots, group)))
    }

    /// Most segments of a group, if there is a limit of its own.
    pub fn quota(&self, group: Group) -> Option<u64> {
        self.quotas.get(usize::from(group.0)).copied().flatten()
    }

    /// Segments of a group, those that are being opened too.
    pub fn group_segments(&self, group: Group) -> u64 {
        held(&self.slots.read(), group)
    }

    /// Bytes that a group's segments take, and of these those of records that are served.
    pub fn group_bytes(&self, group: Group) -> (u64, u64) {
        let slots = self.slots.read();
        let is_its = |(_, state): &(usize, &State)| matches!(state, State::Used(s) if s.stream.group == group);
        let live = slots.iter().enumerate().filter(is_its).map(|(slot, _)| self.live_bytes_of(slot as u16)).sum();
        (held(&slots, group) * self.segment_len_bytes, live)
    }

    /// Whether there are more files than the capacity holds (it was made smaller).
    pub fn is_over_limit(&self) -> bool {
        self.census().files > self.limit
    }

    /// Most segments.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// A record of `len` bytes in this slot is served.
    pub fn add_live(&self, slot: u16, len: u64) {
        self.add_live_entries(slot, len, 1);
    }

    /// So many entries in this slot, of so many bytes, are served.
    pub fn add_live_entries(&self, slot: u16, bytes: u64, entries: u64) {
        let live = &self.live[slot as usize];
        live.bytes.fetch_add(bytes, Ordering::Relaxed);
        live.entries.fetch_add(entries, Ordering::Relaxed);
    }

    /// It is not served any more.
    pub fn sub_live(&self, slot: u16, len: u64) {
        let live = &self.live[slot as usize];
        live.bytes.fetch_sub(len, Ordering::Relaxed);
        live.entries.fetch_sub(1, Ordering::Relaxed);
    }

    /// Live bytes of a slot.
    pub fn live_bytes_of(&self, slot: u16) -> u64 {
        self.live[slot as usize].bytes.load(Ordering::Relaxed)
    }

    /// Live entries of a slot.
    pub fn live_entries(&self, slot: u16) -> u64 {
        self.live[slot as usize].entries.load(Ordering::Relaxed)
    }

    /// Live bytes of all slots.
    pub fn live_bytes(&self) -> u64 {
        self.live.iter().map(|l| l.bytes.load(Ordering::Relaxed)).sum()
    }
}

fn held(slots: &[State], group: Group) -> u64 {
    let is_its = |state: &&State| match state {
        State::Taken(of) => *of == Some(group),
        State::Used(segment) => segment.stream.group == group,
        State::Absent | State::Free | State::HalfMade => false,
    };
    slots.iter().filter(is_its).count() as u64
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use super::*;

    const REWRITES: StreamId = StreamId { group: Group::COMMON, stream: Stream::Reinserted };

    /// On a full disk a file that is not made to its end is no room: nobody is sent there instead of waiting for eviction.
    #[test]
    fn half_made_files_are_given_out_only_while_files_may_grow() {
        let set = SegmentSet::new("/cache".into(), 4096, 4, vec![None], 0);
        set.set_half_made(0);
        set.set_half_made(1);
        assert_eq!((set.census().available, set.census().files, set.census().free), (4, 2, 0));
        set.allow_growth(false);
        assert_eq!(set.census().available, 0);
        assert!(set.take(REWRITES, 0).is_none());
        set.set_free(2);
        let taken = set.take(REWRITES, 0).expect("a whole file needs no room");
        assert!(taken.slot == 2 && taken.exists && taken.is_whole);
        set.allow_growth(true);
        let taken = set.take(REWRITES, 0).expect("there is one");
        assert!(taken.slot < 2 && taken.exists && !taken.is_whole, "{taken:?}");
    }

    /// Who waits for eviction, since the disk is full, learns that it need not any more: else it would wait as long as for a
    /// disk that hangs.
    #[test]
    fn who_waits_for_room_is_told_that_files_may_grow_again() {
        let set = SegmentSet::new("/cache".into(), 4096, 4, vec![None], 0);
        let mut context = Context::from_waker(Waker::noop());
        let mut is_told = |room: Pin<&mut _>| Future::poll(room, &mut context).is_ready();
        let mut room = pin!(set.room.notified());
        set.allow_growth(true);
        assert!(!is_told(room.as_mut()), "nothing has changed");
        set.allow_growth(false);
        assert!(!is_told(room.as_mut()));
        set.allow_growth(true);
        assert!(is_told(room));
    }

    #[test]
    fn a_group_takes_no_more_than_its_quota_and_leaves_the_last_for_rewrites() {
        let set = SegmentSet::new("/cache".into(), 4096, 20, vec![None, Some(4), None], 0);
        let take = |group, stream: Stream| set.take(stream.of(Group(group)), 0);
        let taken: Vec<_> = std::iter::from_fn(|| take(1, Stream::New)).collect();
        assert_eq!((taken.len(), set.group_segments(Group(1)), set.group_room(Group(1))), (3, 3, 1));
        assert!(take(1, Stream::Reinserted).is_some() && take(1, Stream::Reinserted).is_none());
        assert!(take(0, Stream::New).is_some() && take(2, Stream::Main).is_some(), "others do not feel it");
        set.set_free(taken[0].slot);
        assert!(take(1, Stream::New).is_none() && take(1, Stream::Reinserted).is_some());
    }

    #[test]
    fn the_last_of_all_is_for_the_markers_of_all_groups() {
        let set = SegmentSet::new("/cache".into(), 4096, 6, vec![None, None], 0);
        let take = |group, stream: Stream| set.take(stream.of(Group(group)), 0).is_some();
        assert_eq!((0..6).filter(|_| take(0, Stream::New)).count(), 4, "two are left");
        assert!(!take(1, Stream::ShortLived) && take(1, Stream::Reinserted) && !take(1, Stream::Reinserted));
        assert!(take(0, Stream::Reinserted) && !take(0, Stream::Reinserted));
    }
}
