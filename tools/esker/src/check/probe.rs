//! A fresh process that opens a directory: nothing of the filling is in its memory.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::bench::load::Entries;
use crate::child::Spawned;
use crate::machine;
use crate::store::{Figures, Plan, Store};

const SAMPLES: u64 = 1_000;

/// Options of the hidden subcommand.
#[derive(Debug, clap::Args)]
pub struct ChildArgs {
    /// A file with the question, as JSON.
    pub question: PathBuf,
}

/// What to open, and what must be in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Question {
    plan: Plan,
    count: u64,
    len_bytes: u32,
    kept: u64,
}

/// What the process found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// From calling open until it returned, in milliseconds.
    pub open_ms: f64,
    /// From calling open until an entry had answered, in milliseconds.
    pub first_answer_ms: f64,
    /// From calling open until 1,000 entries spread over all had answered one after the other, in milliseconds.
    pub samples_ms: f64,
    /// Resident memory after the open, in bytes, less what the process had before.
    pub resident_bytes: u64,
    /// What the cache says.
    pub figures: Figures,
}

/// Opens a directory in a fresh process, which must find `kept` entries, and samples them.
///
/// # Errors
/// If the cache does not open, or an entry does not answer.
pub fn probe(plan: &Plan, entries: Entries, kept: u64) -> Result<Answer> {
    let file = tempfile::NamedTempFile::new().context("no temporary file")?;
    let question = Question { plan: plan.clone(), count: entries.count, len_bytes: entries.len_bytes, kept };
    file.as_file().write_all(&serde_json::to_vec(&question)?)?;
    let mut child = Spawned::start(["probe-child".as_ref(), file.path().as_os_str()])?;
    serde_json::from_str(&child.line()?).context("the child process did not answer in JSON")
}

/// Runs the child.
///
/// # Errors
/// As [`probe`].
pub fn child_main(args: &ChildArgs) -> Result<ExitCode> {
    crate::child::end_with_parent();
    let answer = answer(&args.question)?;
    println!("{}", serde_json::to_string(&answer)?);
    Ok(ExitCode::SUCCESS)
}

fn answer(question: &Path) -> Result<Answer> {
    let question: Question = serde_json::from_reader(std::fs::File::open(question)?)?;
    let entries = Entries { count: question.count, len_bytes: question.len_bytes };
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let before = machine::resident_bytes();
        let started = Instant::now();
        let ms = || started.elapsed().as_secs_f64() * 1000.0;
        let store = Store::open(&question.plan, None).await?;
        let open_ms = ms();
        entries.get(&store, entries.spread(u64::MAX)).await?;
        let first_answer_ms = ms();
        let resident_bytes = machine::resident_bytes().saturating_sub(before);
        for draw in 0..SAMPLES {
            entries.get(&store, entries.spread(draw)).await?;
        }
        let samples_ms = ms();
        let figures = store.figures()?;
        ensure!(figures.entries == question.kept, "{} of {} entries came back", figures.entries, question.kept);
        store.close().await?;
        Ok(Answer { open_ms, first_answer_ms, samples_ms, resident_bytes, figures })
    })
}
