//! One script, and what its crash points leave.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use esker::backend::Backend;
use esker::backend::sim::{FaultPlan, OpKind, Sim};
use esker::clock::ManualClock;
use esker::{Config, DiskCache, Durability, Millis, SetOptions};

use super::Verb;
use crate::common::{SEGMENT_LEN_BYTES, key, read_value, small, value};
use crate::crew::Broken;
use crate::watched::{Event, Watched};

const DIR: &str = "/cache";
const START: Millis = Millis(1_700_000_000_000);
/// The key that it is about.
const KEY: u32 = 0;
const SEGMENTS: u64 = 5;
const FILLER_BYTES: usize = 8 << 10;
/// Of a chunk's record, of which 52 bytes are no value.
const CHUNK_LEN_BYTES: u64 = 4 << 10;
const CHUNK_FRAME_BYTES: usize = 52;
/// Of a streamed value.
const CHUNKS: usize = 10;
/// Power losses with other dice, at each point.
const DICE: u64 = 3;

/// Everything that happened to the key, and how much of it is safe. A version of 0 is a delete.
#[derive(Debug, Clone, Default)]
struct History {
    versions: Vec<u32>,
    /// Of these, so many survive a power loss.
    synced: usize,
    /// Eviction may have taken the key.
    has_evicted: bool,
}

impl History {
    fn judge(&self, answer: Option<u32>) -> Result<(), String> {
        let from = self.synced.saturating_sub(1);
        let last = self.versions.last().copied();
        let is_fine = match answer {
            Some(version) => self.versions[from.min(self.versions.len())..].contains(&version),
            None => self.has_evicted || self.synced < self.versions.len() || last.is_none_or(|version| version == 0),
        };
        if is_fine { Ok(()) } else { Err(format!("the key shows {answer:?}, its history is {self:?}")) }
    }
}

/// A copy of the disk, and what had happened by then.
struct Point {
    disk: Sim,
    history: History,
}

#[derive(Default)]
struct Seen {
    history: History,
    points: Vec<Point>,
    count: u64,
}

struct Stage {
    sim: Sim,
    clock: Arc<ManualClock>,
    seen: Arc<Mutex<Seen>>,
    next: u32,
    fillers: u32,
}

/// Runs a script; how many crash points were judged.
pub fn run(seed: u64, script: &[Verb], lies: bool) -> Result<u64, Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.map_err(|e| (e.to_string(), String::new()))?;
    let mut at = 0;
    let judged = runtime.block_on(async {
        let mut stage = Stage::new(seed, lies).await?;
        let mut cache = stage.open().await?;
        stage.judge_points().await?;
        for verb in script {
            at += 1;
            cache = stage.play(*verb, cache).await?;
            let answer = read(&cache).await?;
            let history = stage.lock().history.clone();
            let newest = history.versions.last().copied().unwrap_or_default();
            if answer != Some(newest).filter(|v| *v > 0) && !(answer.is_none() && history.has_evicted) {
                return Err(format!("alive, the key shows {answer:?}, its history is {history:?}"));
            }
            stage.judge_points().await?;
        }
        Ok(stage.lock().count)
    });
    judged.map_err(|what: String| (format!("at verb {at}: {what}"), String::new()))
}

impl Stage {
    async fn new(seed: u64, lies: bool) -> Result<Self, String> {
        let sim = Sim::new(seed);
        sim.create_dir_all(Path::new(DIR)).await.map_err(|e| e.to_string())?;
        sim.sync_dir(Path::new("/")).await.map_err(|e| e.to_string())?;
        sim.set_faults(FaultPlan { lie_about_sync: lies, ..FaultPlan::default() });
        let clock = Arc::new(ManualClock::new(START));
        Ok(Self { sim, clock, seen: Arc::default(), next: 0, fillers: 0 })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open_on(&self, backend: Arc<dyn Backend>) -> Result<DiskCache, String> {
        let config =
            Config { index_shards: 1, rewrite_share_percent: 0, chunk_len_bytes: CHUNK_LEN_BYTES, ..small(SEGMENTS) };
        let builder = DiskCache::builder(DIR).config(config).seed([7; 16]).clock(self.clock.clone());
        builder.backend_with(backend).open().await.map_err(|e| format!("cannot open: {e}"))
    }

    /// Opens the cache on a disk that is copied at each of its operations.
    async fn open(&self) -> Result<DiskCache, String> {
        let (sim, seen) = (self.sim.clone(), self.seen.clone());
        let watcher = move |event: Event<'_>| {
            if matches!(event.kind, OpKind::Read | OpKind::Len | OpKind::List) {
                return;
            }
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let history = seen.history.clone();
            seen.points.push(Point { disk: sim.fork(0), history });
        };
        self.open_on(Arc::new(Watched { sim: self.sim.clone(), watcher: Arc::new(watcher) })).await
    }

