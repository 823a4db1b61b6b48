//! A cache that can be asked before its index is there.
//!
//! Until its segments are indexed every get is a miss: a cache may forget. All else waits, but for what must not wait: it
//! is refused, and what it was to replace is forgotten before the first value is served (P2).

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::open::Prepared;
use super::{Engine, Parts};
use crate::config::Config;
use crate::entry::{Hit, RefuseReason, SetOutcome};
use crate::error::{Error, Result};
use crate::namespaces::Namespaces;
use crate::stats::{Counters, NamespaceStats, Progress, RecoveryProgress, RecoveryReport, Stats};
use crate::sync::task::{self, AbortHandle};
use crate::sync::{Mutex, Notify};
use crate::types::{BackendKind, Digest};

/// Most keys of refused writes that are remembered; from then on such a write waits.
const MAX_REFUSED: usize = 100_000;

/// An engine, or what will be one.
pub struct Starting {
    engine: OnceLock<Result<Arc<Engine>, Arc<Error>>>,
    /// Told once `engine` is set.
    ready: Notify,
    config: Config,
    seed: [u8; 16],
    backend: BackendKind,
    counters: Arc<Counters>,
    progress: Arc<Progress>,
    namespaces: Arc<Namespaces>,
    /// What was refused so far.
    refused: Mutex<Vec<Digest>>,
    recovering: Mutex<Option<AbortHandle>>,
}

impl Starting {
    /// Opens a cache; with [`Config::index_in_background`] it is not indexed yet. See `Builder::open`.
    pub async fn open(dir: &Path, config: Config, parts: Parts) -> Result<Arc<Self>> {
        let prepared = Prepared::new(dir, config, parts).await?;
        let this = Arc::new(Self {
            engine: OnceLock::new(),
            ready: Notify::new(),
            config: prepared.config.clone(),
            seed: prepared.directory.manifest.seed,
            backend: prepared.backend.kind(),
            counters: prepared.counters.clone(),
            progress: prepared.progress.clone(),
            namespaces: prepared.namespaces.clone(),
            refused: Mutex::default(),
            recovering: Mutex::default(),
        });
        if !this.config.index_in_background {
            this.set(prepared.recover().await?);
            return Ok(this);
        }
        let recovering = task::spawn(prepared.recover());
        *this.recovering.lock() = Some(recovering.abort_handle());
        let weak = Arc::downgrade(&this);
        task::spawn(async move {
            let outcome = recovering.await;
            let Some(this) = weak.upgrade() else { return };
            match outcome.unwrap_or_else(|e| Err(Error::io("recover from", "the segments")(std::io::Error::other(e)))) {
                Ok(engine) => this.set(engine),
                Err(error) => {
                    tracing::error!(%error, "the cache did not open");
                    let _ = this.engine.set(Err(Arc::new(error)));
                }
            }
            this.ready.notify_waiters();
        });
        Ok(this)
    }

    fn set(&self, engine: Arc<Engine>) {
        // Held until the engine can be seen, so that nothing is refused in between.
        let mut refused = self.refused.lock();
        refused.drain(..).for_each(|digest| engine.forget_refused(digest));
        let _ = self.engine.set(Ok(engine));
    }

    /// The engine; `None` while it is being made.
    pub fn now(&self) -> Option<Result<&Arc<Engine>>> {
        self.engine.get().map(|outcome| outcome.as_ref().map_err(|e| Error::OpenFailed(e.clone())))
    }

    /// The engine, once it is there.
    pub async fn wait(&self) -> Result<&Arc<Engine>> {
        loop {
            let ready = self.ready.notified();
            if let Some(engine) = self.now() {
                return engine;
            }
            ready.await;
        }
    }

    /// What a get answers before there is an index.
    pub fn miss(&self, key: &[u8], counts: bool) -> Result<Option<Hit>> {
        super::check_key(&self.config, &self.seed, key)?;
        if counts {
            self.counters.misses_indexing.add_one();
            self.namespaces.count_get(key, false);
        }
        Ok(None)
    }

    /// What a write that must not wait gets before there is an index; `None` if it may go on to the engine.
    pub fn refuse(&self, key: &[u8]) -> Result<Option<SetOutcome>> {
        let digest = super::check_key(&self.config, &self.seed, key)?;
        let mut refused = self.refused.lock();
        if self.engine.get().is_some() || refused.len() >= MAX_REFUSED {
            return Ok(None);
        }
        refused.push(digest);
        self.counters.refused_busy.add_one();
        Ok(Some(SetOutcome::Refused { reason: RefuseReason::Busy }))
    }

    /// What `read` makes of an entry; none if it cannot, which is counted.
    pub fn readable<T>(&self, hit: &Hit, read: impl Fn(&Hit) -> Result<T>) -> Option<T> {
        super::fetch::readable(&self.counters, hit, read)
    }

    /// See [`Stats`].
    pub fn stats(&self) -> Stats {
        match self.now() {
            Some(Ok(engine)) => engine.stats(),
            _ => Stats {
                counts: self.counters.snapshot(),
                backend: Some(self.backend),
                capacity_bytes: self.config.capacity_bytes,
                open_files: self.counters.open_files.get(),
                namespaces: self.namespaces.all().map(|one| one.stats(|_| (0, 0))).collect(),
                ..Stats::default()
            },
        }
    }

    /// The statistics of a namespace, if it is configured.
    pub fn namespace_stats(&self, name: &str) -> Option<NamespaceStats> {
        match self.now() {
            Some(Ok(engine)) => engine.namespace_stats(name),
            _ => self.namespaces.get(name).map(|one| one.stats(|_| (0, 0))),
        }
    }

    /// See [`RecoveryReport`]; empty until there is one.
    pub fn recovery_report(&self) -> RecoveryReport {
        self.now().and_then(Result::ok).map(|engine| engine.recovery_report()).unwrap_or_default()
    }

    /// See [`RecoveryProgress`].
    pub fn recovery_progress(&self) -> RecoveryProgress {
        self.progress.read(matches!(self.now(), Some(Ok(_))))
    }

    /// What is counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Which backend runs.
    pub fn backend_kind(&self) -> BackendKind {
        self.backend
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(recovering) = self.recovering.lock().take() {
            recovering.abort();
        }
    }
}
