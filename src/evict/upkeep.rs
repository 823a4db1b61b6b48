//! The background task that keeps a few segments free, drops expired ones, and pays owed markers.

use std::sync::Arc;
use std::time::Duration;

use super::retention::Retention;
use super::{Evictor, policy};
use crate::error::{Error, Result};
use crate::sync::time::{self, Instant};
use crate::types::Group;

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
            || !self.short_groups().is_empty()
            || self.log.segments.is_growth_stopped()
            || self.retention.as_ref().is_some_and(Retention::is_due_again)
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
        self.retain().await?;
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
        let mut freed = if count > 0 { self.evict(None, count, missing).await? } else { 0 };
        let mut is_stuck = count > 0 && census.sealed > 0;
        for (group, missing) in self.short_groups() {
            let missing = missing.min(most) as usize;
            freed += self.evict(Some(group), missing, missing).await?;
            is_stuck = true;
        }
        Ok(match freed {
            0 if is_stuck => Round::Stuck,
            0 => Round::Idle,
            _ => Round::Freed,
        })
    }

    /// What has come of age is not served any more, whatever its time to live.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn retain(&self) -> Result<()> {
        match &self.retention {
            Some(retention) => retention.apply(&self.log).await,
            None => Ok(()),
        }
    }

    /// Evicts until the directory is within its capacity again, with a file free for what eviction rewrites and for markers,
    /// and each group within its quota, after that was made smaller.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn shrink(&self) -> Result<()> {
        let segments = &self.log.segments;
        while (segments.is_over_limit() || segments.census().available == 0) && self.evict(None, 1, 1).await? > 0 {}
        for group in self.log.namespaces.groups() {
            let is_over = || segments.quota(group).is_some_and(|quota| segments.group_segments(group) > quota);
            while is_over() && self.evict(Some(group), 1, 1).await? > 0 {}
        }
        Ok(())
    }

    /// Fewer available segments than this, and eviction begins: one is for what eviction rewrites, one for each writer
    /// that comes next.
    fn low_water(&self) -> u64 {
        let has_groups = u64::from(self.splits.len() > 1);
        low_water(self.log.segments.limit()) + has_groups + self.log.free_for_pinned()
    }

    /// Eviction goes on up to this many: in a larger cache a few more, which then share a sync.
    pub(super) fn high_water(&self) -> u64 {
        self.low_water() + ahead(self.log.segments.limit())
    }

    /// The groups that need room below their quota, and have a segment to give up: how many they lack.
    fn short_groups(&self) -> Vec<(Group, u64)> {
        let segments = &self.log.segments;
        let limited = self.log.namespaces.groups().filter_map(|group| Some((group, segments.quota(group)?)));
        let short = limited.filter_map(|(group, quota)| {
            let room = segments.group_room(group);
            let low = low_water(quota);
            (room < low).then(|| (group, low + ahead(quota) - room))
        });
        let mut short: Vec<_> = short.collect();
        if !short.is_empty() {
            let candidates = self.candidates();
            short.retain(|(group, _)| candidates.iter().any(|c| c.group == *group));
        }
        short
    }
}

fn low_water(limit: u64) -> u64 {
    3.min(limit - 3)
}

fn ahead(limit: u64) -> u64 {
    (limit / 64).min(8)
}
