//! Reading a value piece by piece.

use std::io::{self, SeekFrom};
use std::ops::{Bound, RangeBounds};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes};
use futures_core::Stream;

use super::writer::into_io;
use super::{BoxFuture, DiskCache, Hit};
use crate::engine::{self, Body, Opened};
use crate::error::{Error, Result};
use crate::sync::Mutex;
use crate::sync::io::{AsyncRead, AsyncSeek, ReadBuf};
use crate::types::Sequence;

impl DiskCache {
    /// The newest value of a key, to be read piece by piece; `None` on a miss. Follows the key's writer, if there is one and
    /// the configuration says so ([`Config::attach_to_writers`](crate::Config::attach_to_writers)).
    ///
    /// Cancel safe: nothing is changed.
    ///
    /// # Errors
    /// As [`DiskCache::get`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn reader(&self, key: impl AsRef<[u8]>) -> Result<Option<EntryReader>> {
        let config = self.engine.config();
        self.open_reader(key.as_ref(), config.attach_to_writers).await
    }

    /// As [`DiskCache::reader`], and follows the key's writer if there is one, whatever the configuration says.
    ///
    /// Cancel safe: nothing is changed.
    ///
    /// # Errors
    /// As [`DiskCache::get`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn reader_attached(&self, key: impl AsRef<[u8]>) -> Result<Option<EntryReader>> {
        self.open_reader(key.as_ref(), true).await
    }

    async fn open_reader(&self, key: &[u8], attach: bool) -> Result<Option<EntryReader>> {
        match self.engine.now() {
            Some(engine) => Ok(engine?.open_reader(&self.key(key)?, attach).await?.map(EntryReader::new)),
            None => self.engine.miss(&self.key(key)?, true).map(|_| None),
        }
    }

    /// A part of the newest value of a key, or `None` on a miss. What lies behind the value's end is left out; a range that
    /// begins there is empty. [`Hit::len_bytes`] is the length of the whole.
    ///
    /// Of a value in chunks only those are read, and checked, that the range touches; one of a single record is read as a
    /// whole.
    ///
    /// Cancel safe: nothing is changed.
    ///
    /// # Errors
    /// As [`DiskCache::get`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn get_range(&self, key: impl AsRef<[u8]>, range: impl RangeBounds<u64>) -> Result<Option<Hit>> {
        let start = match range.start_bound() {
            Bound::Included(&at) => at,
            Bound::Excluded(&at) => at.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&at) => at.saturating_add(1),
            Bound::Excluded(&at) => at,
            Bound::Unbounded => u64::MAX,
        };
        match self.engine.now() {
            Some(engine) => engine?.get_range(&self.key(key.as_ref())?, start..end).await,
            None => self.engine.miss(&self.key(key.as_ref())?, true),
        }
    }
}

/// Reads the value of one entry: the version that was there, or being written, when it was opened. As a [`Stream`] it gives
/// the pieces as they are stored, without a copy.
///
/// An entry that is replaced or deleted meanwhile is read on as long as its bytes are there. It ends with the value, or with
/// an error: [`Error::Evicted`] if a part went before it was read, [`Error::Aborted`] if the writer that it follows gave up.
/// It holds up to 2 MiB that were read ahead.
pub struct EntryReader {
    about: Hit,
    len_bytes: Option<u64>,
    /// Locked only to ask for the length: the lock makes it `Sync`.
    source: Mutex<Source>,
    /// What was read and not given out, for [`AsyncRead`].
    rest: Bytes,
    /// Where `rest` ends.
    at: u64,
    /// `at` was set by a seek, and the source was not told.
    is_seeking: bool,
}

enum Source {
    Bytes(Bytes),
    Stream(Box<engine::Stream>),
    Reading(BoxFuture<'static, (Box<engine::Stream>, Result<Option<Bytes>>)>),
    /// Only while it changes.
    Nothing,
}

impl EntryReader {
    pub(super) fn new(opened: Opened) -> Self {
        let source = match opened.body {
            Body::Bytes(all) => Source::Bytes(all),
            Body::Stream(stream) => Source::Stream(stream),
        };
        Self {
            about: opened.about,
            len_bytes: opened.len_bytes,
            source: Mutex::new(source),
            rest: Bytes::new(),
            at: 0,
            is_seeking: false,
        }
    }

