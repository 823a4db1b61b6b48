//! Row 15: a cache at work for long, opened again and again, while its clock goes through a day: memory and descriptors
//! stay flat, the disk stays within the capacity, and nothing is wrong (P1, P2, P5).
//!
//! A case is a backend. The work and the judge are those of row 11; what was seen is judged across reopens.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use esker::{BackendKind, MemoryFill};
use tokio::runtime::Builder;

use super::concurrency::field::{self, Field, Plan, Tally};
use crate::backends;
use crate::common::heap;
use crate::crew;
use crate::row::{Order, Outcome, Row, Slice};
use crate::usage;

/// Reopens of each backend's cache, and the rounds between two.
const LIVES: u64 = 20;
const ROUNDS_A_LIFE: u64 = 5;
const DAY_US: u64 = 86_400_000_000;
/// What is allocated may grow by this much after the first lives: what the harness itself notes.
const HEAP_SLACK_BYTES: u64 = 1 << 20;
/// Resident memory may by this much: what the allocator keeps of what the harness notes within a life, in each thread's arena.
const SLACK_BYTES: u64 = 64 << 20;
/// Lives in which all that is allocated once is allocated.
const WARM_LIVES: usize = 4;
const SAMPLE_EVERY: Duration = Duration::from_millis(5);
/// What the canary leaks in each life.
const LEAK_BYTES: usize = 4 << 20;

/// The row.
#[derive(Debug)]
pub struct Soak;

/// After each life.
#[derive(Debug, Default)]
struct Marks {
    resident: Vec<u64>,
    heap: Vec<u64>,
    descriptors: Vec<u64>,
    peak_disk: u64,
    capacity: u64,
    clock_ms: u64,
    tally: Tally,
}

impl Row for Soak {
    fn number(&self) -> u32 {
        15
    }

    fn what(&self) -> &'static str {
        "soak"
    }

    fn target(&self, slice: Slice) -> String {
        format!("{} operations, a day, memory and descriptors flat, disk within capacity, 0 wrong", operations(slice))
    }

    fn canary(&self) -> &'static str {
        "each life leaks a descriptor and 4 MiB"
    }

    fn run(&self, order: &Order) -> Result<Outcome> {
        let all = backends::available();
        let chosen: Vec<_> = match order.case.as_deref() {
            None => all.clone(),
            Some(name) => vec![backends::named(name).context("a case is a backend: `uring`")?],
        };
        let each = operations(order.slice) / all.len() as u64;
        let begun = std::time::Instant::now();
        let run = |n: u64, marks: &mut Vec<Marks>| {
            let mut one = Marks::default();
            let done = live(order, chosen[n as usize], each, &mut one);
            let story =
                format!("resident: {:?}\nheap: {:?}\ndescriptors: {:?}", one.resident, one.heap, one.descriptors);
            marks.push(one);
            done.map_err(|what| (what, story))
        };
        let name = |n: u64| chosen[n as usize].to_string();
        // One after the other: memory and descriptors are the process's.
        let haul = crew::share(1, chosen.len() as u64, name, run, |_| false);
        let marks: Vec<Marks> = haul.tallies.into_iter().flatten().collect();
        let mut tally = Tally::default();
        marks.iter().for_each(|m| tally.add(&m.tally));
        let most = |of: fn(&Marks) -> u64| marks.iter().map(of).max().unwrap_or(0);
        let mut counts = tally.named();
        counts.push(("reopens".into(), marks.iter().map(|m| m.resident.len() as u64).sum()));
        counts.push(("memory after the first lives, KiB".into(), most(|m| warm(&m.resident)) >> 10));
        counts.push(("memory at most afterwards, KiB".into(), most(|m| late(&m.resident)) >> 10));
        counts.push(("heap after the first lives, KiB".into(), most(|m| warm(&m.heap)) >> 10));
        counts.push(("heap in the last lives, KiB".into(), most(|m| last(&m.heap)) >> 10));
        counts.push(("descriptors after the first lives".into(), most(|m| warm(&m.descriptors))));
        counts.push(("descriptors in the last lives".into(), most(|m| last(&m.descriptors))));
        counts.push(("disk at most, KiB".into(), most(|m| m.peak_disk) >> 10));
        counts.push(("capacity, KiB".into(), most(|m| m.capacity) >> 10));
        counts.push(("clock, minutes".into(), most(|m| m.clock_ms) / 60_000));
        let rate = tally.operations as f64 / begun.elapsed().as_secs_f64();
        let figure = format!(
            "{} operations, heap {} -> {} KiB, resident {} -> {} MiB, descriptors {} -> {}, disk {} of {} KiB; {rate:.0} \
             operations/s",
            tally.operations,
            most(|m| warm(&m.heap)) >> 10,
            most(|m| last(&m.heap)) >> 10,
            most(|m| warm(&m.resident)) >> 20,
            most(|m| late(&m.resident)) >> 20,
            most(|m| warm(&m.descriptors)),
            most(|m| last(&m.descriptors)),
            most(|m| m.peak_disk) >> 10,
            most(|m| m.capacity) >> 10,
        );
        let is_reached = tally.evicted > 0 && tally.expired > 0;
        Ok(Outcome::judged(figure, counts, haul.failures, is_reached))
    }
}

