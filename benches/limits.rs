//! This cache beside the raw disk and memory loops it stands on, in one process and one run:
//! `cargo bench --bench limits [-- --json --quick --dir DIR --keys N --rounds N --only warm|cold|fill|recovery|policy]`.
//!
//! Every measurement alternates with its raw loop, round by round; what counts is the median of the rounds' ratios.

mod common;

use std::path::Path;
use std::time::Instant;

use clap::Parser;
use common::raw_disk::{self, RawFiles, Way};
use common::report::{Report, Target, median};
use common::{Args, Outcome, Random, Values};
use esker::{BackendKind, Config, DiskCache, EvictionPolicy};

/// Length of the values.
const VALUE_BYTES: usize = 4096;

/// The ways to write that a fill is compared with; the best of them counts.
const WAYS: [Way; 3] = [Way::Direct(1), Way::Direct(4), Way::Buffered];

/// What is measured, and on what.
struct Bench {
    args: Args,
    values: Values,
    segment_len: u64,
    entries: u64,
    report: Report,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let args = Args::parse();
    let root = args.temp_dir()?;
    let mut bench = Bench {
        values: Values::new(VALUE_BYTES),
        segment_len: args.sized(64 << 20, 4 << 20),
        entries: args.entries(262_144),
        report: Report::default(),
        args,
    };
    bench.fills(root.path()).await?;
    bench.reads(root.path()).await?;
    bench.recoveries(root.path()).await?;
    bench.policies(root.path()).await?;
    bench.report.note(format!(
        "{} entries of 4 KiB, segments of {} MiB, backend uring, {} CPUs. Ratios are medians of the rounds' ratios.",
        bench.entries,
        bench.segment_len >> 20,
        std::thread::available_parallelism().map_or(0, usize::from)
    ));
    bench.report.print(bench.args.json, "raw")?;
    Ok(())
}

impl Bench {
    /// A cache with room for `bytes` of records, and some segments more.
    async fn cache(&self, dir: &Path, bytes: u64) -> Outcome<DiskCache> {
        let segments = bytes / self.segment_len + 6;
        common::open_cache(dir, BackendKind::Uring, self.segment_len, segments).await
    }

    async fn fill(&self, cache: &DiskCache, keys: std::ops::Range<u64>, len: usize) -> Outcome<f64> {
        let began = Instant::now();
        let count = keys.end - keys.start;
        common::sets(cache, keys.collect(), &self.values, len, self.args.writers.max(1), false).await?;
        cache.sync().await?;
        Ok((count * len as u64) as f64 / began.elapsed().as_secs_f64() / 1e6)
    }

    /// Sets and one sync, against sequential writes of as many bytes, in megabytes a second.
    async fn fills(&mut self, root: &Path) -> Outcome<()> {
        if !self.args.wants("fill") {
            return Ok(());
        }
        let entries = self.entries / 2;
        let bytes = (entries * VALUE_BYTES as u64).next_multiple_of(self.segment_len);
        let raw_dir = root.join("raw");
        std::fs::create_dir_all(&raw_dir)?;
        let mut raw = WAYS.map(|_| (Vec::new(), Vec::new()));
        let (mut fresh, mut again) = (Vec::new(), Vec::new());
        for _ in 0..self.args.rounds(5) {
            for (way, rates) in WAYS.into_iter().zip(&mut raw) {
                let rate = |took: std::time::Duration| bytes as f64 / took.as_secs_f64() / 1e6;
                rates.0.push(rate(raw_disk::write_files(&raw_dir, bytes, self.segment_len, way, true)?));
                rates.1.push(rate(raw_disk::write_files(&raw_dir, bytes, self.segment_len, way, false)?));
                raw_disk::remove_files(&raw_dir)?;
            }
            let dir = root.join("fill");
            // Two segments more than the first fill takes, so that the second runs at capacity throughout.
            let segments = bytes / self.segment_len + 3;
            let cache = common::open_cache(&dir, BackendKind::Uring, self.segment_len, segments).await?;
            fresh.push(self.fill(&cache, 0..entries, VALUE_BYTES).await?);
            self.fill(&cache, entries..2 * entries, VALUE_BYTES).await?;
            again.push(self.fill(&cache, 2 * entries..3 * entries, VALUE_BYTES).await?);
            cache.close().await?;
            drop(cache);
            std::fs::remove_dir_all(&dir)?;
            common::sync_file_system(root)?;
        }
        let (raw_fresh, raw_again): (Vec<_>, Vec<_>) = raw.into_iter().unzip();
        self.fill_line("fill, flushed, fresh files", &raw_fresh, fresh);
        self.fill_line("fill, flushed, at capacity (recycled files)", &raw_again, again);
        Ok(())
    }

