//! Row 7: `kill -9` of a process with direct io_uring writes in flight on a slow disk; the successor opens at once, and
//! nothing of the dead writer appears after its recovery returned (P2, trap 7).
//!
//! A case is a number: a child is killed in a directory of its own, anew until it had writes in flight. A control group
//! slows the disk down for the child alone. After each reopen every key is judged and every file is noted; when all that was
//! in flight would have landed, the files must still be the same. Then the successor writes over all keys and goes without
//! a close, and the next open is judged too.

mod successor;
mod throttle;
mod unlocked;

use anyhow::{Context, Result};
use esker::BackendKind;

use crate::backends;
use crate::crew;
use crate::row::{Order, Outcome, Row, Slice};
use successor::Tally;
use throttle::Throttle;

/// What the child's disk writes in a second.
const WRITE_BYTES_A_SECOND: u64 = 4 << 20;

/// The row.
#[derive(Debug)]
pub struct Landing;

impl Row for Landing {
    fn number(&self) -> u32 {
        7
    }

    fn what(&self) -> &'static str {
        "kill -9, writes in flight"
    }

    fn target(&self, slice: Slice) -> String {
        format!(
            "{} kills with writes in flight, nothing of the dead writer appears after recovery returned",
            kills(slice)
        )
    }

    fn canary(&self) -> &'static str {
        "the successor does not wait for locks"
    }

    fn run(&self, order: &Order) -> Result<Outcome> {
        if !backends::available().contains(&BackendKind::Uring) {
            return Ok(Outcome::skipped("no io_uring in this build, or on this kernel"));
        }
        if let Err(error) = Throttle::new(&order.dir, &group(0), WRITE_BYTES_A_SECOND) {
            return Ok(Outcome::skipped(format!("the disk cannot be slowed down here (root is needed): {error:#}")));
        }
        let only: Option<u64> =
            order.case.as_deref().map(str::parse).transpose().context("a case is a number: `17`")?;
        let cases = if only.is_some() { 1 } else { kills(order.slice) };
        let case = |n: u64| only.unwrap_or(n);
        let begun = std::time::Instant::now();
        let run = |n: u64, tally: &mut Tally| successor::run(order, case(n), tally);
        let haul = crew::share(order.threads, cases, |n| case(n).to_string(), run, |_| false);
        let mut all = Tally::default();
        haul.tallies.iter().for_each(|tally| all.add(tally));
        let rate = all.kills as f64 / begun.elapsed().as_secs_f64();
        let figure = format!(
            "{} kills, {} of them with writes in flight, {} cases failed; {rate:.2} kills/s",
            all.kills, all.waited, haul.failed
        );
        Ok(Outcome::judged(figure, all.named(), haul.failures, all.waited >= cases))
    }
}

fn kills(slice: Slice) -> u64 {
    match slice {
        Slice::Ci => 3,
        Slice::Full => 100,
    }
}

/// The name of a case's control group.
fn group(number: u64) -> String {
    format!("esker-proof-{}-{number}", std::process::id())
}
