//! Row 11: sixteen tasks get, set and delete the same keys at once, on each real backend, under eviction, reinsertion and
//! expiry; what they saw of each key must be possible one after the other (P1, P2). They get several keys at once, purge tags, and pin keys: what
//! is pinned must be there (V5).
//!
//! A case is a backend and a number: a cache of its own, with a small hot tier that is filled on write, on both,
//! or on read in turn; each fourth has none. The dice repeat what the
//! tasks do; how they interleave is the machine's.

pub mod field;
pub mod history;
mod worker;

use anyhow::{Context, Result, bail};
use esker::{BackendKind, MemoryFill};
use tokio::runtime::Builder;

use crate::backends;
use crate::crew::{self, Broken};
use crate::row::{Order, Outcome, Row, Slice};
use field::{Fault, Field, Plan, Tally};

/// Operations of a case, and of each of its rounds.
const CASE_OPERATIONS: u64 = 250_000;
const ROUND_OPERATIONS: u64 = 50_000;

/// The hot tier: less than what is asked for, so that its items come and go.
const HOT_BYTES: u64 = 256 << 10;
/// How it is filled, by the number of the case.
const FILLS: [MemoryFill; 3] = [MemoryFill::Write, MemoryFill::Both, MemoryFill::Read];

/// The row.
#[derive(Debug)]
pub struct Concurrency;

impl Row for Concurrency {
    fn number(&self) -> u32 {
        11
    }

    fn what(&self) -> &'static str {
        "concurrency"
    }

    fn target(&self, slice: Slice) -> String {
        format!("{} operations of 16 tasks, 0 stale, 0 wrong", operations(slice))
    }

    fn canary(&self) -> &'static str {
        "by the case: now and then a get answers what it got of the key before; eviction ignores pins; a purge is skipped"
    }

    fn run(&self, order: &Order) -> Result<Outcome> {
        let backends = backends::available();
        let only = order.case.as_deref().map(parse).transpose()?;
        let case = |n: u64| only.unwrap_or((backends[n as usize % backends.len()], n / backends.len() as u64));
        let cases = if only.is_some() { 1 } else { operations(order.slice) / CASE_OPERATIONS };
        let begun = std::time::Instant::now();
        let run = |n: u64, tally: &mut Tally| run_case(order, case(n), tally);
        let name = |n: u64| format!("{} {}", case(n).0, case(n).1);
        // The tasks of one case keep the machine busy.
        let haul = crew::share(1, cases, name, run, |_| false);
        let mut all = Tally::default();
        haul.tallies.iter().for_each(|tally| all.add(tally));
        let rate = all.operations as f64 / begun.elapsed().as_secs_f64();
        let figure = format!(
            "{} operations on {} backends, {} cases stale or wrong; {rate:.0} operations/s",
            all.operations,
            backends.len(),
            haul.failed
        );
        let is_hot = all.hot > 0 || order.case.is_some();
        let is_kept = all.purges > 0 && all.kept > 0;
        let is_reached = all.evicted > 0 && all.reinserted > 0 && all.expired > 0 && is_hot && is_kept;
        Ok(Outcome::judged(figure, all.named(), haul.failures, is_reached))
    }
}

fn operations(slice: Slice) -> u64 {
    match slice {
        Slice::Ci => 1_000_000,
        Slice::Full => 50_000_000,
    }
}

fn run_case(order: &Order, (backend, number): (BackendKind, u64), tally: &mut Tally) -> Result<(), Broken> {
    let plan = Plan {
        dir: order.dir.join(format!("concurrency-{backend}-{number}")),
        config: field::config(backend, if number % 4 == 3 { 0 } else { HOT_BYTES }, FILLS[(number % 3) as usize]),
        seed: order.seed.wrapping_mul(1_000_003) ^ number,
        step_us: 100,
        fault: order.canary.then_some(Fault::ALL[number as usize % Fault::ALL.len()]),
    };
    let dir = plan.dir.clone();
    let runtime = Builder::new_multi_thread().enable_all().build().map_err(|e| (e.to_string(), String::new()))?;
    let mut field = Field::new(plan);
    let done = runtime.block_on(async {
        field.open().await?;
        for _ in 0..CASE_OPERATIONS / ROUND_OPERATIONS {
            field.round(ROUND_OPERATIONS).await?;
        }
        field.close().await
    });
    tally.add(&field.tally);
    let _ = std::fs::remove_dir_all(dir);
    done.map_err(|what: String| {
        let (what, story) = what.split_once('\n').unwrap_or((&what, ""));
        (what.to_owned(), story.to_owned())
    })
}

/// `uring 17`.
fn parse(case: &str) -> Result<(BackendKind, u64)> {
    let (backend, number) = case.split_once(' ').context("a case is a backend and a number: `uring 17`")?;
    let Some(backend) = backends::named(backend) else {
        bail!("backend {backend} is not in this build, or cannot run")
    };
    Ok((backend, number.parse().context("the number of a case is missing")?))
}
