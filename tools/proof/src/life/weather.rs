//! Bad weather: for a while the disk fails, fills or stalls; then it does not, and the cache must be well again.

use std::time::Duration;

use esker::backend::sim::{DiskError, FaultPlan, OpKind, When};
use esker::{Durability, SetOptions, SetOutcome};

use super::Lives;

impl Lives {
    /// Changes the weather.
    pub(super) async fn weather(&mut self, n: u32) -> Result<(), String> {
        let calm = self.faults();
        if self.is_stormy {
            self.sim.set_faults(calm);
            self.note("calm");
            return self.recovers().await;
        }
        let often = When::Probability([0.05, 0.3, 1.0][self.dice.below(3) as usize]);
        let once = When::Nth(1 + self.dice.below(3));
        let when = if self.dice.one_in(2) { often } else { once };
        let storm = match self.dice.below(9) {
            0 | 1 => calm.fail(OpKind::Write, when, DiskError::Eio),
            2 | 3 => calm.fail(OpKind::Sync, when, DiskError::Eio),
            4 => calm.fail(OpKind::Open, when, DiskError::Eio).fail(OpKind::SyncDir, when, DiskError::Eio),
            5 => calm.fail(OpKind::Read, when, DiskError::Eio),
            6 => calm.fail(OpKind::Write, when, DiskError::Enospc).fail(OpKind::Allocate, when, DiskError::Enospc),
            7 => FaultPlan { capacity_bytes: Some(self.sim.used_bytes() + self.dice.below(100_000)), ..calm },
            _ => {
                let kind = [OpKind::Write, OpKind::Sync, OpKind::Read][self.dice.below(3) as usize];
                FaultPlan { stalled: vec![kind], ..calm }
            }
        };
        self.note(format!("storm over {n}: {:?} {:?} {:?}", storm.rules, storm.stalled, storm.capacity_bytes));
        self.sim.set_faults(storm);
        self.set_stormy(true);
        Ok(())
    }

    /// Within a few seconds of good weather the cache takes writes again, and keeps them.
    pub(crate) async fn recovers(&mut self) -> Result<(), String> {
        // What is under way may fail still.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let cache = self.cache()?;
        if cache.flush().await.is_err() {
            self.model.was_told_of_loss();
        }
        let options = SetOptions::new().durability(Durability::Synced);
        let outcome = cache.set_with("weather", "good", options).await;
        if !matches!(outcome, Ok(SetOutcome::Stored { .. })) {
            return Err(format!("the cache did not recover: {outcome:?}"));
        }
        match cache.get("weather").await {
            Ok(Some(hit)) if hit.value() == "good" => {}
            other => return Err(format!("the cache did not recover: {other:?}")),
        }
        self.set_stormy(false);
        Ok(())
    }
}
