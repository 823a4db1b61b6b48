//! Purging by prefix, and the index of names that it needs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use esker::backend::tokio_fs::TokioFs;
use esker::clock::{Clock, SystemClock};
use esker::inspect::{Inspector, SegmentState, SegmentSummary};
use futures_util::{StreamExt, TryStreamExt, stream};
use pingora_error::Result;

use crate::EskerStorage;
use crate::error::{cannot_read, cannot_write};
use crate::key::EntryKey;
use crate::stored::Stored;

/// Deletes and reads under way at once.
const AT_ONCE: usize = 64;
/// Looks at the directory: while eviction moves entries about, one may not be enough.
const MOST_PASSES: usize = 8;
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

    /// Rebuilds the index of primary keys from the directory: reads every segment, and the entries of which no name is known;
    /// forgets the names of entries that are gone. How many names there are then. A second call at the same time waits.
    ///
    /// Cancel safe: the names are then as before, or more.
    ///
    /// # Errors
    /// If the directory cannot be read, or the cache was closed.
    pub async fn reindex(&self) -> Result<u64> {
        let _alone = self.rebuilding.lock().await;
        self.names.begin_round();
        self.cache.flush().await.map_err(cannot_write)?;
        let mut seen = HashMap::new();
        for _ in 0..MOST_PASSES {
            let keys = self.keys_on_disk(&mut seen).await?;
            let unseen = self.names.unseen(keys);
            if unseen.is_empty() {
                break;
            }
            let looks = stream::iter(unseen).map(|key| self.learn(key)).buffer_unordered(AT_ONCE);
            looks.try_collect::<Vec<()>>().await?;
        }
        for key in self.names.left_over() {
            if !self.fills.has(&key) && !self.cache.contains(key).await.map_err(cannot_read)? {
                self.names.remove_left_over(&key);
            }
        }
        self.names.end_round();
        Ok(self.names())
    }

    /// Keys in segments that have changed since they were seen last.
    async fn keys_on_disk(&self, seen: &mut HashMap<String, (Option<u64>, u64)>) -> Result<HashSet<EntryKey>> {
        let backend = Arc::new(TokioFs);
        let inspector = Inspector::new(backend.clone(), &self.dir, SystemClock.now());
        let mut keys = HashSet::new();
        for segment in inspector.segments().await.map_err(cannot_read)? {
            let SegmentSummary { file, id, records, state, .. } = segment;
            let is_ours = !matches!(state, SegmentState::Free | SegmentState::Foreign);
            if !is_ours || seen.insert(file.clone(), (id, records)) == Some((id, records)) {
                continue;
            }
            let mut look = |record: esker::inspect::RecordInfo| {
                let is_entry = matches!(record.kind, "put" | "head") && record.defect.is_none();
                keys.extend(record.key_hex.filter(|_| is_entry).and_then(|hex| pingora_cache::key::str2hex(&hex)));
            };
            match Inspector::records(&*backend, &self.dir.join(&file), &mut look).await {
                Ok(_) => {}
                // Evicted since; what was moved out of it is where it went to.
                Err(esker::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(cannot_read(error)),
            }
        }
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
