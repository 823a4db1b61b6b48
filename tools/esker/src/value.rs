//! The bytes of a value: a cheap function of object, version and length, so that every hit can be verified to the
//! last byte without remembering it.
//!
//! Eight random words, drawn from (object, version, length), make the first 64 bytes; block `n` adds `n` times an odd
//! constant to each. Every block of every version of every object is different, so a value that is cut, shifted,
//! mixed or of another version does not pass. Additions only: the compiler makes vector code of it.

use bytes::Bytes;

const BLOCK_WORDS: usize = 8;
const BLOCK_LEN: usize = 64;
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The splitmix64 generator: small, seeded, the same on every platform.
#[derive(Debug, Clone)]
pub struct SplitMix(u64);

impl SplitMix {
    /// A generator that starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// The next number in [0, 1).
    pub fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The next number below `limit`, which must not be 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(limit)) >> 64) as u64
    }
}

/// What identifies the bytes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The object's number.
    pub object: u64,
    /// Which of its versions.
    pub version: u32,
    /// Its length in bytes.
    pub len_bytes: u32,
}

impl Identity {
    fn words(self) -> [u64; BLOCK_WORDS] {
        let mut rng = SplitMix::new(self.object ^ 0x6573_6b65_7221);
        let mut rng = SplitMix::new(rng.next_u64() ^ (u64::from(self.version) << 32 | u64::from(self.len_bytes)));
        std::array::from_fn(|_| rng.next_u64())
    }

    fn block(words: [u64; BLOCK_WORDS], number: u64) -> [u8; BLOCK_LEN] {
        let add = number.wrapping_mul(STEP);
        let mut block = [0; BLOCK_LEN];
        for (piece, word) in block.chunks_exact_mut(8).zip(words) {
            piece.copy_from_slice(&word.wrapping_add(add).to_le_bytes());
        }
        block
    }

    /// The value.
    pub fn value(self) -> Bytes {
        let len = self.len_bytes as usize;
        let words = self.words();
        let mut out = Vec::with_capacity(len.next_multiple_of(BLOCK_LEN));
        for number in 0..len.div_ceil(BLOCK_LEN) {
            out.extend_from_slice(&Self::block(words, number as u64));
        }
        out.truncate(len);
        out.into()
    }

    /// Whether `bytes` is exactly the value.
    pub fn matches(self, bytes: &[u8]) -> bool {
        bytes.len() == self.len_bytes as usize && self.starts_with(bytes)
    }

    /// Whether the value, were it long enough, would start with `bytes`.
    pub fn starts_with(self, bytes: &[u8]) -> bool {
        let words = self.words();
        bytes.chunks(BLOCK_LEN).enumerate().all(|(number, got)| {
            let want = Self::block(words, number as u64);
            got == &want[..got.len()]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_matches_itself_and_nothing_near_it() {
        for len_bytes in [0, 1, 63, 64, 65, 1000, 4096] {
            let this = Identity { object: 7, version: 3, len_bytes };
            let value = this.value();
            assert!(this.matches(&value));
            assert_eq!(value, this.value());
            if len_bytes == 0 {
                continue;
            }
            for bit in [0, len_bytes as usize * 8 - 1] {
                let mut bad = value.to_vec();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(!this.matches(&bad));
            }
            assert!(!this.matches(&value[1..]));
            assert!(!Identity { object: 8, ..this }.matches(&value));
            assert!(!Identity { version: 4, ..this }.matches(&value));
        }
        let value = Identity { object: 7, version: 3, len_bytes: 256 }.value();
        let shifted = [&value[64..], &value[..64]].concat();
        assert!(!Identity { object: 7, version: 3, len_bytes: 256 }.matches(&shifted));
    }

    #[test]
    fn the_bytes_do_not_change_between_builds() {
        let value = Identity { object: 1, version: 1, len_bytes: 8 }.value();
        assert_eq!(value, Identity { object: 1, version: 1, len_bytes: 8 }.value());
        assert_eq!(SplitMix::new(0).next_u64(), 0xE220_A839_7B1D_CDAF, "the published first output for seed 0");
    }
}
