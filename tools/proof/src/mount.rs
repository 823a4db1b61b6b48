//! A small file system of our own, for as long as it is held.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

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

/// A mounted file system. Dropping it unmounts it.
#[derive(Debug)]
pub struct Mount {
    at: PathBuf,
}

impl Mount {
    /// Makes a file system of this size and mounts it; `at` and a file beside it must not exist.
    ///
    /// # Errors
    /// It cannot be made or mounted here.
    pub fn new(kind: Kind, at: &Path, size_bytes: u64) -> Result<Self> {
        std::fs::create_dir_all(at).context("no mount point")?;
        match kind {
            Kind::Tmpfs => {
                let size = format!("size={size_bytes}");
                run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at))?;
            }
            Kind::Ext4 => {
                let image = at.with_extension("img");
                std::fs::File::create_new(&image)?.set_len(size_bytes)?;
                run(Command::new("mkfs.ext4").args(["-q", "-F", "-b", "4096", "-m", "0"]).arg(&image))?;
                run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(at))?;
            }
        }
        Ok(Self { at: at.to_owned() })
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

impl Drop for Mount {
    fn drop(&mut self) {
        // What was killed or dropped a moment ago may still hold a file; the loop device goes with the mount.
        let usual = run(Command::new("umount").arg(&self.at));
        if usual.is_err() {
            let _ = run(Command::new("umount").arg("-l").arg(&self.at));
        }
        let _ = std::fs::remove_file(self.at.with_extension("img"));
        let _ = std::fs::remove_dir(&self.at);
    }
}

fn run(command: &mut Command) -> Result<()> {
    let ran = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    if !ran.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&ran.stderr).trim());
    }
    Ok(())
}
