//! `esker policies`: what each eviction policy makes of a trace, through the real engine.
//!
//! # How a run goes
//! A fresh cache of `--segments` segments for each trace, capacity and policy. Every request but a delete is a get, and
//! a miss is followed by a set, as in the simulators that miss ratios are compared with; one task sends them, and the
//! trace's clock is the cache's. The capacity is a share of the trace's unique bytes, and everything that the cache
//! stores besides the values counts against it.
//!
//! # Sizes
//! Segments of less than [`MIN_SEGMENT_BYTES`] would be mostly headers and padding: where the capacity is too small for
//! them, every object is taken to be two, four, eight … times as long. Miss ratios depend on the proportions alone.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use esker::clock::ManualClock;
use esker::config::{Config, DIRECTORY_OVERHEAD_BYTES, MAX_SEGMENT_LEN_BYTES, MIN_HELD_BYTES};
use esker::{AdmissionPolicy, DiskCache, EvictionPolicy, Millis, SetOptions, Stats};
use serde::Serialize;

use crate::replay::run::CLOCK_START_MS;
use crate::size::Capacity;
use crate::store::{BackendArg, WorkDir};
use crate::table::Table;
use crate::trace::{Op, Summary, Trace};

/// The shortest segment that a run has, in bytes.
pub const MIN_SEGMENT_BYTES: u64 = 256 << 10;

/// Options of `esker policies`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Traces: NAME.ctr.zst, or CSV (.csv, .csv.zst) with time,key,size,ttl,op. Without: a CDN-like workload.
    pub traces: Vec<std::path::PathBuf>,
    /// Capacities: bytes (64Mi, 1G) or shares of the trace's unique bytes (10%).
    #[arg(long, value_delimiter = ',', default_value = "1%,10%")]
    pub capacity: Vec<Capacity>,
    /// Policies; default: all.
    #[arg(long, value_delimiter = ',', value_parser = policy)]
    pub policies: Vec<EvictionPolicy>,
    /// At most this share of a segment is rewritten when it is evicted, in percent.
    #[arg(long, default_value_t = Config::default().rewrite_share_percent)]
    pub rewrite_share: u8,
    /// Hold new entries in memory until they are used: this share of the capacity, in percent (`second_use`).
    #[arg(long, value_name = "PERCENT")]
    pub held: Option<f64>,
    /// Segments of a cache.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u64).range(16..=4096))]
    pub segments: u64,
    /// Work in this directory, which must be new or empty; default: a temporary one.
    #[arg(long)]
    pub dir: Option<std::path::PathBuf>,
    /// The way to the disk.
    #[arg(long, value_enum, default_value = "auto")]
    pub backend: BackendArg,
    /// Stop after so many requests.
    #[arg(long)]
    pub requests: Option<u64>,
    /// Print one line of JSON for each run instead of tables.
    #[arg(long)]
    pub json: bool,
}

fn policy(text: &str) -> Result<EvictionPolicy, String> {
    EvictionPolicy::ALL.into_iter().find(|policy| policy.to_string() == text).ok_or_else(|| {
        let all: Vec<_> = EvictionPolicy::ALL.iter().map(ToString::to_string).collect();
        format!("`{text}` is no policy; there are {}", all.join(", "))
    })
}

/// What one run measured. The names of its fields are a contract.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// The trace's name.
    pub trace: String,
    /// The capacity, as asked for.
    pub capacity: String,
    /// The policy.
    pub policy: EvictionPolicy,
    /// At most this share of a segment was rewritten, in percent.
    pub rewrite_share: u8,
    /// Memory for what was held, in percent of the capacity; none if everything was written.
    pub held_percent: Option<f64>,
    /// Requests that were gets.
    pub gets: u64,
    /// Of these, misses, in percent.
    pub miss_percent: f64,
    /// Bytes of misses of all bytes asked for, in percent.
    pub byte_miss_percent: f64,
    /// Bytes written to the disk for each byte asked for.
    pub written_per_asked: f64,
    /// Of the bytes written, those that eviction rewrote, in percent.
    pub rewritten_percent: f64,
    /// Segments.
    pub segments: u64,
    /// Length of a segment, in bytes.
    pub segment_len_bytes: u64,
    /// How many times as long as in the trace objects are.
    pub scale: u32,
    /// Where there are two logs, the share of the one of new entries in the end, in percent of the capacity.
    pub new_log_percent: Option<f64>,
    /// Memory for the fingerprints of what eviction dropped, in bytes.
    pub ghost_bytes: u64,
    /// Memory of the index, in bytes.
    pub index_bytes: u64,
    /// Wall time, in seconds.
    pub seconds: f64,
}

