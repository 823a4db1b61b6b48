//! Values in chunks beside the raw disk, in one process and one run:
//! `cargo bench --bench objects [-- --json --quick --dir DIR --rounds N --only sizes|warm|cold|range|memory|followers]`.
//! With `--features tokio-uring` that backend takes part.
//!
//! Every byte that is read is compared with what was written. Measurements alternate with their raw loops, round by round;
//! what counts is the median of the rounds' ratios.

mod common;
#[path = "objects/pattern.rs"]
mod pattern;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use common::raw_disk::{self, RawFiles, Way};
use common::report::{Report, Target, median};
use common::{Args, Outcome, Random};
use esker::{BackendKind, DiskCache, EntryReader, SetOptions};
use pattern::Pattern;
use tokio::task::JoinSet;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SEGMENT_LEN: u64 = 64 * MIB;
/// What a writer is given at a time, as a proxy is by its origin.
const PIECE_BYTES: usize = 64 << 10;

/// The backends of this build, and how many objects of 10 MiB each must read in a second, warm.
const BACKENDS: &[(BackendKind, &str, f64)] = &[
    (BackendKind::Uring, "uring", 155.0),
    (BackendKind::TokioFs, "tokio_fs", 110.0),
    #[cfg(feature = "tokio-uring")]
    (BackendKind::TokioUring, "tokio_uring", 110.0),
];

struct Bench {
    args: Args,
    pattern: Pattern,
    report: Report,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let args = Args::parse();
    let root = args.temp_dir()?;
    let mut bench = Bench { args, pattern: Pattern::new(), report: Report::default() };
    for &(backend, name, least) in BACKENDS {
        bench.sizes(root.path(), backend, name).await?;
        bench.warm(root.path(), backend, name, least).await?;
    }
    bench.cold(root.path()).await?;
    bench.range(root.path()).await?;
    bench.memory(root.path()).await?;
    bench.followers(root.path()).await?;
    bench.report.note(format!(
        "Segments of 64 MiB, chunks of {} KiB, {} CPUs. Every byte that was read was compared with what was written.",
        esker::Config::default().chunk_len_bytes >> 10,
        std::thread::available_parallelism().map_or(0, usize::from)
    ));
    bench.report.print(bench.args.json, "raw")?;
    Ok(())
}

fn mb_a_second(bytes: u64, began: Instant) -> f64 {
    bytes as f64 / began.elapsed().as_secs_f64() / 1e6
}

impl Bench {
    fn megabytes(&self, full: u64, quick: u64) -> u64 {
        self.args.sized(full, quick) * MIB
    }

    async fn open(&self, dir: &Path, backend: BackendKind, bytes: u64) -> Outcome<DiskCache> {
        common::open_cache(dir, backend, SEGMENT_LEN, bytes * 102 / 100 / SEGMENT_LEN + 8).await
    }

    async fn write(&self, cache: &DiskCache, key: &str, n: u64, len: u64) -> Outcome<()> {
        let mut writer = cache.writer(key, SetOptions::new()).await?;
        let mut at = 0;
        while at < len {
            let piece = self.pattern.piece(n, at, PIECE_BYTES.min((len - at) as usize));
            at += piece.len() as u64;
            writer.write_bytes(piece).await?;
        }
        let outcome = writer.finish().await?;
        if outcome.is_stored() { Ok(()) } else { Err(format!("{key} was refused: {outcome:?}").into()) }
    }

    async fn read(&self, cache: &DiskCache, key: &str, n: u64, len: u64) -> Outcome<()> {
        let reader = cache.reader(key).await?.ok_or_else(|| format!("{key} is not there"))?;
        self.pattern.check(reader, n, len).await
    }

