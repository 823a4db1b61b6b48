//! The background task that keeps a few segments free, drops expired ones, and pays owed markers.

use std::sync::Arc;
use std::time::Duration;

use super::{Evictor, Reason, policy};
use crate::error::Result;

/// How often expired segments, owed markers and a full disk are looked at, while there are any.
const TICK: Duration = Duration::from_millis(500);

impl Evictor {
    /// Runs until the log stops.
    pub async fn run(self: Arc<Self>) {
        while !self.log.is_stopping() {
            match self.keep_up().await {
                Ok(true) => {}
                Ok(false) => self.rest().await,
                Err(_) => return,
            }
        }
    }

    async fn rest(&self) {
        let woken = self.log.upkeep.notified();
        let is_waiting = self.log.owes()
            || self.log.segments.is_growth_stopped()
            || self.candidates().iter().any(|c| c.last_expiry_s != u32::MAX);
        if is_waiting {
            if tokio::time::timeout(TICK, woken).await.is_err() {
                self.log.segments.allow_growth(true);
            }
        } else {
            woken.await;
        }
    }

    /// One round. Whether there may be more to do at once.
    async fn keep_up(&self) -> Result<bool> {
        if self.log.owes() {
            self.pay_markers().await?;
        }
        let now = self.log.clock.now();
        let candidates = self.candidates();
        if let Some(expired) = candidates.iter().find(|c| policy::is_expired(c, now)) {
            return self.evict(*expired, Reason::Expired).await;
        }
        let census = self.log.segments.census();
        if census.available < self.low_water() && census.sealed > 0 {
            return self.evict_one().await;
        }
        Ok(false)
    }

    /// Evicts until the directory is within its capacity again, after it was made smaller.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn shrink(&self) -> Result<()> {
        while self.log.segments.is_over_limit() && self.evict_one().await? {}
        Ok(())
    }

    /// How many segments are kept available: one for what eviction rewrites, one for each writer that comes next, and
    /// in a large cache a few more, so that bursts do not wait.
    fn low_water(&self) -> u64 {
        (self.log.segments.limit() / 32).clamp(3, 8).min(self.log.segments.limit() - 3)
    }
}
