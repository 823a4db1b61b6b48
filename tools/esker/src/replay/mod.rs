//! `esker replay`: requests of a trace, read-through, through a cache; then a kill, a reopen and a full verification.
//!
//! # How a run goes
//! The replay runs in a child process. When the last request is answered, the child flushes the cache, writes down
//! what it knows of every key (the [`model`]) and what it measured, starts to write further entries, and says so; the
//! parent then kills it (SIGKILL, no close), in the middle of those writes. The parent opens the directory again and
//! reads every key.
//!
//! # What counts as a wrong byte
//! The bytes of a value derive from the object, its version and its length ([`crate::value`]). Every set of a key makes a
//! new version. `wrong_bytes` counts the hits whose value was not, to the last byte, that of the version set last by this
//! replay: also a hit of a key that was deleted, whose last set was refused, or that had expired. A miss is always
//! allowed: a cache may forget. After the kill the same holds, since the flush made all versions `Written`; the entries
//! written during the kill have one version each, and are verified as well.
//!
//! # Order, time and sizes
//! Requests are dealt out to tasks by object, so the order of one key's requests holds. The trace's clock drives the
//! cache's, so times to live pass as they did in the trace. A get whose recorded size differs from what is cached is a
//! hit all the same (the cache cannot know); the new size counts from the next set on.

pub mod child;
pub mod model;
pub mod report;
pub mod run;
pub mod verify;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::child::Spawned;
use crate::size::{ByteSize, Capacity, human_bytes};
use crate::store::{BackendArg, Kind, Plan, WorkDir};
use crate::trace::{Summary, Trace};
use report::Report;

/// Options of `esker replay`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Traces: NAME.ctr.zst, or CSV (.csv, .csv.zst) with time,key,size,ttl,op. Without: a CDN-like workload.
    pub traces: Vec<PathBuf>,
    /// Print one line of JSON for each trace instead of tables.
    #[arg(long)]
    pub json: bool,
    /// Work in this directory, which must be new or empty, and keep it; default: a temporary one, removed afterwards.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Capacity: bytes (64Mi, 1G) or a share of the trace's unique bytes (10%).
    #[arg(long, default_value = "10%")]
    pub capacity: Capacity,
    /// Length of a segment; default: chosen from the capacity, and longer if the largest object needs it.
    #[arg(long)]
    pub segment_len: Option<ByteSize>,
    /// Memory for the hot tier.
    #[arg(long, default_value = "0")]
    pub memory: ByteSize,
    /// The way to the disk.
    #[arg(long, value_enum, default_value = "auto")]
    pub backend: BackendArg,
    /// How many tasks send requests.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub concurrency: u16,
    /// Run the same requests through this as well, and show both side by side.
    #[arg(long, value_parser = ["file-per-key"])]
    pub against: Option<String>,
    /// Stop after so many requests.
    #[arg(long)]
    pub requests: Option<u64>,
    /// Seed of the built-in workload.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Everything a child needs to know to replay a trace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The cache.
    pub plan: Plan,
    /// The requests.
    pub trace: Trace,
    /// At most so many of them.
    pub limit: Option<u64>,
    /// How many there will be, for the progress bar.
    pub requests: u64,
    /// How many tasks send them.
    pub concurrency: u16,
    /// How many further entries may be written while the kill comes.
    pub late_entries: u64,
}

/// Length of the values written while the kill comes.
pub const LATE_LEN_BYTES: u32 = 4096;
/// Objects from here on are those written while the kill comes.
pub const LATE_OBJECT: u64 = 1 << 63;