    /// Each length, written and read back, warm and after a reopen.
    async fn sizes(&mut self, root: &Path, backend: BackendKind, name: &str) -> Outcome<()> {
        if !self.args.wants("sizes") {
            return Ok(());
        }
        let all = [KIB, 100 * KIB, MIB, 10 * MIB, 100 * MIB, GIB];
        let sizes = if self.args.quick { &all[..4] } else { &all[..] };
        let dir = root.join("sizes");
        let cache = self.open(&dir, backend, 2 * sizes.iter().sum::<u64>()).await?;
        let mut rates = Vec::new();
        for (n, &len) in (0..).zip(sizes) {
            let began = Instant::now();
            self.write(&cache, &format!("of {len}"), n, len).await?;
            cache.sync().await?;
            rates.push(mb_a_second(len, began));
            self.read(&cache, &format!("of {len}"), n, len).await?;
        }
        cache.close().await?;
        let cache = self.open(&dir, backend, 2 * sizes.iter().sum::<u64>()).await?;
        for (n, (&len, written)) in (0..).zip(sizes.iter().zip(rates)) {
            let began = Instant::now();
            self.read(&cache, &format!("of {len}"), n, len).await?;
            let read = mb_a_second(len, began);
            let what = if len < MIB { format!("{} KiB", len / KIB) } else { format!("{} MiB", len / MIB) };
            self.report.figure(format!("{name}: {what} written and synced"), "MB/s", vec![written], Target::None);
            self.report.figure(format!("{name}: {what} read after a reopen"), "MB/s", vec![read], Target::None);
        }
        cache.close().await?;
        drop(cache);
        std::fs::remove_dir_all(&dir)?;
        Ok(())
    }

    /// Objects of 10 MiB from the page cache, one after the other.
    async fn warm(&mut self, root: &Path, backend: BackendKind, name: &str, least: f64) -> Outcome<()> {
        if !self.args.wants("warm") {
            return Ok(());
        }
        let (dir, len) = (root.join("warm"), self.megabytes(10, 1));
        let cache = self.open(&dir, backend, 32 * len).await?;
        for n in 0..32 {
            self.write(&cache, &format!("object {n}"), n, len).await?;
        }
        cache.close().await?;
        let cache = self.open(&dir, backend, 32 * len).await?;
        common::warm_pages(&common::segment_files(&dir)?)?;
        let (mut streamed, mut got) = (Vec::new(), Vec::new());
        for _ in 0..self.args.rounds(7) {
            let began = Instant::now();
            for n in 0..32 {
                let key = format!("object {n}");
                let mut reader = cache.reader(&key).await?.ok_or("it is not there")?;
                let mut read = 0;
                while let Some(bytes) = reader.next_bytes().await? {
                    read += bytes.len() as u64;
                }
                assert_eq!(read, len, "{key}");
            }
            streamed.push(32.0 / began.elapsed().as_secs_f64());
            let began = Instant::now();
            for n in 0..32 {
                let hit = cache.get(format!("object {n}")).await?.ok_or("it is not there")?;
                assert_eq!(hit.value().len() as u64, len);
            }
            got.push(32.0 / began.elapsed().as_secs_f64());
        }
        for n in 0..32 {
            self.read(&cache, &format!("object {n}"), n, len).await?;
        }
        self.report.figure(format!("{name}: 10 MiB streamed, warm"), "objects/s", streamed, Target::AtLeast(least));
        self.report.figure(format!("{name}: 10 MiB got in one piece, warm"), "objects/s", got, Target::AtLeast(least));
        cache.close().await?;
        drop(cache);
        std::fs::remove_dir_all(&dir)?;
        Ok(())
    }

