//! Settings come as data, parts (clock, backend, seed) as components.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::DiskCache;
use crate::backend::Backend;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, NamespaceConfig};
use crate::engine::{Parts, Starting};
use crate::error::Result;
use crate::types::BackendKind;

/// Builds a [`DiskCache`]. What is not set is as in [`Config::default`], which also takes the settings that have no
/// method here.
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

    /// Disk space that the directory may take, everything counted. See [`Config::capacity_bytes`].
    pub fn capacity_bytes(mut self, bytes: u64) -> Self {
        self.config.capacity_bytes = bytes;
        self
    }

    /// Length of a segment file; chosen from the capacity if not set. See [`Config::segment_len_bytes`].
    pub fn segment_len_bytes(mut self, bytes: u64) -> Self {
        self.config.segment_len_bytes = Some(bytes);
        self
    }

    /// Memory for the hot tier; 0 is none. See [`Config::memory_bytes`].
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.config.memory_bytes = bytes;
        self
    }

    /// The way to the disk. See [`Config::backend`].
    pub fn backend(mut self, kind: BackendKind) -> Self {
        self.config.backend = kind;
        self
    }

    /// Time to live of entries set without one. See [`Config::default_ttl_ms`].
    pub fn default_ttl(mut self, ttl: Duration) -> Self {
        self.config.default_ttl_ms = Some(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Adds the settings of a namespace. See [`Config::namespaces`].
    pub fn namespace(mut self, namespace: NamespaceConfig) -> Self {
        self.config.namespaces.push(namespace);
        self
    }

    /// A `Buffered` write is written out within this many milliseconds. See
    /// [`Config::flush_interval_ms`].
    pub fn flush_interval_ms(mut self, ms: u64) -> Self {
        self.config.flush_interval_ms = ms;
        self
    }

    /// Whether to return from `open` before the segments are indexed. See [`Config::index_in_background`].
    pub fn index_in_background(mut self, yes: bool) -> Self {
        self.config.index_in_background = yes;
        self
    }

    /// Whether a reader of a key that is being written follows its writer. See [`Config::attach_to_writers`].
    pub fn attach_to_writers(mut self, yes: bool) -> Self {
        self.config.attach_to_writers = yes;
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

    /// Where chance comes from, for tests: the secret seed of a new directory's digests, and how many segment ids this open
    /// leaves out. By default from the operating system. Who gives the same at each open gives up what the second is for:
    /// that two lives which a power loss ended at their very beginning do not share an id.
    pub fn seed(mut self, seed: [u8; 16]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Opens the cache: makes the directory if need be, locks it, and rebuilds the index from its segments, or begins
    /// to ([`Builder::index_in_background`]; then see [`DiskCache::ready`]). Must be
    /// called within a multi-threaded tokio runtime, which also runs the cache's background work.
    ///
    /// Cancel safe: dropped, it leaves a directory that opens the next time, and its lock goes once what is in flight has
    /// landed.
    ///
    /// # Errors
    /// `InvalidConfig`, also where the process may not open enough files; `NotACache`, `NewerFormat`, `NotOwned`,
    /// `Locked`: nothing was changed; `BackendUnavailable` for a backend asked for by name; `Io`, which names the file.
    /// Damage costs entries and is in the report, but a disk that cannot read a segment's header or footer (EIO, say) is
    /// an error: what that segment replaced is not known, and serving the rest could serve what is dead. Nothing is lost
    /// by it; once the disk reads again, `open` works.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled.
    pub async fn open(self) -> Result<DiskCache> {
        let parts = Parts { clock: self.clock, backend: self.backend, seed: self.seed };
        Ok(DiskCache::new(Starting::open(&self.dir, self.config, parts).await?))
    }
}
