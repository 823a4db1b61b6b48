//! Writing a value piece by piece.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::{BoxFuture, DiskCache, EntryReader, SetOptions, SetOutcome};
use crate::engine::Writing;
use crate::error::{Error, Result};
use crate::sync::Mutex;
use crate::sync::io::AsyncWrite;
use crate::types::Sequence;

impl DiskCache {
    /// Begins an entry whose value comes piece by piece, and may have any length that the capacity holds. It is an entry once
    /// [`EntryWriter::finish`] has returned; until then an older value of the key stays. Its time to live counts from now.
    ///
    /// Of several writers of one key the one that finishes last wins.
    ///
    /// Cancel safe: nothing is changed.
    ///
    /// # Errors
    /// `InvalidInput` for a key, metadata or tags out of limits, `Closed` after `close`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn writer(&self, key: impl AsRef<[u8]>, options: SetOptions) -> Result<EntryWriter> {
        let writing = self.engine.wait().await?.begin(&self.key(key.as_ref())?, &options, true)?;
        Ok(EntryWriter { writing: Arc::new(writing), draining: Mutex::default(), is_finished: false })
    }
}

/// Writes the value of one entry. Dropped before it is finished, it leaves nothing behind.
///
/// It holds at most two chunks ([`Config::chunk_len_bytes`](crate::Config::chunk_len_bytes)) and what it was given last; a
/// disk that is slow makes it wait.
pub struct EntryWriter {
    writing: Arc<Writing>,
    /// Chunks on their way into the log, for [`AsyncWrite`]. Never locked: the lock makes it `Sync`.
    draining: Mutex<Option<BoxFuture<'static, Result<()>>>>,
    is_finished: bool,
}

impl EntryWriter {
    /// Appends to the value, without a copy if the bytes fill whole chunks.
    ///
    /// A value that was refused takes no more, at no cost: see [`EntryWriter::is_refused`].
    ///
    /// Cancel safe: the bytes are taken; the next call, or `finish`, goes on with them.
    ///
    /// # Errors
    /// `Closed` after `close`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn write_bytes(&mut self, bytes: Bytes) -> Result<()> {
        self.drained().await?;
        self.writing.add(bytes);
        self.writing.drain().await
    }

    /// Bytes taken so far.
    pub fn written_bytes(&self) -> u64 {
        self.writing.object.written_bytes()
    }

    /// A number that no other writer or entry of the cache has; [`EntryReader::sequence`] of those that follow it.
    pub fn sequence(&self) -> Sequence {
        self.writing.object.id
    }

    /// Whether the value was refused already, so that it is in vain to go on; [`EntryWriter::finish`] says why.
    pub fn is_refused(&self) -> bool {
        self.writing.is_refused()
    }

    /// A reader that follows this writer: see [`DiskCache::reader`].
    pub fn reader(&self) -> EntryReader {
        EntryReader::new(self.writing.reader())
    }

    /// Makes the value an entry, as durable as its options say. A value of at most one chunk is one record, as `set` makes it.
    ///
    /// Not cancel safe: dropped before it returns, the value is either an entry or gone.
    ///
    /// # Errors
    /// `Closed`; `WriteFailed` if the disk lost it before it was as durable as asked for. A refused write is `Ok(Refused)`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn finish(mut self) -> Result<SetOutcome> {
        self.drained().await?;
        let outcome = self.writing.finish().await;
        self.is_finished = outcome.is_ok();
        outcome
    }

    async fn drained(&mut self) -> Result<()> {
        let Some(draining) = self.draining.get_mut() else { return Ok(()) };
        let drained = draining.await;
        *self.draining.get_mut() = None;
        drained
    }

    /// Bytes that may be copied before chunks must go to the log.
    fn room(&self) -> usize {
        let object = &self.writing.object;
        (2 * object.chunk_len_bytes as usize).saturating_sub(object.rest_bytes())
    }

    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.draining.get_mut().is_some() || self.room() == 0 {
            let writing = self.writing.clone();
            let slot = self.draining.get_mut();
            let draining = slot.get_or_insert_with(|| Box::pin(async move { writing.drain().await }));
            let drained = ready!(draining.as_mut().poll(cx));
            *slot = None;
            drained.map_err(into_io)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for EntryWriter {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drained(cx))?;
        let n = from.len().min(this.room());
        this.writing.add(Bytes::copy_from_slice(&from[..n]));
        Poll::Ready(Ok(n))
    }

    /// Waits for the chunks that are full. What is less than one stays in memory, where attached readers see it.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_drained(cx)
    }

    /// As `poll_flush`: only [`EntryWriter::finish`] makes an entry.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl Drop for EntryWriter {
    fn drop(&mut self) {
        if !self.is_finished {
            self.writing.abort();
        }
    }
}

impl std::fmt::Debug for EntryWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntryWriter").field("written_bytes", &self.written_bytes()).finish_non_exhaustive()
    }
}

/// As the traits of tokio want it.
pub(super) fn into_io(error: Error) -> io::Error {
    match error {
        Error::Io { source, .. } => source,
        other => io::Error::other(other),
    }
}
