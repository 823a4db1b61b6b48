//! What a row of the scoreboard is.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

/// How much is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Slice {
    /// What fits into every change's checks.
    Ci,
    /// All of it.
    Full,
}

/// What a row is asked for.
#[derive(Debug, Clone)]
pub struct Order {
    /// How much.
    pub slice: Slice,
    /// Where the dice begin.
    pub seed: u64,
    /// A directory for files; most rows need none.
    pub dir: PathBuf,
    /// Only this case, as a failure named it.
    pub case: Option<String>,
    /// Plant the row's fault, which it must catch.
    pub canary: bool,
    /// Threads that share the cases.
    pub threads: usize,
}

impl Order {
    /// All of a slice, on one thread for each processor.
    pub fn new(slice: Slice, seed: u64) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { slice, seed, dir: std::env::temp_dir(), case: None, canary: false, threads }
    }
}

/// Something that did not hold.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// The case by its name: what `--case` takes.
    pub case: String,
    /// What did not hold.
    pub what: String,
    /// What led to it.
    pub story: String,
}

/// How a row ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything held.
    Passed,
    /// Something did not.
    Failed,
    /// It cannot run here: why.
    Skipped(String),
}

/// What came of a row.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// How it ended.
    pub verdict: Verdict,
    /// What was counted, in words.
    pub figure: String,
    /// The counts by name.
    pub counts: Vec<(String, u64)>,
    /// The first of what did not hold.
    pub failures: Vec<Failure>,
}

impl Outcome {
    /// Passed if nothing failed and the target was reached.
    pub fn judged(figure: String, counts: Vec<(String, u64)>, failures: Vec<Failure>, is_reached: bool) -> Self {
        let verdict = if failures.is_empty() && is_reached { Verdict::Passed } else { Verdict::Failed };
        Self { verdict, figure, counts, failures }
    }

    /// It cannot run here.
    pub fn skipped(why: impl Into<String>) -> Self {
        let verdict = Verdict::Skipped(why.into());
        Self { verdict, figure: "-".into(), counts: Vec::new(), failures: Vec::new() }
    }
}

/// A row of the scoreboard.
pub trait Row: Sync {
    /// Its number.
    fn number(&self) -> u32;
    /// What is tried, in a few words.
    fn what(&self) -> &'static str;
    /// What must hold.
    fn target(&self, slice: Slice) -> String;
    /// The fault that it must catch, as `--canary` plants it.
    fn canary(&self) -> &'static str;
    /// Runs it.
    ///
    /// # Errors
    /// It could not be carried out, or there is no such case.
    fn run(&self, order: &Order) -> Result<Outcome>;
}
