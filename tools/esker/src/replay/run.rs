//! The replay itself: a reader deals requests out to tasks; each task sends its own and verifies every hit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use esker::Millis;
use esker::clock::{Clock, ManualClock};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::Job;
use super::model::Known;
use crate::latency::{Latencies, Quantiles};
use crate::store::{Figures, Outcome, Store};
use crate::trace::{Op, Request};
use crate::value::Identity;

/// Where the trace's clock starts: any point well after 1970 does.
pub const CLOCK_START_MS: u64 = 1_700_000_000_000;
/// Requests handed to a task at once, and batches that may wait for it: tasks stay close together in trace time.
const BATCH: usize = 32;
const WAITING_BATCHES: usize = 4;

/// Counts of one task, or of all.
#[derive(Debug, Default)]
pub struct Tally {
    requests: u64,
    gets: u64,
    hits: u64,
    bytes_asked: u64,
    bytes_hit: u64,
    sets: u64,
    deletes: u64,
    wrong: u64,
    wrong_examples: Vec<String>,
    refused: BTreeMap<String, u64>,
    get_latencies: Latencies,
    set_latencies: Latencies,
}

/// What a replay measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// Requests answered.
    pub requests: u64,
    /// Wall time in seconds.
    pub seconds: f64,
    /// CPU time of the process in seconds.
    pub cpu_seconds: f64,
    /// Gets.
    pub gets: u64,
    /// Gets that hit.
    pub hits: u64,
    /// Sizes of all objects asked for, in bytes.
    pub bytes_asked: u64,
    /// Of these, the sizes of hits.
    pub bytes_hit: u64,
    /// Sets sent, misses filled included.
    pub sets: u64,
    /// Deletes sent.
    pub deletes: u64,
    /// Hits whose bytes were wrong.
    pub wrong_bytes: u64,
    /// The first of them, for people.
    pub wrong_examples: Vec<String>,
    /// Refused sets, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Latencies of gets.
    pub get_us: Quantiles,
    /// Latencies of sets.
    pub set_us: Quantiles,
    /// What the cache said in the end.
    pub figures: Figures,
    /// The trace's clock in the end.
    pub clock_ms: u64,
}

/// Sends every request of the job; returns what was measured and what is known of every key.
///
/// # Errors
/// An unreadable trace, or an error of the cache.
pub async fn run(job: &Job, store: &Store, clock: &Arc<ManualClock>) -> Result<(Measured, Vec<Known>)> {
    let progress = Arc::new(AtomicU64::new(0));
    let (cpu, started) = (crate::machine::cpu_time(), Instant::now());
    let mut senders = Vec::new();
    let mut tasks = Vec::new();
    for _ in 0..job.concurrency {
        let (sender, receiver) = mpsc::channel(WAITING_BATCHES);
        let (store, clock, progress) = (store.clone(), Arc::clone(clock), Arc::clone(&progress));
        let worker = Worker { store, clock, progress, known: HashMap::new(), tally: Tally::default() };
        senders.push(sender);
        tasks.push(tokio::spawn(worker.work(receiver)));
    }
    let bar = tokio::spawn(show_progress(job.trace.name(), job.requests, progress));
    let (job_copy, clock_copy) = (job.clone(), Arc::clone(clock));
    let dealt = tokio::task::spawn_blocking(move || deal(&job_copy, &clock_copy, senders)).await;
    let mut tally = Tally::default();
    let mut known = Vec::new();
    for task in tasks {
        let (part, keys) = task.await.context("a task ended badly")??;
        tally.merge(part);
        known.extend(keys.into_values());
    }
    bar.abort();
    dealt.context("the reader ended badly")??;
    let seconds = started.elapsed().as_secs_f64();
    let cpu_seconds = crate::machine::cpu_time().saturating_sub(cpu).as_secs_f64();
    store.flush().await?;
    Ok((tally.measured(seconds, cpu_seconds, store.figures()?, clock.now().0), known))
}

