//! Publishing a record: its sequence is taken and the index changed in one step, under the lock of the digest's shard.

use std::sync::Arc;

use super::Log;
use super::append::{Entry, Order};
use crate::flight::Flight;
use crate::format::length::class_bytes;
use crate::format::purge::Selector;
use crate::index::{Change, Found, Location};
use crate::memory::{Dropped, Item};
use crate::object::{End, Object};
use crate::types::{Digest, RecordKind, Sequence};

/// What came of holding an entry in memory.
pub enum Hold {
    /// It is held; what went for it.
    Held(Vec<Dropped>),
    /// The index holds an entry of the digest by now: it is to be written.
    Known,
    /// What was fetched is outdated.
    Outdated,
}

impl Log {
    /// Takes the sequence and changes the slot, in one step. `None`: the record is stale.
    pub(super) fn publish(&self, entry: &Entry<'_>, order: Order, at: Location) -> Option<(Sequence, Option<Found>)> {
        if entry.kind == RecordKind::Chunk {
            return self.publish_chunk(entry, order, at).map(|sequence| (sequence, None));
        }
        if entry.kind == RecordKind::Purge {
            return Some((self.publish_mark(entry, order), None));
        }
        let displaced = |found: Option<Found>| {
            if let Some(found) = found {
                self.unserve(found.location);
            }
        };
        self.index.update(entry.digest, |found| match (order, entry.kind) {
            _ if !self.may_publish(entry, order) => (Change::Keep, None),
            (Order::Held(old), _) => {
                let sequence = self.next_sequence();
                if self.marks.cover(entry.key, entry.tags(), old, entry.created) {
                    return (Change::Keep, None);
                }
                displaced(found);
                self.segments.add_live(at.slot, class_bytes(at.class));
                (Change::Put(at, found.is_some() || self.is_history_hidden()), Some((sequence, found)))
            }
            (Order::Marker(sequence, _), _) => (Change::Keep, Some((sequence, found))),
            (Order::Moved { from, sequence: old, .. } | Order::Renewed { from, sequence: old }, _) => {
                let Some(f) = found.filter(|f| f.location == from) else { return (Change::Keep, None) };
                let (sequence, older, hits) = match order {
                    Order::Moved { sequence, hits, .. } => (sequence, f.older, hits),
                    _ => (self.next_sequence(), true, f.hits),
                };
                // Asked only now that it has its place in the order, and in a segment: see `marks`.
                if self.marks.cover(entry.key, entry.tags(), old, entry.created) {
                    return (Change::Keep, None);
                }
                self.objects.move_head(from, at);
                let longer_bytes = class_bytes(at.class) as i64 - class_bytes(from.class) as i64;
                self.pins.moved(from, at, longer_bytes);
                self.dirty.moved(from, at, sequence);
                displaced(found);
                self.segments.add_live(at.slot, class_bytes(at.class));
                (Change::Move(at, older, hits), Some((sequence, found)))
            }
            (Order::Bury(at, id), _) if !self.segments.holds(at.slot, id) || found.is_none_or(|f| f.location != at) => {
                (Change::Keep, None)
            }
            (Order::Newest, RecordKind::Put | RecordKind::Head) => {
                let is_whole = match (entry.object, entry.kind) {
                    (None, _) => true,
                    (Some(object), RecordKind::Head) => self.objects.finish(object, entry.digest, at),
                    (Some(object), _) => object.complete(),
                };
                if !is_whole {
                    return (Change::Keep, None);
                }
                displaced(found);
                self.segments.add_live(at.slot, class_bytes(at.class));
                let sequence = self.next_sequence();
                if entry.flags.is_dirty() {
                    self.dirty.add(at, entry.digest, sequence);
                }
                (Change::Put(at, found.is_some() || self.is_history_hidden()), Some((sequence, found)))
            }
            (Order::Newest | Order::Bury(..), _) => {
                displaced(found);
                (Change::Remove, Some((self.next_sequence(), found)))
            }
        })
    }

    /// A purge is not in the index but in the table of marks.
    fn publish_mark(&self, entry: &Entry<'_>, order: Order) -> Sequence {
        match (order, Selector::decode(entry.key)) {
            (Order::Marker(sequence, _), _) => {
                // Here, where whoever syncs sees the record if it sees this, and a loss comes later.
                self.marks.wrote(sequence);
                sequence
            }
            (_, Some(selector)) => {
                self.marks.place(&selector, self.segments.newest_id(), true, || self.next_sequence())
            }
            (_, None) => self.next_sequence(),
        }
    }

    /// Whether the record may be published, as far as memory goes: what was fetched only if nothing newer was written, what
    /// was held only if it is held still. Whatever else is written outdates what is being fetched, and takes the place of
    /// what is held. To be called under the lock of the index shard.
    fn may_publish(&self, entry: &Entry<'_>, order: Order) -> bool {
        match (order, entry.flight) {
            (_, Some(flight)) if flight.is_outdated() => false,
            (Order::Held(sequence), _) => self.held.remove(entry.digest, Some(sequence)),
            (Order::Newest | Order::Renewed { .. }, flight) => {
                if flight.is_none() {
                    self.flights.outdate(entry.digest);
                }
                self.held.remove(entry.digest, None);
                true
            }
            (Order::Moved { .. } | Order::Marker(..) | Order::Bury(..), _) => true,
        }
    }