    /// Ours beside the raw way with the best median.
    fn fill_line(&mut self, name: &str, raw: &[Vec<f64>], ours: Vec<f64>) {
        let by_median = |rates: &&(Way, &Vec<f64>)| median(rates.1);
        let ways = WAYS.into_iter().zip(raw);
        let all: Vec<_> = ways.collect();
        for (way, rates) in &all {
            self.report.figure(format!("{name}: raw {way:?}"), "MB/s", (*rates).clone(), Target::None);
        }
        let best = all.iter().max_by(|a, b| by_median(a).total_cmp(&by_median(b)));
        let Some((way, rates)) = best else { return };
        let rounds: Vec<_> = rates.iter().copied().zip(ours).collect();
        self.report.rates(format!("{name}, against {way:?}"), "MB/s", &rounds, Target::AtLeast(0.7));
    }

    async fn reads(&mut self, root: &Path) -> Outcome<()> {
        if !self.args.wants("warm") && !self.args.wants("cold") {
            return Ok(());
        }
        let dir = root.join("reads");
        let cache = self.cache(&dir, self.entries * (VALUE_BYTES as u64 + 64)).await?;
        self.fill(&cache, 0..self.entries, VALUE_BYTES).await?;
        // Sealed by closing, so that every file is read from disk.
        cache.close().await?;
        let cache = self.cache(&dir, self.entries * (VALUE_BYTES as u64 + 64)).await?;
        if self.args.wants("warm") {
            self.warm(&cache, &dir).await?;
        }
        if self.args.wants("cold") {
            for depth in [32, 128] {
                self.cold(&cache, &dir, depth).await?;
            }
        }
        cache.close().await?;
        drop(cache);
        std::fs::remove_dir_all(&dir)?;
        Ok(())
    }

    /// Gets from the page cache, on one task, against the bare system call.
    async fn warm(&mut self, cache: &DiskCache, dir: &Path) -> Outcome<()> {
        let paths = common::segment_files(dir)?;
        common::warm_pages(&paths)?;
        let raw = RawFiles::open(&paths, false)?;
        let ops = self.args.sized(400_000, 10_000) as usize;
        let mut rounds = Vec::new();
        for round in 0..self.args.rounds(7) as u64 {
            let (answered, took) = raw.read_now(ops, VALUE_BYTES, round)?;
            if answered * 100 < ops as u64 * 99 {
                self.report.note(format!("warm: the page cache answered only {answered} of {ops} raw reads"));
            }
            let mut random = Random::new(round + 100);
            let keys = (0..ops).map(|_| random.below(self.entries)).collect();
            let run = common::gets(cache, keys, VALUE_BYTES, 1, false).await?;
            rounds.push((ops as f64 / took.as_secs_f64(), run.rate()));
        }
        self.report.rates("warm get, 1 task, against preadv2(RWF_NOWAIT)", "op/s", &rounds, Target::AtLeast(0.5));
        Ok(())
    }

    /// Gets from the device. The bar is a bare ring's rate of reading blocks past the page cache: single ones, of which a
    /// record of 4 KiB needs two, and pairs.
    async fn cold(&mut self, cache: &DiskCache, dir: &Path, depth: usize) -> Outcome<()> {
        let paths = common::segment_files(dir)?;
        let (direct, buffered) = (RawFiles::open(&paths, true)?, RawFiles::open(&paths, false)?);
        let record = VALUE_BYTES + 64;
        let ways = [
            ("O_DIRECT, one block of 4 KiB", &direct, VALUE_BYTES, 4096, Target::AtLeast(0.8)),
            ("O_DIRECT, the two blocks of a record", &direct, 2 * VALUE_BYTES, 4096, Target::AtLeast(0.8)),
            ("buffered, a record", &buffered, record, 16, Target::None),
        ];
        // Few of the set's keys, so that hardly any block is asked for twice.
        let ops = (self.args.sized(24_000, 1_000) as usize).min(self.entries as usize / 8);
        let (mut rounds, mut kib, mut cpu) = (ways.each_ref().map(|_| Vec::new()), Vec::new(), Vec::new());
        for round in 0..self.args.rounds(7) as u64 {
            let mut raw = Vec::new();
            for (_, files, len, align, _) in &ways {
                raw.push(ops as f64 / files.ring_reads(ops, *len, *align, depth, round)?.as_secs_f64());
                common::drop_pages(&paths)?;
            }
            let keys = Random::new(round + 200).choose(ops, self.entries);
            let read_before = common::device_bytes_read();
            let run = common::gets(cache, keys, VALUE_BYTES, depth, false).await?;
            kib.push((common::device_bytes_read() - read_before) as f64 / 1024.0 / ops as f64);
            cpu.push(run.cpu_us());
            rounds.iter_mut().zip(raw).for_each(|(rounds, raw)| rounds.push((raw, run.rate())));
        }
        let name = format!("cold get, {depth} in flight");
        for ((way, .., target), rounds) in ways.into_iter().zip(&rounds) {
            self.report.rates(format!("{name}, against a raw ring ({way})"), "op/s", rounds, target);
        }
        self.report.figure(format!("{name}: read from the device"), "KiB/op", kib, Target::None);
        self.report.figure(format!("{name}: CPU"), "us/op", cpu, Target::None);
        Ok(())
    }

