//! The built-in workload: requests as a content delivery cache sees them, from a seed.
//!
//! - 200,000 requests, 100 a second of trace time.
//! - 80 % of them go to 40,000 objects whose popularity follows Zipf's law with exponent 0.9; 16 % ask for an object
//!   once and never again (one-hit wonders); 3 % update a popular object (a set, with a new size) and 1 % delete one.
//! - Sizes are log-normal: median 8 KiB, sigma 1.2. One object in a hundred comes from a heavy tail instead (Pareto,
//!   exponent 1.1, from 64 KiB, cut at 2 MiB).
//! - One popular object in ten lives 60 to 1,800 seconds only.

use super::{Key, Op, Request};
use crate::value::SplitMix;

/// How many requests there are.
pub const REQUESTS: u64 = 200_000;
const POPULAR: usize = 40_000;
const ZIPF_EXPONENT: f64 = 0.9;
const REQUESTS_PER_S: u64 = 100;
const MEDIAN_BYTES: f64 = 8192.0;
const SIGMA: f64 = 1.2;
const TAIL_FROM_BYTES: f64 = 65_536.0;
const LARGEST_BYTES: f64 = 2_097_152.0;
const TAIL_EXPONENT: f64 = 1.1;

/// Ranks by Zipf's law: rank `r` (from 0) with a probability proportional to `1 / (r + 1)^exponent`.
#[derive(Debug, Clone)]
pub struct Zipf {
    cumulated: Vec<f64>,
}

impl Zipf {
    /// Over `count` ranks, at least one.
    pub fn new(count: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weigh = |rank: usize| {
            sum += (rank as f64).powf(-exponent);
            sum
        };
        Self { cumulated: (1..=count.max(1)).map(weigh).collect() }
    }

    /// The next rank.
    pub fn sample(&self, rng: &mut SplitMix) -> usize {
        let total = self.cumulated.last().copied().unwrap_or(0.0);
        let at = rng.next_f64() * total;
        self.cumulated.partition_point(|&sum| sum <= at).min(self.cumulated.len() - 1)
    }
}

/// The requests of the built-in workload.
pub struct Synthetic {
    seed: u64,
    rng: SplitMix,
    zipf: Zipf,
    updates: Vec<u32>,
    made: u64,
    once: u64,
}

impl Synthetic {
    /// The workload of a seed.
    pub fn new(seed: u64) -> Self {
        let zipf = Zipf::new(POPULAR, ZIPF_EXPONENT);
        Self { seed, rng: SplitMix::new(seed), zipf, updates: vec![0; POPULAR], made: 0, once: 0 }
    }

    fn size_bytes(&self, object: u64, update: u32) -> u32 {
        let mut rng = SplitMix::new(self.seed ^ object.wrapping_mul(0xD6E8_FEB8_6659_FD93) ^ u64::from(update) << 40);
        rng.next_u64();
        let bytes = if rng.below(100) == 0 {
            TAIL_FROM_BYTES * (1.0 - rng.next_f64()).powf(-1.0 / TAIL_EXPONENT)
        } else {
            // Box and Muller's way from two uniform numbers to a normal one.
            let radius = (-2.0 * (1.0 - rng.next_f64()).ln()).sqrt();
            MEDIAN_BYTES * (SIGMA * radius * (std::f64::consts::TAU * rng.next_f64()).cos()).exp()
        };
        bytes.clamp(1.0, LARGEST_BYTES) as u32
    }

    fn ttl_s(&self, object: u64) -> u32 {
        let mut rng = SplitMix::new(self.seed.rotate_left(17) ^ object);
        if rng.below(10) == 0 { 60 + rng.below(1741) as u32 } else { 0 }
    }
}

impl Iterator for Synthetic {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        if self.made == REQUESTS {
            return None;
        }
        let time_s = (self.made / REQUESTS_PER_S) as u32;
        self.made += 1;
        let kind = self.rng.below(100);
        let rank = self.zipf.sample(&mut self.rng);
        let (object, op) = match kind {
            0 => (rank as u64, Op::Delete),
            1..=3 => {
                self.updates[rank] += 1;
                (rank as u64, Op::Set)
            }
            4..=19 => {
                self.once += 1;
                (POPULAR as u64 + self.once, Op::Get)
            }
            _ => (rank as u64, Op::Get),
        };
        let popular = object < POPULAR as u64;
        let update = if popular { self.updates[rank] } else { 0 };
        Some(Request {
            time_s,
            object,
            key: Key::Number(object.to_le_bytes()),
            size_bytes: self.size_bytes(object, update),
            ttl_s: if popular { self.ttl_s(object) } else { 0 },
            op,
        })
    }
}
