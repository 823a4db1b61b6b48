//! The only crossroads: each way through the cache fits one screen.

use std::path::Path;
use std::sync::Arc;

use crate::backend::descriptors::Reserved;
use crate::backend::{Backend, DiskFile};
use crate::clock::{Clock, SteadyClock};
use crate::config::{Config, DIRECTORY_OVERHEAD_BYTES};
use crate::entry::SetOptions;
use crate::error::{Error, Result};
use crate::evict::{Evictions, Listeners, Split};
use crate::flight::Flights;
use crate::format::digest::digest;
use crate::format::namespace;
use crate::index::Index;
use crate::log::Log;
use crate::memory::HotTier;
use crate::namespaces::Namespaces;
use crate::object::Objects;
use crate::segment::SegmentSet;
use crate::stats::{Counters, NamespaceStats, RecoveryReport, Stats};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::task::JoinHandle;
use crate::sync::{AsyncMutex, Mutex};
use crate::types::{Digest, Durability, MAX_KEY_BYTES};

mod admit;
mod batch;
mod clear;
mod delete;
mod dirty;
mod fetch;
mod get;
mod ghosts;
mod hot;
mod list;
mod open;
mod pin;
mod purge;
mod renew;
mod set;
mod starting;
mod stream;
mod turn;
mod write;

use admit::Gate;
pub use dirty::Due;
use get::Answer;
pub use list::{Listed, Listing};
pub use starting::Starting;
pub use stream::{Body, Opened, Stream};
pub use write::Writing;

/// What comes in through the constructor instead of from the machine.
pub struct Parts {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The disk, instead of the configured kind.
    pub backend: Option<Arc<dyn Backend>>,
    /// Chance, instead of the operating system's.
    pub seed: Option<[u8; 16]>,
}

/// A running cache.
pub struct Engine {
    config: Config,
    backend: Arc<dyn Backend>,
    index: Arc<Index>,
    objects: Arc<Objects>,
    flights: Arc<Flights>,
    segments: Arc<SegmentSet>,
    log: Arc<Log>,
    namespaces: Arc<Namespaces>,
    /// By group.
    splits: Arc<[Split]>,
    listeners: Arc<Listeners>,
    gate: Gate,
    memory: Option<HotTier>,
    clock: Arc<SteadyClock>,
    counters: Arc<Counters>,
    seed: [u8; 16],
    report: RecoveryReport,
    closed: AtomicBool,
    /// The background work; held by whoever closes.
    tasks: AsyncMutex<Vec<JoinHandle<()>>>,
    /// The directory's lock, until closed.
    lock: Mutex<Option<Arc<dyn DiskFile>>>,
    /// What it may open, until closed.
    descriptors: Mutex<Option<Reserved>>,
}

impl Engine {
    /// Everything accepted before is in the kernel.
    pub async fn flush(&self) -> Result<()> {
        self.check_open()?;
        self.log.settle(Durability::Written).await
    }

    /// Everything accepted before is on the device.
    pub async fn sync(&self) -> Result<()> {
        self.check_open()?;
        self.log.settle(Durability::Synced).await
    }

    /// Seals, stops, unlocks. Whoever calls it a second time waits for the first, or goes on where a dropped call ended.
    pub async fn close(self: &Arc<Self>) -> Result<()> {
        if !self.closed.swap(true, Ordering::SeqCst) {
            self.keep_ghosts().await;
        }
        let mut tasks = self.tasks.lock().await;
        if self.lock.lock().is_none() {
            return Ok(());
        }
        let closed = self.log.close().await;
        self.log.stop();
        while let Some(task) = tasks.last_mut() {
            let _ = task.await;
            tasks.pop();
        }
        self.segments.close_files();
        self.listeners.end();
        *self.lock.lock() = None;
        *self.descriptors.lock() = None;
        closed
    }

    /// What eviction drops from now on.
    pub fn evictions(&self) -> Result<Evictions> {
        self.check_open()?;
        Ok(self.listeners.listen())
    }

