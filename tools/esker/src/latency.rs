//! Latencies: a histogram in nanoseconds, reported in microseconds.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Latencies of one kind of operation, three significant digits, up to a minute.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "constant bounds, which hdrhistogram accepts")]
        Self(Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("constant bounds are valid"))
    }
}

impl Latencies {
    /// Counts one operation.
    pub fn record(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Takes the counts of another one in.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so every value fits.
        let _ = self.0.add(&other.0);
    }

    /// How many operations were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The quantiles that reports show.
    pub fn quantiles(&self) -> Quantiles {
        let at = |q| self.0.value_at_quantile(q) as f64 / 1_000.0;
        Quantiles { p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), max: self.0.max() as f64 / 1_000.0 }
    }
}

/// Quantiles in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Half took at most this.
    pub p50: f64,
    /// 95 % took at most this.
    pub p95: f64,
    /// 99 % took at most this.
    pub p99: f64,
    /// 99.9 % took at most this.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_microseconds() {
        let (mut all, mut slow) = (Latencies::default(), Latencies::default());
        (0..99).for_each(|_| all.record(Duration::from_micros(10)));
        slow.record(Duration::from_millis(5));
        all.merge(&slow);
        let q = all.quantiles();
        assert_eq!(all.count(), 100);
        assert!((9.9..10.1).contains(&q.p50) && (4990.0..5010.0).contains(&q.max), "{q:?}");
    }
}
