//! A trace whose objects live for ever, for a minute or for ten, by the trace's clock: how much of the disk holds what has
//! expired, and whether any of that is written again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use esker::backend::tokio_fs::TokioFs;
use esker::clock::ManualClock;
use esker::config::{Config, DIRECTORY_OVERHEAD_BYTES};
use esker::inspect::Inspector;
use esker::{BackendKind, DiskCache, Millis, SetOptions};

use super::Figures;
use crate::policies::Shape;
use crate::replay::run::CLOCK_START_MS;
use crate::trace::{Op, Request, Summary, Trace};

/// The cache holds this share of the trace's unique bytes, in percent.
const CAPACITY_PERCENT: u64 = 10;
const SEGMENTS: u64 = 128;
/// How often the directory is looked at, after the first fifth of the requests.
const LOOKS: u64 = 40;

/// How long an object lives: half of them for ever.
fn ttl(object: u64) -> Option<Duration> {
    let chance = object.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 62;
    [None, None, Some(Duration::from_secs(60)), Some(Duration::from_secs(600))].get(chance as usize).copied().flatten()
}

/// Runs the check on this trace.
///
/// # Errors
/// An unreadable trace, a cache that fails.
pub async fn check(dir: &Path, backend: BackendKind, trace: Option<&Path>) -> Result<Figures> {
    let trace = trace.map_or(Trace::Synthetic { seed: 1 }, |file| Trace::File(file.to_owned()));
    let summary = trace.summary(None)?;
    let shape = Shape::of(summary.unique_bytes * CAPACITY_PERCENT / 100, SEGMENTS);
    let clock = Arc::new(ManualClock::new(Millis(CLOCK_START_MS)));
    let config = Config {
        capacity_bytes: SEGMENTS * shape.segment_len_bytes + DIRECTORY_OVERHEAD_BYTES,
        segment_len_bytes: Some(shape.segment_len_bytes),
        backend,
        ..Config::default()
    };
    let cache = DiskCache::builder(dir).config(config).clock(clock.clone()).open().await?;
    let run = Run { dir, trace, summary, shape, clock, cache };
    run.figures().await
}

struct Run<'a> {
    dir: &'a Path,
    trace: Trace,
    summary: Summary,
    shape: Shape,
    clock: Arc<ManualClock>,
    cache: DiskCache,
}

impl Run<'_> {
    async fn figures(self) -> Result<Figures> {
        let (mut gets, mut misses, mut zeros) = (0_u64, 0_u64, Bytes::new());
        let mut held = Vec::new();
        let mut rewritten = 0;
        let every = (self.summary.requests * 4 / 5 / LOOKS).max(1);
        for (n, request) in self.trace.requests(None)?.enumerate() {
            let request = request?;
            self.clock.set(Millis(CLOCK_START_MS + u64::from(request.time_s) * 1000));
            if request.op == Op::Delete {
                continue;
            }
            gets += 1;
            misses += u64::from(!self.serve(&request, &mut zeros).await?);
            let n = n as u64;
            if n > self.summary.requests / 5 && n.is_multiple_of(every) {
                self.cache.flush().await?;
                held.push(self.expired_percent().await?);
                rewritten += self.rewritten_after_expiry().await?;
            }
        }
        let counts = self.cache.stats().counts;
        self.cache.close().await?;
        let mut figures = Figures::default();
        figures.tell("looks at the directory", held.len() as f64);
        figures.tell("misses, %", 100.0 * misses as f64 / gets.max(1) as f64);
        figures.tell("bytes rewritten, % of all written", percent(counts.bytes_reinserted, counts.bytes_written));
        figures.at_most(
            "disk held by what has expired, mean, %",
            held.iter().sum::<f64>() / held.len().max(1) as f64,
            5.0,
        );
        figures.at_most("disk held by what has expired, most, %", held.iter().copied().fold(0.0, f64::max), 5.0);
        figures.exactly("records written again after they had expired", rewritten, 0);
        Ok(figures)
    }

    /// Whether it was a hit.
    async fn serve(&self, request: &Request, zeros: &mut Bytes) -> Result<bool> {
        let (key, len) = (request.key.bytes(), request.size_bytes as usize * self.shape.scale as usize);
        if self.cache.get(key).await?.is_some() {
            return Ok(true);
        }
        if zeros.len() < len {
            *zeros = vec![0; len.next_power_of_two()].into();
        }
        let options = ttl(request.object).map_or_else(SetOptions::new, |ttl| SetOptions::new().ttl(ttl));
        self.cache.set_with(key, zeros.slice(..len), options).await?;
        Ok(false)
    }

    /// What the directory would serve if nothing had expired, less what it serves, of the capacity.
    async fn expired_percent(&self) -> Result<f64> {
        let live_at = async |now| anyhow::Ok(self.inspector(now).summary().await?.live_bytes);
        let expired = live_at(Millis(0)).await?.saturating_sub(live_at(self.now()).await?);
        Ok(percent(expired, SEGMENTS * self.shape.segment_len_bytes))
    }

    /// Records in segments of what eviction rewrites that had expired before their segment was begun.
    async fn rewritten_after_expiry(&self) -> Result<u64> {
        let mut expired = 0;
        for segment in self.inspector(self.now()).segments().await? {
            if segment.stream != Some("reinserted") {
                continue;
            }
            let mut times = Vec::new();
            let mut look = |record: esker::inspect::RecordInfo| times.extend(record.expires);
            let listing = Inspector::records(&TokioFs, &self.dir.join(&segment.file), &mut look).await?;
            let begun = listing.created.unwrap_or(0);
            expired += times.into_iter().filter(|expires| *expires <= begun).count() as u64;
        }
        Ok(expired)
    }

    fn inspector(&self, now: Millis) -> Inspector {
        Inspector::new(Arc::new(TokioFs), self.dir, now)
    }

    fn now(&self) -> Millis {
        esker::clock::Clock::now(&*self.clock)
    }
}

fn percent(part: u64, of: u64) -> f64 {
    100.0 * part as f64 / of.max(1) as f64
}
