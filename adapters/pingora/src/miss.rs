//! Filling an entry.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use esker::EntryWriter;
use pingora_cache::storage::streaming_write::U64WriteId;
use pingora_cache::storage::{HandleMiss, MissFinishType};
use pingora_cache::{CacheEntryId, CacheMeta};
use pingora_error::{Error, ErrorType, Result};

use crate::EskerStorage;
use crate::counts::add_one;
use crate::error::cannot_write;
use crate::fill::Fill;
use crate::key::EntryKey;

/// Writes one body into the cache, as the entry that it becomes once it is finished. Dropped before, it leaves nothing, and
/// those who follow it get an error.
pub struct EskerMiss {
    storage: &'static EskerStorage,
    key: EntryKey,
    primary: Vec<u8>,
    fill: Arc<Fill>,
    tag: U64WriteId,
    /// `None` once it was finished.
    writer: Option<EntryWriter>,
    written_bytes: u64,
    /// What the response's header says; `None` if it says nothing.
    declared_bytes: Option<u64>,
    is_at_end: bool,
    /// It is known what became of it.
    is_settled: bool,
}

impl EskerMiss {
    pub(crate) fn new(
        storage: &'static EskerStorage,
        (key, primary): (EntryKey, &[u8]),
        meta: &CacheMeta,
        fill: Arc<Fill>,
        writer: EntryWriter,
    ) -> Self {
        let declared = meta.headers().get("content-length");
        Self {
            storage,
            key,
            primary: primary.to_vec(),
            tag: fill.id.into(),
            fill,
            writer: Some(writer),
            written_bytes: 0,
            declared_bytes: declared.and_then(|value| value.to_str().ok()?.trim().parse().ok()),
            is_at_end: false,
            is_settled: false,
        }
    }

    /// Makes it an entry, unless it was purged meanwhile; whether it is one.
    async fn store(&mut self, writer: EntryWriter) -> Result<bool> {
        let storage = self.storage;
        let _lock = storage.locks.lock(&self.key).await;
        // Also if it was purged: for those who follow it, it must come to its end.
        let outcome = writer.finish().await.map_err(cannot_write)?;
        let is_purged = self.fill.is_purged();
        if !outcome.is_stored() {
            add_one(&storage.counters.fills_refused);
            tracing::debug!(?outcome, "the cache refused a response");
        } else if is_purged {
            // Nobody has found it: lookups know that it was purged.
            storage.cache.delete(self.key).await.map_err(cannot_write)?;
            add_one(&storage.counters.fills_purged);
        } else {
            storage.names.add(self.key, &self.primary);
            add_one(&storage.counters.fills_stored);
        }
        // Under the lock: who comes next finds either a fill or an entry.
        self.is_settled = true;
        self.fill.complete();
        storage.fills.remove(&self.key, self.fill.id);
        Ok(outcome.is_stored() && !is_purged)
    }
}

#[async_trait]
impl HandleMiss for EskerMiss {
    /// Appends to the body. Waits while the disk is slow. What the cache refuses is not an error: the clients that follow are
    /// served from memory, and nothing is stored.
    async fn write_body(&mut self, data: Bytes, eof: bool) -> Result<()> {
        if self.is_at_end && !data.is_empty() {
            return Error::e_explain(ErrorType::FileWriteError, "a body that goes on behind its end");
        }
        self.is_at_end |= eof;
        let Some(writer) = self.writer.as_mut() else {
            return Error::e_explain(ErrorType::FileWriteError, "a body that was finished");
        };
        self.written_bytes += data.len() as u64;
        self.fill.push(data.clone());
        writer.write_bytes(data).await.map_err(cannot_write)
    }

    /// Makes it an entry. `Created(0)` if it is none: refused, or purged meanwhile. That is not an error, since pingora would
    /// cut off the client that follows.
    ///
    /// # Errors
    /// If the body is not as long as the response's `Content-Length` says: then it was cut short, and nothing is stored. If
    /// the cache was closed.
    async fn finish(mut self: Box<Self>) -> Result<MissFinishType> {
        let Some(writer) = self.writer.take() else {
            return Error::e_explain(ErrorType::FileWriteError, "a body that was finished");
        };
        if let Some(declared) = self.declared_bytes.filter(|declared| *declared != self.written_bytes) {
            let text = format!("a body of {} bytes where its header says {declared}", self.written_bytes);
            return Error::e_explain(ErrorType::FileWriteError, text);
        }
        let is_stored = self.store(writer).await?;
        self.storage.prune_if_due();
        let size = usize::try_from(self.written_bytes).unwrap_or(usize::MAX);
        Ok(MissFinishType::Created(if is_stored { size } else { 0 }))
    }

    /// By which [`EskerStorage`] finds this very fill, whoever else fills the key.
    fn streaming_write_tag(&self) -> Option<&[u8]> {
        Some(self.tag.as_bytes())
    }

    fn entry_id(&self) -> Option<CacheEntryId> {
        Some(CacheEntryId::new(self.fill.id))
    }
}

impl Drop for EskerMiss {
    /// Not finished, or not to its end.
    fn drop(&mut self) {
        if !self.is_settled {
            self.fill.abort();
            self.storage.fills.remove(&self.key, self.fill.id);
            add_one(&self.storage.counters.fills_aborted);
        }
    }
}