/// Reads the trace and hands each request to its object's task.
fn deal(job: &Job, clock: &ManualClock, senders: Vec<mpsc::Sender<Vec<Request>>>) -> Result<()> {
    let mut batches: Vec<Vec<Request>> = senders.iter().map(|_| Vec::with_capacity(BATCH)).collect();
    let mut latest = 0;
    for request in job.trace.requests(job.limit)? {
        let request = request?;
        latest = latest.max(CLOCK_START_MS + u64::from(request.time_s) * 1000);
        let task = (request.object % senders.len() as u64) as usize;
        batches[task].push(request);
        if batches[task].len() == BATCH {
            clock.set(Millis(latest));
            let full = std::mem::replace(&mut batches[task], Vec::with_capacity(BATCH));
            // The task ends early only on an error, which it reports itself.
            if senders[task].blocking_send(full).is_err() {
                return Ok(());
            }
        }
    }
    clock.set(Millis(latest.max(clock.now().0)));
    for (sender, rest) in senders.iter().zip(batches) {
        if sender.blocking_send(rest).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

async fn show_progress(name: String, total: u64, done: Arc<AtomicU64>) {
    // Draws to standard error, and only if that is a terminal.
    let bar = ProgressBar::new(total);
    let style = ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len} requests, {per_sec}, {eta} to go");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(name);
    loop {
        bar.set_position(done.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

struct Worker {
    store: Store,
    clock: Arc<ManualClock>,
    progress: Arc<AtomicU64>,
    known: HashMap<u64, Known>,
    tally: Tally,
}

impl Worker {
    async fn work(mut self, mut batches: mpsc::Receiver<Vec<Request>>) -> Result<(Tally, HashMap<u64, Known>)> {
        while let Some(batch) = batches.recv().await {
            self.progress.fetch_add(batch.len() as u64, Ordering::Relaxed);
            for request in batch {
                self.tally.requests += 1;
                match request.op {
                    Op::Get => self.get(&request).await?,
                    Op::Set => self.set(&request).await?,
                    Op::Delete => self.delete(&request).await?,
                }
            }
        }
        Ok((self.tally, self.known))
    }

    async fn get(&mut self, request: &Request) -> Result<()> {
        let now_ms = self.clock.now().0;
        let started = Instant::now();
        let found = self.store.get(request.key.bytes()).await?;
        self.tally.get_latencies.record(started.elapsed());
        self.tally.gets += 1;
        self.tally.bytes_asked += u64::from(request.size_bytes);
        let Some(value) = found else { return self.set(request).await };
        self.tally.hits += 1;
        self.tally.bytes_hit += u64::from(request.size_bytes);
        let known = self.known.get(&request.object);
        if !known.is_some_and(|known| known.allows(&value, now_ms)) {
            self.tally.wrong += 1;
            if self.tally.wrong_examples.len() < 5 {
                let line = format!("object {}: {} bytes served, expected {known:?}", request.object, value.len());
                self.tally.wrong_examples.push(line);
            }
        }
        Ok(())
    }

    async fn set(&mut self, request: &Request) -> Result<()> {
        let version = self.known.get(&request.object).map_or(0, |known| known.newest.version) + 1;
        let newest = Identity { object: request.object, version, len_bytes: request.size_bytes };
        let ttl = (request.ttl_s > 0).then(|| Duration::from_secs(u64::from(request.ttl_s)));
        let value = newest.value();
        let started = Instant::now();
        let outcome = self.store.set(request.key.bytes(), value, ttl).await?;
        self.tally.set_latencies.record(started.elapsed());
        self.tally.sets += 1;
        // Read after the set, so never before the cache's own creation time: a later get is judged too kindly, if at all.
        let now_ms = self.clock.now().0;
        let expires_ms = ttl.map_or(u64::MAX, |ttl| now_ms + ttl.as_millis() as u64);
        if let Outcome::Refused(reason) = outcome {
            *self.tally.refused.entry(format!("{reason:?}")).or_default() += 1;
        }
        let present = outcome == Outcome::Stored;
        self.known.insert(request.object, Known { key: request.key.clone(), newest, expires_ms, present });
        Ok(())
    }

    async fn delete(&mut self, request: &Request) -> Result<()> {
        self.store.delete(request.key.bytes()).await?;
        self.tally.deletes += 1;
        if let Some(known) = self.known.get_mut(&request.object) {
            known.present = false;
        }
        Ok(())
    }
}

impl Tally {
    fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.gets += other.gets;
        self.hits += other.hits;
        self.bytes_asked += other.bytes_asked;
        self.bytes_hit += other.bytes_hit;
        self.sets += other.sets;
        self.deletes += other.deletes;
        self.wrong += other.wrong;
        self.wrong_examples.extend(other.wrong_examples);
        for (reason, count) in other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
        self.get_latencies.merge(&other.get_latencies);
        self.set_latencies.merge(&other.set_latencies);
    }

    fn measured(mut self, seconds: f64, cpu_seconds: f64, figures: Figures, clock_ms: u64) -> Measured {
        self.wrong_examples.truncate(10);
        Measured {
            requests: self.requests,
            seconds,
            cpu_seconds,
            gets: self.gets,
            hits: self.hits,
            bytes_asked: self.bytes_asked,
            bytes_hit: self.bytes_hit,
            sets: self.sets,
            deletes: self.deletes,
            wrong_bytes: self.wrong,
            wrong_examples: self.wrong_examples,
            refused: self.refused,
            get_us: self.get_latencies.quantiles(),
            set_us: self.set_latencies.quantiles(),
            figures,
            clock_ms,
        }
    }
}
