//! A small file system that can be filled, for as long as it is held.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{FileSystem, Mount};

/// Which file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In memory.
    Tmpfs,
    /// ext4 in a file.
    Ext4,
}

impl Kind {
    /// As a case names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tmpfs => "tmpfs",
            Self::Ext4 => "ext4",
        }
    }
}

/// The file system. Dropping it unmounts it.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
    /// `None` once it is dropped.
    mount: Option<Mount>,
}

impl SmallDisk {
    /// Makes a file system of this size and mounts it; `at` and a file beside it must not exist.
    ///
    /// # Errors
    /// It cannot be made or mounted here.
    pub fn new(kind: Kind, at: &Path, size_bytes: u64) -> Result<Self> {
        std::fs::create_dir_all(at).context("no mount point")?;
        let mount = match kind {
            Kind::Tmpfs => Mount::in_memory(at, size_bytes),
            Kind::Ext4 => {
                let image = at.with_extension("img");
                FileSystem::Ext4.make_of(&image, size_bytes)?;
                Mount::at(at, FileSystem::Ext4, &image)
            }
        };
        Ok(Self { at: at.to_owned(), mount: Some(mount?) })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Bytes that can still be taken.
    ///
    /// # Errors
    /// It does not say.
    pub fn free_bytes(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(&self.at).context("the file system does not say what is free")?;
        Ok(stat.f_bavail * stat.f_frsize)
    }

    /// Takes space until this much is left, or gives space back.
    ///
    /// # Errors
    /// The file system's.
    pub fn leave_free(&self, bytes: u64) -> Result<()> {
        let path = self.at.join("ballast");
        let has = std::fs::metadata(&path).map_or(0, |meta| meta.len());
        let len = (has + self.free_bytes()?).saturating_sub(bytes) & !4095;
        let file = std::fs::File::options().write(true).create(true).truncate(false).open(&path)?;
        file.set_len(len)?;
        if len > 0 {
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, len).context("cannot take space")?;
        }
        Ok(file.sync_all()?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.mount = None;
        let _ = std::fs::remove_file(self.at.with_extension("img"));
        let _ = std::fs::remove_dir(&self.at);
    }
}
