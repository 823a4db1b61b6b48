//! A disk that is slow for one process: a control group with a limit of bytes a second on the device of a directory.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{major, minor, stat};

/// Where control groups are, by version.
const V1: &str = "/sys/fs/cgroup/blkio";
const V2: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// The group. Dropping it removes it, once nobody is in it.
#[derive(Debug)]
pub struct Throttle {
    group: PathBuf,
}

impl Throttle {
    /// A group of this name whose processes write so many bytes a second to the device that holds `dir`.
    ///
    /// # Errors
    /// Why there is none here.
    pub fn new(dir: &Path, name: &str, write_bytes_a_second: u64) -> Result<Self> {
        let device = device(dir)?;
        if Path::new(V1).join("blkio.throttle.write_bps_device").exists() {
            let group = Self::make(Path::new(V1), name)?;
            write(&group.group.join("blkio.throttle.write_bps_device"), &format!("{device} {write_bytes_a_second}"))?;
            return Ok(group);
        }
        for root in V2.map(Path::new) {
            let controllers = std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
            if controllers.split_whitespace().any(|name| name == "io") {
                write(&root.join("cgroup.subtree_control"), "+io")?;
                let group = Self::make(root, name)?;
                write(&group.group.join("io.max"), &format!("{device} wbps={write_bytes_a_second}"))?;
                return Ok(group);
            }
        }
        bail!("no control group limits disks here")
    }

    fn make(root: &Path, name: &str) -> Result<Self> {
        let group = root.join(name);
        std::fs::create_dir(&group).with_context(|| format!("cannot make the control group {}", group.display()))?;
        Ok(Self { group })
    }

    /// For a process to enter.
    pub fn group(&self) -> &Path {
        &self.group
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        // Its last process was waited for. A group that stays behind is empty and does nothing.
        let _ = std::fs::remove_dir(&self.group);
    }
}

/// The whole disk under a directory, as `major:minor`.
fn device(dir: &Path) -> Result<String> {
    let number = stat(dir).with_context(|| format!("cannot look at {}", dir.display()))?.st_dev;
    let name = format!("{}:{}", major(number), minor(number));
    let entry = Path::new("/sys/dev/block").join(&name);
    let entry = entry.canonicalize().with_context(|| format!("{} is on no block device", dir.display()))?;
    if !entry.join("partition").exists() {
        return Ok(name);
    }
    let disk = entry.parent().context("a partition of no disk")?.join("dev");
    Ok(std::fs::read_to_string(disk).context("a partition of no disk")?.trim().to_owned())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let file = std::fs::OpenOptions::new().write(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
