//! Which schedules are run, by whom, and what came of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What threads share of one scenario's schedules.
#[derive(Debug)]
struct Shared {
    next: AtomicU64,
    until: u64,
    seed: u64,
    has_failed: AtomicBool,
    ended: AtomicU64,
    steps: AtomicU64,
}

/// One thread's view of them.
#[derive(Debug, Clone)]
pub struct Cases {
    shared: Arc<Shared>,
    current: Arc<AtomicU64>,
}

impl Cases {
    /// Schedules of a scenario from `first` on, `count` of them.
    pub fn new(name: &str, seed: u64, first: u64, count: u64) -> Self {
        // Scenarios do not share their dice.
        let seed = name.bytes().fold(seed, |mixed, byte| mixed.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte));
        let shared = Shared {
            next: AtomicU64::new(first),
            until: first + count,
            seed,
            has_failed: AtomicBool::new(false),
            ended: AtomicU64::new(0),
            steps: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared), current: Arc::default() }
    }

    /// The same ones, for another thread.
    pub fn for_another(&self) -> Self {
        Self { shared: self.shared.clone(), current: Arc::default() }
    }

    /// The next one's number and the seed of its dice; `None` if there is none, or one has failed.
    pub fn next(&self) -> Option<(u64, u64)> {
        if self.shared.has_failed.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
        if number >= self.shared.until {
            return None;
        }
        self.current.store(number, Ordering::Relaxed);
        Some((number, self.shared.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number)))
    }

    /// The number of the one that runs.
    pub fn current(&self) -> u64 {
        self.current.load(Ordering::Relaxed)
    }

    /// It held.
    pub fn ended(&self) {
        self.shared.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// How many held.
    pub fn all_ended(&self) -> u64 {
        self.shared.ended.load(Ordering::Relaxed)
    }

    /// One failed: no further ones. Whether it is the first.
    pub fn failed(&self) -> bool {
        !self.shared.has_failed.swap(true, Ordering::Relaxed)
    }

    /// So many steps more.
    pub fn took(&self, steps: u64) {
        self.shared.steps.fetch_add(steps, Ordering::Relaxed);
    }

    /// Steps of all.
    pub fn all_steps(&self) -> u64 {
        self.shared.steps.load(Ordering::Relaxed)
    }
}