    /// Holds an entry in memory, unless the index knows one of the digest. Nothing of it is written.
    pub fn hold(&self, digest: Digest, item: Item, flight: Option<&Flight>) -> Hold {
        self.index.update(digest, |found| {
            let outcome = match (found, flight) {
                (_, Some(flight)) if flight.is_outdated() => Hold::Outdated,
                (Some(_), _) => Hold::Known,
                (None, _) => {
                    if flight.is_none() {
                        self.flights.outdate(digest);
                    }
                    let item = item.at(self.next_sequence());
                    Hold::Held(self.held.insert(digest, Arc::new(item)))
                }
            };
            (Change::Keep, outcome)
        })
    }

    /// Whether the index knows a digest. If not, what is being fetched of it is outdated, and what is held goes, in the same
    /// step; whether anything was held. For a delete that finds nothing to write.
    pub fn is_known_or_outdate(&self, digest: Digest) -> (bool, bool) {
        self.index.update(digest, |found| {
            if found.is_some() {
                return (Change::Keep, (true, false));
            }
            self.flights.outdate(digest);
            (Change::Keep, (false, self.held.remove(digest, None)))
        })
    }

    /// A chunk is not in the index but in its object.
    fn publish_chunk(&self, entry: &Entry<'_>, order: Order, at: Location) -> Option<Sequence> {
        let object = entry.object?;
        // Counted first: from then on the object may end at any moment, which counts it out.
        self.segments.add_live(at.slot, class_bytes(at.class));
        let (is_taken, gone) = match order {
            Order::Moved { from, .. } if self.objects.move_chunk(object, from, at) => (true, Some(from)),
            Order::Moved { .. } => (false, Some(at)),
            _ if self.objects.add_chunk(object, at, entry.value.len()) => (true, None),
            _ => (false, Some(at)),
        };
        self.unserve_chunks(gone.as_slice());
        is_taken.then(|| if let Order::Moved { sequence, .. } = order { sequence } else { self.next_sequence() })
    }

    /// What stands here is not served any more; if it is an object's head, its chunks are dead too.
    pub fn unserve(&self, at: Location) {
        self.segments.sub_live(at.slot, class_bytes(at.class));
        self.pins.end(at);
        self.dirty.end(at);
        self.unserve_chunks(&self.objects.replace(at));
    }

    /// An object ends: nothing of it is served any more.
    pub fn end_object(&self, object: &Object, why: End) {
        self.unserve_chunks(&self.objects.end(object, why));
    }

    /// As [`Log::end_object`], unless its entry is pinned, as is asked in the same step. Whether it ended.
    pub fn end_unpinned_object(&self, object: &Object, why: End) -> bool {
        let end = || {
            let is_pinned = object.head().is_some_and(|(_, head)| self.pins.holds(head));
            if !is_pinned {
                self.end_object(object, why);
            }
            !is_pinned
        };
        match object.head() {
            Some((digest, _)) => self.index.update(digest, |_| (Change::Keep, end())),
            None => end(),
        }
    }

    /// These chunks are dead.
    pub fn unserve_chunks(&self, chunks: &[Location]) {
        for at in chunks {
            self.segments.sub_live(at.slot, class_bytes(at.class));
        }
    }

    /// Forgets whatever the index holds of a digest, or that only if it is at `only`, and owes a marker for it: for updates
    /// that were refused, when no record can be written. What is being fetched is outdated then. Whether there was anything.
    pub fn forget_owing(&self, digest: Digest, only: Option<Location>) -> bool {
        self.index.update(digest, |found| {
            if only.is_none() {
                self.flights.outdate(digest);
                self.held.remove(digest, None);
            }
            self.forget_found_owing(digest, found, only)
        })
    }

    /// As [`Log::forget_owing`], for a fetched value that was refused: nothing, if its flight is outdated, since what the index
    /// holds is newer then.
    pub fn forget_owing_unless_outdated(&self, digest: Digest, flight: &Flight) {
        self.index.update(digest, |found| {
            if flight.is_outdated() {
                return (Change::Keep, false);
            }
            self.held.remove(digest, None);
            self.forget_found_owing(digest, found, None)
        });
    }

    fn forget_found_owing(&self, digest: Digest, found: Option<Found>, only: Option<Location>) -> (Change, bool) {
        match found.filter(|f| only.is_none_or(|at| f.location == at)) {
            Some(f) => {
                self.unserve(f.location);
                // In one step, so that a delete finds the entry or the debt.
                self.owe_marker(digest, self.next_sequence(), self.segments.newest_id());
                (Change::Remove, true)
            }
            // What is forgotten may still stand on disk; the limit keeps a long outage from taking all memory.
            None if only.is_none() && self.is_history_uncovered() && !self.owes_too_much() => {
                self.owe_marker(digest, self.next_sequence(), self.segments.newest_id());
                (Change::Keep, false)
            }
            None => (Change::Keep, false),
        }
    }

    /// As [`Log::forget`], unless the entry is pinned: then its hits.
    ///
    /// # Errors
    /// It is pinned.
    pub fn forget_unpinned(&self, digest: Digest, location: Location) -> std::result::Result<Option<Found>, u8> {
        self.index.update(digest, |found| match found.filter(|found| found.location == location) {
            Some(found) if self.pins.holds(location) => (Change::Keep, Err(found.hits)),
            Some(found) => {
                self.unserve(location);
                (Change::Remove, Ok(Some(found)))
            }
            None => (Change::Keep, Ok(None)),
        })
    }

    /// Forgets an entry if the index still points at it, and owes nothing: for whoever frees its file (see [`crate::evict`]),
    /// or knows that it is not served again. What was forgotten.
    pub fn forget(&self, digest: Digest, location: Location) -> Option<Found> {
        let found = self.index.remove_if(digest, location)?;
        self.unserve(location);
        Some(found)
    }
}
