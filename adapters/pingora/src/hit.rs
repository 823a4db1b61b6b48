//! Serving a body.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use esker::EntryReader;
use pingora_cache::storage::{HandleHit, Storage};
use pingora_cache::trace::SpanHandle;
use pingora_cache::{CacheEntryId, CacheKey};
use pingora_error::{Error, ErrorType, Result};

use crate::counts::{Counters, add_one};
use crate::error::cannot_read;
use crate::fill::Place;

/// Reads one version of an entry, or follows a fill. Bytes come as they are stored, without a copy; every byte from the disk
/// was checked. The end of the body is told from its loss: a body that is not all there ends with an error.
pub struct EskerHit {
    reader: EntryReader,
    /// Where the next byte comes from.
    at: u64,
    /// Where to stop; `None` at the body's end.
    until: Option<u64>,
    id: u64,
    /// Length of the body when this was opened; `None` if it was being filled.
    len_bytes: Option<u64>,
    /// The fill that it follows.
    place: Option<Place>,
    /// Esker's reader ended before its time, the fill's memory goes on.
    is_relayed: bool,
    counters: Arc<Counters>,
}

impl EskerHit {
    pub(crate) fn new(reader: EntryReader, id: u64, place: Option<Place>, counters: Arc<Counters>) -> Self {
        let len_bytes = reader.len_bytes();
        Self { reader, at: 0, until: None, id, len_bytes, place, is_relayed: false, counters }
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        if !self.is_relayed {
            let error = match self.reader.next_bytes().await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => error,
            };
            // Whoever followed a fill to its end goes on as a reader of the entry, which has nothing to relay.
            match self.relay().await {
                Some(bytes) => {
                    self.is_relayed = true;
                    add_one(&self.counters.relayed);
                    return Ok(bytes);
                }
                None => return Err(cannot_read(error)),
            }
        }
        match self.relay().await {
            Some(bytes) => Ok(bytes),
            None => Error::e_explain(ErrorType::FileReadError, "the fill was given up, or went on too far ahead"),
        }
    }

    async fn relay(&self) -> Option<Option<Bytes>> {
        self.place.as_ref()?.relay(self.at).await
    }
}

#[async_trait]
impl HandleHit for EskerHit {
    /// The next piece of the body, or of the range that was sought. Waits for the fill that it follows.
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        if self.until.is_some_and(|until| self.at >= until) {
            return Ok(None);
        }
        let Some(mut bytes) = self.next().await? else { return Ok(None) };
        if let Some(until) = self.until {
            bytes.truncate(usize::try_from(until - self.at).unwrap_or(usize::MAX));
        }
        self.at += bytes.len() as u64;
        if let Some(place) = &self.place {
            place.move_to(self.at);
        }
        Ok(Some(bytes))
    }

    async fn finish(
        self: Box<Self>,
        _storage: &'static (dyn Storage + Sync),
        _key: &CacheKey,
        _trace: &SpanHandle,
    ) -> Result<()> {
        Ok(())
    }

    /// Always: also one that follows a fill, which then waits until the fill gets there.
    fn can_seek(&self) -> bool {
        true
    }

    /// Goes to `start`, to read up to `end`, which is not read any more; as often as one likes. An `end` behind the body's is
    /// the body's.
    ///
    /// # Errors
    /// If nothing is at `start`: of a body that is being filled that is not known, so there it is not an error.
    fn seek(&mut self, start: usize, end: Option<usize>) -> Result<()> {
        let (start, end) = (start as u64, end.map(|end| end as u64));
        if let Some(len) = self.reader.len_bytes().filter(|len| start >= *len) {
            let text = format!("a seek to {start} in a body of {len} bytes");
            return Error::e_explain(ErrorType::InternalError, text);
        }
        self.reader.seek_to(start);
        (self.at, self.until) = (start, end);
        if let Some(place) = &self.place {
            place.move_to(start);
        }
        Ok(())
    }

    /// Who follows a fill caused it, or came with who did.
    fn should_count_access(&self) -> bool {
        self.place.is_none()
    }

    /// Length of the body in bytes; 0 while it is not known.
    fn get_eviction_weight(&self) -> usize {
        self.len_bytes.and_then(|len| usize::try_from(len).ok()).unwrap_or(0)
    }

    fn entry_id(&self) -> Option<CacheEntryId> {
        Some(CacheEntryId::new(self.id))
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}