    async fn play(&mut self, verb: Verb, cache: DiskCache) -> Result<DiskCache, String> {
        match verb {
            Verb::Set => self.set(&cache, Durability::Buffered).await?,
            Verb::Overwrite => self.set(&cache, Durability::Synced).await?,
            Verb::Delete => {
                self.lock().history.versions.push(0);
                cache.delete(key(KEY)).await.map_err(|e| format!("delete: {e}"))?;
                self.is_synced();
            }
            Verb::Sync => {
                cache.sync().await.map_err(|e| format!("sync: {e}"))?;
                self.is_synced();
            }
            Verb::Rotate => self.fill(&cache, SEGMENT_LEN_BYTES as usize).await?,
            Verb::Evict => {
                self.lock().history.has_evicted = true;
                self.fill(&cache, 6 * SEGMENT_LEN_BYTES as usize).await?;
            }
            Verb::Stream => self.stream(&cache).await?,
            Verb::Reopen => {
                cache.close().await.map_err(|e| format!("close: {e}"))?;
                self.is_synced();
                drop(cache);
                self.sim = self.sim.reopen();
                return self.open().await;
            }
        }
        // What is buffered goes its way.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(cache)
    }

    async fn set(&mut self, cache: &DiskCache, durability: Durability) -> Result<(), String> {
        self.next += 1;
        self.lock().history.versions.push(self.next);
        let (bytes, options) = (value(KEY, self.next, 500), SetOptions::new().durability(durability));
        let outcome = cache.set_with(key(KEY), bytes, options).await.map_err(|e| format!("set: {e}"))?;
        if !outcome.is_stored() {
            return Err(format!("set: {outcome:?}"));
        }
        if durability == Durability::Synced {
            self.is_synced();
        }
        Ok(())
    }

    async fn stream(&mut self, cache: &DiskCache) -> Result<(), String> {
        self.next += 1;
        self.lock().history.versions.push(self.next);
        self.may_evict(cache);
        let failed = |e: esker::Error| format!("stream: {e}");
        let bytes = Bytes::from(value(KEY, self.next, CHUNKS * CHUNK_LEN_BYTES as usize - CHUNKS * CHUNK_FRAME_BYTES));
        let options = SetOptions::new().durability(Durability::Synced);
        let mut writer = cache.writer(key(KEY), options).await.map_err(failed)?;
        for piece in bytes.chunks(bytes.len() / CHUNKS) {
            writer.write_bytes(bytes.slice_ref(piece)).await.map_err(failed)?;
            cache.flush().await.map_err(failed)?;
        }
        let outcome = writer.finish().await.map_err(failed)?;
        if !outcome.is_stored() {
            return Err(format!("stream: {outcome:?}"));
        }
        self.is_synced();
        Ok(())
    }

    /// Rotating often enough evicts too: the next segment is the last but one.
    fn may_evict(&self, cache: &DiskCache) {
        let stats = cache.stats();
        if stats.segments - stats.segments_free + 2 >= SEGMENTS {
            self.lock().history.has_evicted = true;
        }
    }

    fn is_synced(&self) {
        let mut seen = self.lock();
        seen.history.synced = seen.history.versions.len();
    }

    async fn fill(&mut self, cache: &DiskCache, bytes: usize) -> Result<(), String> {
        for _ in 0..bytes / FILLER_BYTES {
            self.fillers += 1;
            self.may_evict(cache);
            let outcome = cache.set(format!("filler {}", self.fillers), vec![1; FILLER_BYTES - 100]).await;
            let outcome = outcome.map_err(|e| format!("fill: {e}"))?;
            if !outcome.is_stored() {
                return Err(format!("fill: {outcome:?}"));
            }
        }
        Ok(())
    }

    /// Crashes every copy in every way.
    async fn judge_points(&self) -> Result<(), String> {
        let points = std::mem::take(&mut self.lock().points);
        for (n, point) in points.into_iter().enumerate() {
            for dice in 0..=DICE {
                let disk = point.disk.fork((n as u64) << 8 | dice);
                if dice == 0 {
                    disk.crash_process()
                } else {
                    disk.power_loss()
                }
                let disk = disk.reopen();
                disk.clear_faults();
                let cache = self.open_on(Arc::new(disk.clone())).await?;
                let answer = read(&cache).await?;
                let judged = point.history.judge(answer);
                judged.map_err(|what| format!("crash point {n}, dice {dice} (0 is a kill): {what}"))?;
                disk.crash_process();
                self.lock().count += 1;
            }
        }
        Ok(())
    }
}

async fn read(cache: &DiskCache) -> Result<Option<u32>, String> {
    let hit = cache.get(key(KEY)).await.map_err(|e| format!("get: {e}"))?;
    hit.map(|hit| match read_value(hit.value()) {
        Some((KEY, version)) => Ok(version),
        other => Err(format!("the bytes of {other:?}")),
    })
    .transpose()
}
