//! The dice: one seeded stream of numbers (splitmix64) from which every choice of the simulated disk is drawn.

#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `n - 1`; 0 if `n` is 0. Draws only if there is a choice.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        if n < 2 { 0 } else { self.next() % n }
    }

    /// True with probability `p`. Draws only if there is a choice, so that a fault that is off changes nothing.
    pub(super) fn hits(&mut self, p: f64) -> bool {
        if p <= 0.0 {
            return false;
        }
        p >= 1.0 || ((self.next() >> 11) as f64) < p * (1u64 << 53) as f64
    }
}
