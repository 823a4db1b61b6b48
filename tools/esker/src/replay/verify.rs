//! After the kill: open the directory again and read every key.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use esker::Millis;
use esker::clock::ManualClock;
use serde::{Deserialize, Serialize};

use super::model::Known;
use super::{Job, child};
use crate::store::{Kind, Store};
use crate::trace::Key;

const TASKS: usize = 8;

/// What was found after the kill.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Reopen {
    /// From calling open until it returned, in milliseconds. Of the baseline: the walk of its tree.
    pub ms: f64,
    /// Entries that the cache knows after the open.
    pub entries_kept: u64,
    /// Keys read.
    pub keys_read: u64,
    /// Of these, hits.
    pub hits: u64,
    /// Hits whose bytes were wrong.
    pub wrong_bytes: u64,
    /// Entries found of those that were being written when the kill came.
    pub late_hits: u64,
    /// The first wrong hits, for people.
    pub wrong_examples: Vec<String>,
    /// What the cache says about its recovery.
    pub recovery: serde_json::Value,
}

/// Opens the job's directory and reads every key that the replay knew.
///
/// # Errors
/// If the cache does not open, or a read fails.
pub fn reopen(job: &Job, known: Vec<Known>, clock_ms: u64) -> Result<Reopen> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let result = runtime.block_on(reopen_async(job, known, clock_ms));
    runtime.shutdown_timeout(Duration::from_secs(10));
    result
}

async fn reopen_async(job: &Job, mut known: Vec<Known>, clock_ms: u64) -> Result<Reopen> {
    let clock = Arc::new(ManualClock::new(Millis(clock_ms)));
    let started = Instant::now();
    let store = Store::open(&job.plan, Some(clock)).await.context("reopen after the kill")?;
    let mut reopen = Reopen { ms: started.elapsed().as_secs_f64() * 1000.0, ..Reopen::default() };
    reopen.entries_kept = store.entries();
    if let Store::Esker(cache, _) = &store {
        reopen.recovery = serde_json::to_value(cache.recovery_report())?;
    }
    let late_from = known.len();
    known.extend((0..job.late_entries).map(|number| {
        let newest = child::late_identity(number);
        Known { key: Key::Number(newest.object.to_le_bytes()), newest, expires_ms: u64::MAX, present: true }
    }));
    let known = Arc::new(known);
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| tokio::spawn(read_share(store.clone(), Arc::clone(&known), task, late_from, clock_ms)))
        .collect();
    for task in tasks {
        let part = task.await.context("a reading task ended badly")??;
        reopen.keys_read += part.keys_read;
        reopen.hits += part.hits;
        reopen.late_hits += part.late_hits;
        reopen.wrong_bytes += part.wrong_bytes;
        reopen.wrong_examples.extend(part.wrong_examples);
    }
    reopen.wrong_examples.truncate(10);
    if job.plan.kind == Kind::Esker {
        store.close().await?;
    }
    Ok(reopen)
}

async fn read_share(
    store: Store,
    known: Arc<Vec<Known>>,
    first: usize,
    late_from: usize,
    now_ms: u64,
) -> Result<Reopen> {
    let mut found = Reopen::default();
    for (number, entry) in known.iter().enumerate().skip(first).step_by(TASKS) {
        found.keys_read += 1;
        let Some(value) = store.get(entry.key.bytes()).await? else { continue };
        found.hits += 1;
        found.late_hits += u64::from(number >= late_from);
        if !entry.allows(&value, now_ms) {
            found.wrong_bytes += 1;
            found.wrong_examples.push(format!("{} bytes served, expected {entry:?}", value.len()));
            found.wrong_examples.truncate(5);
        }
    }
    Ok(found)
}
