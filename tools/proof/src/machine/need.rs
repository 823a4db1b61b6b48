//! What a row needs of the machine, and what is missing.

use std::path::Path;

use esker::BackendKind;
use esker::backend::probe;

use super::command::find;
use super::{FileSystem, Mount, scratch};

/// What a row may need.
#[derive(Debug, Clone, Copy)]
pub enum Need {
    /// A file system that can be made and mounted.
    Mounted(FileSystem),
    /// A block layer in user space.
    Daemon,
    /// The kernel's ring.
    Ring,
    /// The tool that shuts a file system down.
    Shutdown,
}

/// What is missing, in words; `None` if all is there.
pub fn missing(needs: &[Need]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("loop devices and mounts need root".into());
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("there are no loop devices (/dev/loop-control)".into());
    }
    let lacks = |program: &str, package: &str| {
        find(program).is_none().then(|| format!("{program} is missing: apt-get install {package}"))
    };
    needs.iter().find_map(|need| match need {
        Need::Mounted(kind) => {
            let package = match kind {
                FileSystem::Ext4 => "e2fsprogs",
                FileSystem::Xfs => "xfsprogs",
                FileSystem::Btrfs => "btrfs-progs",
            };
            lacks(kind.maker(), package)
                .or_else(|| lacks("losetup", "mount"))
                .or_else(|| lacks("mount", "mount"))
                .or_else(|| cannot_mount(*kind))
        }
        Need::Daemon if !Path::new("/dev/fuse").exists() => Some("there is no FUSE (/dev/fuse)".into()),
        Need::Daemon => lacks("qemu-storage-daemon", "qemu-system-common (from Debian 13 on: qemu-utils)"),
        Need::Ring => probe::choose(BackendKind::Uring).err().map(|error| error.to_string()),
        Need::Shutdown => lacks("xfs_io", "xfsprogs"),
    })
}

/// A container may have every program and no right to use it; a kernel may not know the file system.
fn cannot_mount(kind: FileSystem) -> Option<String> {
    let tried = scratch(&std::env::temp_dir()).and_then(|scratch| {
        let (image, dir) = (scratch.path().join("image"), scratch.path().join("mounted"));
        kind.make(&image)?;
        std::fs::create_dir(&dir)?;
        Mount::at(&dir, kind, &image)?.unmount()
    });
    tried.err().map(|error| format!("{} cannot be mounted here: {error:#}", kind.name()))
}
