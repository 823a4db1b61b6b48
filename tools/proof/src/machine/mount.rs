//! Loop devices and mounts.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::FileSystem;
use super::command::{run, text};

/// How long files of a cache that was dropped may keep a mount busy.
const BUSY_FOR: Duration = Duration::from_secs(10);
const TRY_AGAIN: Duration = Duration::from_millis(2);
/// Two threads may ask for the same free loop device; the loser asks again.
const LOOP_TRIES: u32 = 8;

/// A loop device over a file.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
}

impl LoopDevice {
    /// Over this file.
    ///
    /// # Errors
    /// There is no loop device, or it refuses.
    pub fn over(file: &Path) -> Result<Self> {
        let path = again(|| run("losetup", ["--find", "--show", text(file)?]))?;
        Ok(Self { path: path.into() })
    }

    /// The device.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let detached = text(&self.path).and_then(|path| run("losetup", ["--detach", path]));
        if let Err(error) = detached {
            eprintln!("{} stays attached: {error:#}", self.path.display());
        }
    }
}

/// A mounted file system.
#[derive(Debug)]
pub struct Mount {
    dir: Option<PathBuf>,
}

impl Mount {
    /// Mounts an image or a device at a directory, which must exist.
    ///
    /// # Errors
    /// It cannot be mounted.
    pub fn at(dir: &Path, kind: FileSystem, what: &Path) -> Result<Self> {
        // A device is taken as it is: a second loop device above it would hold back what is written.
        let options = if what.starts_with("/dev") && !what.is_file() { "noatime" } else { "noatime,loop" };
        let args = ["-t", kind.name(), "-o", options, text(what)?, text(dir)?];
        again(|| run("mount", args))?;
        Ok(Self { dir: Some(dir.to_owned()) })
    }

    /// Mounts a tmpfs of this size at a directory, which must exist.
    ///
    /// # Errors
    /// It cannot be mounted.
    pub fn in_memory(dir: &Path, size_bytes: u64) -> Result<Self> {
        run("mount", ["-t", "tmpfs", "-o", &format!("size={size_bytes}"), "tmpfs", text(dir)?])?;
        Ok(Self { dir: Some(dir.to_owned()) })
    }

    /// Unmounts it, once nobody uses it any more.
    ///
    /// # Errors
    /// Somebody does for long.
    pub fn unmount(mut self) -> Result<()> {
        self.dir.take().map_or(Ok(()), |dir| unmount(&dir))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(dir) = self.dir.take()
            && let Err(error) = unmount(&dir)
        {
            eprintln!("unmounted by force: {error:#}");
            let _ = text(&dir).and_then(|dir| run("umount", ["--lazy", dir]));
        }
    }
}

fn unmount(dir: &Path) -> Result<()> {
    let until = Instant::now() + BUSY_FOR;
    loop {
        match run("umount", [text(dir)?]) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => std::thread::sleep(TRY_AGAIN),
        }
    }
}

fn again(try_it: impl Fn() -> Result<String>) -> Result<String> {
    let mut tries = 1;
    loop {
        match try_it() {
            Err(error) if tries < LOOP_TRIES && format!("{error:#}").contains("loop device") => tries += 1,
            ended => return ended,
        }
        std::thread::sleep(TRY_AGAIN);
    }
}
