//! Real file systems on this machine, made and taken down again: images, loop devices, mounts, and a daemon that logs or
//! fails what a loop device writes. Each is a guard: dropped, it is gone, also when a case panics.

mod command;
mod daemon;
mod file_system;
mod image;
mod mount;
mod need;
mod qmp;
mod small_disk;

pub use command::run;
pub use daemon::Daemon;
pub use file_system::FileSystem;
pub use image::{BLOCK_BYTES, Image};
pub use mount::{LoopDevice, Mount};
pub use need::{Need, missing};
pub use small_disk::{Kind, SmallDisk};

use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

/// Images of file systems are kept in memory where that is possible: a sync then costs nothing, which changes no order.
const MEMORY: &str = "/dev/shm";
/// Less than this and the images do not fit there.
const LEAST_FREE_BYTES: u64 = 1 << 30;

/// A directory for images, removed with the guard.
///
/// # Errors
/// It cannot be made.
pub fn scratch(dir: &Path) -> Result<TempDir> {
    let free = rustix::fs::statvfs(MEMORY).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    let parent = if free >= LEAST_FREE_BYTES { Path::new(MEMORY) } else { dir };
    let prefix = "esker-proof-";
    tempfile::Builder::new().prefix(prefix).tempdir_in(parent).with_context(|| format!("in {}", parent.display()))
}
