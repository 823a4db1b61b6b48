//! When a life ends: at a numbered operation of its disk, so that the same seed ends it at the same place.

use std::sync::Arc;

use std::sync::Mutex;

use esker::backend::Backend;
use esker::backend::sim::Sim;
use tokio::sync::Notify;

use super::model::Death;
use crate::watched::{Event, Moment, Watched};

/// What is to happen at the end.
#[derive(Debug, Default)]
struct Plan {
    /// Operations that are left; `None`: no end is planned.
    left: Option<u64>,
    death: Option<Death>,
    /// Seeds of the copies of the disk that are made right before.
    seeds: Vec<u64>,
    copies: Vec<Sim>,
}

/// The end of a life, shared with the backend that brings it about.
#[derive(Debug, Clone, Default)]
pub struct Doom {
    plan: Arc<Mutex<Plan>>,
    came: Arc<Notify>,
}

impl Doom {
    /// The disk, watched.
    pub fn backend(&self, sim: &Sim) -> Arc<dyn Backend> {
        let (this, disk) = (self.clone(), sim.clone());
        let watcher = Arc::new(move |event: Event<'_>| {
            if event.moment == Moment::Begun {
                this.pass(&disk);
            }
        });
        Arc::new(Watched { sim: sim.clone(), watcher })
    }

    /// Plans the end at this many operations from now on, and a copy of the disk for each seed.
    pub fn plan(&self, operations: u64, death: Death, seeds: Vec<u64>) {
        let plan = Plan { left: Some(operations), death: Some(death), seeds, copies: Vec::new() };
        *self.lock() = plan;
    }

    /// Until the end has come.
    pub async fn comes(&self) {
        self.came.notified().await;
    }

    /// Brings the end about if it has not come by itself. The copies of the disk as it was right before.
    pub fn now(&self, sim: &Sim) -> Vec<Sim> {
        let mut plan = self.lock();
        if plan.left.take().is_some() {
            end(&mut plan, sim);
        }
        std::mem::take(&mut plan.copies)
    }

    fn pass(&self, sim: &Sim) {
        let mut plan = self.lock();
        match &mut plan.left {
            None => {}
            Some(0) => {
                plan.left = None;
                end(&mut plan, sim);
                self.came.notify_one();
            }
            Some(left) => *left -= 1,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn end(plan: &mut Plan, sim: &Sim) {
    plan.copies = plan.seeds.iter().map(|seed| sim.fork(*seed)).collect();
    kill(sim, plan.death.unwrap_or(Death::Killed));
}

/// Ends a process or the power.
pub fn kill(sim: &Sim, death: Death) {
    match death {
        Death::PowerLoss => sim.power_loss(),
        Death::Killed | Death::Closed => sim.crash_process(),
    }
}
