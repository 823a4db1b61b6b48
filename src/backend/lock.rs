//! Locks that linger: what held one may let go of it a moment after it was closed.

use std::io;
use std::time::Duration;

use super::DiskFile;
use crate::sync::time::{self, Instant};

/// How long, and how often, the lock of a file is tried that nobody should hold any more.
const LOCK_WITHIN: Duration = Duration::from_millis(250);
const LOCK_AGAIN: Duration = Duration::from_millis(1);

/// Locks a file that nobody should hold any more; whether it could. A ring lets go of a file, and so of its lock, a moment
/// after the last operation was answered; and a program that another thread is about to start holds it until it runs.
///
/// # Errors
/// The file cannot be locked at all.
pub async fn lock_soon(file: &dyn DiskFile) -> io::Result<bool> {
    let until = Instant::now() + LOCK_WITHIN;
    while !file.try_lock()? {
        if Instant::now() >= until {
            return Ok(false);
        }
        time::sleep(LOCK_AGAIN).await;
    }
    Ok(true)
}
