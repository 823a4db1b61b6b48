//! Rows that are a script of their own, since they need other compiler flags, another toolchain or another machine.
//!
//! A script stands in `scripts/` of this crate. It is told what to do by its environment: `PROOF_SLICE` (`ci` or `full`),
//! `PROOF_SEED`, `PROOF_CASE` (empty: all), `PROOF_CANARY` (`1`: plant the fault), `PROOF_DIR` (an empty directory) and
//! `PROOF_THREADS`. What it prints is passed on to standard error, but for these lines of its standard output:
//!
//! ```text
//! figure: what was counted, in words
//! count: NAME NUMBER
//! failure: CASE: what did not hold
//! skipped: why it cannot run here
//! ```
//!
//! It has passed if it ends with 0, prints a figure and no failure.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::row::{Failure, Order, Outcome, Row, Slice};

/// A row that runs a script.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// The row's number.
    pub number: u32,
    /// What is tried, in a few words.
    pub what: &'static str,
    /// What must hold in the slice for CI.
    pub ci: &'static str,
    /// What must hold in the full run.
    pub full: &'static str,
    /// The fault that it must catch.
    pub canary: &'static str,
    /// The script's name in `scripts/`.
    pub name: &'static str,
}

impl Row for Script {
    fn number(&self) -> u32 {
        self.number
    }

    fn what(&self) -> &'static str {
        self.what
    }

    fn target(&self, slice: Slice) -> String {
        match slice {
            Slice::Ci => self.ci.into(),
            Slice::Full => self.full.into(),
        }
    }

    fn canary(&self) -> &'static str {
        self.canary
    }

    fn run(&self, order: &Order) -> Result<Outcome> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(self.name);
        let mut child = Command::new("bash")
            .arg(&path)
            .env("PROOF_SLICE", if order.slice == Slice::Ci { "ci" } else { "full" })
            .env("PROOF_SEED", order.seed.to_string())
            .env("PROOF_CASE", order.case.as_deref().unwrap_or(""))
            .env("PROOF_CANARY", if order.canary { "1" } else { "0" })
            .env("PROOF_DIR", &order.dir)
            .env("PROOF_THREADS", order.threads.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", path.display()))?;
        let mut said = Said::default();
        for line in BufReader::new(child.stdout.take().context("standard output is not piped")?).lines() {
            said.hear(&line?);
        }
        let status = child.wait()?;
        said.outcome(status.success()).with_context(|| format!("{} ended with {status}", self.name))
    }
}

/// What a script said so far.
#[derive(Debug, Default)]
struct Said {
    figure: Option<String>,
    counts: Vec<(String, u64)>,
    failures: Vec<Failure>,
    skipped: Option<String>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let of = |word: &str| line.strip_prefix(word).and_then(|rest| rest.strip_prefix(": "));
        if let Some(figure) = of("figure") {
            self.figure = Some(figure.into());
        } else if let Some((name, number)) = of("count").and_then(|rest| rest.rsplit_once(' ')) {
            self.counts.extend(number.parse().ok().map(|n| (name.to_owned(), n)));
        } else if let Some((case, what)) = of("failure").and_then(|rest| rest.split_once(": ")) {
            self.failures.push(Failure { case: case.into(), what: what.into(), story: String::new() });
        } else if let Some(why) = of("skipped") {
            self.skipped = Some(why.into());
        } else {
            eprintln!("{line}");
        }
    }

    fn outcome(self, has_succeeded: bool) -> Result<Outcome> {
        match (self.skipped, self.figure) {
            (Some(why), _) => Ok(Outcome::skipped(why)),
            (None, Some(figure)) => Ok(Outcome::judged(figure, self.counts, self.failures, has_succeeded)),
            (None, None) => bail!("it gave no figure"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Verdict;

    fn verdict(lines: &[&str], has_succeeded: bool) -> Option<Verdict> {
        let mut said = Said::default();
        lines.iter().for_each(|line| said.hear(line));
        said.outcome(has_succeeded).ok().map(|outcome| outcome.verdict)
    }

    #[test]
    fn canary_a_script_that_fails_or_says_nothing_has_not_passed() {
        assert_eq!(verdict(&["figure: 3 of 3", "count: all 3"], true), Some(Verdict::Passed));
        assert_eq!(verdict(&["figure: 3 of 3"], false), Some(Verdict::Failed));
        assert_eq!(verdict(&["failure: x 1: broke", "figure: 2 of 3"], true), Some(Verdict::Failed));
        assert_eq!(verdict(&["skipped: no qemu"], true), Some(Verdict::Skipped("no qemu".into())));
        assert_eq!(verdict(&["all is well"], true), None);
    }
}
