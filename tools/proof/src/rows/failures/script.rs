//! One run of the script with one fault.

use std::sync::Arc;
use std::time::Duration;

use esker::backend::Backend;
use esker::backend::sim::{DiskError, Effect, FaultPlan, Sim, When};

use super::EFFECTS;
use super::order::Order;
use crate::crew::Broken;
use crate::liar::Liar;
use crate::life::{Keeps, Lives, Plan};
use crate::watched::{Event, Watched};

/// Operations of the script.
const STEPS: u64 = 200;

/// Which cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Nothing is evicted.
    Roomy,
    /// Eviction is at work.
    Tight,
}

impl Shape {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Roomy, Self::Tight];

    /// As a case names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Roomy => "roomy",
            Self::Tight => "tight",
        }
    }

    fn plan(self) -> Plan {
        // Of up to three chunks: some stand in two segments, and the head may be where nothing fails.
        let plan = Plan { max_value_bytes: 12_000, ..Plan::tight() };
        match self {
            Self::Roomy => Plan { capacity_bytes: 4 << 20, keeps: Keeps::Synced, ..plan },
            Self::Tight => Plan { capacity_bytes: 400 << 10, max_value_bytes: 8_000, ..plan },
        }
    }
}

/// Which call does what.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// In which cache.
    pub shape: Shape,
    /// The how-manieth call, from 1.
    pub call: u64,
    /// Which of [`EFFECTS`].
    pub effect: usize,
    /// All calls from that one on, until the script has ended.
    pub is_lasting: bool,
}

impl Case {
    /// As `--case` takes it.
    pub fn name(self) -> String {
        let way = if self.is_lasting { "on" } else { "once" };
        format!("{} {} {} {way}", self.shape.name(), self.call, EFFECTS[self.effect].0)
    }

    fn says_full(self) -> bool {
        matches!(EFFECTS[self.effect].1, Effect::Fail(DiskError::Enospc | DiskError::Edquot))
    }

    fn fault(self) -> FaultPlan {
        let when = if self.is_lasting { When::From(self.call) } else { When::Nth(self.call) };
        FaultPlan::default().strike_any(when, EFFECTS[self.effect].1)
    }
}

/// How many calls the script makes when nothing fails.
pub fn calls(seed: u64, shape: Shape) -> Result<u64, Broken> {
    on_runtime(seed, shape, async |lives, order| {
        lives.sim.set_faults(FaultPlan::default());
        open(lives, order, false).await?;
        steps(lives).await?;
        Ok(lives.sim.counts().faultable)
    })
}

/// Runs a case. Whether the fault struck. The canary: a backend that hides failures.
pub fn run(seed: u64, case: Case, is_canary: bool) -> Result<bool, Broken> {
    on_runtime(seed, case.shape, async |lives, order| {
        lives.sim.set_faults(case.fault());
        if let Err(refused) = open(lives, order, is_canary).await {
            lives.note(format!("the open fails: {refused}"));
            lives.sim.clear_faults();
            open(lives, order, is_canary).await.map_err(|e| format!("and again though the fault is gone: {e}"))?;
        }
        lives.set_stormy(true);
        steps(lives).await?;
        let has_struck = lives.sim.counts().faults > 0;
        lives.sim.clear_faults();
        lives.note("the fault is gone");
        lives.recovers().await?;
        // A disk that says it is full is answered by eviction, which takes what it likes, now or once it can free a file.
        let has_evicted = lives.cache()?.stats().counts.evictions_tried > 0;
        if case.says_full() && has_evicted {
            lives.model.forgives();
        }
        order.broken().map_or(Ok(()), Err)?;
        lives.ask_all().await?;
        for _ in 0..2 {
            lives.look().await?;
        }
        order.forget();
        lives.close().await?;
        open(lives, order, false).await?;
        lives.ask_all().await?;
        Ok(has_struck)
    })
}

fn on_runtime<T>(
    seed: u64,
    shape: Shape,
    act: impl AsyncFnOnce(&mut Lives, &Order) -> Result<T, String>,
) -> Result<T, Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.map_err(|e| (e.to_string(), String::new()))?;
    runtime.block_on(async {
        let mut lives = Lives::new(seed, shape.plan()).await.map_err(|what| (what, String::new()))?;
        let outcome = act(&mut lives, &Order::default()).await;
        outcome.map_err(|what| (what, lives.diary.join("\n")))
    })
}

async fn open(lives: &mut Lives, order: &Order, is_canary: bool) -> Result<(), String> {
    let opened = lives.open_on(backend(&lives.sim, order, is_canary)).await;
    lives.cache = Some(opened.map_err(|e| e.to_string())?);
    Ok(())
}

fn backend(sim: &Sim, order: &Order, is_canary: bool) -> Arc<dyn Backend> {
    let order = order.clone();
    let watched = Watched { sim: sim.clone(), watcher: Arc::new(move |event: Event<'_>| order.saw(event)) };
    if is_canary { Arc::new(Liar { inner: Arc::new(watched) }) } else { Arc::new(watched) }
}

async fn steps(lives: &mut Lives) -> Result<(), String> {
    for _ in 0..STEPS {
        let step = tokio::time::timeout(Duration::from_secs(600), lives.step()).await;
        step.map_err(|_| "a step never ended".to_owned())??;
    }
    Ok(())
}
