//! From a directory to a running cache.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admit::{Gate, held_bytes};
use super::{Engine, Parts, absolute};
use crate::backend::descriptors::{self, Reserved, Shortage};
use crate::backend::metered::Metered;
use crate::backend::{Backend, probe};
use crate::catalog::{self, Directory};
use crate::clock::SteadyClock;
use crate::config::{Config, MAX_SEGMENT_LEN_BYTES, MIN_SEGMENT_LEN_BYTES};
use crate::dirty::Dirty;
use crate::error::{Error, Result};
use crate::evict::{Evictor, Listeners, Split};
use crate::flight::Flights;
use crate::format::manifest::Manifest;
use crate::index::Index;
use crate::log::{Log, LogParts};
use crate::marks::Marks;
use crate::memory::{Held, HotTier};
use crate::namespaces::{Allotment, Namespaces};
use crate::object::Objects;
use crate::recover::{self, Recovery};
use crate::segment::SegmentSet;
use crate::stats::{Counters, Progress, RecoveryReport};
use crate::sync::atomic::AtomicBool;
use crate::sync::{AsyncMutex, Mutex, task};
use crate::types::{BackendKind, Sequence};

/// Descriptors besides one for each sealed segment: the second one of the open segments, of those that are sealed or
/// freed at the moment (or examined at the start), manifest, lock, directory and rings.
const BESIDE_SEALED: u64 = 64;

/// A directory that is locked and found to be ours, before its segments are looked at.
pub struct Prepared {
    began: Instant,
    dir: PathBuf,
    pub(super) config: Config,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) counters: Arc<Counters>,
    pub(super) directory: Directory,
    pub(super) progress: Arc<Progress>,
    pub(super) namespaces: Arc<Namespaces>,
    clock: Arc<SteadyClock>,
    index: Arc<Index>,
    segments: Arc<SegmentSet>,
    descriptors: Reserved,
    /// Of this open.
    seed: [u8; 16],
}

impl Prepared {
    /// All that can be refused is refused here.
    pub async fn new(dir: &Path, config: Config, parts: Parts) -> Result<Self> {
        let began = Instant::now();
        config.validate()?;
        let dir = absolute(dir)?;
        let inner = match parts.backend {
            Some(backend) => backend,
            None => probe::choose(config.backend)?,
        };
        let counters = Arc::new(Counters::default());
        let timeout = Duration::from_millis(config.io_timeout_ms);
        let backend: Arc<dyn Backend> = Arc::new(Metered::new(inner, counters.clone(), timeout));
        let clock = Arc::new(SteadyClock::new(parts.clock));
        let kind = backend.kind();
        let seed = parts.seed.map_or_else(random, Ok)?;
        let fresh = || {
            // Before the manifest fixes the length of the segments for ever.
            reserve_descriptors(&config, kind, config.chosen_segment_len_bytes(), 0)?;
            new_manifest(&config, seed, &clock)
        };
        let directory = catalog::open(&*backend, &dir, fresh).await?;
        let segment_len_bytes = check_segment_len(&config, &dir, &directory.manifest)?;
        let existing = directory.slots.iter().map(|&slot| slot as usize + 1).max().unwrap_or(0);
        let limit = config.max_segments(segment_len_bytes);
        let namespaces = Arc::new(Namespaces::new(&config, &directory.manifest.seed, segment_len_bytes));
        let quotas = namespaces.allotments().iter().map(|one| one.quota).collect();
        Ok(Self {
            began,
            descriptors: reserve_descriptors(&config, kind, segment_len_bytes, existing as u64)?,
            // Which digests share a slot must not change, or what one covers could come back.
            index: Arc::new(Index::new(directory.manifest.index_shards as usize)),
            segments: Arc::new(SegmentSet::new(dir.clone(), segment_len_bytes, limit, quotas, existing)),
            progress: Arc::default(),
            namespaces,
            dir,
            config,
            backend,
            counters,
            directory,
            clock,
            seed,
        })
    }

    /// Rebuilds the index and starts the background work.
    pub async fn recover(self) -> Result<Arc<Engine>> {
        let Self { config, backend, counters, directory, clock, index, segments, namespaces, .. } = self;
        let mut report = report_on(&directory);
        directory.blocked.iter().for_each(|&slot| segments.block(slot));
        let objects = Arc::<Objects>::default();
        let (marks, dirty) = (Arc::<Marks>::default(), Arc::<Dirty>::default());
        let recovery = Recovery {
            backend: backend.clone(),
            dir: self.dir,
            manifest: directory.manifest,
            index: index.clone(),
            objects: objects.clone(),
            marks: marks.clone(),
            dirty: dirty.clone(),
            segments: segments.clone(),
            namespaces: namespaces.clone(),
            now: clock.now(),
            lock_wait: Duration::from_millis(config.lock_wait_ms),
            progress: self.progress,
            spare_ids: recover::spare_ids(&self.seed),
        };
        let recovered = recover::recover(&recovery, &directory.slots, &mut report).await?;
        clock.raise(recovered.newest);
        report.elapsed_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);