    /// Length of the value in bytes; `None` as long as its writer is not done.
    pub fn len_bytes(&self) -> Option<u64> {
        self.len_bytes.or_else(|| match &*self.source.lock() {
            Source::Stream(stream) => stream.len_bytes(),
            _ => None,
        })
    }

    /// The user's metadata; empty if none was set.
    pub fn metadata(&self) -> &Bytes {
        self.about.metadata()
    }

    /// How long ago the entry was set, in whole milliseconds, when this was opened.
    pub fn age(&self) -> Duration {
        self.about.age()
    }

    /// When the entry expires; `None`: never.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.about.expires_at()
    }

    /// See [`Hit::sequence`]; while the writer is not done, one that tells the version from others of its key, and is not the
    /// entry's yet.
    pub fn sequence(&self) -> Sequence {
        self.about.sequence()
    }

    /// Where it was found.
    pub fn source(&self) -> super::Source {
        self.about.source()
    }

    /// Goes to a position of the value, in bytes from its beginning. One behind the end is allowed: nothing is read there.
    pub fn seek_to(&mut self, at: u64) {
        self.rest = Bytes::new();
        (self.at, self.is_seeking) = (at, true);
    }

    /// The next piece; `None` at the end of the value. Waits for the writer, if that is not done.
    ///
    /// Cancel safe: what a dropped call would have given, the next one gives.
    ///
    /// # Errors
    /// See [`EntryReader`]; `Damaged`, `Io`, `Closed`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn next_bytes(&mut self) -> Result<Option<Bytes>> {
        std::future::poll_fn(|cx| self.poll_bytes(cx)).await
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.rest))));
        }
        let read = ready!(self.poll_source(cx));
        if let Ok(Some(piece)) = &read {
            self.at += piece.len() as u64;
        }
        Poll::Ready(read)
    }

    /// What is at `at`.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            let source = self.source.get_mut();
            *source = match std::mem::replace(source, Source::Nothing) {
                Source::Bytes(all) => {
                    let piece = all.slice(self.at.min(all.len() as u64) as usize..);
                    *source = Source::Bytes(all);
                    return Poll::Ready(Ok(Some(piece).filter(|piece| !piece.is_empty())));
                }
                Source::Stream(mut stream) => {
                    if std::mem::take(&mut self.is_seeking) {
                        stream.seek(self.at);
                    }
                    Source::Reading(Box::pin(async move {
                        let read = stream.next().await;
                        (stream, read)
                    }))
                }
                Source::Reading(mut reading) => match reading.as_mut().poll(cx) {
                    Poll::Pending => {
                        *source = Source::Reading(reading);
                        return Poll::Pending;
                    }
                    // Read before it was told to go elsewhere.
                    Poll::Ready((stream, _)) if self.is_seeking => Source::Stream(stream),
                    Poll::Ready((stream, read)) => {
                        *source = Source::Stream(stream);
                        return Poll::Ready(read);
                    }
                },
                Source::Nothing => return Poll::Ready(Err(Error::Closed)),
            };
        }
    }

    /// Where it is.
    fn position(&self) -> u64 {
        self.at - self.rest.len() as u64
    }
}

impl Stream for EntryReader {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_bytes(cx).map(Result::transpose)
    }
}

impl AsyncRead for EntryReader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(mut bytes) = ready!(this.poll_bytes(cx)).map_err(into_io)? else { return Poll::Ready(Ok(())) };
        let n = bytes.len().min(into.remaining());
        into.put_slice(&bytes[..n]);
        bytes.advance(n);
        this.rest = bytes;
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for EntryReader {
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let this = self.get_mut();
        let bad = |text: &str| io::Error::new(io::ErrorKind::InvalidInput, text.to_owned());
        let (from, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::Current(by) => (this.position(), by),
            SeekFrom::End(by) => {
                (this.len_bytes().ok_or_else(|| bad("the value's end is not known: its writer is not done"))?, by)
            }
        };
        let at = from.checked_add_signed(by).ok_or_else(|| bad("a seek to before the value's beginning"))?;
        this.seek_to(at);
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position()))
    }
}

impl std::fmt::Debug for EntryReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntryReader")
            .field("about", &self.about)
            .field("len_bytes", &self.len_bytes())
            .finish_non_exhaustive()
    }
}
