//! Purging by prefix, and the index of names that it needs.

use std::collections::HashSet;
use std::sync::Arc;

use esker::backend::tokio_fs::TokioFs;
use esker::clock::{Clock, SystemClock};
use esker::inspect::{EntryInfo, Inspector};
use futures_util::{StreamExt, TryStreamExt, stream};
use pingora_cache::key::str2hex;
use pingora_error::{Error, ErrorType, Result};

use crate::EskerStorage;
use crate::error::{cannot_read, cannot_write};
use crate::key::EntryKey;
use crate::stored::Stored;

/// Deletes and reads under way at once.
const AT_ONCE: usize = 64;
/// Looks at the directory in one rebuild. Two are usual: one that finds everything, and one that finds nothing more.
const MOST_LOOKS: usize = 16;
/// Names without an entry that are put up with, beside as many as there are entries.
const SPARE_NAMES: u64 = 10_000;
/// One fill in so many looks whether the names need pruning.
const FILLS_A_LOOK: u64 = 1024;

impl EskerStorage {
    /// Purges every entry whose primary key begins with `prefix`, and every fill of one; how many. Looks into the directory
    /// first, if [`EskerStorage::reindex`] was not called since the start.
    ///
    /// Cancel safe: some entries are then purged, others not.
    ///
    /// # Errors
    /// If the directory cannot be read, or the disk fails: some entries are then purged, others not.
    pub async fn purge_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<u64> {
        if !self.names.is_complete() {
            self.reindex().await?;
        }
        let keys = self.names.with_prefix(prefix.as_ref());
        let purges = stream::iter(keys).map(|key| self.purge_one(key, None)).buffer_unordered(AT_ONCE);
        purges.try_fold(0, async |count, gone| Ok(count + u64::from(gone.is_some()))).await
    }

    /// Rebuilds the index of primary keys from the directory: reads the footers, each entry's key, and the entries of which no
    /// name is known; forgets the names of entries that are gone. How many names there are then. A second call at the same
    /// time waits.
    ///
    /// Cancel safe: the names are then as before, or more.
    ///
    /// # Errors
    /// If the directory cannot be read, eviction moves entries about faster than they can be found, or the cache was closed.
    pub async fn reindex(&self) -> Result<u64> {
        let _alone = self.rebuilding.lock().await;
        self.names.begin_round();
        self.cache.flush().await.map_err(cannot_write)?;
        self.learn_all().await?;
        for key in self.names.left_over() {
            if !self.fills.has(&key) && !self.cache.contains(key).await.map_err(cannot_read)? {
                self.names.remove_left_over(&key);
            }
        }
        self.names.end_round();
        Ok(self.names())
    }

    /// Looks until a look finds nothing new: an entry that eviction moves while a look goes on may be missed by it.
    async fn learn_all(&self) -> Result<()> {
        let mut known = HashSet::new();
        for _ in 0..MOST_LOOKS {
            let mut unseen = self.names.unseen(self.keys_on_disk().await?);
            unseen.retain(|key| known.insert(*key));
            if unseen.is_empty() {
                return Ok(());
            }
            let looks = stream::iter(unseen).map(|key| self.learn(key)).buffer_unordered(AT_ONCE);
            looks.try_collect::<Vec<()>>().await?;
        }
        Error::e_explain(ErrorType::FileReadError, "entries move about faster than they can be found; try again later")
    }

    /// Keys of what is in the directory.
    async fn keys_on_disk(&self) -> Result<HashSet<EntryKey>> {
        let inspector = Inspector::new(Arc::new(TokioFs), &self.dir, SystemClock.now());
        let mut keys = HashSet::new();
        // Keys of another length are none of ours.
        let mut look = |entry: EntryInfo| keys.extend(entry.key_hex.and_then(|hex| str2hex(&hex)));
        inspector.entries(&mut look).await.map_err(cannot_read)?;
        Ok(keys)
    }

    /// Adds the name of the entry that is there, if it is one of ours.
    async fn learn(&self, key: EntryKey) -> Result<()> {
        let reader = self.cache.reader(key).await.map_err(cannot_read)?;
        if let Some(stored) = reader.and_then(|reader| Stored::decode(reader.metadata())) {
            self.names.add(key, &stored.primary);
        }
        Ok(())
    }

    /// Rebuilds the names in the background, once in a while, if most of them name nothing.
    pub(crate) fn prune_if_due(&'static self) {
        let is_time = self.counts().fills.is_multiple_of(FILLS_A_LOOK);
        if !is_time
            || self.names() <= 2 * self.cache.stats().entries + SPARE_NAMES
            || self.rebuilding.try_lock().is_err()
        {
            return;
        }
        tokio::spawn(async move {
            if let Err(error) = self.reindex().await {
                tracing::warn!(%error, "cannot rebuild the index of names");
            }
        });
    }
}
