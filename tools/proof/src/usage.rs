//! What the kernel says of this process, and of a directory.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Resident memory in bytes.
///
/// # Errors
/// There is no /proc.
pub fn resident_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").context("no /proc")?;
    let pages: u64 = text.split(' ').nth(1).and_then(|n| n.parse().ok()).context("statm is not as expected")?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// Open descriptors, the one that this takes not counted.
///
/// # Errors
/// There is no /proc.
pub fn descriptors() -> Result<u64> {
    Ok(std::fs::read_dir("/proc/self/fd").context("no /proc")?.count() as u64 - 1)
}

/// What the files in a directory take: the longer of their length and their blocks.
///
/// # Errors
/// It cannot be listed.
pub fn directory_bytes(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        // One that was removed meanwhile takes nothing.
        if let Ok(meta) = entry?.metadata() {
            sum += meta.len().max(meta.blocks() * 512);
        }
    }
    Ok(sum)
}
