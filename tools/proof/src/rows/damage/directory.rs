//! The directories that are damaged: made by the cache itself, with known contents.
//!
//! Several short lives, each closed, so that small segments are sealed; the last is killed. There are overwritten keys,
//! deletes, markers, moved entries, an expired one, a cleared range, files that are free, and files in a later life of
//! theirs: what each file held before is kept too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use esker::backend::Backend;
use esker::backend::sim::Sim;
use esker::clock::ManualClock;
use esker::{Config, DiskCache, Durability, Millis, SetOptions};

use super::layout::Layout;
use crate::common::{Dice, key, read_value, small, value};

/// Where the cache lives.
pub const DIR: &str = "/cache";
/// The seed of its digests.
pub const SEED: [u8; 16] = [7; 16];

const START: Millis = Millis(1_700_000_000_000);
/// The longest value: a few records fill a sector.
const MAX_VALUE_BYTES: u64 = 60;
const SHORT_TTL: Duration = Duration::from_secs(30);
const LIVES: u32 = 4;

/// What kind of directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Nothing was evicted; a range was cleared.
    Roomy,
    /// Eviction took, moved and marked; files were used again.
    Worn,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Roomy, Self::Worn];

    /// As a case names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Roomy => "roomy",
            Self::Worn => "worn",
        }
    }

    fn segments(self) -> u64 {
        match self {
            Self::Roomy => 16,
            Self::Worn => 6,
        }
    }
}

/// A directory at rest.
pub struct Directory {
    /// The disk that holds it; forked for each case.
    pub sim: Sim,
    /// When it is.
    pub now: Millis,
    /// The version of each key that counts; 0: none, it was deleted, cleared, or has expired.
    pub truth: BTreeMap<u32, u32>,
    /// What the undamaged directory serves.
    pub served: BTreeSet<u32>,
    /// Every file and its bytes.
    pub files: Vec<(String, Vec<u8>)>,
    /// What stands where in them.
    pub layouts: Vec<Layout>,
    /// What the segment files held before: a name and its bytes, each once.
    pub older: Vec<(String, Vec<u8>)>,
}

/// Opens the cache on a disk. Larger than it was, so that nothing is evicted while it is judged.
pub async fn open(sim: &Sim, now: Millis, segments: u64) -> esker::Result<DiskCache> {
    let config = Config { index_shards: 1, short_ttl_ms: SHORT_TTL.as_millis() as u64, ..small(segments) };
    let builder = DiskCache::builder(DIR).config(config).seed(SEED).clock(Arc::new(ManualClock::new(now)));
    builder.backend_with(Arc::new(sim.clone())).open().await
}

struct Maker {
    dice: Dice,
    sim: Sim,
    now: Millis,
    shape: Shape,
    version: u32,
    truth: BTreeMap<u32, u32>,
    /// Keys that expire, and when.
    expiring: BTreeMap<u32, Millis>,
    older: Vec<(String, Vec<u8>)>,
}

/// Makes the directory of this shape and seed.
///
/// # Errors
/// The cache did not do as it was told on a disk without a fault.
pub async fn make(shape: Shape, seed: u64) -> Result<Directory, String> {
    let sim = Sim::new(seed);
    sim.create_dir_all(Path::new(DIR)).await.map_err(|e| e.to_string())?;
    sim.sync_dir(Path::new("/")).await.map_err(|e| e.to_string())?;
    let (dice, truth) = (Dice::new(seed), BTreeMap::new());
    let mut maker =
        Maker { dice, sim, now: START, shape, version: 0, truth, expiring: BTreeMap::new(), older: Vec::new() };
    for life in 0..LIVES {
        maker.live(life).await?;
        maker.remember()?;
    }
    maker.last_life().await?;
    maker.finish().await
}

impl Maker {
    async fn open(&self) -> Result<DiskCache, String> {
        open(&self.sim, self.now, self.shape.segments()).await.map_err(|e| format!("cannot open: {e}"))
    }

    /// A life that is closed.
    async fn live(&mut self, life: u32) -> Result<(), String> {
        let cache = self.open().await?;
        // Written once and never again, so that it stands alone in the oldest segment.
        self.set(&cache, 100 + life, Duration::ZERO).await?;
        for _ in 0..2 {
            let n = self.dice.below(8) as u32;
            self.set(&cache, n, Duration::ZERO).await?;
        }
        if life.is_multiple_of(2) {
            self.set(&cache, 20 + life, SHORT_TTL).await?;
        } else {
            let n = self.dice.below(8) as u32;
            self.delete(&cache, n).await?;
        }
        if life == LIVES - 2 {
            // Long enough for the stream of new entries, and over before the end.
            self.set(&cache, 30, SHORT_TTL * 2).await?;
        }
        // What is read is moved by eviction.
        for n in [100 + life, 100] {
            cache.get(key(n)).await.map_err(|e| format!("get: {e}"))?;
        }
        if life == 1 && self.shape == Shape::Roomy {
            cache.clear().await.map_err(|e| format!("clear: {e}"))?;
            self.truth.values_mut().for_each(|version| *version = 0);
        }
        self.advance(20_000);
        cache.close().await.map_err(|e| format!("close: {e}"))?;
        drop(cache);
        self.sim = self.sim.reopen();
        Ok(())
    }

