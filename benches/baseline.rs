//! This cache against one file per key (`tokio::fs`, SHA-256 names, write and rename), on the same disk in one run, and
//! its backends against each other:
//! `cargo bench --bench baseline [-- --json --quick --dir DIR --keys N --rounds N --only fill|warm|cold|restart|backends|s1]`.

mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use common::file_per_key::FilePerKey;
use common::report::{Report, Target};
use common::{Args, Outcome, Random, Store, Values};
use esker::{BackendKind, DiskCache};

/// Length of the values.
const VALUE_BYTES: usize = 4096;
/// Length of the large ones.
const LARGE_BYTES: usize = 10 << 20;
/// The longest segments: a large value must fit one.
const SEGMENT_BYTES: u64 = 64 << 20;

struct Bench {
    args: Args,
    values: Values,
    entries: u64,
    report: Report,
    root: PathBuf,
}

/// Both sides, filled with the same entries.
struct Sides {
    cache: DiskCache,
    cache_dir: PathBuf,
    files: FilePerKey,
    files_dir: PathBuf,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let args = Args::parse();
    let root = args.temp_dir()?;
    let mut bench = Bench {
        values: Values::new(LARGE_BYTES),
        entries: args.entries(262_144),
        report: Report::default(),
        root: root.path().to_owned(),
        args,
    };
    let sides = bench.fills().await?;
    bench.inodes(&sides)?;
    bench.warm(&sides).await?;
    bench.cold(&sides).await?;
    let dir = bench.restarts(sides).await?;
    bench.backends(&dir).await?;
    for kind in [BackendKind::Uring, BackendKind::TokioFs] {
        bench.targets_s1(kind).await?;
    }
    let entries = bench.entries;
    bench.report.note(format!("{entries} entries of 4 KiB. Ratios are medians of the rounds' ratios."));
    bench.report.print(bench.args.json, "other")?;
    Ok(())
}

impl Bench {
    async fn open(&self, dir: &Path, kind: BackendKind) -> Outcome<DiskCache> {
        let segments = self.entries * (VALUE_BYTES as u64 + 128) / SEGMENT_BYTES + 6;
        common::open_cache(dir, kind, SEGMENT_BYTES, segments).await
    }

    /// Fills both in each round, flushed to the device; the last ones stay. The baseline's old files stay until the end
    /// too: creating files where many were deleted is several times slower on ext4, which would not be fair.
    async fn fills(&mut self) -> Outcome<Sides> {
        let rounds = if self.args.wants("fill") { self.args.rounds(3) } else { 1 };
        let mut rates = Vec::new();
        let mut last = None;
        for round in 0..rounds {
            let keys: Vec<u64> = (0..self.entries).collect();
            let files_dir = self.root.join(format!("files-{round}"));
            let files = FilePerKey::create(&files_dir)?;
            common::sync_file_system(&self.root)?;
            let began = Instant::now();
            common::sets(&files, keys.clone(), &self.values, VALUE_BYTES, 32, false).await?;
            common::sync_file_system(&self.root)?;
            let other = self.entries as f64 / began.elapsed().as_secs_f64();

            let cache_dir = self.root.join(format!("cache-{round}"));
            let cache = self.open(&cache_dir, BackendKind::Auto).await?;
            let began = Instant::now();
            common::sets(&cache, keys, &self.values, VALUE_BYTES, 32, false).await?;
            cache.sync().await?;
            rates.push((other, self.entries as f64 / began.elapsed().as_secs_f64()));
            if let Some(Sides { cache, .. }) = last.replace(Sides { cache, cache_dir, files, files_dir }) {
                cache.close().await?;
            }
        }
        self.report.rates("fill, flushed, 32 tasks", "op/s", &rates, Target::AtLeast(6.0));
        last.ok_or_else(|| "no round".into())
    }

    /// Files and directories for each GiB of values.
    fn inodes(&mut self, sides: &Sides) -> Outcome<()> {
        let per_gib = (1 << 30) as f64 / (self.entries * VALUE_BYTES as u64) as f64;
        let cache = common::segment_files(&sides.cache_dir)?.len() as f64 * per_gib;
        let files = common::files_below(&sides.files_dir)?.len() as f64 * per_gib;
        self.report.compare(
            "inodes per GiB, the last segment partly empty",
            "",
            &[(files, cache)],
            Target::AtMost(20.0),
            |_, ours| ours,
        );
        Ok(())
    }

