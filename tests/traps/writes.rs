//! Trap 12: a block is written once in the life of a segment.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use esker::backend::sim::{FaultPlan, OpKind, Sim};
use esker::backend::{Backend, DiskFile, IoFuture, OpenMode, WriteBuf};
use esker::format::segment_header::{FREE_STREAM, SegmentHeader};
use esker::{BackendKind, DiskCache, Durability, SetOptions};

use crate::common::forward::{forward_file, forward_names};
use crate::table::{DIR, SEED, Table, eventually, get, put, short_lived};

/// The ranges written to each file since its header was written last, and what was written twice.
#[derive(Default)]
struct Log {
    ranges: HashMap<PathBuf, Vec<Range<u64>>>,
    writes: usize,
    lives: usize,
    overlaps: Vec<String>,
}

/// A disk that remembers what is written where.
#[derive(Clone)]
struct Recorder {
    inner: Sim,
    log: Arc<Mutex<Log>>,
}

struct Recorded {
    inner: Arc<dyn DiskFile>,
    path: PathBuf,
    log: Arc<Mutex<Log>>,
}

impl Recorded {
    fn note(&self, range: Range<u64>) {
        let mut log = self.log.lock().unwrap();
        log.writes += 1;
        if range.start == 0 {
            log.lives += 1;
            log.ranges.insert(self.path.clone(), vec![range]);
            return;
        }
        let before = log.ranges.entry(self.path.clone()).or_default();
        let overlap = before.iter().find(|r| r.start < range.end && range.start < r.end).cloned();
        before.push(range.clone());
        if let Some(overlap) = overlap {
            log.overlaps.push(format!("{}: {range:?} over {overlap:?}", self.path.display()));
        }
    }
}

impl DiskFile for Recorded {
    fn read_at(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        self.inner.read_at(offset, len)
    }

    fn write_at(&self, offset: u64, buf: WriteBuf) -> IoFuture<usize> {
        // A footer that becomes zero: the file is freed.
        if buf.iter().any(|&b| b != 0) {
            self.note(offset..offset + buf.len() as u64);
        }
        self.inner.write_at(offset, buf)
    }

    forward_file!(inner);
}

impl Backend for Recorder {
    fn kind(&self) -> BackendKind {
        BackendKind::Sim
    }

    fn open(&self, path: &Path, mode: OpenMode) -> IoFuture<Arc<dyn DiskFile>> {
        let (opening, path, log) = (self.inner.open(path, mode), path.to_owned(), self.log.clone());
        Box::pin(async move { Ok(Arc::new(Recorded { inner: opening.await?, path, log }) as Arc<dyn DiskFile>) })
    }

    forward_names!(inner);
}

/// P1. Flushes of a few bytes each, through many lives of every file: no block is written twice, each entry reads back
/// at once from whichever side of the flush it is, and the padding is counted.
#[tokio::test(flavor = "multi_thread")]
async fn trap_12_no_block_is_written_twice() {
    let table = Table::new(1, 8);
    let disk = Recorder { inner: table.sim.clone(), log: Arc::default() };
    let log = disk.log.clone();
    let builder = DiskCache::builder(DIR).config(table.config.clone()).seed(SEED);
    let cache = builder.backend_with(Arc::new(disk)).open().await.unwrap();
    for n in 0..400usize {
        let value = format!("{n} ").repeat(n % 90 * 10 + 1);
        let durability = [Durability::Buffered, Durability::Written, Durability::Synced][n % 3];
        put(&cache, &format!("k{n}"), &value, SetOptions::new().durability(durability)).await;
        assert_eq!(get(&cache, &format!("k{n}")).await, Some(value));
    }
    cache.close().await.unwrap();
    let log = log.lock().unwrap();
    assert!(log.overlaps.is_empty(), "written twice: {:#?}", log.overlaps);
    assert!(log.writes > 300 && log.lives > 16, "{} writes, {} lives: too few to show anything", log.writes, log.lives);
    assert!(cache.stats().counts.bytes_padded > 0);
}

/// P4. While a full segment waits for its sync, writes of the next one go ahead; when the power goes then, nothing of
/// the next one survives that stood behind something lost.
#[tokio::test(flavor = "multi_thread")]
async fn trap_06_what_goes_ahead_of_a_seal_is_nothing_without_it() {
    const ENTRIES: usize = 100;
    let table = Table::new(4, 8);
    let cache = table.open().await;
    // A new file waits for a sync of its own: here they are there, free again since all in them has expired.
    for n in 0..30 {
        put(&cache, &format!("brief {n}"), &"b".repeat(8 << 10), short_lived()).await;
    }
    table.clock.advance(120_000);
    eventually("free files", || async { cache.stats().segments_free >= 3 }).await;
    let stall = |ops: &[OpKind]| table.sim.set_faults(FaultPlan { stalled: ops.into(), ..FaultPlan::default() });
    // No write ends before both segments have some to do.
    stall(&[OpKind::Write, OpKind::Sync]);
    for n in 0..ENTRIES {
        put(&cache, &format!("k{n}"), &format!("an entry {n:01000}"), SetOptions::new()).await;
    }
    stall(&[OpKind::Sync]);
    let is_ahead = || {
        let files = table.segment_files().into_iter().map(|path| table.sim.read_file(path).unwrap());
        let begun: Vec<_> = files.filter(|file| file.windows(10).any(|w| w == b"an entry 0")).collect();
        let is_used = |file: &&Vec<u8>| SegmentHeader::decode(file).is_ok_and(|header| header.stream != FREE_STREAM);
        let whole = begun.iter().filter(is_used).count();
        async move { begun.len() == 2 && whole == 1 }
    };
    eventually("a write ahead of the seal", is_ahead).await;
    let mut kept = Vec::new();
    for seed in 0..40 {
        let sim = table.sim.fork(seed);
        sim.power_loss();
        let sim = sim.reopen();
        sim.clear_faults();
        let after = table.open_on(&sim).await;
        let mut there = Vec::new();
        for n in 0..ENTRIES {
            there.push(get(&after, &format!("k{n}")).await.is_some());
        }
        let prefix = there.iter().take_while(|&&is_there| is_there).count();
        assert!(there[prefix..].iter().all(|is_there| !is_there), "seed {seed}: not a prefix: {there:?}");
        kept.push(prefix);
    }
    assert!(kept.contains(&0) && kept.iter().any(|&n| n > 40), "too alike to show anything: {kept:?}");
    table.sim.clear_faults();
    cache.close().await.unwrap();
}