/// Runs the command.
///
/// # Errors
/// Bad options, an unreadable trace, a cache that does not open.
pub fn main(args: &Args) -> Result<ExitCode> {
    let traces: Vec<Trace> = match args.traces.as_slice() {
        [] => vec![Trace::Synthetic { seed: 1 }],
        files => files.iter().cloned().map(Trace::File).collect(),
    };
    let policies = if args.policies.is_empty() { &EvictionPolicy::ALL[..] } else { &args.policies };
    let work = WorkDir::new(args.dir.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut out = std::io::stdout();
    for trace in &traces {
        let summary = trace.summary(args.requests)?;
        for &capacity in &args.capacity {
            let mut runs = Vec::new();
            for &policy in policies {
                let dir = work.join("cache");
                let run = runtime
                    .block_on(run(args, trace, summary, capacity, policy, &dir))
                    .with_context(|| format!("{} with {policy}", trace.name()))?;
                std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
                if args.json {
                    out.write_all((serde_json::to_string(&run)? + "\n").as_bytes())?;
                }
                runs.push(run);
            }
            if !args.json {
                out.write_all(table(&trace.name(), capacity, &runs).as_bytes())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// How the cache of a run is shaped.
pub(crate) struct Shape {
    pub(crate) segment_len_bytes: u64,
    pub(crate) scale: u32,
}

impl Shape {
    /// Of a cache of so many bytes of the trace's.
    pub(crate) fn of(capacity_bytes: u64, segments: u64) -> Self {
        let mut scale = 1;
        while capacity_bytes * u64::from(scale) / segments < MIN_SEGMENT_BYTES && scale < 1 << 16 {
            scale *= 2;
        }
        let len = (capacity_bytes * u64::from(scale) / segments).next_multiple_of(4096);
        Self { segment_len_bytes: len.clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_LEN_BYTES), scale }
    }
}

async fn run(
    args: &Args,
    trace: &Trace,
    summary: Summary,
    capacity: Capacity,
    policy: EvictionPolicy,
    dir: &Path,
) -> Result<Run> {
    let Shape { segment_len_bytes, scale } = Shape::of(capacity.bytes_of(summary.unique_bytes), args.segments);
    let clock = Arc::new(ManualClock::new(Millis(CLOCK_START_MS)));
    let config = Config {
        capacity_bytes: args.segments * segment_len_bytes + DIRECTORY_OVERHEAD_BYTES,
        segment_len_bytes: Some(segment_len_bytes),
        eviction: policy,
        rewrite_share_percent: args.rewrite_share,
        admission: admission(args, args.segments * segment_len_bytes),
        backend: args.backend.into(),
        ..Config::default()
    };
    let cache = DiskCache::builder(dir).config(config).clock(clock.clone()).open().await?;
    let began = Instant::now();
    let asked = send(args, trace, scale, &cache, &clock).await?;
    let seconds = began.elapsed().as_secs_f64();
    cache.close().await?;
    let Stats { counts, segments, new_log_bytes, ghost_bytes, index_bytes, .. } = cache.stats();
    let percent = |part: u64, of: u64| 100.0 * part as f64 / of.max(1) as f64;
    Ok(Run {
        trace: trace.name(),
        capacity: capacity.to_string(),
        policy,
        rewrite_share: args.rewrite_share,
        held_percent: args.held,
        gets: asked.gets,
        miss_percent: percent(asked.misses, asked.gets),
        byte_miss_percent: percent(asked.bytes_missed, asked.bytes),
        written_per_asked: counts.bytes_written as f64 / asked.bytes.max(1) as f64,
        rewritten_percent: percent(counts.bytes_reinserted, counts.bytes_written),
        segments,
        segment_len_bytes,
        scale,
        new_log_percent: new_log_bytes.map(|bytes| percent(bytes, args.segments * segment_len_bytes)),
        ghost_bytes,
        index_bytes,
        seconds,
    })
}

fn admission(args: &Args, capacity_bytes: u64) -> AdmissionPolicy {
    let held = |percent: f64| (capacity_bytes as f64 * percent / 100.0) as u64;
    let second_use = |percent| AdmissionPolicy::SecondUse { held_bytes: Some(held(percent).max(MIN_HELD_BYTES)) };
    args.held.map_or(AdmissionPolicy::All, second_use)
}

#[derive(Default)]
struct Asked {
    gets: u64,
    misses: u64,
    bytes: u64,
    bytes_missed: u64,
}

async fn send(args: &Args, trace: &Trace, scale: u32, cache: &DiskCache, clock: &ManualClock) -> Result<Asked> {
    let mut asked = Asked::default();
    let mut zeros = Bytes::new();
    for request in trace.requests(args.requests)? {
        let request = request?;
        clock.set(Millis(CLOCK_START_MS + u64::from(request.time_s) * 1000));
        let key = request.key.bytes();
        if request.op == Op::Delete {
            cache.delete(key).await?;
            continue;
        }
        let len = request.size_bytes as usize * scale as usize;
        asked.gets += 1;
        asked.bytes += len as u64;
        if cache.get(key).await?.is_some() {
            continue;
        }
        asked.misses += 1;
        asked.bytes_missed += len as u64;
        if zeros.len() < len {
            zeros = vec![0; len.next_power_of_two()].into();
        }
        let ttl = (request.ttl_s > 0).then(|| Duration::from_secs(u64::from(request.ttl_s)));
        let options = ttl.map_or_else(SetOptions::new, |ttl| SetOptions::new().ttl(ttl));
        cache.set_with(key, zeros.slice(..len), options).await?;
    }
    Ok(asked)
}

/// One line a policy. The bytes written stand beside those of plain FIFO, if that is among them.
fn table(trace: &str, capacity: Capacity, runs: &[Run]) -> String {
    let fifo = runs.iter().find(|run| run.policy == EvictionPolicy::Fifo);
    let mut table =
        Table::new(["policy", "miss %", "byte miss %", "written/asked", "of FIFO", "rewritten %", "new log %"]);
    for run in runs {
        let of_fifo = fifo.map(|fifo| run.written_per_asked / fifo.written_per_asked);
        table.row([
            run.policy.to_string(),
            format!("{:.2}", run.miss_percent),
            format!("{:.2}", run.byte_miss_percent),
            format!("{:.3}", run.written_per_asked),
            of_fifo.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}")),
            format!("{:.1}", run.rewritten_percent),
            run.new_log_percent.map_or_else(|| "-".into(), |percent| format!("{percent:.0}")),
        ]);
    }
    let shape = runs.first().map_or_else(String::new, |run| {
        format!("{} segments of {} KiB, objects x {}", run.segments, run.segment_len_bytes >> 10, run.scale)
    });
    format!("{trace} at {capacity}: {shape}\n{}\n", table.render())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_capacities_are_scaled_and_large_ones_are_not() {
        let small = Shape::of(1 << 20, 128);
        assert_eq!((small.scale, small.segment_len_bytes), (32, 256 << 10));
        let large = Shape::of(1 << 30, 128);
        assert_eq!((large.scale, large.segment_len_bytes), (1, 8 << 20));
    }

    #[test]
    fn policies_are_read_by_name() {
        assert_eq!(policy("s3_fifo"), Ok(EvictionPolicy::S3Fifo));
        assert!(policy("arc").is_err_and(|e| e.contains("adaptive")));
    }
}