    async fn warm(&mut self, sides: &Sides) -> Outcome<()> {
        if !self.args.wants("warm") {
            return Ok(());
        }
        common::warm_pages(&common::files_below(&sides.cache_dir)?)?;
        common::warm_pages(&common::files_below(&sides.files_dir)?)?;
        for (tasks, target) in [(1, 8.0), (32, 5.0)] {
            let mut rates = Vec::new();
            for round in 0..self.args.rounds(5) as u64 {
                let mut random = Random::new(round);
                let mut keys = |ops| (0..ops).map(|_| random.below(self.entries)).collect::<Vec<_>>();
                let few = self.args.sized(if tasks == 1 { 20_000 } else { 60_000 }, 2_000);
                let other = common::gets(&sides.files, keys(few), VALUE_BYTES, tasks, false).await?;
                let ours = common::gets(&sides.cache, keys(few * 10), VALUE_BYTES, tasks, false).await?;
                rates.push((other.rate(), ours.rate()));
            }
            self.report.rates(format!("warm get, tasks: {tasks}"), "op/s", &rates, Target::AtLeast(target));
        }
        Ok(())
    }

    async fn cold(&mut self, sides: &Sides) -> Outcome<()> {
        if !self.args.wants("cold") {
            return Ok(());
        }
        // Everything reaches the device first, so that it can leave the page cache.
        sides.cache.sync().await?;
        let ops = self.args.sized(12_000, 1_000) as usize;
        let (mut rates, mut all_dropped) = (Vec::new(), true);
        for round in 0..self.args.rounds(5) as u64 {
            let keys = Random::new(round + 50).choose(ops, self.entries);
            // Names and inodes too: a file per key has as many of them as entries, and needs them for each get.
            self.cold_start(&sides.files_dir, &mut all_dropped)?;
            let other = common::gets(&sides.files, keys.clone(), VALUE_BYTES, 32, false).await?;
            self.cold_start(&sides.cache_dir, &mut all_dropped)?;
            let ours = common::gets(&sides.cache, keys, VALUE_BYTES, 32, false).await?;
            rates.push((other.rate(), ours.rate()));
        }
        if !all_dropped {
            self.report.note("cold get: names and inodes stayed cached, since dropping them needs root");
        }
        self.report.rates("cold get, 32 tasks", "op/s", &rates, Target::AtLeast(1.2));
        Ok(())
    }

    /// From a cold start until every entry answers and the used bytes are known.
    async fn restarts(&mut self, sides: Sides) -> Outcome<PathBuf> {
        let Sides { cache, cache_dir, files_dir, .. } = sides;
        cache.close().await?;
        drop(cache);
        if !self.args.wants("restart") {
            return Ok(cache_dir);
        }
        let (mut times, mut all_dropped) = (Vec::new(), true);
        for _ in 0..self.args.rounds(5) {
            self.cold_start(&files_dir, &mut all_dropped)?;
            let began = Instant::now();
            let dir = files_dir.clone();
            let (entries, bytes) = tokio::task::spawn_blocking(move || FilePerKey::walk(&dir)).await??;
            let other = began.elapsed();
            if entries != self.entries || bytes != entries * VALUE_BYTES as u64 {
                return Err(format!("the baseline's tree has {entries} files, {bytes} bytes").into());
            }
            self.cold_start(&cache_dir, &mut all_dropped)?;
            let began = Instant::now();
            let cache = self.open(&cache_dir, BackendKind::Auto).await?;
            let stats = cache.stats();
            let answers = Store::get(&cache, common::key(self.entries / 2), VALUE_BYTES).await?;
            let ours = began.elapsed();
            if stats.entries != self.entries || stats.used_bytes == 0 || !answers {
                return Err(format!("the cache came back with {} entries", stats.entries).into());
            }
            cache.close().await?;
            let ms = |time: Duration| time.as_secs_f64() * 1e3;
            times.push((ms(other), ms(ours)));
        }
        self.report.compare("restart, cold", "ms", &times, Target::AtLeast(10.0), |other, ours| other / ours);
        if !all_dropped {
            self.report
                .note("Names and inodes could not be dropped (not root): the baseline's restart looks too quick.");
        }
        Ok(cache_dir)
    }

    fn cold_start(&self, dir: &Path, all_dropped: &mut bool) -> Outcome<()> {
        if !common::drop_everything() {
            *all_dropped = false;
            common::drop_pages(&common::files_below(dir)?)?;
        }
        Ok(())
    }