    /// What counting hits costs a get: the default policy against plain FIFO, which counts none. Both caches are open and warm,
    /// and who goes first changes from round to round.
    async fn policies(&mut self, root: &Path) -> Outcome<()> {
        if !self.args.wants("policy") {
            return Ok(());
        }
        let (entries, len) = (self.entries / 4, 256);
        let mut caches = Vec::new();
        for policy in [EvictionPolicy::Fifo, EvictionPolicy::default()] {
            let dir = root.join(policy.to_string());
            let config = Config { eviction: policy, backend: BackendKind::Uring, ..Config::default() };
            let cache = DiskCache::builder(&dir).config(config).open().await?;
            self.fill(&cache, 0..entries, len).await?;
            common::warm_pages(&common::segment_files(&dir)?)?;
            caches.push(cache);
        }
        let ops = self.args.sized(400_000, 10_000) as usize;
        let mut rounds = Vec::new();
        for round in 0..self.args.rounds(15) as u64 {
            let mut rates = [0.0; 2];
            for turn in 0..2 {
                let which = (turn + round as usize) % 2;
                let mut random = Random::new(round + 300);
                let keys = (0..ops).map(|_| random.below(entries)).collect();
                rates[which] = common::gets(&caches[which], keys, len, 1, false).await?.rate();
            }
            rounds.push((rates[0], rates[1]));
        }
        self.report.rates("warm get, default policy against fifo", "op/s", &rounds, Target::AtLeast(0.97));
        for cache in caches {
            cache.close().await?;
        }
        Ok(())
    }

    async fn recoveries(&mut self, root: &Path) -> Outcome<()> {
        if !self.args.wants("recovery") {
            return Ok(());
        }
        self.recovery(root, "4 KiB values", self.entries, VALUE_BYTES).await?;
        let small = self.args.sized(2_000_000, 20_000);
        self.recovery(root, "100-byte values", small, 100).await
    }

    /// Opening with a cold page cache, against reading the same headers and footers; both in megabytes of those a
    /// second.
    async fn recovery(&mut self, root: &Path, what: &str, entries: u64, len: usize) -> Outcome<()> {
        let dir = root.join("recovery");
        let bytes = entries * (len as u64 + 128);
        let cache = self.cache(&dir, bytes).await?;
        self.fill(&cache, 0..entries, len).await?;
        // Keys whose digests the index cannot tell apart displace each other: a few in a million.
        let kept = cache.stats().entries;
        cache.close().await?;
        drop(cache);
        let paths = common::segment_files(&dir)?;
        let footers = raw_disk::footers(&paths)?;
        let (mut rounds, mut ms) = (Vec::new(), Vec::new());
        for _ in 0..self.args.rounds(7) {
            common::drop_pages(&paths)?;
            let (read, took) = raw_disk::read_footers(&footers)?;
            let rate = |took: std::time::Duration| read as f64 / took.as_secs_f64() / 1e6;
            common::drop_pages(&paths)?;
            let began = Instant::now();
            let cache = self.cache(&dir, bytes).await?;
            let opened = began.elapsed();
            let report = cache.recovery_report();
            if report.entries_kept != kept || report.segments_scanned != 0 {
                return Err(format!("recovered {report:?} of {kept} entries").into());
            }
            cache.close().await?;
            rounds.push((rate(took), rate(opened)));
            ms.push(opened.as_secs_f64() * 1e3);
        }
        let name = format!("recovery by footers, {entries} entries of {what}");
        self.report.rates(format!("{name}, cold"), "MB/s", &rounds, Target::AtLeast(0.5));
        self.report.figure(format!("{name}: open"), "ms", ms, Target::None);
        std::fs::remove_dir_all(&dir)?;
        Ok(())
    }
}
