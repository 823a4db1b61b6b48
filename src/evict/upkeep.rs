//! The background task that keeps a few segments free, drops expired ones, and pays owed markers.

use std::sync::Arc;
use std::time::Duration;

use super::{Evictor, policy};
use crate::error::{Error, Result};
use crate::sync::time::{self, Instant};

/// How often expired segments, owed markers and a full disk are looked at, while there are any.
const TICK: Duration = Duration::from_millis(500);

/// The pause after the first round that could free nothing. It doubles with each further one, up to [`TICK`]: a healthy
/// cache waits for a write or a sync only, and a disk that fails is not asked too often.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// What came of a round.
enum Round {
    /// Segments were freed; there may be more to do at once.
    Freed,
    /// Room is short, and nothing could be freed: the disk fails, or markers cannot be written.
    Stuck,
    /// Nothing is to be freed.
    Idle,
}

impl Evictor {
    /// Runs until the log stops.
    pub async fn run(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        let mut hoped = Instant::now();
        while !self.log.is_stopping() {
            // However busy it is: a cache under load would never grow again.
            if hoped.elapsed() >= TICK {
                self.hope_again();
                hoped = Instant::now();
            }
            match self.keep_up().await {
                Ok(Round::Freed) => pause = FIRST_PAUSE,
                Ok(Round::Stuck) => {
                    // Whoever asks: not at once again.
                    time::sleep(pause).await;
                    pause = TICK.min(2 * pause);
                }
                Ok(Round::Idle) => {
                    pause = FIRST_PAUSE;
                    self.rest().await;
                }
                Err(Error::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "eviction was interrupted");
                    self.rest().await;
                }
            }
        }
    }

    /// What the disk refused a while ago is tried again.
    fn hope_again(&self) {
        self.log.segments.allow_growth(true);
        self.unreadable.lock().clear();
    }

    async fn rest(&self) {
        let woken = self.log.upkeep.notified();
        let is_waiting = self.log.owes()
            || self.log.marks.owes()
            || self.log.is_history_hidden()
            || self.log.segments.census().available < self.low_water()
            || self.log.segments.is_growth_stopped()
            || !self.unreadable.lock().is_empty()
            || self.candidates().iter().any(|c| c.last_expiry_s != u32::MAX);
        if is_waiting {
            let _ = time::timeout(TICK, woken).await;
        } else {
            woken.await;
        }
    }

    /// One round.
    async fn keep_up(&self) -> Result<Round> {
        if self.log.owes() {
            self.log.pay_owed().await?;
        }
        self.log.write_marks().await?;
        if let Err(error) = self.log.write_cleared().await {
            tracing::warn!(%error, "cannot write the manifest; a clear is not durable yet");
        }
        let now = self.log.clock.now();
        let expired = self.candidates().iter().filter(|c| policy::is_expired(c, now)).count();
        let census = self.log.segments.census();
        let is_short = census.available < self.low_water();
        // What is rewritten must fit the segment that is kept available for it.
        let (percent, _) = self.log.config.rewrite_share(self.log.segments.segment_len_bytes());
        let most = 100 / percent.max(1);
        let missing = if is_short { (self.high_water() - census.available).min(most) as usize } else { 0 };
        let count = missing.max(expired);
        let freed = if count > 0 { self.evict(count, missing).await? } else { 0 };
        Ok(match freed {
            0 if count > 0 && census.sealed > 0 => Round::Stuck,
            0 => Round::Idle,
            _ => Round::Freed,
        })
    }

    /// Evicts until the directory is within its capacity again, after it was made smaller.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn shrink(&self) -> Result<()> {
        while self.log.segments.is_over_limit() && self.evict(1, 1).await? > 0 {}
        Ok(())
    }

    /// Fewer available segments than this, and eviction begins: one is for what eviction rewrites, one for each writer
    /// that comes next.
    fn low_water(&self) -> u64 {
        3.min(self.log.segments.limit() - 3) + self.log.free_for_pinned()
    }

    /// Eviction goes on up to this many: in a larger cache a few more, which then share a sync.
    fn high_water(&self) -> u64 {
        self.low_water() + (self.log.segments.limit() / 64).min(8)
    }
}
