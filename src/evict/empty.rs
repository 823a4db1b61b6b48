//! Emptying a segment: what is worth it is rewritten, the rest forgotten. An object stays or goes as a whole: when what a
//! segment holds of it is not rewritten, all of it ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{EvictReason, Evicted, Evictor, policy};
use crate::error::Result;
use crate::format::footer::{ROW_BYTES, Row};
use crate::format::purge::Selector;
use crate::format::record::Header;
use crate::index::{Found, Location};
use crate::log::{Appended, Entry, MARKERS, Order};
use crate::object::{End, Object};
use crate::read::{self, Failure, Fetched};
use crate::segment::{Segment, Stream};
use crate::types::{Millis, RecordKind, SegmentId, Sequence};
use policy::{IN_USE, Part, Resident};

/// Length of a marker's record.
pub(super) const MARKER_BYTES: u64 = 64;

/// What stays or goes together: a record, or all that a segment holds of an object.
struct Kept {
    rows: Vec<usize>,
    object: Option<Arc<Object>>,
    len_bytes: u64,
    hits: u8,
    /// Dirty things go before pinned ones.
    is_dirty: bool,
    is_pinned: bool,
}

/// What came of rewriting a record.
#[derive(PartialEq, Eq)]
enum Rewrite {
    Done,
    /// It is not served any more: it has expired, was purged or replaced, or has moved.
    NeedsNone,
    /// There is no room for it, or it cannot be read.
    Failed,
}

/// What came of emptying a segment.
pub(super) enum Emptied {
    /// Nothing in it is served any more. Whether a sync is needed: for what was written, or for what replaced its records.
    Done { needs_sync: bool },
    /// Nothing was done: what is pinned in it finds room once others are freed.
    Later,
    /// It cannot be read now, or something in it is dirty and finds no room.
    Stays,
}

