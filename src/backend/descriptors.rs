//! How many files the process may open, and how many of them the caches in it will.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the rest of the process may open besides: the usual soft limit.
#[cfg(unix)]
const OTHERS: u64 = 1024;

/// What all caches of this process may open.
static RESERVED: AtomicU64 = AtomicU64::new(0);

/// Descriptors that are set aside until this is dropped.
#[derive(Debug, Default)]
pub struct Reserved(u64);

impl Drop for Reserved {
    fn drop(&mut self) {
        RESERVED.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// The process may not open enough files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// What all its caches need.
    pub needed: u64,
    /// What it may have.
    pub limit: u64,
}

/// Sets `count` descriptors aside. Raises the soft limit to what all caches need and a thousand for the rest of the
/// process, as far as the hard limit allows it.
///
/// # Errors
/// `Shortage` if the caches alone pass the hard limit.
pub fn reserve(count: u64) -> Result<Reserved, Shortage> {
    // Counted from here on, and given back if it is refused.
    let reserved = Reserved(count);
    let needed = RESERVED.fetch_add(count, Ordering::Relaxed) + count;
    allow(needed).map(|()| reserved)
}

#[cfg(unix)]
fn allow(needed: u64) -> Result<(), Shortage> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let (mut soft, hard) = (current.unwrap_or(u64::MAX), maximum.unwrap_or(u64::MAX));
    let wanted = (needed + OTHERS).min(hard);
    if soft < wanted && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok() {
        tracing::info!(from = soft, to = wanted, "raised the limit of open files");
        soft = wanted;
    }
    if soft >= needed { Ok(()) } else { Err(Shortage { needed, limit: soft }) }
}

#[cfg(not(unix))]
fn allow(_needed: u64) -> Result<(), Shortage> {
    Ok(())
}
