//! The words by which tasks and threads meet: locks, atomics, signals, tasks, threads and time. The library takes them
//! from here alone (`tests/architecture.rs` holds this; counters, which decide nothing, are free), so that a build with
//! `--cfg shuttle` runs all of it under shuttle's scheduler, which chooses who goes on at each of them.
//!
//! Shuttle's atomics are sequentially consistent: it explores orders of steps, not what weaker orderings allow.

#[cfg(not(shuttle))]
#[allow(unused_imports, reason = "builds without a ring need fewer words")]
mod words {
    pub use parking_lot::{Mutex, MutexGuard, RwLock};
    pub use std::sync::{atomic, mpsc};
    pub use std::{thread, thread_local};
    pub use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
    pub use tokio::sync::{TryAcquireError, oneshot};
    pub use tokio::{task, time};
}

#[cfg(shuttle)]
mod words {
    pub use super::semaphore::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
    pub use shuttle::future::batch_semaphore::TryAcquireError;
    pub use shuttle::sync::{atomic, mpsc};
    pub use shuttle::{thread, thread_local};
    pub use shuttle_parking_lot::{Mutex, MutexGuard, RwLock};
    pub use shuttle_tokio::sync::{Mutex as AsyncMutex, Notify, oneshot};
    pub use shuttle_tokio::task;
}

#[cfg(shuttle)]
mod semaphore;
#[cfg(shuttle)]
pub mod time;

/// Traits, and waiting for two things in turn: nobody meets by them.
pub use tokio::{io, join};
pub use words::*;

/// Processors that the process may use, as it was when this was first asked: the answer takes tens of microseconds.
pub fn processors() -> usize {
    static COUNT: std::sync::LazyLock<usize> = std::sync::LazyLock::new(|| {
        if cfg!(shuttle) { 2 } else { std::thread::available_parallelism().map_or(1, |n| n.get()) }
    });
    *COUNT
}
