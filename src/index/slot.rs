//! One packed slot: 88 bits, alignment 1. It lives in memory only, so its layout may change at will.
//!
//! Bits 0..28 low hash, 28..50 offset in units, 50..61 length class, 61..63 hits, 63 older; then 16 bits of segment
//! number and 8 of high hash.

use super::{Found, Location};

/// Bits of the digest that a slot keeps; the shard and the sub-table stand for further ones.
pub(super) const HASH_BITS: u32 = LOW_HASH_BITS + 8;
const LOW_HASH_BITS: u32 = 28;
const OFFSET_SHIFT: u32 = LOW_HASH_BITS;
const OFFSET_BITS: u32 = 22;
const CLASS_SHIFT: u32 = OFFSET_SHIFT + OFFSET_BITS;
const CLASS_BITS: u32 = 11;
const HITS_SHIFT: u32 = CLASS_SHIFT + CLASS_BITS;
const HITS_BITS: u32 = 2;
const OLDER_SHIFT: u32 = HITS_SHIFT + HITS_BITS;

/// The highest count of hits that a slot keeps.
pub const MAX_HITS: u8 = mask(HITS_BITS) as u8;

const fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// Eleven bytes that say where a record is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot([u8; 11]);

impl Slot {
    pub(super) fn new(hash: u64, location: Location, older: bool, hits: u8) -> Self {
        debug_assert!(u64::from(location.offset_units) <= mask(OFFSET_BITS), "{location:?}");
        debug_assert!(u64::from(location.class) <= mask(CLASS_BITS), "{location:?}");
        let word = hash & mask(LOW_HASH_BITS)
            | (u64::from(location.offset_units) & mask(OFFSET_BITS)) << OFFSET_SHIFT
            | (u64::from(location.class) & mask(CLASS_BITS)) << CLASS_SHIFT
            | u64::from(hits.min(MAX_HITS)) << HITS_SHIFT
            | u64::from(older) << OLDER_SHIFT;
        let mut slot = Self([0; 11]);
        slot.set_word(word);
        slot.0[8..10].copy_from_slice(&location.slot.to_le_bytes());
        slot.0[10] = (hash >> LOW_HASH_BITS) as u8;
        slot
    }

    fn word(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    fn set_word(&mut self, word: u64) {
        self.0[..8].copy_from_slice(&word.to_le_bytes());
    }

    pub(super) fn set_older(&mut self) {
        self.set_word(self.word() | 1 << OLDER_SHIFT);
    }

    pub(super) fn hash(&self) -> u64 {
        self.word() & mask(LOW_HASH_BITS) | u64::from(self.0[10]) << LOW_HASH_BITS
    }

    pub(super) fn location(&self) -> Location {
        let word = self.word();
        Location {
            slot: u16::from_le_bytes([self.0[8], self.0[9]]),
            offset_units: (word >> OFFSET_SHIFT & mask(OFFSET_BITS)) as u32,
            class: (word >> CLASS_SHIFT & mask(CLASS_BITS)) as u16,
        }
    }

    pub(super) fn found(&self) -> Found {
        let word = self.word();
        Found {
            location: self.location(),
            hits: (word >> HITS_SHIFT & mask(HITS_BITS)) as u8,
            older: word >> OLDER_SHIFT & 1 == 1,
        }
    }

    /// Counts a hit, up to the most that the slot can say.
    pub(super) fn count_hit(&mut self) {
        if self.found().hits < MAX_HITS {
            self.set_word(self.word() + (1 << HITS_SHIFT));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extremes_of_every_field_keep_to_themselves() {
        assert_eq!((size_of::<Slot>(), align_of::<Slot>()), (11, 1));
        let (hash, offset_units, class) = (mask(HASH_BITS), mask(OFFSET_BITS) as u32, mask(CLASS_BITS) as u16);
        let cases = [
            (hash, 0, 0, 0, false),
            (0, offset_units, 0, 0, false),
            (0, 0, class, 0, false),
            (0, 0, 0, u16::MAX, false),
            (0, 0, 0, 0, true),
            (hash, offset_units, class, u16::MAX, true),
        ];
        for (hash, offset_units, class, segment, older) in cases {
            let location = Location { slot: segment, offset_units, class };
            let mut slot = Slot::new(hash, location, older, 0);
            for hits in [0, 1, 2, 3, 3, 3] {
                assert_eq!(Slot::new(hash, location, older, hits).found(), Found { location, hits, older });
                assert_eq!(slot.hash(), hash);
                assert_eq!(slot.found(), Found { location, hits, older });
                slot.count_hit();
            }
        }
    }
}
