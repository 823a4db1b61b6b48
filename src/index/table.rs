//! One sub-table: a `hashbrown::HashTable` of slots whose size we steer ourselves.
//!
//! Left alone, the table doubles when it runs out of never-used buckets, even if removals have left half of them free
//! for reuse; under steady replacement it would then stay at a load between 22 % and 44 %. Here such a table is
//! rebuilt at its size instead, and halved when removals have emptied it.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::Found;
use super::slot::{HASH_BITS, Slot};

/// A full table is doubled if more than this share of what it can hold is in use, else cleaned up. The remaining
/// sixteenth pays for the next clean-up: at most 15 moves an insertion, in practice far fewer.
const GROW_AT_SIXTEENTHS: usize = 15;
/// A table is made smaller when less than this share of what it can hold is in use. Doubling leaves at least 15/32,
/// so the two do not chase each other.
const SHRINK_BELOW_EIGHTHS: usize = 3;
/// Tables of this many buckets stay as they are until they are empty.
const SMALL_BUCKETS: usize = 16;

#[derive(Default)]
pub(super) struct Table(HashTable<Slot>);

/// What hashbrown works on: it takes the bucket from the low bits and the tag from the top 7.
pub(super) fn spread(hash: u64) -> u64 {
    hash | hash << (u64::BITS - HASH_BITS)
}

fn rehash(slot: &Slot) -> u64 {
    spread(slot.hash())
}

impl Table {
    /// An empty table that so many slots fit.
    pub(super) fn with_room(slots: usize) -> Self {
        Self(HashTable::with_capacity(slots))
    }

