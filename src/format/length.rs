//! Record lengths in 11 bits, and the lengths that a segment can have.
//!
//! Lengths count units of 16 bytes. Below 128 units the class is the number of units. From there on it is a floating
//! point number with a hidden one and six mantissa bits: 64 steps an octave, so rounding up adds less than 1/64.
//!
//! ```text
//! class  0..=127    units = class
//! class  128..=1344 units = (64 + class % 64) << (class / 64 - 1)
//! ```
//!
//! Class 1344 is 2^26 units: 1 GiB, the longest.

use crate::types::{BLOCK_BYTES, UNIT_BYTES};

/// The longest length that has a class, in bytes: 1 GiB.
pub const MAX_RECORD_BYTES: u64 = 1 << 30;

const EXACT_UNITS: u64 = 128;
const STEPS: u64 = 64;
const MAX_BITS: u16 = 1344;

/// A record length that fits 11 bits exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthClass(u16);

impl LengthClass {
    /// The smallest class that holds `len_bytes`; `None` beyond 1 GiB.
    #[inline]
    pub fn for_bytes(len_bytes: u64) -> Option<Self> {
        if len_bytes > MAX_RECORD_BYTES {
            return None;
        }
        let units = len_bytes.div_ceil(UNIT_BYTES);
        if units < EXACT_UNITS {
            return Some(Self(units as u16));
        }
        // 128..256 units shift by 1, and so on. A mantissa that rounds up to 128 carries into the next octave by itself.
        let shift = u64::from(units.ilog2()) - 6;
        let mantissa = units.div_ceil(1 << shift);
        Some(Self((STEPS * shift + mantissa) as u16))
    }

    /// The length, in bytes: a multiple of 16, at most 1 GiB.
    #[inline]
    pub fn len_bytes(self) -> u64 {
        let class = u64::from(self.0);
        let units = if class < EXACT_UNITS { class } else { (STEPS + class % STEPS) << (class / STEPS - 1) };
        units * UNIT_BYTES
    }

    /// The class as a number of 11 bits.
    #[inline]
    pub fn bits(self) -> u16 {
        self.0
    }

    /// The class of this number; `None` above 1344.
    #[inline]
    pub fn from_bits(bits: u16) -> Option<Self> {
        (bits <= MAX_BITS).then_some(Self(bits))
    }
}

/// Whether a segment can have this length: whole blocks, room for header and footer, at most 1 GiB.
pub(super) fn is_segment_len(len_bytes: u64) -> bool {
    (2 * BLOCK_BYTES..=MAX_RECORD_BYTES).contains(&len_bytes) && len_bytes.is_multiple_of(BLOCK_BYTES)
}

/// The length that the class bits of a location stand for, in bytes; 0 for bits that are no class.
pub fn class_bytes(bits: u16) -> u64 {
    LengthClass::from_bits(bits).map_or(0, LengthClass::len_bytes)
}
