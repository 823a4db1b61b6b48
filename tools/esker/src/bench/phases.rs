//! The phases of a benchmark.
//!
//! | phase | what |
//! |---|---|
//! | fill | sets of 4 KiB from 32 tasks, until all is in the kernel (flushed) |
//! | warm get | random gets of these, page cache warm, 1 and 32 tasks |
//! | cold get | random gets, page cache dropped before (names and inodes stay cached, to the baseline's favour): 1, 32 and 128 tasks |
//! | mixed | 80 % gets, 20 % sets by Zipf's law (0.99), 32 tasks |
//! | restart | clean close, page cache dropped, open, until 100 entries spread over all have answered; entries a second |
//! | large | sets, flushed, then gets of values of 10 MiB, 4 tasks |
//! | tiny | sets, flushed, then gets of values of 100 bytes, 32 tasks |

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use esker::BackendKind;
use indicatif::ProgressBar;
use serde::Serialize;

use super::load::{self, Entries, Load};
use crate::latency::Latencies;
use crate::machine;
use crate::store::{Kind, Plan, Store, WorkDir};
use crate::trace::synthetic::Zipf;
use crate::value::SplitMix;

/// How much work the phases do.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    entries: u64,
    warm_gets: u64,
    cold_gets: u64,
    large: u64,
    tiny: u64,
}

impl Sizes {
    /// 1 GiB of 4 KiB entries.
    pub fn full() -> Self {
        Self { entries: 262_144, warm_gets: 400_000, cold_gets: 40_000, large: 64, tiny: 500_000 }
    }

    /// A tenth of it.
    pub fn quick() -> Self {
        Self { entries: 26_000, warm_gets: 40_000, cold_gets: 4_000, large: 8, tiny: 50_000 }
    }
}

/// What a phase measured.
#[derive(Debug, Clone, Serialize)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// Operations done.
    pub ops: u64,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Operations a second.
    pub ops_per_s: f64,
    /// Bytes of values a second, in MB (10^6).
    pub mb_per_s: f64,
    /// CPU time of the process per operation, in microseconds.
    pub cpu_us_per_op: f64,
    /// Median latency in microseconds.
    pub p50_us: f64,
    /// 99th percentile in microseconds.
    pub p99_us: f64,
    /// 99.9th percentile in microseconds.
    pub p999_us: f64,
}

impl Phase {
    fn new(name: &str, load: &Load, len_bytes: u32) -> Self {
        let seconds = load.wall.as_secs_f64().max(1e-9);
        let (ops, q) = (load.ops, load.latencies.quantiles());
        Self {
            name: name.to_owned(),
            ops,
            seconds,
            ops_per_s: ops as f64 / seconds,
            mb_per_s: ops as f64 * f64::from(len_bytes) / seconds / 1e6,
            cpu_us_per_op: load.cpu.as_secs_f64() * 1e6 / (ops.max(1) as f64),
            p50_us: q.p50,
            p99_us: q.p99,
            p999_us: q.p999,
        }
    }
}

/// Collects phases, and says on a terminal which one runs.
struct Recorder {
    phases: Vec<Phase>,
    bar: ProgressBar,
}

impl Default for Recorder {
    fn default() -> Self {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { phases: Vec::new(), bar }
    }
}

impl Recorder {
    fn begin(&mut self, name: &str) {
        self.bar.set_message(name.to_owned());
    }

    fn end(&mut self, load: &Load, len_bytes: u32) {
        self.phases.push(Phase::new(&self.bar.message(), load, len_bytes));
    }

    fn finish(self) -> Vec<Phase> {
        self.bar.finish_and_clear();
        self.phases
    }
}

/// Runs every phase against one cache.
///
/// # Errors
/// If the cache fails, refuses, or misses an entry that it must have.
pub async fn run(work: &WorkDir, kind: Kind, backend: BackendKind, sizes: Sizes) -> Result<super::Column> {
    let dir = work.join(format!("bench-{kind:?}-{backend}"));
    let mut phases = Recorder::default();
    let name = small(&Plan { kind, ..Plan::esker(dir.join("small"), 8 << 30, backend) }, sizes, &mut phases).await?;
    let large = Entries { count: sizes.large, len_bytes: 10 << 20 };
    let plan = Plan { kind, ..Plan::esker(dir.join("large"), 4 << 30, backend) };
    fill_and_read(&plan, large, 4, ("set 10 MiB", "get 10 MiB"), &mut phases).await?;
    let tiny = Entries { count: sizes.tiny, len_bytes: 100 };
    let plan = Plan { kind, ..Plan::esker(dir.join("tiny"), 8 << 30, backend) };
    fill_and_read(&plan, tiny, 32, ("set 100 B", "get 100 B"), &mut phases).await?;
    std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    Ok(super::Column { cache: kind, backend: name, phases: phases.finish() })
}

