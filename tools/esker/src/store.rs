//! The caches that the tools drive, behind one face: Esker's, and one file per key.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use esker::clock::Clock;
use esker::config::{Config, DIRECTORY_OVERHEAD_BYTES, MIN_SEGMENT_LEN_BYTES, MIN_SEGMENTS};
use esker::{BackendKind, DiskCache, Durability, RefuseReason, SetOptions, SetOutcome};
use serde::{Deserialize, Serialize};

use crate::baseline::FilePerKey;
use crate::machine;

/// Which cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Esker's `DiskCache`.
    Esker,
    /// One file per key.
    FilePerKey,
}

/// A backend as named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
pub enum BackendArg {
    /// The best that runs here.
    #[default]
    Auto,
    /// Rings of our own.
    Uring,
    /// The tokio-uring crate.
    #[value(alias = "tokio_uring")]
    TokioUring,
    /// Positional I/O on the blocking pool.
    #[value(alias = "tokio_fs")]
    TokioFs,
}

impl From<BackendArg> for BackendKind {
    fn from(arg: BackendArg) -> Self {
        match arg {
            BackendArg::Auto => Self::Auto,
            BackendArg::Uring => Self::Uring,
            BackendArg::TokioUring => Self::TokioUring,
            BackendArg::TokioFs => Self::TokioFs,
        }
    }
}

/// How a cache is opened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// Which cache.
    pub kind: Kind,
    /// Its directory.
    pub dir: PathBuf,
    /// Disk space it may take, in bytes.
    pub capacity_bytes: u64,
    /// Length of a segment, in bytes; `None`: as the cache chooses.
    pub segment_len_bytes: Option<u64>,
    /// Memory for the hot tier, in bytes.
    pub memory_bytes: u64,
    /// The way to the disk.
    pub backend: BackendKind,
}

impl Plan {
    /// A cache of Esker's with the default segments, no hot tier and the best backend.
    pub fn esker(dir: impl Into<PathBuf>, capacity_bytes: u64, backend: BackendKind) -> Self {
        let dir = dir.into();
        Self { kind: Kind::Esker, dir, capacity_bytes, segment_len_bytes: None, memory_bytes: 0, backend }
    }

    /// The settings that Esker gets.
    pub fn config(&self) -> Config {
        Config {
            capacity_bytes: self.capacity_bytes,
            segment_len_bytes: self.segment_len_bytes,
            memory_bytes: self.memory_bytes,
            backend: self.backend,
            ..Config::default()
        }
    }

    /// The smallest capacity that works with the segment length asked for, in bytes.
    pub fn least_capacity_bytes(&self) -> u64 {
        MIN_SEGMENTS * self.segment_len_bytes.unwrap_or(MIN_SEGMENT_LEN_BYTES) + DIRECTORY_OVERHEAD_BYTES
    }
}

/// An open cache. A handle: clones share one cache.
#[derive(Clone)]
pub enum Store {
    /// Esker's.
    Esker(DiskCache, PathBuf),
    /// One file per key.
    FilePerKey(FilePerKey, PathBuf),
}

/// What became of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the cache.
    Stored,
    /// It is not, and why.
    Refused(RefuseReason),
}

/// What a cache says about itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Entries it knows.
    pub entries: u64,
    /// Memory of its index, in bytes.
    pub index_bytes: u64,
    /// Disk space it takes, in bytes.
    pub used_bytes: u64,
    /// Regular files in its directory.
    pub files: u64,
    /// Bytes of keys, metadata and values accepted since it was opened.
    pub bytes_admitted: u64,
    /// Bytes written to the disk since it was opened.
    pub bytes_written: u64,
    /// The backend that runs.
    pub backend: String,
    /// Everything that the cache counts itself.
    pub stats: serde_json::Value,
}

