//! Time comes in through the constructor, so a test can own it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::types::Millis;

/// A wall clock. It may step back: [`SteadyClock`] is what the engine reads.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Millis;
}

/// The machine's wall clock, as of the kernel's last tick where that is quicker to read: at most 10 ms behind.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[cfg(target_os = "linux")]
    fn now(&self) -> Millis {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Millis(seconds.saturating_mul(1000) + time.tv_nsec as u64 / 1_000_000)
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Millis {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
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
        // Most calls find the time that the one before left, and need not write what all threads read.
        match self.latest.load(Ordering::Relaxed) {
            latest if latest < now => Millis(self.latest.fetch_max(now, Ordering::Relaxed).max(now)),
            latest => Millis(latest),
        }
    }

    /// Time is at least `at` from here on.
    pub fn raise(&self, at: Millis) {
        self.latest.fetch_max(at.0, Ordering::Relaxed);
    }
}
