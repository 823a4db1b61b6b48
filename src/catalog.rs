//! The directory itself: whose it is, its lock, and its manifest.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::backend::lock::lock_soon;
use crate::backend::{Backend, BufferPool, DirEntry, DiskFile, OpenMode, WriteBuf, exact};
use crate::error::{Error, Result};
use crate::format::file_name::{LOCK, MANIFEST, MANIFEST_TMP, parse_segment_name};
use crate::format::manifest::{self, Manifest, ManifestDefect};

/// A directory that is ours, locked.
pub struct Directory {
    /// Its manifest.
    pub manifest: Manifest,
    /// Whether it was made just now.
    pub created: bool,
    /// Slots that have a file.
    pub slots: Vec<u16>,
    /// Slots whose name is taken by what is no file: a link, say. They are not used.
    pub blocked: Vec<u16>,
    /// Names that are not ours, left alone.
    pub foreign: Vec<String>,
    /// Holds the lock until dropped.
    pub lock: Arc<dyn DiskFile>,
}

/// Checks, locks and reads a directory, or makes a new one with `fresh` as its manifest. A directory that is refused is
/// not changed.
///
/// # Errors
/// `NotOwned`, `NotACache`, `NewerFormat`, `Locked`, `Io`.
pub async fn open(backend: &dyn Backend, dir: &Path, fresh: impl FnOnce() -> Result<Manifest>) -> Result<Directory> {
    let names = match backend.list(dir).await {
        Ok(names) => names,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            create(backend, dir).await.map_err(Error::io("create", dir))?;
            Vec::new()
        }
        Err(e) => return Err(Error::io("open", dir)(e)),
    };
    check_owner(dir)?;
    // Refused before anything is touched, the lock file included.
    find_manifest(backend, dir, &names).await?;
    let lock = lock(backend, dir, has(&names, LOCK)).await?;
    // Another opener may have been here before we had the lock: what counts is what is there now.
    let names = backend.list(dir).await.map_err(Error::io("open", dir))?;
    let slots = names.iter().filter(|n| n.is_file).filter_map(|n| parse_segment_name(&n.name)).collect();
    let blocked = names.iter().filter(|n| !n.is_file).filter_map(|n| parse_segment_name(&n.name)).collect();
    let found = find_manifest(backend, dir, &names).await?;
    let created = found.is_none();
    let manifest = match found {
        Some(manifest) => manifest,
        None => {
            let manifest = fresh()?;
            write_manifest(backend, dir, &manifest).await.map_err(Error::io("write the manifest of", dir))?;
            manifest
        }
    };
    if has(&names, MANIFEST_TMP) && !created {
        backend.remove(&dir.join(MANIFEST_TMP)).await.map_err(Error::io("remove", dir.join(MANIFEST_TMP)))?;
        backend.sync_dir(dir).await.map_err(Error::io("sync", dir))?;
    }
    let ours = |n: &std::ffi::OsStr| n == LOCK || n == MANIFEST || n == MANIFEST_TMP;
    let foreign = names.iter().filter(|n| !(ours(&n.name) || n.is_file && parse_segment_name(&n.name).is_some()));
    let foreign = foreign.map(|n| n.name.to_string_lossy().escape_debug().to_string()).collect();
    Ok(Directory { manifest, created, slots, blocked, foreign, lock })
}

fn has(names: &[DirEntry], name: &str) -> bool {
    names.iter().any(|n| n.name == name)
}

/// The manifest of a directory with these names; `None` if it is new.
async fn find_manifest(backend: &dyn Backend, dir: &Path, names: &[DirEntry]) -> Result<Option<Manifest>> {
    if has(names, MANIFEST) {
        return read_manifest(backend, dir).await.map(Some);
    }
    if names.iter().all(|n| n.name == LOCK || n.name == MANIFEST_TMP) {
        return Ok(None);
    }
    let has_segments = names.iter().any(|n| n.is_file && parse_segment_name(&n.name).is_some());
    let why = if has_segments { "its MANIFEST is missing" } else { "it holds other files" };
    Err(Error::NotACache { path: dir.into(), why: why.into() })
}

