//! The baseline: one file per key, as many services do it today.
//!
//! A value is the file `ab/abcd…` named by the SHA-256 of its key, written to a temporary name and renamed, through
//! `tokio::fs`. Room is made by removing the oldest first. To be fair to it, the names are also kept in memory, so that
//! a miss costs no disk; a restart walks the tree. Nothing is synced: an entry survives the death of the process, not
//! power loss (`Written`).
//!
//! Bytes are counted as the disk gives them out: in blocks of 4 KiB. Inodes and directories come on top, uncounted.
//! An entry with a time to live has the owner's execute bit, and its modification time is when it expires.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use esker::clock::{Clock, SystemClock};
use sha2::{Digest, Sha256};

type Name = [u8; 32];

const BLOCK_LEN_BYTES: u64 = 4096;
const PLAIN_MODE: u32 = 0o600;
const EXPIRING_MODE: u32 = 0o700;

#[derive(Debug, Clone, Copy)]
struct Known {
    charged_bytes: u64,
    expires_ms: Option<u64>,
    turn: u64,
}

#[derive(Debug, Default)]
struct Names {
    known: HashMap<Name, Known>,
    oldest: VecDeque<(Name, u64)>,
    used_bytes: u64,
    turn: u64,
}

impl Names {
    fn insert(&mut self, name: Name, charged_bytes: u64, expires_ms: Option<u64>) {
        self.turn += 1;
        let turn = self.turn;
        self.used_bytes += charged_bytes;
        if let Some(old) = self.known.insert(name, Known { charged_bytes, expires_ms, turn }) {
            self.used_bytes -= old.charged_bytes;
        }
        self.oldest.push_back((name, turn));
    }

    fn remove(&mut self, name: &Name) -> bool {
        let Some(old) = self.known.remove(name) else { return false };
        self.used_bytes -= old.charged_bytes;
        true
    }

    /// The names to remove, oldest first, until `room_bytes` more fit into the capacity.
    fn make_room(&mut self, room_bytes: u64, capacity_bytes: u64) -> Vec<Name> {
        let mut dropped = Vec::new();
        while self.used_bytes + room_bytes > capacity_bytes {
            let Some((name, turn)) = self.oldest.pop_front() else { break };
            if self.known.get(&name).is_some_and(|known| known.turn == turn) {
                self.remove(&name);
                dropped.push(name);
            }
        }
        dropped
    }
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    capacity_bytes: u64,
    names: Mutex<Names>,
    temporary: AtomicU64,
    admitted_bytes: AtomicU64,
    written_bytes: AtomicU64,
}

/// A cache of one file per key. A handle: clones share one cache.
#[derive(Clone)]
pub struct FilePerKey {
    inner: Arc<Inner>,
    clock: Arc<dyn Clock>,
}

impl FilePerKey {
    /// Opens the cache in `dir`, which is made if needed, and walks what is there.
    ///
    /// # Errors
    /// If a directory cannot be made or read.
    pub async fn open(dir: &Path, capacity_bytes: u64) -> io::Result<Self> {
        Self::open_with_clock(dir, capacity_bytes, Arc::new(SystemClock)).await
    }

