//! kill -9 under writers: every entry whose `Written` set returned must be there.
//!
//! The writers run in a child process. Each acknowledged set is noted by a plain `write` to an append-only file, which the
//! kernel keeps when the process dies; a note is 16 bytes: task and number, both u64. Every fourth set overwrites an
//! earlier key, so a stale version would show.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use esker::{BackendKind, Durability};

use super::Figures;
use crate::child::Spawned;
use crate::store::{Outcome, Plan, Store};
use crate::value::{Identity, SplitMix};

const ROUNDS: u64 = 3;
const WRITERS: u64 = 8;
const NOTE_LEN: usize = 16;
/// A writer stops here, so that nothing is evicted: 8 writers, values of at most 8 KiB, a cache of 4 GiB.
const MOST_SETS: u64 = 40_000;

/// Options of the hidden subcommand.
#[derive(Debug, clap::Args)]
pub struct ChildArgs {
    /// A file with the plan, as JSON.
    pub plan: PathBuf,
    /// The file that takes the notes.
    pub notes: PathBuf,
}

/// The entry that set `number` of a task writes: its key, and the identity of its bytes.
fn entry(task: u64, number: u64) -> ([u8; 16], Identity) {
    let slot = if number % 4 == 3 { number / 8 } else { number };
    let mut key = [0; 16];
    key[..8].copy_from_slice(&task.to_le_bytes());
    key[8..].copy_from_slice(&slot.to_le_bytes());
    let len_bytes = SplitMix::new(task << 32 | number).below(8192) as u32;
    (key, Identity { object: task << 40 | slot, version: number as u32, len_bytes })
}

/// Runs the child: writes until it is killed.
///
/// # Errors
/// If the cache fails or refuses.
pub fn child_main(args: &ChildArgs) -> Result<ExitCode> {
    crate::child::end_with_parent();
    let plan: Plan = serde_json::from_reader(std::fs::File::open(&args.plan)?)?;
    let notes = Arc::new(std::fs::File::options().append(true).create(true).open(&args.notes)?);
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let store = Store::open(&plan, None).await?;
        let writers: Vec<_> =
            (0..WRITERS).map(|task| tokio::spawn(write(store.clone(), Arc::clone(&notes), task))).collect();
        println!("writing");
        for writer in writers {
            writer.await.context("a writer ended badly")??;
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        bail!("the parent did not kill this process")
    })
}

async fn write(store: Store, notes: Arc<std::fs::File>, task: u64) -> Result<()> {
    for number in 0..MOST_SETS {
        let (key, identity) = entry(task, number);
        let outcome = store.set_durably(&key, identity.value(), None, Durability::Written).await?;
        ensure!(outcome == Outcome::Stored, "set {number} of writer {task} was refused: {outcome:?}");
        let mut note = [0; NOTE_LEN];
        note[..8].copy_from_slice(&task.to_le_bytes());
        note[8..].copy_from_slice(&number.to_le_bytes());
        // One write of 16 bytes to a file opened for appending: whole or not at all.
        (&*notes).write_all(&note)?;
    }
    Ok(())
}

/// Runs the check, a few rounds with kills after different times.
///
/// # Errors
/// If a child ends early, or the cache does not open again.
pub fn check(dir: &Path, backend: BackendKind) -> Result<Figures> {
    let mut figures = Figures::default();
    let (mut acknowledged, mut lost, mut wrong, mut slowest_ms) = (0, 0, 0, 0f64);
    for round in 0..ROUNDS {
        let papers = tempfile::Builder::new().prefix("esker-kill-").tempdir().context("no temporary directory")?;
        let plan = Plan::esker(dir.join(round.to_string()), 4 << 30, backend);
        let (plan_file, notes) = (papers.path().join("plan.json"), papers.path().join("notes"));
        std::fs::create_dir_all(dir)?;
        std::fs::File::create(&plan_file)?.write_all(&serde_json::to_vec(&plan)?)?;
        let mut child = Spawned::start(["writer-child".as_ref(), plan_file.as_os_str(), notes.as_os_str()])?;
        child.line()?;
        std::thread::sleep(Duration::from_millis(300 + 350 * round));
        child.kill()?;
        let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
        let seen = runtime.block_on(verify(&plan, &std::fs::read(&notes)?))?;
        acknowledged += seen.acknowledged;
        lost += seen.lost;
        wrong += seen.wrong;
        slowest_ms = slowest_ms.max(seen.open_ms);
    }
    figures.tell("kills", ROUNDS as f64);
    figures.tell("acknowledged sets", acknowledged as f64);
    figures.tell("slowest reopen, ms", slowest_ms);
    figures.exactly("acknowledged entries lost", lost, 0);
    figures.exactly("stale or wrong entries", wrong, 0);
    Ok(figures)
}

#[derive(Debug, Default)]
struct Seen {
    acknowledged: u64,
    lost: u64,
    wrong: u64,
    open_ms: f64,
}

async fn verify(plan: &Plan, notes: &[u8]) -> Result<Seen> {
    let started = Instant::now();
    let store = Store::open(plan, None).await.context("reopen after the kill")?;
    let mut seen = Seen { open_ms: started.elapsed().as_secs_f64() * 1000.0, ..Seen::default() };
    // Of each key the newest acknowledged set; the one set in flight of each task may be there as well.
    let mut newest: HashMap<[u8; 16], (u64, u64)> = HashMap::new();
    let mut last = [None; WRITERS as usize];
    for note in notes.chunks_exact(NOTE_LEN) {
        let long = |at: usize| note[at..at + 8].iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let (task, number) = (long(0), long(8));
        ensure!(task < WRITERS, "the notes name writer {task}");
        seen.acknowledged += 1;
        last[task as usize] = Some(number);
        newest.insert(entry(task, number).0, (task, number));
    }
    ensure!(seen.acknowledged > 0, "the child was killed before its first set");
    for (key, (task, number)) in newest {
        let (_, identity) = entry(task, number);
        let in_flight = entry(task, last[task as usize].unwrap_or(0) + 1);
        match store.get(&key).await? {
            None => seen.lost += 1,
            Some(value) if identity.matches(&value) => {}
            Some(value) if in_flight.0 == key && in_flight.1.matches(&value) => {}
            Some(_) => seen.wrong += 1,
        }
    }
    store.close().await?;
    Ok(seen)
}