    /// Objects of 10 MiB written and synced, and read from the device, each against the raw rate.
    async fn cold(&mut self, root: &Path) -> Outcome<()> {
        if !self.args.wants("cold") {
            return Ok(());
        }
        let (len, count) = (10 * MIB, self.args.sized(100, 12));
        let bytes = (len * count).next_multiple_of(SEGMENT_LEN);
        let ways = [Way::Direct(1), Way::Direct(4), Way::Buffered];
        let (raw_dir, dir) = (root.join("raw"), root.join("cold"));
        std::fs::create_dir_all(&raw_dir)?;
        let (mut writes, mut reads) = (ways.map(|_| Vec::new()), Vec::new());
        for _ in 0..self.args.rounds(5) {
            let mut raw = Vec::new();
            for way in ways {
                let took = raw_disk::write_files(&raw_dir, bytes, SEGMENT_LEN, way, true)?;
                raw.push(bytes as f64 / took.as_secs_f64() / 1e6);
                raw_disk::remove_files(&raw_dir)?;
            }
            let cache = self.open(&dir, BackendKind::Uring, bytes).await?;
            let began = Instant::now();
            for n in 0..count {
                self.write(&cache, &format!("object {n}"), n, len).await?;
            }
            cache.sync().await?;
            let ours = mb_a_second(len * count, began);
            writes.iter_mut().zip(raw).for_each(|(rounds, raw)| rounds.push((raw, ours)));
            cache.close().await?;
            let cache = self.open(&dir, BackendKind::Uring, bytes).await?;
            let paths = common::segment_files(&dir)?;
            let direct = RawFiles::open(&paths, true)?;
            common::drop_pages(&paths)?;
            let (raw_bytes, took) = direct.stream(MIB, 4)?;
            common::drop_pages(&paths)?;
            let began = Instant::now();
            for n in 0..count {
                self.read(&cache, &format!("object {n}"), n, len).await?;
            }
            reads.push((raw_bytes as f64 / took.as_secs_f64() / 1e6, mb_a_second(len * count, began)));
            cache.close().await?;
            drop(cache);
            std::fs::remove_dir_all(&dir)?;
            common::sync_file_system(root)?;
        }
        let best = (0..ways.len()).max_by(|&a, &b| {
            let raw = |n: usize| median(&writes[n].iter().map(|(raw, _)| *raw).collect::<Vec<_>>());
            raw(a).total_cmp(&raw(b))
        });
        for (n, rounds) in writes.iter().enumerate() {
            let target = if best == Some(n) { Target::AtLeast(0.7) } else { Target::None };
            let name = format!("10 MiB objects written and synced, against {:?}", ways[n]);
            self.report.rates(name, "MB/s", rounds, target);
        }
        let name = "10 MiB objects read cold, one reader, against O_DIRECT reads of 1 MiB, 4 in flight";
        self.report.rates(name, "MB/s", &reads, Target::AtLeast(0.8));
        Ok(())
    }

    /// 4 KiB out of 100 MiB beside a get of 4 KiB, both from the device, one after the other.
    async fn range(&mut self, root: &Path) -> Outcome<()> {
        if !self.args.wants("range") {
            return Ok(());
        }
        let (dir, len, ops) = (root.join("range"), self.megabytes(100, 8), self.args.sized(300, 40));
        let cache = self.open(&dir, BackendKind::Uring, 9 * len).await?;
        for n in 0..4 {
            self.write(&cache, &format!("object {n}"), n, len).await?;
            // As far from each other as the parts are.
            for small in 0..len / 4096 {
                cache.set(format!("{n}/{small}"), self.pattern.piece(small, 0, 4096)).await?;
            }
        }
        cache.close().await?;
        let cache = self.open(&dir, BackendKind::Uring, 9 * len).await?;
        let paths: Vec<PathBuf> = common::segment_files(&dir)?;
        let (mut rounds, mut kib) = (Vec::new(), Vec::new());
        for round in 0..self.args.rounds(7) as u64 {
            let mut random = Random::new(round);
            common::drop_pages(&paths)?;
            let began = Instant::now();
            for small in random.choose(ops as usize, 4 * (len / 4096)) {
                let hit = cache.get(format!("{}/{}", small % 4, small / 4)).await?.ok_or("it is not there")?;
                assert_eq!(hit.value().len(), 4096);
            }
            let get_us = began.elapsed().as_secs_f64() * 1e6 / ops as f64;
            common::drop_pages(&paths)?;
            let before = common::device_bytes_read();
            let began = Instant::now();
            for op in 0..ops {
                let (n, at) = (op % 4, random.below(len - 4096));
                let part = cache.get_range(format!("object {n}"), at..at + 4096).await?.ok_or("it is not there")?;
                assert!(*part.value() == self.pattern.piece(n, at, 4096), "a part of object {n}");
            }
            rounds.push((get_us, began.elapsed().as_secs_f64() * 1e6 / ops as f64));
            kib.push((common::device_bytes_read() - before) as f64 / 1024.0 / ops as f64);
        }
        let name = "4 KiB out of 100 MiB, against a get of 4 KiB, cold, one at a time";
        self.report.compare(name, "us", &rounds, Target::AtMost(3.0), |get, range| range / get);
        // A range may touch two chunks, and the head is read too.
        self.report.figure("4 KiB out of 100 MiB: read from the device", "KiB/op", kib, Target::None);
        cache.close().await?;
        drop(cache);
        std::fs::remove_dir_all(&dir)?;
        Ok(())
    }

