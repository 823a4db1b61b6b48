//! One size.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use esker::backend::probe;
use esker::backend::sim::OpKind;
use esker::{BackendKind, Config, DiskCache, RefuseReason, SetOutcome};
use tokio::runtime::Builder;

use crate::common::hook::{Hook, Hooked};
use crate::common::{Dice, SEGMENT_LEN_BYTES, key, read_value, small, value};
use crate::crew::Broken;
use crate::machine::{Kind, SmallDisk};
use crate::row::Order;
use crate::usage;

/// Segments of the cache, how many of them eviction keeps available, and what the file system holds besides.
const SEGMENTS: u64 = 16;
const KEPT_AVAILABLE: u64 = 3;
const BESIDE_BYTES: u64 = 2 << 20;
const KEYS: u64 = 64;
/// Sets while the room is short: more than the cache holds. Fewer, where this many were refused.
const SETS: u64 = 320;
const ENOUGH_REFUSALS: u64 = 3;
/// So long no set is refused: then writes have resumed.
const QUIET: Duration = Duration::from_millis(1_200);
/// No operation takes longer, and writes resume within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which size.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub kind: Kind,
    pub backend: BackendKind,
    pub number: u64,
}

/// What was counted.
#[derive(Debug, Default)]
pub struct Tally {
    pub sizes: u64,
    opens_refused: u64,
    sets: u64,
    pub refused: u64,
    gets: u64,
    hits: u64,
    pub evicted: u64,
    slowest_resume_ms: u64,
    peak_bytes: u64,
}

impl Tally {
    /// Adds what another thread counted.
    pub fn add(&mut self, other: &Self) {
        self.sizes += other.sizes;
        self.opens_refused += other.opens_refused;
        self.sets += other.sets;
        self.refused += other.refused;
        self.gets += other.gets;
        self.hits += other.hits;
        self.evicted += other.evicted;
        self.slowest_resume_ms = self.slowest_resume_ms.max(other.slowest_resume_ms);
        self.peak_bytes = self.peak_bytes.max(other.peak_bytes);
    }

    /// The counts by name.
    pub fn named(&self) -> Vec<(String, u64)> {
        let counts = [
            ("sizes", self.sizes),
            ("opens refused", self.opens_refused),
            ("sets", self.sets),
            ("refused", self.refused),
            ("gets", self.gets),
            ("hits", self.hits),
            ("entries evicted", self.evicted),
            ("slowest resumption, ms", self.slowest_resume_ms),
            ("disk at most, bytes", self.peak_bytes),
        ];
        counts.map(|(name, count)| (name.to_owned(), count)).to_vec()
    }
}

/// A cache on a small disk, and what was last done to each key: its version, or `None` where it must be gone.
struct Step<'a> {
    cache: DiskCache,
    dir: &'a Path,
    config: Config,
    known: BTreeMap<u32, Option<u32>>,
    version: u32,
    dice: Dice,
    tally: &'a mut Tally,
    diary: &'a mut String,
}

impl Case {
    /// As `--case` takes it.
    pub fn name(&self) -> String {
        format!("{} {} {}", self.kind.name(), self.backend, self.number)
    }

    /// Runs it.
    pub fn run(&self, order: &Order, sizes: u64, tally: &mut Tally) -> Result<(), Broken> {
        let mut diary = String::new();
        let done = self.on_mount(order, sizes, tally, &mut diary);
        tally.sizes += 1;
        done.map_err(|what| (what, diary))
    }