    /// CPU an operation of `uring` against `tokio_fs`: cold, 128 in flight.
    async fn backends(&mut self, dir: &Path) -> Outcome<()> {
        if !self.args.wants("backends") {
            return Ok(());
        }
        let ops = self.args.sized(20_000, 1_000) as usize;
        let (mut cpu, mut rates) = (Vec::new(), Vec::new());
        for round in 0..self.args.rounds(7) as u64 {
            let mut both = Vec::new();
            for kind in [BackendKind::TokioFs, BackendKind::Uring] {
                let cache = self.open(dir, kind).await?;
                common::drop_pages(&common::segment_files(dir)?)?;
                let keys = Random::new(round + 70).choose(ops, self.entries);
                both.push(common::gets(&cache, keys, VALUE_BYTES, 128, false).await?);
                cache.close().await?;
            }
            cpu.push((both[0].cpu_us(), both[1].cpu_us()));
            rates.push((both[0].rate(), both[1].rate()));
        }
        let name = "uring against tokio_fs, cold get, 128 in flight";
        self.report.rates(format!("{name}: CPU"), "us/op", &cpu, Target::AtMost(0.6));
        self.report.rates(format!("{name}: rate"), "op/s", &rates, Target::None);
        Ok(())
    }

    /// The absolute targets S1, for one backend.
    async fn targets_s1(&mut self, kind: BackendKind) -> Outcome<()> {
        if !self.args.wants("s1") {
            return Ok(());
        }
        let (least, most_ms, large_least) =
            if kind == BackendKind::Uring { (20_000.0, 5.0, 155.0) } else { (8_000.0, 10.0, 110.0) };
        let dir = self.root.join("s1");
        let cache = self.open(&dir, kind).await?;
        let (mut get, mut get_p95, mut set, mut set_p95) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let ops = self.entries.min(self.args.sized(50_000, 2_000));
        for round in 0..self.args.rounds(5) as u64 {
            let run = common::sets(&cache, (0..ops).collect(), &self.values, VALUE_BYTES, 32, true).await?;
            set.push(run.rate());
            set_p95.push(run.p95_ms());
            cache.sync().await?;
            common::drop_pages(&common::segment_files(&dir)?)?;
            let keys = Random::new(round).choose(ops as usize / 4, ops);
            let run = common::gets(&cache, keys, VALUE_BYTES, 32, true).await?;
            get.push(run.rate());
            get_p95.push(run.p95_ms());
        }
        self.report.figure(format!("{kind}: cold get 4 KiB, 32 tasks"), "op/s", get, Target::AtLeast(least));
        self.report.figure(format!("{kind}: cold get 4 KiB, 32 tasks, P95"), "ms", get_p95, Target::AtMost(most_ms));
        self.report.figure(format!("{kind}: set 4 KiB, 32 tasks"), "op/s", set, Target::AtLeast(least));
        self.report.figure(format!("{kind}: set 4 KiB, 32 tasks, P95"), "ms", set_p95, Target::AtMost(most_ms));
        cache.close().await?;
        std::fs::remove_dir_all(&dir)?;
        self.large(kind, large_least).await
    }

    /// Reads of 10 MiB, four at a time.
    async fn large(&mut self, kind: BackendKind, least: f64) -> Outcome<()> {
        let dir = self.root.join("large");
        let count = self.args.sized(48, 6);
        let cache = common::open_cache(&dir, kind, SEGMENT_BYTES, count / 6 + 6).await?;
        common::sets(&cache, (0..count).collect(), &self.values, LARGE_BYTES, 4, false).await?;
        cache.sync().await?;
        let paths = common::segment_files(&dir)?;
        let (mut warm, mut cold) = (Vec::new(), Vec::new());
        for _ in 0..self.args.rounds(5) {
            common::drop_pages(&paths)?;
            cold.push(common::gets(&cache, (0..count).collect(), LARGE_BYTES, 4, false).await?.rate());
            common::warm_pages(&paths)?;
            let keys = (0..count * 4).map(|n| n % count).collect();
            warm.push(common::gets(&cache, keys, LARGE_BYTES, 4, false).await?.rate());
        }
        self.report.figure(format!("{kind}: get 10 MiB, page cache warm"), "op/s", warm, Target::AtLeast(least));
        self.report.figure(format!("{kind}: get 10 MiB, cold"), "op/s", cold, Target::None);
        cache.close().await?;
        std::fs::remove_dir_all(&dir)?;
        Ok(())
    }
}