    /// What the process takes more while a large object is written and read by eight who follow.
    async fn memory(&mut self, root: &Path) -> Outcome<()> {
        if !self.args.wants("memory") || !cfg!(target_os = "linux") {
            return Ok(());
        }
        let (dir, len) = (root.join("memory"), self.megabytes(1024, 64));
        let cache = self.open(&dir, BackendKind::Uring, len).await?;
        // What the first segments' buffers take is there.
        self.write(&cache, "before", 0, self.megabytes(64, 8)).await?;
        cache.sync().await?;
        let before = pattern::peak_resident(true)?;
        self.follow(&cache, 8, len).await?;
        let grown = (pattern::peak_resident(false)? - before) as f64 / MIB as f64;
        let name = "resident memory grown by a 1 GiB object, written and read by 8 attached readers";
        self.report.figure(name, "MiB", vec![grown], Target::AtMost(32.0));
        cache.close().await?;
        drop(cache);
        std::fs::remove_dir_all(&dir)?;
        Ok(())
    }

    /// A hundred readers of one writer.
    async fn followers(&mut self, root: &Path) -> Outcome<()> {
        if !self.args.wants("followers") {
            return Ok(());
        }
        let (dir, len) = (root.join("followers"), self.megabytes(100, 8));
        let cache = self.open(&dir, BackendKind::Uring, len).await?;
        let began = Instant::now();
        self.follow(&cache, 100, len).await?;
        let rate = mb_a_second(100 * len, began);
        self.report.figure(
            "100 readers attached to one writer of 100 MiB, all of them",
            "MB/s",
            vec![rate],
            Target::None,
        );
        cache.close().await?;
        drop(cache);
        std::fs::remove_dir_all(&dir)?;
        Ok(())
    }

    /// A writer, and readers that follow it from the beginning; every byte is compared.
    async fn follow(&self, cache: &DiskCache, readers: usize, len: u64) -> Outcome<()> {
        let mut writer = cache.writer("followed", SetOptions::new()).await?;
        let mut running = JoinSet::new();
        for _ in 0..readers {
            let (reader, pattern): (EntryReader, _) = (writer.reader(), self.pattern.clone());
            running.spawn(async move { pattern.check(reader, 77, len).await });
        }
        let mut at = 0;
        while at < len {
            let piece = self.pattern.piece(77, at, PIECE_BYTES.min((len - at) as usize));
            at += piece.len() as u64;
            writer.write_bytes(piece).await?;
        }
        let outcome = writer.finish().await?;
        if !outcome.is_stored() {
            return Err(format!("refused: {outcome:?}").into());
        }
        while let Some(read) = running.join_next().await {
            read??;
        }
        Ok(())
    }
}