    fn on_mount(&self, order: &Order, sizes: u64, tally: &mut Tally, diary: &mut String) -> Result<(), String> {
        let config = Config { backend: self.backend, ..small(SEGMENTS) };
        let mut dice = Dice::new(order.seed.wrapping_mul(1_000_003) ^ self.number);
        let most = config.capacity_bytes + SEGMENT_LEN_BYTES;
        let step = most / sizes.max(1);
        let room = (step * self.number + dice.below(step.max(1))) % most;
        let at = order.dir.join(format!("full-{}-{}-{}", self.kind.name(), self.backend, self.number));
        // What ext4 takes for itself; the ballast takes what is left of it.
        let own = if self.kind == Kind::Ext4 { 6 << 20 } else { 0 };
        let text = |e: anyhow::Error| format!("{e:#}");
        let mount = SmallDisk::new(self.kind, &at, config.capacity_bytes + BESIDE_BYTES + own).map_err(text)?;
        mount.leave_free(room).map_err(text)?;
        *diary += &format!("{room} bytes of room for {}\n", config.capacity_bytes);
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|e| e.to_string())?;
        let done = runtime.block_on(self.steps(&mount, config, dice, order.canary, tally, diary));
        runtime.shutdown_timeout(PATIENCE);
        done
    }

    async fn steps(
        &self,
        mount: &SmallDisk,
        config: Config,
        dice: Dice,
        is_canary: bool,
        tally: &mut Tally,
        diary: &mut String,
    ) -> Result<(), String> {
        let dir = mount.path().join("cache");
        let (sticks, strays) =
            (is_canary && self.number.is_multiple_of(2), is_canary && !self.number.is_multiple_of(2));
        let is_stuck = Arc::new(AtomicBool::new(false));
        let open = || open(&dir, &config, sticks.then(|| is_stuck.clone()));
        let cache = match open().await {
            Ok(cache) => cache,
            Err(error) => {
                // Where not even the directory has room: the reason is said, and it works once there is.
                let is_full = error.to_string().contains("free space on that disk");
                *diary += &format!("open: {error}\n");
                if !is_full {
                    return Err(format!("open was refused, but not since the disk is full: {error}"));
                }
                tally.opens_refused += 1;
                mount
                    .leave_free(BESIDE_BYTES.max(config.capacity_bytes + BESIDE_BYTES / 2))
                    .map_err(|e| e.to_string())?;
                open().await.map_err(|e| format!("open, though there is room now: {e}"))?
            }
        };
        let known = BTreeMap::new();
        let mut step = Step { cache, dir: &dir, config: config.clone(), known, version: 0, dice, tally, diary };
        step.fill(SETS, true).await?;
        step.read_all().await?;
        is_stuck.store(true, Ordering::SeqCst);
        if strays {
            std::fs::File::create(dir.join("stray")).and_then(|f| f.set_len(1 << 21)).map_err(|e| e.to_string())?;
        }
        mount
            .leave_free(config.capacity_bytes + BESIDE_BYTES / 2)
            .or_else(|_| mount.leave_free(0))
            .map_err(|e| e.to_string())?;
        step.resume().await?;
        step.fill(SETS, false).await?;
        step.read_all().await?;
        step.judge_growth()?;
        let (known, cache) = (step.known.clone(), step.cache.clone());
        step.tally.evicted += cache.stats().counts.entries_evicted;
        cache.close().await.map_err(|e| format!("close: {e}"))?;
        is_stuck.store(false, Ordering::SeqCst);
        drop(cache);
        step.cache = open().await.map_err(|e| format!("reopen: {e}"))?;
        step.known = known;
        step.read_all().await?;
        step.cache.close().await.map_err(|e| format!("close: {e}"))
    }
}

/// Opens the cache; with a flag, on a disk that says that it is full wherever a segment is to be written, once it is set.
async fn open(dir: &Path, config: &Config, stuck: Option<Arc<AtomicBool>>) -> esker::Result<DiskCache> {
    let builder = DiskCache::builder(dir).config(config.clone());
    let Some(stuck) = stuck else { return builder.open().await };
    let hook: Hook = Arc::new(move |kind, path| {
        let is_full = kind == OpKind::Open && stuck.load(Ordering::SeqCst) && path.extension().is_some();
        is_full.then(|| Box::pin(async { Err(std::io::ErrorKind::StorageFull.into()) }) as _)
    });
    let inner = probe::choose(config.backend)?;
    builder.backend_with(Arc::new(Hooked { inner, hook, linger: Duration::ZERO })).open().await
}