impl Store {
    /// Opens a cache; `clock` replaces the machine's.
    ///
    /// # Errors
    /// As the cache says.
    pub async fn open(plan: &Plan, clock: Option<Arc<dyn Clock>>) -> Result<Self> {
        let dir = plan.dir.clone();
        if plan.kind == Kind::FilePerKey {
            let opened = match clock {
                Some(clock) => FilePerKey::open_with_clock(&dir, plan.capacity_bytes, clock).await,
                None => FilePerKey::open(&dir, plan.capacity_bytes).await,
            };
            let cache = opened.with_context(|| format!("cannot open the baseline in {}", dir.display()))?;
            return Ok(Self::FilePerKey(cache, dir));
        }
        let mut builder = DiskCache::builder(&dir).config(plan.config());
        if let Some(clock) = clock {
            builder = builder.clock(clock);
        }
        Ok(Self::Esker(builder.open().await?, dir))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// As the cache says.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        match self {
            Self::Esker(cache, _) => Ok(cache.get(key).await?.map(esker::Hit::into_value)),
            Self::FilePerKey(cache, _) => Ok(cache.get(key).await?),
        }
    }

    /// Stores a value.
    ///
    /// # Errors
    /// As the cache says. A refusal is an outcome, not an error.
    pub async fn set(&self, key: &[u8], value: Bytes, ttl: Option<Duration>) -> Result<Outcome> {
        self.set_durably(key, value, ttl, Durability::Buffered).await
    }

    /// Stores a value as durably as asked. The baseline always gives `Written`.
    ///
    /// # Errors
    /// As [`Store::set`].
    pub async fn set_durably(
        &self,
        key: &[u8],
        value: Bytes,
        ttl: Option<Duration>,
        durability: Durability,
    ) -> Result<Outcome> {
        match self {
            Self::Esker(cache, _) => {
                let mut options = SetOptions::new().durability(durability);
                if let Some(ttl) = ttl {
                    options = options.ttl(ttl);
                }
                Ok(match cache.set_with(key, value, options).await? {
                    SetOutcome::Stored { .. } | SetOutcome::Held => Outcome::Stored,
                    SetOutcome::Refused { reason } => Outcome::Refused(reason),
                })
            }
            Self::FilePerKey(cache, _) => {
                let stored = cache.set(key, value, ttl).await?;
                Ok(if stored { Outcome::Stored } else { Outcome::Refused(RefuseReason::TooLarge) })
            }
        }
    }

    /// Removes a key; whether it was there.
    ///
    /// # Errors
    /// As the cache says.
    pub async fn delete(&self, key: &[u8]) -> Result<bool> {
        match self {
            Self::Esker(cache, _) => Ok(cache.delete(key).await?),
            Self::FilePerKey(cache, _) => Ok(cache.delete(key).await?),
        }
    }

    /// Hands everything accepted to the kernel.
    ///
    /// # Errors
    /// As the cache says.
    pub async fn flush(&self) -> Result<()> {
        match self {
            Self::Esker(cache, _) => Ok(cache.flush().await?),
            Self::FilePerKey(..) => Ok(()),
        }
    }

    /// Closes the cache in good order.
    ///
    /// # Errors
    /// As the cache says.
    pub async fn close(self) -> Result<()> {
        match self {
            Self::Esker(cache, _) => Ok(cache.close().await?),
            Self::FilePerKey(..) => Ok(()),
        }
    }

    /// How many entries the cache knows.
    pub fn entries(&self) -> u64 {
        match self {
            Self::Esker(cache, _) => cache.stats().entries,
            Self::FilePerKey(cache, _) => cache.entries(),
        }
    }

    /// What the cache says about itself now.
    ///
    /// # Errors
    /// If its directory cannot be listed.
    pub fn figures(&self) -> Result<Figures> {
        match self {
            Self::Esker(cache, dir) => {
                let stats = cache.stats();
                Ok(Figures {
                    entries: stats.entries,
                    index_bytes: stats.index_bytes,
                    used_bytes: stats.used_bytes,
                    files: count_files(dir)?,
                    bytes_admitted: stats.counts.bytes_admitted,
                    bytes_written: stats.counts.bytes_written,
                    backend: cache.backend().to_string(),
                    stats: serde_json::to_value(&stats)?,
                })
            }
            Self::FilePerKey(cache, dir) => {
                let (bytes_admitted, bytes_written) = cache.admitted_and_written_bytes();
                Ok(Figures {
                    entries: cache.entries(),
                    index_bytes: cache.index_bytes(),
                    used_bytes: cache.used_bytes(),
                    files: count_files(dir)?,
                    bytes_admitted,
                    bytes_written,
                    backend: "file-per-key".to_owned(),
                    stats: serde_json::Value::Null,
                })
            }
        }
    }
}

fn count_files(dir: &Path) -> Result<u64> {
    Ok(machine::files_below(dir)?.len() as u64)
}

/// A directory to work in: the one asked for, which must be new or empty, or a temporary one that is removed.
pub struct WorkDir {
    path: PathBuf,
    temporary: Option<tempfile::TempDir>,
}

impl WorkDir {
    /// Makes it.
    ///
    /// # Errors
    /// If it holds files already (they are left alone), or cannot be made.
    pub fn new(wanted: Option<&Path>) -> Result<Self> {
        let Some(path) = wanted else {
            let temporary = tempfile::Builder::new().prefix("esker-").tempdir().context("no temporary directory")?;
            return Ok(Self { path: temporary.path().to_owned(), temporary: Some(temporary) });
        };
        std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
        let mut entries = std::fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
        if entries.next().is_some() {
            bail!("{} is not empty; give --dir a new or empty directory. Nothing was changed", path.display());
        }
        Ok(Self { path: path.to_owned(), temporary: None })
    }

    /// A directory below it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is removed in the end.
    pub fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }
}
