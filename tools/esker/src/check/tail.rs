//! The tail of get while segments seal, rotate and are evicted all the time, against the same load with room for all.
//!
//! The load: 8 tasks, a paced stream of sets of 16 KiB, new keys each (so a full cache evicts all the time), and four gets
//! for each set, of random keys among the newest 2,000. Both runs write the same bytes at the same pace; only the capacity
//! differs: 128 MiB, full before the watch starts, or enough for everything.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use esker::BackendKind;

use super::Figures;
use crate::bench::load::Entries;
use crate::latency::{Latencies, Quantiles};
use crate::store::{Plan, Store};
use crate::value::SplitMix;

const LEN_BYTES: u32 = 16 << 10;
const TASKS: u64 = 8;
const NEWEST: u64 = 2_000;
const GETS_PER_SET: u64 = 4;
/// Sets before the watch starts: 160 MiB, more than the small cache holds.
const FILL: u64 = 10_000;
/// Sets while the watch runs.
const SETS: u64 = 40_000;
/// Sets a second, all tasks together: about 64 MiB/s, well within a disk's reach, so that queues do not decide.
const SETS_PER_S: u64 = 4_000;

/// Runs the check.
///
/// # Errors
/// If the cache fails, or evicts what is among the newest.
pub async fn check(dir: &Path, backend: BackendKind) -> Result<Figures> {
    let (roomy, _, _) = run(&dir.join("roomy"), 2 << 30, backend).await?;
    let (full, evicted, missed) = run(&dir.join("full"), 128 << 20, backend).await?;
    let mut figures = Figures::default();
    for (name, q) in [("without eviction", roomy), ("with eviction", full)] {
        figures.tell(&format!("get p50, us, {name}"), q.p50);
        figures.tell(&format!("get p99, us, {name}"), q.p99);
        figures.tell(&format!("get p999, us, {name}"), q.p999);
    }
    figures.tell("segments evicted while measuring", evicted as f64);
    figures.exactly("newest entries missed", missed, 0);
    figures.at_most("p999 with eviction over p999 without", full.p999 / roomy.p999.max(0.001), 2.0);
    Ok(figures)
}

async fn run(dir: &Path, capacity_bytes: u64, backend: BackendKind) -> Result<(Quantiles, u64, u64)> {
    let store = Store::open(&Plan::esker(dir, capacity_bytes, backend), None).await?;
    let entries = Entries { count: u64::MAX, len_bytes: LEN_BYTES };
    for number in 0..FILL {
        entries.set(&store, number).await?;
    }
    let evicted_before = evicted(&store)?;
    let started = Instant::now();
    let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(one_task(store.clone(), entries, task, started))).collect();
    let (mut latencies, mut missed) = (Latencies::default(), 0);
    for task in tasks {
        let (part, misses) = task.await.context("a task ended badly")??;
        latencies.merge(&part);
        missed += misses;
    }
    let evictions = evicted(&store)? - evicted_before;
    if capacity_bytes < 1 << 30 {
        ensure!(evictions > 0, "nothing was evicted, so nothing was measured");
    }
    store.close().await?;
    std::fs::remove_dir_all(dir)?;
    Ok((latencies.quantiles(), evictions, missed))
}

async fn one_task(store: Store, entries: Entries, task: u64, started: Instant) -> Result<(Latencies, u64)> {
    let mut rng = SplitMix::new(task);
    let (mut latencies, mut missed) = (Latencies::default(), 0);
    for turn in 0..SETS / TASKS {
        let due = Duration::from_micros(turn * TASKS * 1_000_000 / SETS_PER_S);
        tokio::time::sleep_until((started + due).into()).await;
        let number = FILL + turn * TASKS + task;
        entries.set(&store, number).await?;
        for _ in 0..GETS_PER_SET {
            // Only what this task has set itself, or what was there before: other tasks may lag behind.
            let wanted = number - TASKS * (1 + rng.below(NEWEST / TASKS));
            let asked = Instant::now();
            let found = store.get(&entries.key(wanted)).await?;
            latencies.record(asked.elapsed());
            match found {
                Some(value) => ensure!(entries.identity(wanted).matches(&value), "entry {wanted} has wrong bytes"),
                None => missed += 1,
            }
        }
    }
    Ok((latencies, missed))
}

fn evicted(store: &Store) -> Result<u64> {
    match store {
        Store::Esker(cache, _) => Ok(cache.stats().counts.segments_evicted),
        Store::FilePerKey(..) => anyhow::bail!("only Esker has segments"),
    }
}
