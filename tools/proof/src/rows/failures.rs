//! Row 8: the n-th call fails (P1 to P4, P8).
//!
//! A script of 200 operations runs over the simulated disk, once for each call that it makes, each error that the call
//! may answer (or a short read or write), and each way: once, or from then on. The model judges every answer. Then the
//! fault goes away: the cache must take writes again, and what was synced must be there, now, after a kill, after a power
//! loss, and after a clean close. Nothing may be appended to a file behind a sync of it that failed.
//!
//! Two caches: a roomy one, where what was synced must never be missing, and a tight one, whose calls include those of
//! eviction.

mod order;
mod script;

use anyhow::{Context, Result};

use esker::backend::sim::{DiskError, Effect};

use crate::crew::{self, Broken};
use crate::row::{Order, Outcome, Row, Slice};

use script::{Case, Shape};

/// What the struck call does.
const EFFECTS: [(&str, Effect); 7] = [
    ("EIO", Effect::Fail(DiskError::Eio)),
    ("ENOSPC", Effect::Fail(DiskError::Enospc)),
    ("EDQUOT", Effect::Fail(DiskError::Edquot)),
    ("EMFILE", Effect::Fail(DiskError::Emfile)),
    ("ENOMEM", Effect::Fail(DiskError::Enomem)),
    ("EINTR", Effect::Fail(DiskError::Eintr)),
    ("short", Effect::Short),
];

const CASES_A_CALL: u64 = 2 * EFFECTS.len() as u64;

/// The row.
#[derive(Debug)]
pub struct Failures;

impl Row for Failures {
    fn number(&self) -> u32 {
        8
    }

    fn what(&self) -> &'static str {
        "failure at the n-th call"
    }

    fn target(&self, _: Slice) -> String {
        "all calls x 7 x 2: no panic, nothing synced lost, works again, no append behind a failed sync".into()
    }

    fn canary(&self) -> &'static str {
        "the backend says that a failed sync or write was done"
    }

    fn run(&self, order: &Order) -> Result<Outcome> {
        run_every(order, 1)
    }
}

/// Runs the cases of every `stride`-th call.
///
/// # Errors
/// There is no such case.
pub fn run_every(order: &Order, stride: u64) -> Result<Outcome> {
    let mut calls = Vec::new();
    for shape in Shape::ALL {
        let without =
            script::calls(order.seed, shape).map_err(|(what, _)| anyhow::anyhow!("without a fault: {what}"))?;
        calls.extend((1..=without).step_by(stride as usize).map(|call| (shape, call)));
    }
    let only = order.case.as_deref().map(parse).transpose()?;
    let case = |n: u64| {
        only.unwrap_or_else(|| {
            let (shape, call) = calls[(n / CASES_A_CALL) as usize];
            let way = n % CASES_A_CALL;
            Case { shape, call, effect: (way / 2) as usize, is_lasting: way % 2 == 1 }
        })
    };
    let count = if only.is_some() { 1 } else { calls.len() as u64 * CASES_A_CALL };
    let run = |n: u64, struck: &mut u64| -> Result<(), Broken> {
        *struck += u64::from(script::run(order.seed, case(n), order.canary)?);
        Ok(())
    };
    let haul = crew::share(order.threads, count, |n| case(n).name(), run, |_| false);
    let struck = haul.tallies.iter().sum::<u64>();
    let figure = format!(
        "{} calls, {count} cases, {struck} of them struck; {} failed, {} panics",
        calls.len(),
        haul.failed,
        haul.panics
    );
    let counts = vec![("calls".into(), calls.len() as u64), ("cases".into(), count), ("struck".into(), struck)];
    Ok(Outcome::judged(figure, counts, haul.failures, struck > 0))
}

/// `roomy 17 EIO once`.
fn parse(text: &str) -> Result<Case> {
    let words: Vec<_> = text.split(' ').collect();
    let [shape, call, effect, way] = words[..] else {
        anyhow::bail!("a case is a shape, a call, an effect and `once` or `on`: `roomy 17 EIO once`")
    };
    let shape = Shape::ALL.into_iter().find(|s| s.name() == shape).context("the shapes are roomy and tight")?;
    let effect = EFFECTS.iter().position(|(name, _)| *name == effect).context("no such effect")?;
    Ok(Case { shape, call: call.parse().context("the call is a number")?, effect, is_lasting: way == "on" })
}