async fn small(plan: &Plan, sizes: Sizes, phases: &mut Recorder) -> Result<String> {
    let entries = Entries { count: sizes.entries, len_bytes: 4096 };
    let store = Store::open(plan, None).await?;
    let name = store.figures()?.backend;
    phases.begin("fill, flushed, 4 KiB");
    phases.end(&fill(&store, entries, 32).await?, 4096);
    // Once through first, so that all of it is in the page cache.
    read_all(&store, entries).await?;
    for tasks in [1, 32] {
        phases.begin(&format!("warm get, {tasks} in flight"));
        phases.end(&gets(&store, entries, tasks, sizes.warm_gets, tasks).await?, 4096);
    }
    for (tasks, share) in [(1, 8), (32, 1), (128, 1)] {
        machine::drop_page_cache(&plan.dir)?;
        phases.begin(&format!("cold get, {tasks} in flight"));
        phases.end(&gets(&store, entries, tasks, sizes.cold_gets / share, 1000 + tasks).await?, 4096);
    }
    phases.begin("mixed 80/20, zipf, 32 in flight");
    phases.end(&mixed(&store, entries, sizes.warm_gets / 2).await?, 4096);
    store.close().await?;
    phases.begin("restart, cold (entries/s)");
    phases.end(&restart(plan, entries).await?, 0);
    Ok(name)
}

async fn fill_and_read(
    plan: &Plan,
    entries: Entries,
    tasks: u64,
    names: (&str, &str),
    phases: &mut Recorder,
) -> Result<()> {
    let store = Store::open(plan, None).await?;
    phases.begin(names.0);
    phases.end(&fill(&store, entries, tasks).await?, entries.len_bytes);
    phases.begin(names.1);
    phases.end(&gets(&store, entries, tasks, entries.count, 7).await?, entries.len_bytes);
    store.close().await
}

/// Sets every entry once and flushes; the flush is part of the wall time.
///
/// # Errors
/// If the cache fails or refuses.
pub async fn fill(store: &Store, entries: Entries, tasks: u64) -> Result<Load> {
    let (cpu, started) = (machine::cpu_time(), Instant::now());
    let cache = store.clone();
    let one = move |number| {
        let cache = cache.clone();
        async move { entries.set(&cache, number).await }
    };
    let load = load::run(tasks, entries.count, one).await?;
    store.flush().await?;
    Ok(Load { wall: started.elapsed(), cpu: machine::cpu_time().saturating_sub(cpu), ..load })
}

async fn read_all(store: &Store, entries: Entries) -> Result<()> {
    let store = store.clone();
    let one = move |number: u64| {
        let store = store.clone();
        async move { entries.get(&store, number).await }
    };
    load::run(32, entries.count, one).await.map(drop)
}

async fn gets(store: &Store, entries: Entries, tasks: u64, count: u64, seed: u64) -> Result<Load> {
    let store = store.clone();
    let one = move |number: u64| {
        let store = store.clone();
        async move { entries.get(&store, entries.spread(number ^ seed << 44)).await }
    };
    load::run(tasks, count, one).await
}

async fn mixed(store: &Store, entries: Entries, count: u64) -> Result<Load> {
    let zipf = Arc::new(Zipf::new(entries.count as usize, 0.99));
    let store = store.clone();
    let one = move |number: u64| {
        let (store, zipf) = (store.clone(), Arc::clone(&zipf));
        async move {
            let mut rng = SplitMix::new(number ^ 0x6d69_7865);
            let entry = zipf.sample(&mut rng) as u64;
            if rng.below(5) == 0 { entries.set(&store, entry).await } else { entries.get(&store, entry).await }
        }
    };
    load::run(32, count, one).await
}

async fn restart(plan: &Plan, entries: Entries) -> Result<Load> {
    machine::drop_page_cache(&plan.dir)?;
    let (cpu, started) = (machine::cpu_time(), Instant::now());
    let store = Store::open(plan, None).await?;
    let mut latencies = Latencies::default();
    latencies.record(started.elapsed());
    for draw in 0..100 {
        entries.get(&store, entries.spread(draw)).await.context("after the restart")?;
    }
    anyhow::ensure!(store.entries() == entries.count, "{} of {} entries came back", store.entries(), entries.count);
    let wall = started.elapsed().max(Duration::from_nanos(1));
    let load = Load { ops: entries.count, wall, cpu: machine::cpu_time().saturating_sub(cpu), latencies };
    store.close().await?;
    Ok(load)
}