/// Runs the command. Exit code 1 if a wrong byte was read.
///
/// # Errors
/// Bad options, an unreadable trace, a cache that does not open.
pub fn main(args: &Args) -> Result<ExitCode> {
    let traces: Vec<Trace> = match args.traces.as_slice() {
        [] => vec![Trace::Synthetic { seed: args.seed }],
        files => files.iter().cloned().map(Trace::File).collect(),
    };
    let work = WorkDir::new(args.dir.as_deref())?;
    let alone = traces.len() == 1 && args.against.is_none();
    let mut wrong = 0;
    for (number, trace) in traces.iter().enumerate() {
        let dir =
            if alone && !work.is_temporary() { work.path().to_owned() } else { work.join(format!("{number}-esker")) };
        let against = args.against.as_ref().map(|_| work.join(format!("{number}-file-per-key")));
        let report = replay_trace(args, trace, &dir, against.as_deref())
            .with_context(|| format!("replay of {}", trace.name()))?;
        wrong += report.all_wrong_bytes();
        let text = if args.json { serde_json::to_string(&report)? + "\n" } else { report.render() };
        std::io::stdout().write_all(text.as_bytes())?;
        if work.is_temporary() {
            std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        }
    }
    Ok(if wrong > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn replay_trace(args: &Args, trace: &Trace, dir: &Path, against: Option<&Path>) -> Result<Report> {
    let summary = trace.summary(args.requests)?;
    let (job, notes) = plan_job(args, trace, summary, dir);
    let mut report = run_job(&job, summary, notes)?;
    if let Some(dir) = against {
        let plan = Plan { kind: Kind::FilePerKey, dir: dir.to_owned(), ..job.plan.clone() };
        report.against = Some(Box::new(run_job(&Job { plan, ..job }, summary, Vec::new())?));
        std::fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(report)
}

/// Settles capacity and segment length for a trace; says what had to be changed.
fn plan_job(args: &Args, trace: &Trace, summary: Summary, dir: &Path) -> (Job, Vec<String>) {
    let mut notes = Vec::new();
    let mut plan = Plan {
        kind: Kind::Esker,
        dir: dir.to_owned(),
        capacity_bytes: args.capacity.bytes_of(summary.unique_bytes),
        segment_len_bytes: args.segment_len.map(|len| len.0),
        memory_bytes: args.memory.0,
        backend: args.backend.into(),
    };
    let least = plan.least_capacity_bytes();
    if plan.capacity_bytes < least && matches!(args.capacity, Capacity::Share(_)) {
        notes.push(format!(
            "capacity raised from {} to {}, the smallest that works with this segment length",
            human_bytes(plan.capacity_bytes as f64),
            human_bytes(least as f64)
        ));
        plan.capacity_bytes = least;
    }
    if plan.segment_len_bytes.is_none() {
        let chosen = plan.config().chosen_segment_len_bytes();
        let wanted = segment_len_for(summary.largest_bytes, plan.capacity_bytes).max(chosen);
        let longer = Plan { segment_len_bytes: Some(wanted), ..plan.clone() };
        if wanted > chosen && longer.config().validate().is_ok() {
            notes.push(format!(
                "segments of {} instead of {}, since the largest object has {}",
                human_bytes(wanted as f64),
                human_bytes(chosen as f64),
                human_bytes(f64::from(summary.largest_bytes))
            ));
            plan = longer;
        }
    }
    let late_entries = (plan.capacity_bytes / 20 / u64::from(LATE_LEN_BYTES)).clamp(8, 20_000);
    let concurrency = args.concurrency;
    let trace = trace.clone();
    (Job { plan, trace, limit: args.requests, requests: summary.requests, concurrency, late_entries }, notes)
}

/// The segment that takes the largest object with room to spare, but no more than a sixteenth of the capacity: fewer
/// segments cost more hits than a few large objects bring.
fn segment_len_for(largest_bytes: u32, capacity_bytes: u64) -> u64 {
    let needed = (u64::from(largest_bytes) + u64::from(largest_bytes) / 8 + (32 << 10)).next_power_of_two();
    let share = (capacity_bytes / 16).max(1);
    needed.min(1 << (63 - share.leading_zeros()))
}

/// Replays in a child, kills it, reopens and verifies.
fn run_job(job: &Job, summary: Summary, notes: Vec<String>) -> Result<Report> {
    let papers = tempfile::Builder::new().prefix("esker-replay-").tempdir().context("no temporary directory")?;
    let job_file = papers.path().join("job.json");
    std::fs::File::create(&job_file)?.write_all(&serde_json::to_vec(job)?)?;
    let mut child = Spawned::start(["replay-child".as_ref(), papers.path().as_os_str()])?;
    let ready = child.line()?;
    anyhow::ensure!(ready == child::READY, "the child process said `{ready}`");
    child.kill()?;
    let tally: run::Measured = serde_json::from_reader(std::fs::File::open(papers.path().join(child::MEASURED_FILE))?)?;
    let known = model::load(&papers.path().join(child::MODEL_FILE))?;
    let reopen = verify::reopen(job, known, tally.clock_ms)?;
    Ok(Report::new(job, summary, tally, reopen, notes))
}
