//! Runs rows and prints what came of them.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::row::{Order, Outcome, Row, Slice, Verdict};
use crate::rows;

/// How much is told of each of several failures.
const STORY_LINES: usize = 12;

/// Options of `esker-proof scoreboard`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this row; may be given several times.
    #[arg(long)]
    pub row: Vec<u32>,
    /// How much is run.
    #[arg(long, value_enum, default_value_t = Slice::Ci)]
    pub slice: Slice,
    /// Print JSON, one line a row.
    #[arg(long)]
    pub json: bool,
    /// Print the rows of a table in Markdown, as docs/reliability.md has them.
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    /// Where the dice begin. The same seed runs the same cases.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Work in a new directory below this one; default: the system's for temporary files. Most rows need none.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Only this case of a row, as a failure names it.
    #[arg(long)]
    pub case: Option<String>,
    /// Plant each row's fault: the rows must fail.
    #[arg(long)]
    pub canary: bool,
    /// Threads that share the cases; default: one for each processor.
    #[arg(long)]
    pub threads: Option<usize>,
}

/// What is printed of a row as JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    row: u32,
    what: &'a str,
    target: String,
    seconds: f64,
    seed: u64,
    slice: Slice,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

/// Runs the command. Exit code 1 if a row failed.
///
/// # Errors
/// There is no such row, or one could not be carried out.
pub fn main(args: &Args) -> Result<ExitCode> {
    let rows = chosen(&args.row)?;
    if args.case.is_some() && rows.len() != 1 {
        bail!("--case names a case of one row: give --row too");
    }
    let scratch = match &args.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
            tempfile::tempdir_in(dir)
        }
        None => tempfile::tempdir(),
    };
    let scratch = scratch.context("cannot make a directory to work in")?;
    let mut order = Order { case: args.case.clone(), canary: args.canary, ..Order::new(args.slice, args.seed) };
    order.dir = scratch.path().to_owned();
    order.threads = args.threads.unwrap_or(order.threads).max(1);
    let mut all_hold = true;
    if !args.json && !args.markdown {
        print(&heading())?;
    }
    for row in &rows {
        let begun = Instant::now();
        let outcome = row.run(&order).with_context(|| format!("row {}", row.number()))?;
        all_hold &= outcome.verdict != Verdict::Failed;
        let seconds = begun.elapsed().as_secs_f64();
        print(&match (args.json, args.markdown) {
            (true, _) => json(&**row, &order, &outcome, seconds)?,
            (_, true) => markdown(&**row, &order, &outcome, seconds),
            _ => line(&**row, &order, &outcome, seconds),
        })?;
    }
    Ok(if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(numbers: &[u32]) -> Result<Vec<Box<dyn Row>>> {
    let all = rows::all();
    if let Some(unknown) = numbers.iter().find(|n| all.iter().all(|row| row.number() != **n)) {
        let known: Vec<_> = all.iter().map(|row| row.number().to_string()).collect();
        bail!("there is no row {unknown}; there are {}", known.join(", "));
    }
    Ok(all.into_iter().filter(|row| numbers.is_empty() || numbers.contains(&row.number())).collect())
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn heading() -> String {
    format!(
        "{:>3}  {:<28}  {:<9}  {:>8}  {:>6}  {}\n{}\n",
        "row",
        "what",
        "verdict",
        "seconds",
        "seed",
        "figure (target)",
        "-".repeat(100)
    )
}

/// A row as text: printed when it has ended, so the columns have fixed widths.
fn line(row: &dyn Row, order: &Order, outcome: &Outcome, seconds: f64) -> String {
    let (number, what, seed, figure) = (row.number(), row.what(), order.seed, &outcome.figure);
    let (verdict, why) = words(&outcome.verdict);
    let target = row.target(order.slice);
    let mut text =
        format!("{number:>3}  {what:<28}  {verdict:<9}  {seconds:>8.1}  {seed:>6}  {figure}{why} ({target})\n");
    if order.canary {
        text += &format!("     planted: {}\n", row.canary());
    }
    for failure in &outcome.failures {
        text += &format!("     {}: {}\n", failure.case, failure.what);
        text += &format!("       repeat: {}\n", repeat(row, order, &failure.case));
        // Of one failure all is told, of several how each ended.
        let lines: Vec<_> = failure.story.lines().collect();
        let most = if outcome.failures.len() == 1 { usize::MAX } else { STORY_LINES };
        let left_out = lines.len().saturating_sub(most);
        if left_out > 0 {
            text += &format!("       | ({left_out} lines before)\n");
        }
        lines[left_out..].iter().for_each(|line| text += &format!("       | {line}\n"));
    }
    text
}

/// A verdict, and why a row was skipped.
fn words(verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Passed => ("passed", String::new()),
        Verdict::Failed => ("FAILED", String::new()),
        Verdict::Skipped(why) => ("skipped", format!(": {why}")),
    }
}

fn markdown(row: &dyn Row, order: &Order, outcome: &Outcome, seconds: f64) -> String {
    let (number, what, seed, figure) = (row.number(), row.what(), order.seed, &outcome.figure);
    let (verdict, why) = words(&outcome.verdict);
    format!("| {number} | {what} | {verdict} | {figure}{why} | {seconds:.0} | {seed} |\n")
}

/// The command that runs one case again.
fn repeat(row: &dyn Row, order: &Order, case: &str) -> String {
    let canary = if order.canary { " --canary" } else { "" };
    let slice = if order.slice == Slice::Full { " --slice full" } else { "" };
    let (number, seed) = (row.number(), order.seed);
    format!(
        "cargo run --release -p esker-proof -- scoreboard --row {number}{slice} --seed {seed}{canary} --case '{case}'"
    )
}

fn json(row: &dyn Row, order: &Order, outcome: &Outcome, seconds: f64) -> Result<String> {
    let (row, what, target) = (row.number(), row.what(), row.target(order.slice));
    let line = Line { row, what, target, seconds, seed: order.seed, slice: order.slice, outcome };
    Ok(serde_json::to_string(&line)? + "\n")
}
