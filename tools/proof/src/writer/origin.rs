//! An origin in files of its own, which outlives whoever is killed: a value is there as a whole or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker::{BoxError, BoxFuture, DiskCache, FetchOptions, Fetched, Origin, OriginCache, WriteBack, WriteMode};
use serde::{Deserialize, Serialize};

use crate::common::{key, read_value};

/// How late the canary takes what it says that it has.
const LATE: Duration = Duration::from_millis(20);
/// The file that says that an older value came after a newer one.
const WENT_BACK: &str = "went-back";

/// How a cache writes to its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Later, after so many milliseconds at the most.
    Back {
        /// Between two flushes.
        flush_interval_ms: u64,
    },
    /// First.
    Through,
}

/// An origin, and how a cache writes to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fronted {
    /// Where its files are.
    pub dir: PathBuf,
    /// How it is written to.
    pub mode: Mode,
    /// The canary: it says that it has a value before it took it, so a flush says so too.
    pub takes_late: bool,
}

impl Fronted {
    /// A cache in front of it.
    ///
    /// # Errors
    /// The cache's.
    pub async fn over(&self, cache: &DiskCache) -> esker::Result<OriginCache> {
        let origin = Arc::new(Files { dir: self.dir.clone(), takes_late: self.takes_late });
        match self.mode {
            Mode::Through => Ok(cache.with_origin(origin, WriteMode::Through, FetchOptions::new())),
            Mode::Back { flush_interval_ms } => {
                let options = WriteBack::new().flush_interval(Duration::from_millis(flush_interval_ms));
                cache.with_write_back(origin, options, FetchOptions::new()).await
            }
        }
    }

    /// The version that it has of a key, if any.
    ///
    /// # Errors
    /// It has no value of this key there, but other bytes; or it cannot be read.
    pub fn version(&self, k: u32) -> Result<Option<u32>, String> {
        match std::fs::read(path(&self.dir, &key(k))) {
            Ok(bytes) => match read_value(&bytes) {
                Some((of, version)) if of == k => Ok(Some(version)),
                other => Err(format!("key {k}: the origin has bytes that were never stored under it: {other:?}")),
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(format!("key {k}: the origin cannot be read: {e}")),
        }
    }

    /// What it was asked to take though it had something newer.
    pub fn went_back(&self) -> Option<String> {
        std::fs::read_to_string(self.dir.join(WENT_BACK)).ok()
    }
}

struct Files {
    dir: PathBuf,
    takes_late: bool,
}

impl Files {
    /// Does this to the files: without holding up the runtime, and late, if that is planted.
    async fn change(&self, change: impl FnOnce(&Path) -> io::Result<()> + Send + 'static) -> Result<(), BoxError> {
        let dir = self.dir.clone();
        if self.takes_late {
            tokio::spawn(async move {
                tokio::time::sleep(LATE).await;
                change(&dir)
            });
            return Ok(());
        }
        Ok(tokio::task::spawn_blocking(move || change(&dir)).await??)
    }
}

impl Origin for Files {
    fn load<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Fetched>, BoxError>> {
        Box::pin(async move {
            match tokio::fs::read(path(&self.dir, key)).await {
                Ok(value) => Ok(Some(Fetched::new(value))),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(e.into()),
            }
        })
    }

    fn store<'a>(&'a self, key: &'a [u8], value: Bytes, _: Bytes) -> BoxFuture<'a, Result<(), BoxError>> {
        let key = key.to_vec();
        Box::pin(self.change(move |dir| {
            let path = path(dir, &key);
            let (there, new) = (std::fs::read(&path).ok().and_then(|bytes| read_value(&bytes)), read_value(&value));
            if there > new {
                put(&dir.join(WENT_BACK), format!("it had {there:?}, and was to take {new:?}").as_bytes())?;
            }
            // Nobody else writes this key now.
            let new = path.with_extension("new");
            put(&new, &value)?;
            std::fs::rename(new, path)
        }))
    }

    fn remove<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<(), BoxError>> {
        let key = key.to_vec();
        Box::pin(self.change(move |dir| match std::fs::remove_file(path(dir, &key)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }))
    }
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    File::create(path)?.write_all(bytes)
}

fn path(dir: &Path, key: &[u8]) -> PathBuf {
    dir.join(String::from_utf8_lossy(key).as_ref())
}