/// Makes the directory and its missing parents, names durable.
async fn create(backend: &dyn Backend, dir: &Path) -> io::Result<()> {
    let mut parents = Vec::new();
    for parent in dir.ancestors().skip(1) {
        parents.push(parent);
        match backend.list(parent).await {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            _ => break,
        }
    }
    backend.create_dir_all(dir).await?;
    for parent in parents {
        backend.sync_dir(parent).await?;
    }
    Ok(())
}

/// Reads and checks the manifest.
///
/// # Errors
/// `NotACache`, `NewerFormat`, `Io`.
pub async fn read_manifest(backend: &dyn Backend, dir: &Path) -> Result<Manifest> {
    let path = dir.join(MANIFEST);
    let file = backend.open(&path, OpenMode::Read).await.map_err(Error::io("open", &path))?;
    let bytes = exact::read_up_to(&*file, 0, manifest::MANIFEST_BYTES).await.map_err(Error::io("read", &path))?;
    Manifest::decode(&bytes).map_err(|defect| match defect {
        ManifestDefect::NewerVersion(found) => {
            Error::NewerFormat { path: dir.into(), found, supported: manifest::VERSION }
        }
        other => Error::NotACache { path: dir.into(), why: format!("its MANIFEST is damaged: {other}") },
    })
}

/// Replaces the manifest: written beside, synced, renamed, the directory synced.
///
/// # Errors
/// The disk's; the old manifest then still stands.
pub async fn write_manifest(backend: &dyn Backend, dir: &Path, manifest: &Manifest) -> io::Result<()> {
    let (path, beside) = (dir.join(MANIFEST), dir.join(MANIFEST_TMP));
    match backend.remove(&beside).await {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let bytes = manifest.encode();
    let mut buf = BufferPool::new(0).take(bytes.len())?;
    buf[..bytes.len()].copy_from_slice(&bytes);
    let file = backend.open(&beside, OpenMode::CreateNew { direct: false }).await?;
    exact::write_all_at(&*file, 0, WriteBuf::new(Arc::new(buf), bytes.len())).await?;
    file.sync_data().await?;
    backend.rename(&beside, &path).await?;
    backend.sync_dir(dir).await
}

async fn lock(backend: &dyn Backend, dir: &Path, exists: bool) -> Result<Arc<dyn DiskFile>> {
    let path = dir.join(LOCK);
    let create = OpenMode::CreateNew { direct: false };
    let mode = if exists { OpenMode::ReadWrite { direct: false } } else { create };
    let file = match backend.open(&path, mode).await {
        // Another opener was quicker.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            backend.open(&path, OpenMode::ReadWrite { direct: false }).await
        }
        other => other,
    };
    let file = file.map_err(Error::io("open", &path))?;
    match lock_soon(&*file).await {
        Ok(true) => Ok(file),
        Ok(false) => Err(Error::Locked { path }),
        Err(e) => Err(Error::io("lock", path)(e)),
    }
}

#[cfg(unix)]
fn check_owner(dir: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    // A simulated disk has no directory here, and no owner.
    let Ok(meta) = std::fs::symlink_metadata(dir) else { return Ok(()) };
    if !meta.is_dir() && !meta.file_type().is_symlink() {
        return Err(Error::io("open", dir)(io::ErrorKind::NotADirectory.into()));
    }
    let us = rustix::process::geteuid().as_raw();
    let owner = std::fs::metadata(dir).map_or(meta.uid(), |m| m.uid());
    if owner == us { Ok(()) } else { Err(Error::NotOwned { path: dir.into(), owner, us }) }
}

#[cfg(not(unix))]
fn check_owner(_dir: &Path) -> Result<()> {
    Ok(())
}