    /// The place of this hash, while all fits: nothing is moved.
    pub(super) fn entry(&mut self, hash: u64) -> Entry<'_, Slot> {
        debug_assert!(self.0.len() < self.0.capacity(), "a table without the room that it was made with");
        self.0.entry(spread(hash), |slot| slot.hash() == hash, rehash)
    }

    pub(super) fn num_buckets(&self) -> usize {
        self.0.num_buckets()
    }

    /// Keeps the slots, each in its bucket, for which `keep` holds; then the table is as large as they need.
    pub(super) fn retain_buckets(&mut self, mut keep: impl FnMut(usize, Found) -> bool) {
        for bucket in 0..self.0.num_buckets() {
            if let Ok(entry) = self.0.get_bucket_entry(bucket)
                && !keep(bucket, entry.get().found())
            {
                entry.remove();
            }
        }
        self.0.shrink_to(0, rehash);
    }

    pub(super) fn find(&self, hash: u64) -> Option<&Slot> {
        self.0.find(spread(hash), |slot| slot.hash() == hash)
    }

    pub(super) fn find_mut(&mut self, hash: u64) -> Option<&mut Slot> {
        self.0.find_mut(spread(hash), |slot| slot.hash() == hash)
    }

    /// Adds a slot whose hash is not in the table.
    pub(super) fn insert_new(&mut self, slot: Slot) {
        if self.0.len() == self.0.capacity() {
            self.make_room();
        }
        self.0.insert_unique(rehash(&slot), slot, rehash);
    }

    /// Removes the slot with this hash if `condition` holds for it.
    pub(super) fn remove_if(&mut self, hash: u64, condition: impl FnOnce(&Slot) -> bool) -> Option<Slot> {
        let entry = self.0.find_entry(spread(hash), |slot| slot.hash() == hash).ok()?;
        if !condition(entry.get()) {
            return None;
        }
        let (slot, _) = entry.remove();
        self.give_back();
        Some(slot)
    }

    pub(super) fn retain(&mut self, keep: &mut impl FnMut(Found) -> bool) {
        self.0.retain(|slot| keep(slot.found()));
        self.give_back();
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter()
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.0.allocation_size()
    }

    /// How many slots this many buckets can hold, 7/8, as hashbrown has it.
    fn limit(&self) -> usize {
        self.0.num_buckets() / 8 * 7
    }

    fn make_room(&mut self) {
        let limit = self.limit();
        if self.0.len() * 16 > limit * GROW_AT_SIXTEENTHS {
            return self.0.reserve(1, rehash);
        }
        // Few slots in use, yet no bucket left that was never used: the same size again, without the remains.
        let mut fresh = HashTable::with_capacity(limit);
        for slot in &self.0 {
            fresh.insert_unique(rehash(slot), *slot, rehash);
        }
        self.0 = fresh;
    }

    fn give_back(&mut self) {
        let len = self.0.len();
        if len == 0 {
            self.0 = HashTable::new();
        } else if self.0.num_buckets() > SMALL_BUCKETS && len * 8 < self.limit() * SHRINK_BELOW_EIGHTHS {
            self.0.shrink_to(len + len / 8, rehash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Location;
    use super::*;

    fn slot(hash: u64) -> Slot {
        Slot::new(hash, Location { slot: 0, offset_units: (hash & 0xffff) as u32, class: 0 }, false, 0)
    }

    /// Hashes as even as those of real keys, and no more: where they lie too evenly, no table ever fills up with remains.
    fn hash(n: u32) -> u64 {
        let mut z = u64::from(n).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) & ((1 << HASH_BITS) - 1)
    }

    /// Slots that 2,048 buckets can hold.
    const LIMIT: u32 = 1_792;

    /// A table of so many slots.
    fn filled(slots: u32) -> Table {
        let mut table = Table::default();
        (0..slots).for_each(|n| table.insert_new(slot(hash(n))));
        table
    }

    /// Replaces the oldest slot, so many times; by then there are `filled` slots.
    fn replace(table: &mut Table, filled: u32, times: u32, mut look: impl FnMut(&Table)) {
        for n in filled..filled + times {
            assert!(table.remove_if(hash(n - filled), |_| true).is_some());
            table.insert_new(slot(hash(n)));
            look(table);
        }
    }

    #[test]
    fn steady_replacement_does_not_grow_a_table() {
        // The last is the most at which a slot's remains are swept rather than more room made.
        for slots in [LIMIT * 55 / 100, LIMIT * 70 / 100, LIMIT * 85 / 100, LIMIT * 15 / 16 + 1] {
            let mut table = filled(slots);
            let before = table.heap_bytes();
            replace(&mut table, slots, slots * 60, |table| assert_eq!(table.heap_bytes(), before, "{slots} slots"));
            assert!((slots * 60..slots * 61).all(|n| table.find(hash(n)) == Some(&slot(hash(n)))));
        }
    }

    /// It would be swept again and again otherwise.
    #[test]
    fn a_table_that_is_nearly_full_grows() {
        let slots = LIMIT * 15 / 16 + 3;
        let mut table = filled(slots);
        let before = table.heap_bytes();
        replace(&mut table, slots, slots * 60, |_| {});
        assert!(table.heap_bytes() > before);
    }

    #[test]
    fn memory_follows_removals_down_to_nothing() {
        let mut table = filled(100_000);
        for n in 0..100_000 {
            assert!(table.remove_if(hash(n), |_| true).is_some());
            let left = 99_999 - n as usize;
            assert!(table.heap_bytes() <= left * 37 + 256, "{} bytes for {left}", table.heap_bytes());
        }
        assert_eq!((table.len(), table.heap_bytes()), (0, 0));
    }

    #[test]
    fn a_table_shrinks_when_less_than_three_eighths_are_in_use_and_a_small_one_when_it_is_empty() {
        for (slots, shrinks_at) in [(LIMIT, LIMIT * 3 / 8 - 1), (14, 0)] {
            let mut table = filled(slots);
            let before = table.heap_bytes();
            for n in 0..slots {
                assert!(table.remove_if(hash(n), |_| true).is_some());
                let left = slots - 1 - n;
                assert_eq!(table.heap_bytes() < before, left <= shrinks_at, "{left} of {slots} left");
            }
        }
    }

    #[test]
    fn a_table_that_loses_much_at_once_keeps_room_for_an_eighth_more() {
        let mut table = filled(LIMIT);
        // Nearly all that a quarter of the buckets could hold.
        let (before, kept) = (table.heap_bytes(), LIMIT / 4 - 8);
        let mut seen = 0;
        table.retain(&mut |_| {
            seen += 1;
            seen <= kept
        });
        let after = table.heap_bytes();
        assert!((table.len() as u32, after < before) == (kept, true), "{} slots, {after} bytes", table.len());
        (LIMIT..LIMIT + kept / 8).for_each(|n| table.insert_new(slot(hash(n))));
        assert_eq!(table.heap_bytes(), after);
    }
}
