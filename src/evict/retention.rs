//! Retention by age. Whatever is written gets a time to live that is no longer, so its segment expires as a whole. What was
//! there before may live longer: as it comes of age, a mark as of [`crate::marks`] covers it, which is set anew until nothing
//! is left that is so old. So it stays gone when the next open has another retention (P2).

use crate::error::Result;
use crate::format::purge::Selector;
use crate::log::Log;
use crate::sync::Mutex;
use crate::types::Millis;

/// A mark is set anew after this part of the retention, and no more often than each second.
const PARTS: u64 = 64;
const LEAST_STEP_MS: u64 = 1_000;

/// What was there at the open, and is to go by its age.
pub(super) struct Retention {
    max_age_ms: u64,
    /// Whatever was set before this is older than the open.
    opened: Millis,
    /// What was set before this is covered.
    covered: Mutex<Millis>,
}

impl Retention {
    /// In a cache that is opened now.
    pub(super) fn new(max_age_ms: u64, now: Millis) -> Self {
        // What was set in this very millisecond counts too.
        Self { max_age_ms, opened: now.after_ms(1), covered: Mutex::new(Millis(0)) }
    }

    /// Whether something may be left that no mark covers.
    pub(super) fn is_due_again(&self) -> bool {
        *self.covered.lock() < self.opened
    }

    /// The time before which whatever was set is to be covered now, if that is worth a mark.
    fn next(&self, now: Millis) -> Option<Millis> {
        let covered = *self.covered.lock();
        let before = Millis(now.0.saturating_sub(self.max_age_ms)).min(self.opened);
        let step_ms = if covered == Millis(0) { 1 } else { (self.max_age_ms / PARTS).max(LEAST_STEP_MS) };
        let is_worth_it = before >= covered.after_ms(step_ms) || (before == self.opened && covered < before);
        is_worth_it.then_some(before)
    }

    /// Covers what has come of age.
    ///
    /// # Errors
    /// `Closed`.
    pub(super) async fn apply(&self, log: &std::sync::Arc<Log>) -> Result<()> {
        let Some(before) = self.next(log.clock.now()) else { return Ok(()) };
        // A mark holds at once; if its record is refused, the upkeep writes it later. Who makes room does not wait for any.
        let _ = log.purge(&Selector::OlderThan(before), false).await?;
        *self.covered.lock() = before;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_set_until_all_that_was_there_at_the_open_is_covered() {
        let retention = Retention::new(640_000, Millis(1_000_000));
        let mut set = Vec::new();
        for now in (1_000_000..2_000_000).step_by(500) {
            if let Some(before) = retention.next(Millis(now)) {
                assert!(before.0 <= now - 640_000 || before.0 == 1_000_001);
                *retention.covered.lock() = before;
                set.push(before.0);
            }
        }
        assert!(set.is_sorted() && set.first() == Some(&360_000) && set.last() == Some(&1_000_001), "{set:?}");
        assert!((60..=70).contains(&set.len()), "{}", set.len());
        assert!(!retention.is_due_again());
    }

    #[test]
    fn a_clock_that_stands_or_steps_back_sets_no_mark_twice() {
        let retention = Retention::new(10, Millis(100));
        assert_eq!(retention.next(Millis(100)), Some(Millis(90)));
        *retention.covered.lock() = Millis(90);
        assert_eq!((retention.next(Millis(100)), retention.next(Millis(50))), (None, None));
        assert_eq!(retention.next(Millis(200)), Some(Millis(101)));
    }
}
