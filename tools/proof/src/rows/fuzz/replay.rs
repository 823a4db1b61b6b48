//! The corpus and seeded mutations of it, in this process.

use anyhow::{Context, Result};

use super::corpus::{self, Kept};
use super::{Target, mutate};
use crate::common::Dice;
use crate::crew;
use crate::heap;
use crate::row::{Order, Outcome, Slice};

/// How many more mutations a full run has.
const FULL_TIMES: u64 = 10;

/// One input of a target.
enum Case {
    Kept(usize),
    Mutation(u64),
}

/// Gives every target its inputs, one target after the other.
///
/// # Errors
/// The corpus cannot be read, or there is no such case.
pub fn run(order: &Order, targets: &[Target]) -> Result<Outcome> {
    let only = order.case.as_deref().map(|case| case.split_once(' ').context("a case is a target and an input"));
    let only = only.transpose()?;
    let (mut counts, mut failures) = (Vec::new(), Vec::new());
    let (mut kept_sum, mut mutation_sum, mut failed, mut most_bytes) = (0, 0, 0, 0);
    for target in targets.iter().filter(|target| only.is_none_or(|(name, _)| name == target.name)) {
        let corpus = corpus::load(target)?;
        let cases = cases(target, &corpus, order, only.map(|(_, input)| input))?;
        let name = |n: u64| match &cases[n as usize] {
            Case::Kept(n) => format!("{} {}", target.name, corpus[*n].name),
            Case::Mutation(n) => format!("{} mutation-{n}", target.name),
        };
        let run = |n: u64, most: &mut i64| {
            let before = heap::live_bytes();
            match &cases[n as usize] {
                Case::Kept(n) => target.take(&corpus[*n].bytes),
                Case::Mutation(n) => target.take(&mutate::mutation(&corpus, &mut dice(order.seed, target, *n))),
            }
            *most = (*most).max(heap::peak_bytes() - before);
            Ok(())
        };
        // One at a time, since the memory that is counted is the whole process's.
        let haul = crew::share(1, cases.len() as u64, name, run, |_| false);
        kept_sum += corpus.len();
        mutation_sum += cases.len().saturating_sub(corpus.len());
        failed += haul.failed;
        let most = haul.tallies.iter().copied().max().unwrap_or(0);
        most_bytes = most_bytes.max(most);
        counts.push((format!("{} inputs", target.name), cases.len() as u64));
        counts.push((format!("{} bytes of memory at most", target.name), most as u64));
        failures.extend(haul.failures);
    }
    let figure = format!(
        "{} targets, {kept_sum} inputs kept, {mutation_sum} mutations, at most {:.1} MiB; {failed} failed",
        targets.len(),
        most_bytes as f64 / f64::from(1 << 20),
    );
    Ok(Outcome::judged(figure, counts, failures, kept_sum > 0))
}

fn cases(target: &Target, corpus: &[Kept], order: &Order, only: Option<&str>) -> Result<Vec<Case>> {
    if let Some(input) = only {
        let case = match input.strip_prefix("mutation-") {
            Some(n) => Case::Mutation(n.parse().context("the mutation is a number")?),
            None => Case::Kept(corpus.iter().position(|kept| kept.name == input).context("no such input is kept")?),
        };
        return Ok(vec![case]);
    }
    let mutations = target.mutations * if order.slice == Slice::Full { FULL_TIMES } else { 1 };
    Ok((0..corpus.len()).map(Case::Kept).chain((0..mutations).map(Case::Mutation)).collect())
}

fn dice(seed: u64, target: &Target, n: u64) -> Dice {
    let name = target.name.bytes().fold(0, |all: u64, byte| all.wrapping_mul(31) + u64::from(byte));
    Dice::new(seed.wrapping_mul(1 << 40) ^ name << 20 ^ n)
}
