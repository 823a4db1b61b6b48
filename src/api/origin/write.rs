//! Writing: first the cache forgets, then the origin takes, then the cache has it.

use bytes::Bytes;

use super::{Mode, OriginCache, Shared, WriteMode};
use crate::entry::{RefuseReason, SetOptions, SetOutcome};
use crate::error::{BoxError, Error, Result};
use crate::sync::task;

/// What is done to a key.
pub(super) enum Change {
    /// It is set.
    Set(Bytes, SetOptions),
    /// It is deleted.
    Delete,
}

impl OriginCache {
    /// Changes a key, in a task of its own: what has begun ends even if nobody waits for it any more.
    pub(super) async fn change(&self, key: &[u8], change: Change) -> Result<Option<SetOutcome>> {
        let engine = self.shared.cache.engine.wait().await?;
        let key_on_disk = self.shared.cache.key(key)?;
        match &change {
            Change::Set(_, options) => engine.check_entry(&key_on_disk, options)?,
            Change::Delete => engine.check_entry(&key_on_disk, &SetOptions::new())?,
        }
        let (shared, key) = (self.shared.clone(), Bytes::copy_from_slice(key));
        let changing = task::spawn(async move { shared.change(key, change).await });
        // Lost with the runtime, or by a panic of the origin.
        changing.await.unwrap_or_else(|e| Err(Error::Origin { op: "end its work", source: e.into() }))
    }
}

impl Shared {
    async fn change(&self, key: Bytes, change: Change) -> Result<Option<SetOutcome>> {
        let _turn = self.turns.take(&key).await;
        if let Change::Set(value, options) = &change
            && let Some(stored) = self.write_back(&key, value, options).await?
        {
            return Ok(Some(stored));
        }
        let _store = self.stores.take(&key).await;
        self.flush_key(&key).await?;
        // What was cached is older than what the origin may take from here on, whatever comes.
        self.cache.delete(&key).await?;
        match change {
            Change::Delete => {
                self.origin.remove(&key).await.map_err(|e| self.failed("remove the key", e))?;
                self.cache.engine.counters().origin_removes.add_one();
                Ok(None)
            }
            Change::Set(value, options) => {
                self.store(&key, value.clone(), options.metadata.clone()).await?;
                match self.mode {
                    Mode::Forward(WriteMode::Around) => Ok(None),
                    _ => self.cache_it(&key, value, options).await.map(Some),
                }
            }
        }
    }

    /// The origin takes a value.
    pub(super) async fn store(&self, key: &[u8], value: Bytes, metadata: Bytes) -> Result<()> {
        self.origin.store(key, value, metadata).await.map_err(|e| self.failed("store the value", e))?;
        self.cache.engine.counters().origin_stores.add_one();
        Ok(())
    }

    fn failed(&self, op: &'static str, source: BoxError) -> Error {
        self.cache.engine.counters().origin_failures.add_one();
        Error::Origin { op, source }
    }

    async fn cache_it(&self, key: &[u8], value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        match self.cache.set_with(key, value, options).await {
            // The origin has it: that is what was asked for.
            Err(Error::WriteFailed) => Ok(SetOutcome::Refused { reason: RefuseReason::DiskFailed }),
            outcome => outcome,
        }
    }
}
