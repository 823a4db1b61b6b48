//! Settings come as data, parts (clock, backend, seed) as components.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::DiskCache;
use crate::backend::Backend;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::engine::{Engine, Parts};
use crate::error::Result;
use crate::types::BackendKind;

/// Builds a [`DiskCache`].
#[must_use]
pub struct Builder {
    dir: PathBuf,
    config: Config,
    clock: Arc<dyn Clock>,
    backend: Option<Arc<dyn Backend>>,
    seed: Option<[u8; 16]>,
}

impl Builder {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), config: Config::default(), clock: Arc::new(SystemClock), backend: None, seed: None }
    }

    /// Takes every setting from `config`.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Disk space that the directory may take, everything counted. Default 1 GiB.
    pub fn capacity_bytes(mut self, bytes: u64) -> Self {
        self.config.capacity_bytes = bytes;
        self
    }

    /// Length of a segment file; chosen from the capacity if not set.
    pub fn segment_len_bytes(mut self, bytes: u64) -> Self {
        self.config.segment_len_bytes = Some(bytes);
        self
    }

    /// Memory for the hot tier; 0, the default, is none.
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.config.memory_bytes = bytes;
        self
    }

    /// The way to the disk. Default `Auto`.
    pub fn backend(mut self, kind: BackendKind) -> Self {
        self.config.backend = kind;
        self
    }

    /// Time to live of entries set without one.
    pub fn default_ttl(mut self, ttl: Duration) -> Self {
        self.config.default_ttl_ms = Some(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// A `Buffered` write is written out within this many milliseconds. Default 100.
    pub fn flush_interval_ms(mut self, ms: u64) -> Self {
        self.config.flush_interval_ms = ms;
        self
    }

    /// The clock, for tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// A backend of one's own, the simulated disk say, instead of the configured kind.
    pub fn backend_with(mut self, backend: Arc<dyn Backend>) -> Self {
        self.backend = Some(backend);
        self
    }

    /// The secret seed of a new directory's digests, for tests; by default from the operating system.
    pub fn seed(mut self, seed: [u8; 16]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Opens the cache: makes the directory if need be, locks it, and rebuilds the index from its segments. Must be
    /// called within a multi-threaded tokio runtime, which also runs the cache's background work.
    ///
    /// # Errors
    /// `InvalidConfig`; `NotACache`, `NewerFormat`, `NotOwned`, `Locked`: nothing was changed; `BackendUnavailable`
    /// for a backend asked for by name; `Io`, which names the file. Damage costs entries and is in the report, but a disk
    /// that cannot read a segment's header or footer (EIO, say) is an error: what that segment replaced is not known, and
    /// serving the rest could serve what is dead. Nothing is lost by it; once the disk reads again, `open` works.
    ///
    /// Cancel safe: dropped, it leaves a directory that the next `open` takes.
    pub async fn open(self) -> Result<DiskCache> {
        let parts = Parts { clock: self.clock, backend: self.backend, seed: self.seed };
        Ok(DiskCache { engine: Engine::open(&self.dir, self.config, parts).await? })
    }
}
