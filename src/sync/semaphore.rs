//! A semaphore under shuttle's scheduler. As tokio's, and unlike that of `shuttle-tokio`, it gives out no permits at all
//! when asked for none.

use std::sync::Arc;

use shuttle::future::batch_semaphore::{AcquireError, BatchSemaphore, Fairness, TryAcquireError};

/// As tokio's.
pub struct Semaphore(BatchSemaphore);

/// As tokio's.
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
    permits: usize,
}

/// As tokio's.
pub struct OwnedSemaphorePermit(Arc<Semaphore>);

impl Semaphore {
    /// As tokio's.
    pub const MAX_PERMITS: usize = usize::MAX >> 3;

    /// As tokio's.
    pub fn new(permits: usize) -> Self {
        Self(BatchSemaphore::new(permits, Fairness::StrictlyFair))
    }

    /// As tokio's.
    pub fn add_permits(&self, n: usize) {
        if n > 0 {
            self.0.release(n);
        }
    }

    /// As tokio's.
    ///
    /// # Errors
    /// There are not as many.
    pub fn try_acquire_many(&self, n: u32) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        let permits = n as usize;
        if permits > 0 {
            self.0.try_acquire(permits)?;
        }
        Ok(SemaphorePermit { semaphore: self, permits })
    }

    /// As tokio's.
    ///
    /// # Errors
    /// None: it is never closed.
    pub async fn acquire_many(&self, n: u32) -> Result<SemaphorePermit<'_>, AcquireError> {
        let permits = n as usize;
        if permits > 0 {
            self.0.acquire(permits).await?;
        }
        Ok(SemaphorePermit { semaphore: self, permits })
    }

    /// As tokio's.
    ///
    /// # Errors
    /// There is none.
    pub fn try_acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.0.try_acquire(1)?;
        Ok(OwnedSemaphorePermit(self))
    }

    /// As tokio's.
    ///
    /// # Errors
    /// None: it is never closed.
    pub async fn acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.0.acquire(1).await?;
        Ok(OwnedSemaphorePermit(self))
    }
}

impl SemaphorePermit<'_> {
    /// As tokio's.
    pub fn forget(mut self) {
        self.permits = 0;
    }
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        self.semaphore.add_permits(self.permits);
    }
}

impl Drop for OwnedSemaphorePermit {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}
