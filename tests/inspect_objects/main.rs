//! Values in chunks, seen from outside: an object is one thing to whoever looks at a directory, by the same rules by which a
//! cache takes it in.

#[path = "../common/mod.rs"]
mod common;

mod histories;
mod states;

use std::path::Path;
use std::sync::Arc;

use esker::backend::sim::Sim;
use esker::clock::{Clock, ManualClock};
use esker::config::DIRECTORY_OVERHEAD_BYTES;
use esker::inspect::{ChunkFault, Finding, Inspector, Piece, Summary};
use esker::{Config, DiskCache, Millis, RecoveryReport, SetOptions, Stats};

const DIR: &str = "/cache";
const SEGMENT_LEN_BYTES: u64 = 64 << 10;
/// The value of a chunk: 4 KiB less its frame.
const CHUNK: usize = 4096 - 52;
const NOW: Millis = Millis(1_700_000_000_000);

/// A disk and a clock.
struct Place {
    sim: Sim,
    clock: Arc<ManualClock>,
    segments: u64,
}

impl Place {
    fn new(seed: u64, segments: u64) -> Self {
        Self { sim: Sim::new(seed), clock: Arc::new(ManualClock::new(NOW)), segments }
    }

    /// The next life of the directory.
    async fn open(&self) -> DiskCache {
        open(&self.sim, self.clock.clone(), self.segments).await
    }

    /// The process is killed.
    fn kill(&mut self) {
        self.sim.crash_process();
        self.sim = self.sim.reopen();
    }

    fn inspector(&self) -> Inspector {
        Inspector::new(Arc::new(self.sim.clone()), DIR, self.clock.now())
    }

    /// Opens a copy: what a cache makes of the directory as it stands. With room to spare, so that nothing is evicted.
    async fn open_copy(&self) -> DiskCache {
        let copy = self.sim.fork(7).reopen();
        let clock = Arc::new(ManualClock::new(self.clock.now()));
        open(&copy, clock, self.segments * 2).await
    }

    /// What a cache holds right after it was opened. One whose upkeep drops an expired segment before it is asked is opened again.
    async fn opened(&self) -> (Stats, RecoveryReport) {
        for _ in 0..100 {
            let cache = self.open_copy().await;
            let (stats, report) = (cache.stats(), cache.recovery_report());
            if cache.stats().counts.evictions_tried == 0 {
                return (stats, report);
            }
        }
        panic!("eviction was quicker, a hundred times")
    }

    /// What is said of the directory by looking is what a cache says that opens it.
    async fn assert_agrees(&self, when: &str) -> Summary {
        let summary = self.inspector().summary().await.unwrap();
        let (stats, report) = self.opened().await;
        let looked = [
            summary.entries,
            summary.objects,
            summary.objects_not_whole,
            summary.chunks_dead,
            summary.live_bytes,
            summary.dead_bytes,
        ];
        let opened = [
            stats.entries,
            stats.objects,
            report.dropped_objects,
            report.dropped_chunks,
            stats.live_bytes,
            stats.dead_bytes,
        ];
        let names = "entries, objects, not whole, dead chunks, live bytes, dead bytes";
        assert_eq!(looked, opened, "{when}: {names}: {report:#?}");
        assert_eq!(summary.live_bytes, summary.segments.iter().map(|segment| segment.live_bytes).sum::<u64>());
        let mut entries = 0;
        assert_eq!(self.inspector().entries(&mut |_| entries += 1).await.unwrap(), summary.entries, "{when}");
        assert_eq!(entries, summary.entries, "{when}");
        let verified = self.inspector().verify(&mut |_| {}).await.unwrap();
        let found = (verified.objects, verified.objects_not_whole, verified.chunks_dead);
        assert_eq!(found, (summary.objects, summary.objects_not_whole, summary.chunks_dead), "{when}");
        summary
    }
}

async fn open(sim: &Sim, clock: Arc<ManualClock>, segments: u64) -> DiskCache {
    let config = Config {
        capacity_bytes: segments * SEGMENT_LEN_BYTES + DIRECTORY_OVERHEAD_BYTES,
        segment_len_bytes: Some(SEGMENT_LEN_BYTES),
        chunk_len_bytes: 4096,
        flush_interval_ms: 20,
        ..Config::default()
    };
    let builder = DiskCache::builder(DIR).config(config).clock(clock);
    builder.backend_with(Arc::new(sim.clone())).open().await.unwrap()
}

/// A value that differs at each position and from other values.
fn value(n: u64, len: usize) -> Vec<u8> {
    let word = |at: u64| (at ^ n << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..len.div_ceil(8) as u64).flat_map(|at| word(at).to_le_bytes()).take(len).collect()
}

/// Writes a value piece by piece; small ones become one record.
async fn write(cache: &DiskCache, key: &str, value: &[u8], options: SetOptions) -> bool {
    let mut writer = cache.writer(key, options).await.unwrap();
    for piece in value.chunks(10_000) {
        writer.write_bytes(piece.to_vec().into()).await.unwrap();
    }
    writer.finish().await.unwrap().is_stored()
}

/// All that is read of a value, and where it was cut short.
async fn read(inspector: &Inspector, finding: &Finding) -> (Vec<u8>, Option<ChunkFault>) {
    let (mut all, mut value) = (Vec::new(), inspector.value(finding));
    while let Some(piece) = value.next().await.unwrap() {
        match piece {
            Piece::Bytes(bytes) => all.extend_from_slice(&bytes),
            Piece::Fault(fault) => {
                assert!(value.next().await.unwrap().is_none(), "nothing comes behind a fault");
                return (all, Some(fault));
            }
        }
    }
    (all, None)
}

/// The segment files, by name.
fn segment_files(sim: &Sim) -> Vec<std::path::PathBuf> {
    let mut files = sim.list_files(Path::new(DIR)).unwrap();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "esk"));
    files.sort();
    files
}
