//! Row 1: a model that works, crashes and reopens over the simulated disk (P1, P2, P4, P5).
//!
//! A case is a kind of lives and a seed. A few lives of random work follow each other on one disk. Between steps, and at
//! the end of each life, at a drawn operation of the disk, copies of the disk are crashed too: by a kill or a power loss,
//! each with its own dice, one in four a second time in its recovery. After every recovery every key is judged.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

use crate::crew::{self, Broken};
use crate::life::{Kind, Plan, Tally, live};
use crate::row::{Order, Outcome, Row, Slice};

/// The row.
#[derive(Debug)]
pub struct Crashes;

impl Row for Crashes {
    fn number(&self) -> u32 {
        1
    }

    fn what(&self) -> &'static str {
        "simulated crashes"
    }

    fn target(&self, slice: Slice) -> String {
        format!("{} crash points, 0 wrong, 0 lost, 0 panics", points(slice))
    }

    fn canary(&self) -> &'static str {
        "the disk says that it has synced, and has not"
    }

    fn run(&self, order: &Order) -> Result<Outcome> {
        let wanted = if order.case.is_some() { 1 } else { points(order.slice) };
        run_points(order, wanted)
    }
}

fn points(slice: Slice) -> u64 {
    match slice {
        Slice::Ci => 20_000,
        Slice::Full => 1_000_000,
    }
}

/// Runs cases until so many crash points are judged.
///
/// # Errors
/// There is no such case.
pub fn run_points(order: &Order, wanted: u64) -> Result<Outcome> {
    let only = order.case.as_deref().map(parse).transpose()?;
    let case = |n: u64| only.unwrap_or((Kind::ALL[(n % 4) as usize], order.seed + n / 4));
    let (done, begun) = (AtomicU64::new(0), std::time::Instant::now());
    let run = |n: u64, tally: &mut Tally| -> Result<(), Broken> {
        let (kind, seed) = case(n);
        let before = tally.points;
        let lived = live(seed, Plan { lie_about_sync: order.canary, ..kind.plan() }, tally);
        done.fetch_add(tally.points - before, Ordering::Relaxed);
        lived.map(drop)
    };
    let name = |n: u64| format!("{} {}", case(n).0.name(), case(n).1);
    let cases = if only.is_some() { 1 } else { u64::MAX };
    let haul = crew::share(order.threads, cases, name, run, |_| done.load(Ordering::Relaxed) >= wanted);
    let mut all = Tally::default();
    haul.tallies.iter().for_each(|tally| all.add(tally));
    let rate = all.points as f64 / begun.elapsed().as_secs_f64();
    let figure = format!(
        "{} crash points, {} cases wrong or lost, {} panics; {rate:.0} points/s",
        all.points, haul.failed, haul.panics
    );
    let is_reached = all.points >= wanted || only.is_some();
    Ok(Outcome::judged(figure, all.named(), haul.failures, is_reached))
}

/// `tight 17`.
fn parse(case: &str) -> Result<(Kind, u64)> {
    let (kind, seed) = case.split_once(' ').context("a case is a kind and a seed: `tight 17`")?;
    let kind = Kind::ALL.into_iter().find(|k| k.name() == kind).context("the kinds are roomy, tight, warm, stormy")?;
    Ok((kind, seed.parse().context("the seed is a number")?))
}