impl Step<'_> {
    /// Sets and gets in turn. Only where the room is short may sets be refused, and then the disk must be full.
    async fn fill(&mut self, sets: u64, may_refuse: bool) -> Result<(), String> {
        let mut refused = 0;
        for _ in 0..sets {
            let k = self.dice.below(KEYS) as u32;
            match self.set(k).await? {
                SetOutcome::Stored { .. } | SetOutcome::Held => {}
                SetOutcome::Refused { reason: RefuseReason::DiskFull } if may_refuse => refused += 1,
                SetOutcome::Refused { reason } => return Err(format!("a set was refused: {reason:?}")),
            }
            self.get(k).await?;
            let other = self.dice.below(KEYS) as u32;
            self.get(other).await?;
            self.judge_size()?;
            if refused >= ENOUGH_REFUSALS {
                break;
            }
        }
        *self.diary += &format!("filled: {refused} refused, {} segments\n", self.cache.stats().segments);
        Ok(())
    }

    async fn set(&mut self, k: u32) -> Result<SetOutcome, String> {
        self.version += 1;
        let value = value(k, self.version, self.dice.below(12_000) as usize);
        let setting = tokio::time::timeout(PATIENCE, self.cache.set(key(k), value)).await;
        let outcome =
            setting.map_err(|_| format!("a set hung: {:?}", self.cache.stats()))?.map_err(|e| format!("set: {e}"))?;
        let is_stored = outcome.is_stored();
        self.known.insert(k, is_stored.then_some(self.version));
        self.tally.sets += u64::from(is_stored);
        self.tally.refused += u64::from(!is_stored);
        Ok(outcome)
    }

    /// What was stored last, or nothing; of a refused set nothing.
    async fn get(&mut self, k: u32) -> Result<(), String> {
        let getting = tokio::time::timeout(PATIENCE, self.cache.get(key(k))).await;
        let hit =
            getting.map_err(|_| format!("a get hung: {:?}", self.cache.stats()))?.map_err(|e| format!("get: {e}"))?;
        self.tally.gets += 1;
        let Some(hit) = hit else { return Ok(()) };
        self.tally.hits += 1;
        let known = self.known.get(&k).copied().flatten();
        match read_value(hit.value()) {
            Some((of, version)) if of == k && known == Some(version) => Ok(()),
            other => Err(format!("key {k} shows {other:?}, last stored: {known:?}")),
        }
    }

    /// Reads every key. Where entries are held, some must be found.
    async fn read_all(&mut self) -> Result<(), String> {
        let before = self.tally.hits;
        for k in 0..KEYS as u32 {
            self.get(k).await?;
        }
        let (entries, found) = (self.cache.stats().entries, self.tally.hits - before);
        if entries > 0 && found == 0 {
            return Err(format!("the cache says that it holds {entries} entries, and none was found"));
        }
        *self.diary += &format!("read: {found} found, {entries} held\n");
        Ok(())
    }

    /// There is room: soon no set is refused any more, without a restart, and without a rest.
    async fn resume(&mut self) -> Result<(), String> {
        let began = Instant::now();
        let mut refused = began;
        while refused.elapsed() < QUIET {
            let k = self.dice.below(KEYS) as u32;
            if !self.set(k).await?.is_stored() {
                refused = Instant::now();
            }
            if began.elapsed() > PATIENCE {
                return Err("writes do not resume, though there is room".into());
            }
            self.judge_size()?;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let ms = (refused - began).as_millis() as u64;
        *self.diary += &format!("the last refusal was {ms} ms after there was room\n");
        self.tally.slowest_resume_ms = self.tally.slowest_resume_ms.max(ms);
        Ok(())
    }

    fn judge_size(&mut self) -> Result<(), String> {
        let taken = usage::directory_bytes(self.dir).map_err(|e| format!("{e:#}"))?;
        let (says, most) = (self.cache.stats().used_bytes, self.config.capacity_bytes);
        self.tally.peak_bytes = self.tally.peak_bytes.max(taken);
        if taken.max(says) > most {
            return Err(format!("{taken} bytes are taken, {says} it says, and the capacity is {most}"));
        }
        Ok(())
    }

    /// With room for all, the cache takes what it was given, but for what eviction keeps available.
    fn judge_growth(&mut self) -> Result<(), String> {
        let segments = self.cache.stats().segments;
        if segments < SEGMENTS - KEPT_AVAILABLE {
            return Err(format!("{segments} of {SEGMENTS} segments, though there is room"));
        }
        Ok(())
    }
}
