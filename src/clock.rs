//! Time comes in through the constructor, so a test can own it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::types::Millis;

/// A wall clock. It may step back: [`SteadyClock`] is what the engine reads.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Millis;
}

/// The machine's wall clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that a test moves by hand.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: Millis) -> Self {
        Self(AtomicU64::new(now.0))
    }

    /// Moves the clock, in either direction.
    pub fn set(&self, now: Millis) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    /// Moves the clock forward by `ms` milliseconds.
    pub fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::SeqCst))
    }
}

/// Holds a clock that steps back at the latest time seen, so that what has expired stays expired (P2). Recovery
/// raises it to the newest creation time on disk, so this holds across a restart too.
pub struct SteadyClock {
    inner: std::sync::Arc<dyn Clock>,
    latest: AtomicU64,
}

impl SteadyClock {
    /// Wraps `inner`.
    pub fn new(inner: std::sync::Arc<dyn Clock>) -> Self {
        Self { inner, latest: AtomicU64::new(0) }
    }

    /// The time now, never before any time returned or raised to earlier.
    pub fn now(&self) -> Millis {
        let now = self.inner.now().0;
        Millis(self.latest.fetch_max(now, Ordering::Relaxed).max(now))
    }

    /// Time is at least `at` from here on.
    pub fn raise(&self, at: Millis) {
        self.latest.fetch_max(at.0, Ordering::Relaxed);
    }
}