    /// See [`Stats`].
    pub fn stats(&self) -> Stats {
        let census = self.segments.census();
        let files_bytes = census.files * self.segments.segment_len_bytes();
        let live_bytes = self.segments.live_bytes();
        let (buffers_made, buffers_reused) = self.log.pool.made_and_reused();
        Stats {
            counts: self.counters.snapshot(),
            backend: Some(self.backend.kind()),
            entries: self.index.len().saturating_sub(self.own_entries()) + self.log.held.entries(),
            objects: self.objects.len(),
            live_bytes,
            dead_bytes: files_bytes.saturating_sub(live_bytes),
            used_bytes: files_bytes + DIRECTORY_OVERHEAD_BYTES,
            capacity_bytes: self.config.capacity_bytes,
            open_files: self.counters.open_files.get(),
            segments: census.files,
            segments_free: census.free,
            index_bytes: self.index.allocated_bytes(),
            objects_bytes: self.objects.memory_bytes(),
            memory_bytes: self.memory.as_ref().map_or(0, HotTier::used_bytes),
            ghost_bytes: self.splits.iter().map(Split::ghost_bytes).sum(),
            new_log_bytes: self.splits.first().and_then(Split::new_log_bytes),
            held_bytes: self.log.held.used_bytes(),
            purge_marks: self.log.marks.len(),
            namespaces: self.namespaces.all().map(|one| one.stats(|group| self.segments.group_bytes(group))).collect(),
            pinned_entries: self.log.pins.len(),
            pinned_bytes: self.log.pins.bytes(),
            dirty_bytes: self.log.unwritten_bytes(),
            origin_dirty_entries: self.log.dirty.len(),
            origin_dirty_bytes: self.log.dirty.bytes(),
            buffers_made,
            buffers_reused,
            buffers_idle_bytes: self.log.pool.idle_bytes() as u64,
        }
    }

    /// The statistics of a namespace, if it is configured.
    pub fn namespace_stats(&self, name: &str) -> Option<NamespaceStats> {
        self.namespaces.get(name).map(|one| one.stats(|group| self.segments.group_bytes(group)))
    }

    /// See [`RecoveryReport`].
    pub fn recovery_report(&self) -> RecoveryReport {
        self.report.clone()
    }

    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    /// The digest of a key.
    ///
    /// # Errors
    /// `Closed`, `InvalidInput`.
    pub fn check_key(&self, key: &[u8]) -> Result<Digest> {
        self.check_open()?;
        check_key(&self.config, &self.seed, key)
    }

    /// A write of a key was accepted.
    fn count_set(&self, key: &[u8]) {
        self.counters.sets.add_one();
        self.namespaces.count_set(key);
    }

    /// Whether an entry of this key may be set with these options.
    pub fn check_entry(&self, key: &[u8], options: &SetOptions) -> Result<()> {
        self.check_key(key)?;
        set::check_options(options)
    }

    /// What a refused write was to replace is gone (P2).
    fn forget_refused(&self, digest: Digest) {
        self.log.forget_owing(digest, None);
        self.forget_in_memory(digest);
    }
}

fn check_key(config: &Config, seed: &[u8; 16], key: &[u8]) -> Result<Digest> {
    let len = namespace::split(key).map_or(key.len(), |split| split.key.len());
    let most = config.max_key_bytes.min(MAX_KEY_BYTES - (key.len() - len).min(MAX_KEY_BYTES));
    if len == 0 {
        return Err(Error::InvalidInput(format!("the key is empty; a key has 1 to {most} bytes")));
    }
    if len > most {
        return Err(Error::InvalidInput(format!("the key has {len} bytes; at most {most} (hash longer ones)")));
    }
    Ok(digest(seed, key))
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.log.stop();
    }
}

/// The directory's path, absolute, so that a later change of the working directory does no harm.
fn absolute(dir: &Path) -> Result<std::path::PathBuf> {
    std::path::absolute(dir).map_err(Error::io("find", dir))
}