        let flights = Arc::new(Flights::new(counters.clone()));
        let log = Arc::new(Log::new(LogParts {
            backend: backend.clone(),
            config: config.clone(),
            index: index.clone(),
            objects: objects.clone(),
            marks,
            dirty,
            seed: directory.manifest.seed,
            flights: flights.clone(),
            held: Arc::new(Held::new(held_bytes(&config, config.admission), config.capacity_bytes)),
            segments: segments.clone(),
            namespaces: namespaces.clone(),
            clock: clock.clone(),
            counters: counters.clone(),
            manifest: recovered.manifest,
            last_sequence: recovered.last_sequence,
        }));
        let split = |a: &Allotment| Split::new(config.eviction, a.usual(), segments.segment_len_bytes());
        let splits = namespaces.allotments().iter().map(split).collect();
        let engine = Arc::new(Engine {
            namespaces,
            splits,
            listeners: Arc::new(Listeners::default()),
            gate: Gate::new(config.admission, clock.now(), 0),
            memory: hot_tier(&config),
            seed: directory.manifest.seed,
            config,
            backend,
            index,
            objects,
            flights,
            segments,
            log,
            clock,
            counters,
            report,
            closed: AtomicBool::new(false),
            tasks: AsyncMutex::default(),
            lock: Mutex::new(None),
            descriptors: Mutex::new(Some(self.descriptors)),
        });
        engine.start(&directory).await?;
        engine.load_ghosts().await;
        Ok(engine)
    }
}

impl Engine {
    async fn start(&self, directory: &Directory) -> Result<()> {
        *self.lock.lock() = Some(directory.lock.clone());
        let mut tasks: Vec<_> =
            self.log.stream_ids().map(|stream| task::spawn(self.log.clone().run_writer(stream))).collect();
        let evictor = Arc::new(Evictor::new(self.log.clone(), self.splits.clone(), self.listeners.clone(), self.seed));
        let kept_up = match evictor.shrink().await {
            Ok(()) => evictor.retain().await,
            closed => closed,
        };
        tasks.push(task::spawn(evictor.run()));
        *self.tasks.lock().await = tasks;
        kept_up
    }
}

fn hot_tier(config: &Config) -> Option<HotTier> {
    (config.memory_bytes > 0)
        .then(|| HotTier::new(config.memory_bytes, config.memory_max_item_bytes, config.memory_fill))
}

/// What is known before anything is read.
fn report_on(directory: &Directory) -> RecoveryReport {
    let mut report = RecoveryReport { created: directory.created, ..RecoveryReport::default() };
    for name in &directory.foreign {
        report.note(format!("{name} is not ours; it is left alone"));
    }
    report
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::io("get random bytes for", "the cache")(std::io::Error::other(e)))?;
    Ok(bytes)
}

fn new_manifest(config: &Config, seed: [u8; 16], clock: &SteadyClock) -> Result<Manifest> {
    Ok(Manifest {
        directory_id: u64::from_le_bytes(random()?),
        segment_len_bytes: config.chosen_segment_len_bytes(),
        seed,
        created: clock.now(),
        cleared: Sequence(0),
        index_shards: config.index_shards as u64,
        stored: Sequence(0),
    })
}

/// Reserves the descriptors that a full cache needs: running out of them later would fail writes, and what else the
/// process does.
fn reserve_descriptors(config: &Config, kind: BackendKind, segment_len_bytes: u64, existing: u64) -> Result<Reserved> {
    if kind == BackendKind::Sim {
        return Ok(Reserved::default());
    }
    let segments = config.max_segments(segment_len_bytes).max(existing);
    descriptors::reserve(segments + BESIDE_SEALED).map_err(|Shortage { needed, limit }| {
        Error::InvalidConfig(format!(
            "capacity_bytes is {}: with its {segments} segments of {segment_len_bytes} bytes the process needs {needed} open \
             files, and may have {limit}; allow more (`ulimit -n {needed}`, `LimitNOFILE={needed}`), or take a longer \
             segment_len_bytes in a new directory",
            config.capacity_bytes
        ))
    })
}

fn check_segment_len(config: &Config, dir: &Path, manifest: &Manifest) -> Result<u64> {
    let has = manifest.segment_len_bytes;
    if let Some(asked) = config.segment_len_bytes.filter(|&asked| asked != has) {
        return Err(Error::InvalidConfig(format!(
            "segment_len_bytes is {asked}, but {} has segments of {has} bytes; leave it out, or start a new directory",
            dir.display()
        )));
    }
    if !(MIN_SEGMENT_LEN_BYTES..=MAX_SEGMENT_LEN_BYTES).contains(&has) {
        return Err(Error::InvalidConfig(format!(
            "{} has segments of {has} bytes, this build opens {MIN_SEGMENT_LEN_BYTES} to {MAX_SEGMENT_LEN_BYTES}; \
             choose another directory",
            dir.display()
        )));
    }
    config.validate_capacity(has)?;
    Ok(has)
}
