//! How values are spread, in little memory: counts by size, each size known to about 3 %.

/// Sizes that are told apart between one power of two and the next.
const STEPS: u64 = 32;

/// Counts of values by their size; 15 KiB whatever comes.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; slot(u64::MAX) + 1], count: 0, sum: 0, min: u64::MAX, max: 0 }
    }
}

/// Which count a value is in: up to 32 each its own, then 32 for each power of two.
fn slot(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let shift = value.ilog2() - STEPS.ilog2();
    (u64::from(shift + 1) * STEPS + (value >> shift) - STEPS) as usize
}

/// The largest value of a count.
fn top(slot: usize) -> u64 {
    let slot = slot as u64;
    if slot < STEPS {
        return slot;
    }
    let shift = slot / STEPS - 1;
    let lowest = (slot % STEPS + STEPS) << shift;
    lowest + ((1 << shift) - 1)
}

impl Histogram {
    /// Counts a value.
    pub fn add(&mut self, value: u64) {
        if let Some(count) = self.counts.get_mut(slot(value)) {
            *count += 1;
        }
        self.count += 1;
        self.sum += u128::from(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean; 0 of none.
    pub fn mean(&self) -> u64 {
        (self.sum / u128::from(self.count.max(1))) as u64
    }

    /// What so many of a hundred do not pass, to about 3 %; the least and the most exactly. 0 of none.
    pub fn percentile(&self, percent: u64) -> u64 {
        let rank = (u128::from(self.count) * u128::from(percent)).div_ceil(100).max(1) as u64;
        if self.count == 0 || percent == 0 {
            return if self.count == 0 { 0 } else { self.min };
        }
        let mut seen = 0;
        for (slot, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return top(slot).clamp(self.min, self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::{Histogram, slot, top};

    #[test]
    fn every_value_has_a_count_that_is_near() {
        for value in (0..5_000).chain((0..64).map(|bit| 1 << bit)).chain([u64::MAX, u64::MAX - 1]) {
            let top = top(slot(value));
            assert!(top >= value && top - value <= value / 32, "{value}: {top}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.percentile(50), histogram.mean()), (0, 0));
        (1..=1000).for_each(|value| histogram.add(value));
        assert_eq!((histogram.percentile(0), histogram.percentile(100), histogram.mean()), (1, 1000, 500));
        assert!((500..=516).contains(&histogram.percentile(50)) && (990..=1000).contains(&histogram.percentile(99)));
    }
}
