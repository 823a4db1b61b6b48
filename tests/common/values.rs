//! Dice, and values that say what they are.

/// Seeded dice, apart from those of the disk.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d);
        dice.0 |= 1;
        for _ in 0..4 {
            dice.next();
        }
        dice
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 0 to `n - 1`.
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The key of this number.
pub fn key(n: u32) -> Vec<u8> {
    format!("key-{n}").into_bytes()
}

/// A value that says whose it is, which version, and how long; every byte follows from these.
pub fn value(key: u32, version: u32, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len.max(12));
    for word in [key, version, len.max(12) as u32] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    let mut dice = Dice::new(u64::from(key) << 32 | u64::from(version));
    while bytes.len() < len {
        bytes.extend_from_slice(&dice.next().to_le_bytes());
    }
    bytes.truncate(len.max(12));
    bytes
}

/// Whose value this is and which version; `None` if it is not exactly a value that was ever made.
pub fn read_value(bytes: &[u8]) -> Option<(u32, u32)> {
    let word = |n: usize| bytes.get(n * 4..n * 4 + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let (key, version, len) = (word(0)?, word(1)?, word(2)?);
    (len as usize == bytes.len() && value(key, version, bytes.len()) == bytes).then_some((key, version))
}