    /// The life that is killed: some of it was vouched for by a pad, some not.
    async fn last_life(&mut self) -> Result<(), String> {
        self.advance(100_000);
        let cache = self.open().await?;
        for n in [0, 1, 2, 40, 41] {
            self.set(&cache, n, Duration::ZERO).await?;
        }
        self.delete(&cache, 41).await?;
        self.set(&cache, 42, SHORT_TTL).await?;
        for n in [3, 43, 42] {
            let ttl = if n == 42 { SHORT_TTL } else { Duration::ZERO };
            self.set(&cache, n, ttl).await?;
        }
        self.delete(&cache, 4).await?;
        // Upkeep ends what it has begun.
        tokio::time::sleep(Duration::from_secs(5)).await;
        self.sim = self.sim.reopen();
        drop(cache);
        Ok(())
    }

    async fn finish(self) -> Result<Directory, String> {
        let Self { sim, now, mut truth, expiring, .. } = self;
        for (n, at) in &expiring {
            if *at <= now {
                truth.insert(*n, 0);
            }
        }
        let mut files = Vec::new();
        for path in sim.list_files(DIR).map_err(|e| e.to_string())? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push((name, sim.read_file(&path).map_err(|e| e.to_string())?));
        }
        // Durable, so that only damage changes it.
        let disk = Sim::new(1);
        for (name, bytes) in &files {
            disk.write_file(Path::new(DIR).join(name), bytes.clone()).map_err(|e| e.to_string())?;
        }
        let layouts = files.iter().map(|(name, bytes)| Layout::of(name, bytes)).collect();
        let mut served = BTreeSet::new();
        let cache = open(&disk.fork(1).reopen(), now, 16).await.map_err(|e| e.to_string())?;
        for (&n, &version) in &truth {
            let hit = cache.get(key(n)).await.map_err(|e| e.to_string())?;
            match hit.map(|hit| read_value(hit.value())) {
                None => {}
                Some(Some((whose, which))) if whose == n && which == version && version > 0 => {
                    served.insert(n);
                }
                Some(other) => return Err(format!("undamaged, key {n} shows {other:?}, and {version} is the newest")),
            }
        }
        let is_old = |(name, bytes): &(String, Vec<u8>)| !files.iter().any(|(n, b)| n == name && b == bytes);
        let older = self.older.into_iter().filter(is_old).collect();
        Ok(Directory { sim: disk, now, truth, served, layouts, older, files })
    }

    async fn set(&mut self, cache: &DiskCache, n: u32, ttl: Duration) -> Result<(), String> {
        self.version += 1;
        let len = 12 + self.dice.below(MAX_VALUE_BYTES) as usize;
        let mut options = SetOptions::new().durability(Durability::Synced);
        if self.version % 4 == 1 {
            options = options.tags(["red", "blue"]).metadata("meta");
        }
        self.expiring.remove(&n);
        if ttl > Duration::ZERO {
            options = options.ttl(ttl);
            self.expiring.insert(n, Millis(self.now.0 + ttl.as_millis() as u64));
        }
        let outcome = cache.set_with(key(n), value(n, self.version, len), options).await;
        match outcome.map_err(|e| format!("set {n}: {e}"))? {
            outcome if outcome.is_stored() => {
                self.truth.insert(n, self.version);
                Ok(())
            }
            outcome => Err(format!("set {n}: {outcome:?}")),
        }
    }

    async fn delete(&mut self, cache: &DiskCache, n: u32) -> Result<(), String> {
        cache.delete(key(n)).await.map_err(|e| format!("delete {n}: {e}"))?;
        self.truth.insert(n, 0);
        Ok(())
    }

    fn advance(&mut self, ms: u64) {
        self.now = Millis(self.now.0 + ms);
    }

    /// Keeps what the segment files hold now.
    fn remember(&mut self) -> Result<(), String> {
        for path in self.sim.list_files(DIR).map_err(|e| e.to_string())? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let bytes = self.sim.read_file(&path).map_err(|e| e.to_string())?;
            if name.starts_with("seg-") && !self.older.contains(&(name.clone(), bytes.clone())) {
                self.older.push((name, bytes));
            }
        }
        Ok(())
    }
}