fn operations(slice: Slice) -> u64 {
    match slice {
        Slice::Ci => 500_000,
        Slice::Full => 50_000_000,
    }
}

fn warm(marks: &[u64]) -> u64 {
    marks.iter().take(WARM_LIVES).max().copied().unwrap_or(0)
}

fn late(marks: &[u64]) -> u64 {
    marks.iter().skip(WARM_LIVES).max().copied().unwrap_or(0)
}

/// A ring's thread may end a moment after its cache, so that one life alone shows nothing; what leaks stays in all.
fn last(marks: &[u64]) -> u64 {
    marks.iter().rev().take(WARM_LIVES).min().copied().unwrap_or(0)
}

fn live(order: &Order, backend: BackendKind, operations: u64, marks: &mut Marks) -> Result<(), String> {
    let plan = Plan {
        dir: order.dir.join(format!("soak-{backend}")),
        config: field::config(backend, 1 << 20, MemoryFill::Both),
        seed: order.seed,
        step_us: DAY_US / operations,
        fault: None,
    };
    let dir = plan.dir.clone();
    marks.capacity = plan.config.capacity_bytes;
    let mut leaks = Vec::new();
    let mut field = Field::new(plan);
    let done = (0..LIVES).try_for_each(|life| {
        one_life(&mut field, &dir, operations / LIVES, marks).map_err(|what| format!("life {life}: {what}"))?;
        if order.canary {
            leaks.push((std::fs::File::open(&dir).map_err(|e| e.to_string())?, vec![1u8; LEAK_BYTES]));
        }
        marks.heap.push(heap::live_bytes().max(0) as u64);
        marks.resident.push(usage::resident_bytes().map_err(|e| e.to_string())?);
        marks.descriptors.push(usage::descriptors().map_err(|e| e.to_string())?);
        Ok(())
    });
    marks.tally = field.tally.clone();
    marks.clock_ms = field.clock_ms();
    let _ = std::fs::remove_dir_all(dir);
    done.and_then(|()| judge(marks))
}

/// A life: a runtime of its own, so that what remains after it is what leaks.
fn one_life(field: &mut Field, dir: &Path, operations: u64, marks: &mut Marks) -> Result<(), String> {
    let runtime = Builder::new_multi_thread().enable_all().build().map_err(|e| e.to_string())?;
    let (is_over, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let lived = runtime.block_on(async {
        field.open().await?;
        let sampler = tokio::task::spawn_blocking({
            let (is_over, peak, dir) = (is_over.clone(), peak.clone(), dir.to_owned());
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    peak.fetch_max(usage::directory_bytes(&dir).unwrap_or(u64::MAX), Ordering::Relaxed);
                    std::thread::sleep(SAMPLE_EVERY);
                }
            }
        });
        let mut worked = Ok(());
        for _ in 0..ROUNDS_A_LIFE {
            worked = worked.and(field.round(operations / ROUNDS_A_LIFE).await);
        }
        is_over.store(true, Ordering::Relaxed);
        sampler.await.map_err(|e| e.to_string())?;
        worked.and(field.close().await)
    });
    marks.peak_disk = marks.peak_disk.max(peak.load(Ordering::Relaxed));
    lived
}

fn judge(marks: &Marks) -> Result<(), String> {
    let (before, after) = (warm(&marks.heap), last(&marks.heap));
    if after > before + HEAP_SLACK_BYTES {
        return Err(format!("memory grew from {before} to {after} bytes"));
    }
    let (before, after) = (warm(&marks.resident), late(&marks.resident));
    if after > before + SLACK_BYTES {
        return Err(format!("resident memory grew from {before} to {after} bytes"));
    }
    let (before, after) = (warm(&marks.descriptors), last(&marks.descriptors));
    if after > before {
        return Err(format!("descriptors grew from {before} to {after}"));
    }
    if marks.peak_disk > marks.capacity {
        return Err(format!("{} bytes on disk, the capacity is {}", marks.peak_disk, marks.capacity));
    }
    Ok(())
}