    /// As [`FilePerKey::open`], with a clock of one's own for times to live.
    ///
    /// # Errors
    /// As [`FilePerKey::open`].
    pub async fn open_with_clock(dir: &Path, capacity_bytes: u64, clock: Arc<dyn Clock>) -> io::Result<Self> {
        tokio::fs::create_dir_all(dir.join("tmp")).await?;
        let root = dir.to_owned();
        let names = tokio::task::spawn_blocking(move || walk(&root)).await.map_err(io::Error::other)??;
        let inner = Inner {
            dir: dir.to_owned(),
            capacity_bytes,
            names: Mutex::new(names),
            temporary: AtomicU64::new(0),
            admitted_bytes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
        };
        Ok(Self { inner: Arc::new(inner), clock })
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// If the file is there but cannot be read.
    pub async fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        let name = name_of(key);
        let known = self.names().known.get(&name).copied();
        let Some(known) = known else { return Ok(None) };
        if known.expires_ms.is_some_and(|at| at <= self.clock.now().0) {
            return Ok(None);
        }
        match tokio::fs::read(path_of(&self.inner.dir, &name)).await {
            Ok(value) => Ok(Some(value.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.names().remove(&name);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Stores a value; `false` if it is larger than the whole cache. Its bytes are in the kernel when this returns.
    ///
    /// # Errors
    /// If the file cannot be written or renamed.
    pub async fn set(&self, key: &[u8], value: Bytes, ttl: Option<Duration>) -> io::Result<bool> {
        let name = name_of(key);
        let charged_bytes = (value.len() as u64).next_multiple_of(BLOCK_LEN_BYTES);
        if charged_bytes > self.inner.capacity_bytes {
            self.delete(key).await?;
            return Ok(false);
        }
        let expires_ms = ttl.map(|ttl| self.clock.now().0 + ttl.as_millis() as u64);
        let dropped = self.names().make_room(charged_bytes, self.inner.capacity_bytes);
        for old in dropped {
            ignore_missing(tokio::fs::remove_file(path_of(&self.inner.dir, &old)).await)?;
        }
        let temporary = self.inner.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.inner.dir.join("tmp").join(temporary.to_string());
        let path = path_of(&self.inner.dir, &name);
        self.write_file(&temporary, &value, expires_ms).await?;
        match tokio::fs::rename(&temporary, &path).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                tokio::fs::create_dir_all(path.parent().unwrap_or(&self.inner.dir)).await?;
                tokio::fs::rename(&temporary, &path).await?;
            }
            other => other?,
        }
        self.names().insert(name, charged_bytes, expires_ms);
        self.inner.admitted_bytes.fetch_add((key.len() + value.len()) as u64, Ordering::Relaxed);
        self.inner.written_bytes.fetch_add(charged_bytes, Ordering::Relaxed);
        Ok(true)
    }

    async fn write_file(&self, path: &Path, value: &Bytes, expires_ms: Option<u64>) -> io::Result<()> {
        let Some(expires_ms) = expires_ms else { return tokio::fs::write(path, value).await };
        let (path, value) = (path.to_owned(), value.clone());
        let write = move || {
            use std::os::unix::fs::OpenOptionsExt;
            let mut file = std::fs::OpenOptions::new().write(true).create(true).mode(EXPIRING_MODE).open(path)?;
            io::Write::write_all(&mut file, &value)?;
            file.set_modified(UNIX_EPOCH + Duration::from_millis(expires_ms))
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }

    /// Removes a key; whether it was there.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub async fn delete(&self, key: &[u8]) -> io::Result<bool> {
        let name = name_of(key);
        if !self.names().remove(&name) {
            return Ok(false);
        }
        ignore_missing(tokio::fs::remove_file(path_of(&self.inner.dir, &name)).await)?;
        Ok(true)
    }

    /// How many entries there are.
    pub fn entries(&self) -> u64 {
        self.names().known.len() as u64
    }

    /// Disk space used, in bytes: whole blocks of files.
    pub fn used_bytes(&self) -> u64 {
        self.names().used_bytes
    }

    /// Memory that the names take, in bytes: the tables as allocated.
    pub fn index_bytes(&self) -> u64 {
        let names = self.names();
        // The standard map keeps one control byte a bucket and fills at most 7 of 8 buckets.
        let buckets = names.known.capacity() * 8 / 7;
        let map = buckets * (size_of::<(Name, Known)>() + 1);
        (map + names.oldest.capacity() * size_of::<(Name, u64)>()) as u64
    }

    /// Bytes of keys and values accepted, and bytes of blocks written for them.
    pub fn admitted_and_written_bytes(&self) -> (u64, u64) {
        (self.inner.admitted_bytes.load(Ordering::Relaxed), self.inner.written_bytes.load(Ordering::Relaxed))
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        // Every change of the table is whole before anything can panic.
        self.inner.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name_of(key: &[u8]) -> Name {
    Sha256::digest(key).into()
}

fn path_of(dir: &Path, name: &Name) -> PathBuf {
    let hex: String = name.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex_digit).collect();
    dir.join(&hex[..2]).join(hex)
}

fn hex_digit(value: u8) -> char {
    char::from(b"0123456789abcdef"[usize::from(value & 15)])
}

fn name_from(text: &str) -> Option<Name> {
    let mut name = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in name.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(name)
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Learns every name, length and expiry below `dir`; temporary files of a dead process are removed.
fn walk(dir: &Path) -> io::Result<Names> {
    let mut names = Names::default();
    for folder in std::fs::read_dir(dir)? {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        let temporary = folder.file_name() == "tmp";
        for file in std::fs::read_dir(folder.path())? {
            let file = file?;
            if temporary {
                std::fs::remove_file(file.path())?;
                continue;
            }
            let Some(name) = file.file_name().to_str().and_then(name_from) else { continue };
            let about = file.metadata()?;
            let expires = (about.permissions().mode() & (EXPIRING_MODE ^ PLAIN_MODE) != 0).then(|| {
                let at = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
                at.map_or(0, |at| at.as_millis() as u64)
            });
            names.insert(name, about.len().next_multiple_of(BLOCK_LEN_BYTES), expires);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use esker::Millis;
    use esker::clock::ManualClock;

    use super::*;

    #[tokio::test]
    async fn entries_survive_a_restart_and_the_oldest_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = FilePerKey::open(dir.path(), 3 * BLOCK_LEN_BYTES).await.unwrap();
        for key in [b"a", b"b", b"c", b"d"] {
            assert!(cache.set(key, Bytes::copy_from_slice(key), None).await.unwrap());
        }
        assert_eq!(cache.get(b"a").await.unwrap(), None, "the oldest made room");
        assert!(cache.delete(b"b").await.unwrap());
        assert!(!cache.set(b"c", vec![0; 5 * 4096].into(), None).await.unwrap());
        let again = FilePerKey::open(dir.path(), 3 * BLOCK_LEN_BYTES).await.unwrap();
        assert_eq!(again.entries(), 1);
        assert_eq!(again.get(b"d").await.unwrap(), Some(Bytes::from_static(b"d")));
        assert_eq!(again.get(b"c").await.unwrap(), None, "a refused update leaves no old value");
        assert_eq!(again.used_bytes(), BLOCK_LEN_BYTES);
    }

    #[tokio::test]
    async fn times_to_live_hold_across_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Millis(1_000_000)));
        let cache = FilePerKey::open_with_clock(dir.path(), 1 << 20, clock.clone()).await.unwrap();
        cache.set(b"k", Bytes::from_static(b"v"), Some(Duration::from_secs(5))).await.unwrap();
        let again = FilePerKey::open_with_clock(dir.path(), 1 << 20, clock.clone()).await.unwrap();
        clock.advance(4_999);
        assert!(again.get(b"k").await.unwrap().is_some());
        clock.advance(1);
        assert!(again.get(b"k").await.unwrap().is_none());
    }
}
