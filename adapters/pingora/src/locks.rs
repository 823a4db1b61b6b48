//! One change of a key at a time: what is read, judged and then changed must not change in between.

use tokio::sync::{Mutex, MutexGuard};

use crate::key::EntryKey;

const STRIPES: usize = 256;

/// Locks for all keys; several keys may share one.
#[derive(Debug)]
pub(crate) struct KeyLocks(Vec<Mutex<()>>);

impl KeyLocks {
    pub(crate) fn new() -> Self {
        Self((0..STRIPES).map(|_| Mutex::new(())).collect())
    }

    /// Waits until no other change of this key is under way.
    pub(crate) async fn lock(&self, key: &EntryKey) -> MutexGuard<'_, ()> {
        // A key is a hash.
        self.0[usize::from(key[0]) % STRIPES].lock().await
    }
}
