//! The fuzzer's bytes, taken from the front. Where they end there are zeros.

/// What is left of an input.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Up to `len` bytes.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A little-endian number of `N` bytes.
    pub fn number<const N: usize>(&mut self) -> u64 {
        self.take(N).iter().rev().fold(0, |all, &byte| all << 8 | u64::from(byte))
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.number::<1>() as u8
    }

    /// One of `len` places, of which there is at least one.
    pub fn index(&mut self, len: usize) -> usize {
        usize::from(self.byte()) % len.max(1)
    }

    /// A number that is often one of those at which limits stand.
    pub fn odd_number(&mut self) -> u64 {
        let shape = self.byte();
        let shift = u32::from(shape >> 2);
        match shape & 3 {
            0 => self.number::<8>(),
            1 => 1u64.checked_shl(shift).unwrap_or(u64::MAX),
            2 => 1u64.checked_shl(shift).unwrap_or(0).wrapping_sub(1),
            _ => u64::from(shift),
        }
    }
}
