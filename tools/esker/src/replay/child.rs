//! The process that is killed: replays, writes down what it knows, then goes on writing until the kill.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use esker::Millis;
use esker::clock::ManualClock;

use super::{Job, LATE_LEN_BYTES, LATE_OBJECT, model, run};
use crate::store::Store;
use crate::value::Identity;

/// The line that says: all is written down, the kill may come.
pub const READY: &str = "ready";
/// What was measured, below the papers' directory.
pub const MEASURED_FILE: &str = "measured.json";
/// What is known of every key, below the papers' directory.
pub const MODEL_FILE: &str = "model.bin";
/// A child that nobody kills ends after this long.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Options of the hidden subcommand.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory with `job.json`.
    pub papers: PathBuf,
}

/// Runs the child. It does not return: it is killed.
///
/// # Errors
/// As [`run::run`]; or if nobody kills it.
pub fn main(args: &Args) -> Result<ExitCode> {
    crate::child::end_with_parent();
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(replay(&args.papers))?;
    bail!("the parent did not kill this process")
}

async fn replay(papers: &Path) -> Result<()> {
    let job: Job = serde_json::from_reader(std::fs::File::open(papers.join("job.json"))?)?;
    let clock = Arc::new(ManualClock::new(Millis(run::CLOCK_START_MS)));
    let store = Store::open(&job.plan, Some(clock.clone())).await?;
    let (measured, known) = run::run(&job, &store, &clock).await?;
    model::save(&papers.join(MODEL_FILE), known.iter())?;
    std::fs::File::create(papers.join(MEASURED_FILE))?.write_all(&serde_json::to_vec(&measured)?)?;
    drop(known);
    let late = tokio::spawn(write_on(store, job.late_entries));
    println!("{READY}");
    late.await.context("the last writes ended badly")??;
    tokio::time::sleep(LONGEST_WAIT).await;
    Ok(())
}

/// Writes entries that the trace does not have, so that the kill meets writes in flight.
async fn write_on(store: Store, count: u64) -> Result<()> {
    for number in 0..count {
        let late = late_identity(number);
        store.set(&late.object.to_le_bytes(), late.value(), None).await?;
    }
    Ok(())
}

/// The entry number `number` of those written while the kill comes.
pub fn late_identity(number: u64) -> Identity {
    Identity { object: LATE_OBJECT | number, version: 1, len_bytes: LATE_LEN_BYTES }
}
