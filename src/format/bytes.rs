//! Little-endian integers at fixed places of a structure.

/// The `N`-byte (1 to 8) little-endian integer at `at`; 0 where `bytes` ends before it. Every caller has checked the
/// length, or holds an array.
#[inline]
pub(super) fn uint<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    if let (Some(from), Some(to)) = (bytes.get(at..at.saturating_add(N)), word.get_mut(..N)) {
        to.copy_from_slice(from);
    }
    u64::from_le_bytes(word)
}

/// The four-byte integer at `at`.
#[inline]
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    uint::<4>(bytes, at) as u32
}

/// Writes `value` as an `N`-byte integer at `at`. A value that does not fit becomes the largest that does: it must not
/// wrap round to a small one, since a small sequence or expiry would be a different statement.
#[inline]
pub(super) fn put<const N: usize>(bytes: &mut [u8], at: usize, value: u64) {
    let most = if N < 8 { (1 << (8 * N)) - 1 } else { u64::MAX };
    let word = value.min(most).to_le_bytes();
    copy(bytes, at, word.get(..N).unwrap_or_default());
}

/// Copies `part` to `at`. The places are constants inside arrays of constant length.
#[inline]
pub(super) fn copy(bytes: &mut [u8], at: usize, part: &[u8]) {
    if let Some(to) = bytes.get_mut(at..at.saturating_add(part.len())) {
        to.copy_from_slice(part);
    }
}

/// Whether `bytes[from..to]` is there and all zero.
#[inline]
pub(super) fn is_zero(bytes: &[u8], from: usize, to: usize) -> bool {
    bytes.get(from..to).is_some_and(|part| part.iter().all(|b| *b == 0))
}

/// How many whole units of 16 bytes at the beginning are zero, in bytes.
pub fn leading_zero_units(bytes: &[u8]) -> usize {
    let (units, _) = bytes.as_chunks::<16>();
    16 * units.iter().take_while(|unit| **unit == [0; 16]).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_count_in_whole_units() {
        let count = |zeros: usize, len: usize| {
            let mut bytes = vec![1; len];
            bytes[..zeros].fill(0);
            leading_zero_units(&bytes)
        };
        assert_eq!(
            [count(0, 64), count(15, 64), count(16, 64), count(47, 64), count(64, 64), count(40, 40)],
            [0, 0, 16, 32, 64, 32]
        );
    }
}
