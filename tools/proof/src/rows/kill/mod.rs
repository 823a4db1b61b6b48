//! Row 6: `kill -9` of a process with eight writers, at a random moment; the directory is opened again and every key is
//! judged (P1, P2, P4).
//!
//! A case is a backend and a number: a chain of kills on one directory. Even numbers are roomy (nothing is ever evicted,
//! so everything acknowledged must be there), odd ones tight. The dice repeat what is written and when the kill comes; how
//! far the writers are by then is the machine's.

mod chain;

use anyhow::{Context, Result, bail};
use esker::BackendKind;

use crate::backends;
use crate::crew;
use crate::row::{Order, Outcome, Row, Slice};

pub use chain::{Tally, answers};

/// Kills of a chain.
const KILLS_A_CHAIN: u64 = 15;

/// The row.
#[derive(Debug)]
pub struct Kill;

impl Row for Kill {
    fn number(&self) -> u32 {
        6
    }

    fn what(&self) -> &'static str {
        "kill -9 under load"
    }

    fn target(&self, slice: Slice) -> String {
        format!("{} kills a backend, 0 wrong, 0 lost `Written`", kills(slice))
    }

    fn canary(&self) -> &'static str {
        "the child tells of sets that are only `Buffered`"
    }

    fn run(&self, order: &Order) -> Result<Outcome> {
        let backends = backends::available();
        let chains = kills(order.slice).div_ceil(KILLS_A_CHAIN);
        let only = order.case.as_deref().map(parse).transpose()?;
        let case = |n: u64| only.unwrap_or((backends[n as usize % backends.len()], n / backends.len() as u64));
        let cases = if only.is_some() { 1 } else { chains * backends.len() as u64 };
        let begun = std::time::Instant::now();
        let run = |n: u64, tally: &mut Tally| {
            let (backend, number) = case(n);
            chain::run(order, backend, number, KILLS_A_CHAIN, tally)
        };
        let name = |n: u64| format!("{} {}", case(n).0, case(n).1);
        let haul = crew::share(order.threads, cases, name, run, |_| false);
        let mut all = Tally::default();
        haul.tallies.iter().for_each(|tally| all.add(tally));
        let rate = all.kills as f64 / begun.elapsed().as_secs_f64();
        let figure = format!(
            "{} kills on {} backends, {} acknowledged, {} wrong, {} lost; {rate:.0} kills/s",
            all.kills,
            backends.len(),
            all.acknowledged,
            all.wrong,
            all.lost
        );
        let is_reached = all.kills >= cases * KILLS_A_CHAIN && all.acknowledged > 0;
        Ok(Outcome::judged(figure, all.named(), haul.failures, is_reached))
    }
}

fn kills(slice: Slice) -> u64 {
    match slice {
        Slice::Ci => 30,
        Slice::Full => 1_000,
    }
}

/// `uring 17`.
fn parse(case: &str) -> Result<(BackendKind, u64)> {
    let (backend, number) = case.split_once(' ').context("a case is a backend and a number: `uring 17`")?;
    let Some(backend) = backends::named(backend) else {
        bail!("backend {backend} is not in this build, or cannot run")
    };
    Ok((backend, number.parse().context("the number of a chain is missing")?))
}