impl Evictor {
    /// Rewrites what is pinned and what is worth it, forgets the rest, and leaves the markers that are needed. `is_alone`:
    /// no other segment is about to be freed.
    pub(super) async fn empty(
        &self,
        victim: &Segment,
        rows: &[Row],
        is_behind: bool,
        is_alone: bool,
    ) -> Result<Emptied> {
        let groups = self.holding(victim, rows, self.log.clock.now());
        // A marker for each row must fit besides: what cannot be covered cannot be freed.
        let markers = rows.len() as u64 * (MARKER_BYTES + ROW_BYTES as u64);
        let room = self.log.room_for_rewrites(victim.stream.group, markers);
        let pinned_bytes: u64 = groups.iter().filter(|group| group.is_pinned).map(|group| group.len_bytes).sum();
        if pinned_bytes > room && !is_alone {
            return Ok(Emptied::Later);
        }
        let kept = self.kept(victim, &groups, room, pinned_bytes);
        let kept_bytes: u64 = kept.iter().map(|&n| groups[n].len_bytes).sum();
        let may_open = room.saturating_sub(self.log.segments.segment_len_bytes()) >= kept_bytes;
        for n in kept {
            for &i in &groups[n].rows {
                self.reinsert(victim, &rows[i], &groups[n], may_open).await?;
            }
        }
        if self.holds_dirty(victim, rows).await {
            return Ok(Emptied::Stays);
        }
        self.end_objects(victim, rows, markers).await?;
        let mut is_covered = false;
        // A mark may be given up only once what it covers here is forgotten.
        let (purges, others): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.kind == RecordKind::Purge);
        for row in others.into_iter().chain(purges) {
            is_covered |= match row.kind {
                // Asked only now that it is forgotten: until then a newer one may come.
                RecordKind::Put | RecordKind::Head => !self.drop_entry(victim, row, is_behind, markers).await?,
                RecordKind::Delete | RecordKind::Marker => {
                    self.carry_marker(victim, row, locate(victim, row)).await?;
                    true
                }
                RecordKind::Purge => {
                    self.carry_purge(victim, row, locate(victim, row)).await?;
                    true
                }
                RecordKind::Chunk | RecordKind::Pad => true,
            };
        }
        Ok(Emptied::Done { needs_sync: is_covered || self.log.has_unsynced_rewrites() })
    }

    /// The groups to rewrite: what is pinned as far as there is room, then what is worth it within the budget.
    fn kept(&self, victim: &Segment, groups: &[Kept], room: u64, pinned_bytes: u64) -> Vec<usize> {
        let mut left = room;
        let mut fits = |group: &Kept| left.checked_sub(group.len_bytes).map(|rest| left = rest).is_some();
        let mut pinned: Vec<usize> = (0..groups.len()).filter(|&n| groups[n].is_pinned).collect();
        pinned.sort_by_key(|&n| !groups[n].is_dirty);
        let mut kept: Vec<usize> = pinned.into_iter().filter(|&n| fits(&groups[n])).collect();
        let others = groups.iter().enumerate().filter(|(_, group)| !group.is_pinned);
        let residents = others.map(|(row, group)| Resident { row, len_bytes: group.len_bytes, hits: group.hits });
        let (_, budget) = self.log.config.rewrite_share(self.log.segments.segment_len_bytes());
        let budget = budget.min(room).saturating_sub(pinned_bytes);
        let of = (Part::of(victim.stream.stream), self.split(victim).has_main());
        kept.extend(policy::worth_keeping(self.log.config.eviction, of, residents.collect(), budget));
        kept
    }

    /// Whether something that is dirty stands here still. What is purged is not, and what is damaged is lost.
    async fn holds_dirty(&self, victim: &Segment, rows: &[Row]) -> bool {
        for at in rows.iter().map(|row| locate(victim, row)) {
            let Some(sequence) = self.log.dirty.at(at) else { continue };
            match read::fetch(&self.log.segments, at).await {
                Ok(record) if self.log.marks.cover(record.key(), record.tags(), sequence, record.header.created) => {}
                Ok(_) | Err(Failure::Io(..)) => return true,
                Err(Failure::Gone | Failure::Damaged(..)) => self.log.counters.origin_lost.add_one(),
            }
            self.log.dirty.end(at);
        }
        false
    }

    /// What a segment holds that is served.
    fn holding(&self, victim: &Segment, rows: &[Row], now: Millis) -> Vec<Kept> {
        let mut owners: HashMap<Location, Arc<Object>> = HashMap::new();
        for object in self.log.objects.in_slot(victim.slot) {
            let own = object.chunks().into_iter().filter(|at| at.slot == victim.slot);
            owners.extend(own.map(|at| (at, object.clone())));
        }
        let mut of_object: HashMap<Sequence, usize> = HashMap::new();
        let mut groups: Vec<Kept> = Vec::new();
        for (i, row) in rows.iter().enumerate() {
            let at = locate(victim, row);
            let (object, hits, pin) = match row.kind {
                RecordKind::Chunk => match owners.get(&at) {
                    Some(object) => (Some(object.clone()), self.hits_of(object), object.head().map(|(_, head)| head)),
                    None => continue,
                },
                _ => match self.log.index.lookup(row.digest) {
                    Some(found) if found.location == at => {
                        let object = self.log.objects.at(at);
                        // A head without its chunks is not worth keeping.
                        let is_whole = row.kind != RecordKind::Head || object.is_some();
                        (object, if is_whole { found.hits } else { 0 }, is_whole.then_some(at))
                    }
                    _ => continue,
                },
            };
            let is_expired = row.is_expired(now);
            let hits = if is_expired { 0 } else { hits };
            let is_dirty = self.log.dirty.at(at).is_some();
            let is_pinned = is_dirty || !is_expired && pin.is_some_and(|at| self.log.pins.holds(at));
            let n = match &object {
                Some(object) => *of_object.entry(object.id).or_insert(groups.len()),
                None => groups.len(),
            };
            if n == groups.len() {
                groups.push(Kept { rows: Vec::new(), object, len_bytes: 0, hits, is_dirty, is_pinned });
            }
            groups[n].rows.push(i);
            groups[n].len_bytes += row.len_bytes();
        }
        groups
    }

    fn hits_of(&self, object: &Object) -> u8 {
        if object.is_in_use() {
            return IN_USE;
        }
        let found = object.head().and_then(|(digest, head)| Some((self.log.index.lookup(digest)?, head)));
        found.filter(|(found, head)| found.location == *head).map_or(0, |(found, _)| found.hits)
    }

    /// What still has chunks in the segment ends; one that was pinned since it was decided what stays is rewritten instead, if
    /// there is room.
    async fn end_objects(&self, victim: &Segment, rows: &[Row], markers: u64) -> Result<()> {
        for object in self.log.objects.in_slot(victim.slot) {
            let mut head = object.head();
            let mut is_dropped_pin = false;
            if !self.log.end_unpinned_object(&object, End::Evicted) {
                let is_lost = self.keep_late_pin(victim, rows, &object, markers).await? == Rewrite::Failed;
                if !object.chunks().iter().any(|at| at.slot == victim.slot) {
                    continue;
                }
                head = object.head();
                is_dropped_pin = head.is_some_and(|(_, head)| self.log.pins.end(head)) && is_lost;
                self.log.end_object(&object, End::Evicted);
            }
            if let Some((digest, head)) = head {
                self.count_evicted(is_dropped_pin);
                self.split(victim).dropped(victim.stream.stream.is_main(), digest, object.written_bytes());
                let hits = self.log.index.lookup(digest).map_or(0, |found| found.hits);
                self.tell(head, hits).await;
            }
        }
        Ok(())
    }

    /// Moves a record to the stream of reinserted ones, with its own sequence (trap 2). One that expires goes to a stream apart
    /// where that has room, or `may_open` a segment because what is kept and the markers fit without it.
    async fn reinsert(&self, victim: &Segment, row: &Row, group: &Kept, may_open: bool) -> Result<Rewrite> {
        let from = locate(victim, row);
        let Ok(record) = read::fetch(&self.log.segments, from).await else { return Ok(Rewrite::Failed) };
        let is_expired = record.is_expired(self.log.clock.now());
        if record.header.kind != row.kind || record.header.sequence != row.sequence || is_expired {
            return Ok(Rewrite::NeedsNone);
        }
        let object = group.object.as_ref().filter(|_| row.kind == RecordKind::Chunk);
        let entry = Entry { object, ..entry_of(&record, row) };
        let hits = policy::hits_kept(self.log.config.eviction, group.hits);
        let order = Order::Moved { from, sequence: row.sequence, hits };
        // A chunk has no key of the user's: it stays in the group that it is in.
        let of = match row.kind {
            RecordKind::Chunk => victim.stream.group,
            _ => self.log.namespaces.group_of_key(record.key()),
        };
        let expiring = Stream::Expiring.of(of);
        let is_apart = record.header.expires.is_some()
            && self.split(victim).has_main()
            && (may_open && of == victim.stream.group || self.log.fits_open(expiring, row.len_bytes()));
        let apart = if is_apart { self.log.append(expiring, &entry, order, false).await?.ok() } else { None };
        let appended = match apart {
            Some(appended) => Ok(appended),
            None => self.log.append(Stream::Reinserted.of(of), &entry, order, true).await?,
        };
        match appended {
            Ok(Appended::Done(..)) => {}
            Ok(Appended::Stale) => return Ok(Rewrite::NeedsNone),
            Err(_) => return Ok(Rewrite::Failed),
        }
        if row.kind != RecordKind::Chunk {
            self.log.counters.entries_reinserted.add_one();
        }
        self.log.counters.bytes_reinserted.add(row.len_bytes());
        Ok(Rewrite::Done)
    }

    /// Rewrites what a segment holds of an object, if there is room.
    async fn keep_late_pin(&self, victim: &Segment, rows: &[Row], object: &Object, markers: u64) -> Result<Rewrite> {
        let groups = self.holding(victim, rows, self.log.clock.now());
        let Some(group) = groups.iter().find(|g| g.object.as_ref().is_some_and(|o| o.id == object.id)) else {
            return Ok(Rewrite::NeedsNone);
        };
        if self.log.room_for_rewrites(victim.stream.group, markers) < group.len_bytes {
            return Ok(Rewrite::Failed);
        }
        for &i in &group.rows {
            match self.reinsert(victim, &rows[i], group, false).await? {
                Rewrite::Done => {}
                other => return Ok(other),
            }
        }
        Ok(Rewrite::Done)
    }

    /// Forgets the entry of a record. One that is pinned in just this moment is rewritten instead; whether there was no room for
    /// that.
    async fn forget(&self, victim: &Segment, row: &Row, markers: u64) -> Result<Option<(Found, bool)>> {
        let at = locate(victim, row);
        let hits = match self.log.forget_unpinned(row.digest, at) {
            Ok(found) => return Ok(found.map(|found| (found, false))),
            Err(hits) => hits,
        };
        let (rows, len_bytes) = (Vec::new(), row.len_bytes());
        let late = Kept { rows, object: None, len_bytes, hits, is_dirty: false, is_pinned: true };
        let has_room = self.log.room_for_rewrites(victim.stream.group, markers) >= len_bytes;
        let is_lost = !has_room || self.reinsert(victim, row, &late, false).await? == Rewrite::Failed;
        // Nothing, if it moved.
        Ok(self.log.forget(row.digest, at).map(|found| (found, is_lost)))
    }

    /// Forgets a record, and leaves a marker if one is needed. Whether the index still pointed at it: else there is a newer
    /// one.
    async fn drop_entry(&self, victim: &Segment, row: &Row, is_behind: bool, markers: u64) -> Result<bool> {
        let at = locate(victim, row);
        // A head without its chunks was counted when they went.
        let is_entry = row.kind == RecordKind::Put || self.log.objects.at(at).is_some();
        let Some((found, is_dropped_pin)) = self.forget(victim, row, markers).await? else { return Ok(false) };
        if is_entry {
            self.count_evicted(is_dropped_pin && !row.is_expired(self.log.clock.now()));
        }
        if row.kind == RecordKind::Put {
            self.tell(at, found.hits).await;
        }
        if row.kind == RecordKind::Put && !row.is_expired(self.log.clock.now()) {
            self.split(victim).dropped(victim.stream.stream.is_main(), row.digest, row.len_bytes());
        }
        if (found.older || is_behind) && self.may_be_covered(victim.id, row, victim.horizon()) {
            self.leave_marker(row, victim.horizon()).await?;
        }
        Ok(true)
    }

    fn count_evicted(&self, is_dropped_pin: bool) {
        self.log.counters.entries_evicted.add_one();
        if is_dropped_pin {
            self.log.counters.pins_dropped.add_one();
        }
    }

    /// Tells who listens that the entry of this record was dropped. Its file is still there.
    async fn tell(&self, at: Location, hits: u8) {
        if !self.listeners.is_heard() {
            return;
        }
        let Ok(record) = read::fetch(&self.log.segments, at).await else { return };
        let now = self.log.clock.now();
        let Header { sequence, created, .. } = record.header;
        let is_purged = self.log.marks.cover(record.key(), record.tags(), sequence, created);
        let reason = match record.is_expired(now) {
            true => EvictReason::Expired,
            false if is_purged => EvictReason::Purged,
            false => EvictReason::Room,
        };
        let age = Duration::from_millis(now.0.saturating_sub(created.0));
        self.listeners.tell(&Evicted::new(Bytes::copy_from_slice(record.key()), reason, age, hits));
    }

    async fn carry_marker(&self, victim: &Segment, row: &Row, at: Location) -> Result<()> {
        // A marker that cannot be read covers whatever is there now.
        let horizon = match read::fetch(&self.log.segments, at).await {
            Ok(record) => record.value().try_into().map_or(victim.horizon(), |b| SegmentId(u64::from_le_bytes(b))),
            Err(_) => victim.horizon(),
        };
        if self.may_be_covered(victim.id, row, horizon) {
            self.leave_marker(row, horizon).await?;
        }
        Ok(())
    }

    /// Carries a purge on, as long as its mark needs it. One that cannot be read may cover anything older: then all of that
    /// is cleared, and as long as that is not said on disk the file stays.
    async fn carry_purge(&self, victim: &Segment, row: &Row, at: Location) -> Result<()> {
        let record = read::fetch(&self.log.segments, at).await;
        let Some((record, selector)) = record.ok().and_then(|r| Selector::decode(r.key()).map(|s| (r, s))) else {
            // Nothing is freed before the manifest says so.
            self.log.set_clearing(row.sequence);
            self.log.marks.raise_floor(row.sequence);
            return Ok(());
        };
        let horizon = record.value().try_into().map_or(victim.horizon(), |b| SegmentId(u64::from_le_bytes(b)));
        let is_held = self.log.held.oldest().is_some_and(|oldest| oldest < row.sequence);
        let has_covered = is_held || self.may_be_covered(victim.id, row, horizon);
        if !self.log.marks.is_needed(&selector, row.sequence, has_covered) {
            return Ok(());
        }
        let entry = entry_of(&record, row);
        let order = Order::Marker(row.sequence, horizon);
        match self.log.append(MARKERS, &entry, order, true).await? {
            Ok(_) => self.log.counters.markers_written.add_one(),
            Err(_) => drop(self.log.marks.lost(row.sequence)),
        }
        Ok(())
    }
}

fn locate(victim: &Segment, row: &Row) -> Location {
    Location { slot: victim.slot, offset_units: row.offset_units, class: row.class.bits() }
}

fn entry_of<'a>(record: &'a Fetched, row: &Row) -> Entry<'a> {
    Entry {
        kind: row.kind,
        digest: row.digest,
        key: record.key(),
        flags: record.header.flags,
        metadata: record.metadata(),
        value: record.value(),
        value_crc: record.header.value_crc,
        created: record.header.created,
        expires: record.header.expires,
        object: None,
        flight: None,
    }
}
