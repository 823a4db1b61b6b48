//! The way out for values in chunks: one piece after the other, the next ones read while one is used.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

use super::{Engine, turn};
use crate::entry::{Hit, Source};
use crate::error::{Error, Result};
use crate::object::{About, End, Object, Piece};
use crate::read::{self, Failure};
use crate::sync::task::{self, JoinHandle};
use crate::types::{Digest, Location};

/// How often a chunk is looked up again when it moved while it was read.
const ATTEMPTS: usize = 8;
/// The most that is read at a time, in bytes.
const WINDOW_BYTES: usize = 512 << 10;
/// Windows that are read ahead of a reader who goes on and on.
const WINDOWS_AHEAD: usize = 3;

/// An entry whose value is read piece by piece.
pub struct Opened {
    /// What is known of it; its value is empty.
    pub about: Hit,
    /// Its value.
    pub body: Body,
    /// Length of its value in bytes; `None` while it is written.
    pub len_bytes: Option<u64>,
}

/// Where a value comes from.
pub enum Body {
    /// All of it is here.
    Bytes(Bytes),
    /// It is in chunks.
    Stream(Box<Stream>),
}

/// A chunk that was read before it was sure that it is wanted.
pub(super) struct ReadChunk {
    object: Arc<Object>,
    index: u64,
    value: Bytes,
}

/// The chunks of an object, in their order.
pub struct Stream {
    engine: Arc<Engine>,
    object: Arc<Object>,
    at: u64,
    /// Whether it went on to here, or began here, without a jump.
    is_sequential: bool,
    /// What was read from the chunk at `index` on.
    ready: VecDeque<Bytes>,
    index: u64,
    /// Chunks from this one on are not wanted.
    stop: u64,
    /// What is being read behind that: each window's first chunk.
    ahead: VecDeque<(u64, JoinHandle<Result<Vec<Bytes>>>)>,
    /// The first chunk behind those windows.
    next: u64,
    /// Chunks of the next window: few at first, so that the first bytes come soon, and who goes away has cost little.
    window: usize,
}

impl Opened {
    pub(super) fn of_hit(mut hit: Hit) -> Self {
        let value = std::mem::take(&mut hit.value);
        Self { len_bytes: Some(hit.len_bytes), about: hit, body: Body::Bytes(value) }
    }

    pub(super) fn of_object(engine: &Arc<Engine>, object: Arc<Object>, head: Hit) -> Self {
        let len_bytes = object.len_bytes();
        let about = Hit { value: Bytes::new(), len_bytes: len_bytes.unwrap_or(0), ..head };
        Self { about, body: Body::Stream(Box::new(Stream::new(engine, object))), len_bytes }
    }

    pub(super) fn attached(engine: &Arc<Engine>, object: Arc<Object>, about: About) -> Self {
        let head = Hit {
            value: Bytes::new(),
            metadata: about.metadata,
            created: about.created,
            expires: about.expires,
            now: engine.clock.now(),
            source: Source::Buffer,
            len_bytes: 0,
            sequence: object.id,
        };
        Self::of_object(engine, object, head)
    }

    /// What was read of it already, if that is of this version.
    pub(super) fn beginning_with(mut self, read: Option<ReadChunk>) -> Self {
        if let (Body::Stream(stream), Some(read)) = (&mut self.body, read)
            && Arc::ptr_eq(&stream.object, &read.object)
        {
            (stream.index, stream.ready) = (read.index, [read.value].into());
        }
        self
    }

    /// The value, or a part of it.
    pub(super) async fn into_hit(self, range: Range<u64>) -> Result<Hit> {
        let Self { mut about, body, len_bytes } = self;
        let Body::Stream(mut stream) = body else { return Ok(about) };
        let end = range.end.min(len_bytes.unwrap_or(0));
        let start = range.start.min(end);
        stream.seek(start);
        stream.stop = end.div_ceil(u64::from(stream.object.chunk_len_bytes));
        (stream.is_sequential, stream.window) = (true, stream.longest_window());
        let mut value = Value::default();
        while value.len() < end - start {
            let Some(mut bytes) = stream.next().await? else { return Err(Error::Evicted) };
            bytes.truncate(usize::try_from(end - start - value.len()).unwrap_or(usize::MAX));
            value.push(bytes, (end - start) as usize);
        }
        about.value = value.into_bytes();
        Ok(about)
    }
}

/// A value that comes in pieces: a single one is not copied.
#[derive(Default)]
struct Value {
    first: Bytes,
    all: BytesMut,
}

impl Value {
    fn len(&self) -> u64 {
        (self.first.len() + self.all.len()) as u64
    }

    fn push(&mut self, bytes: Bytes, len: usize) {
        if self.len() == 0 {
            self.first = bytes;
            return;
        }
        if self.all.is_empty() {
            self.all.reserve(len);
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&bytes);
    }

    fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

impl Stream {
    pub(super) fn new(engine: &Arc<Engine>, object: Arc<Object>) -> Self {
        object.pin();
        Self {
            engine: engine.clone(),
            object,
            at: 0,
            is_sequential: true,
            ready: VecDeque::new(),
            index: 0,
            stop: u64::MAX,
            ahead: VecDeque::new(),
            next: 0,
            window: 1,
        }
    }

    fn longest_window(&self) -> usize {
        (WINDOW_BYTES / self.object.chunk_len_bytes as usize).max(1)
    }

    /// Length of the value in bytes, once it is known.
    pub fn len_bytes(&self) -> Option<u64> {
        self.object.len_bytes()
    }

    /// Goes to a position of the value.
    pub fn seek(&mut self, at: u64) {
        if at != self.at {
            (self.is_sequential, self.window) = (false, 1);
        }
        self.at = at;
    }

    /// The bytes from where it is up to the end of a chunk, and it goes there. `None` at the end of the value. Waits for the
    /// writer, if that is not done. Cancel safe: it stays where it is.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            self.engine.check_open()?;
            turn::give_way().await;
            let object = self.object.clone();
            let progress = object.progress.notified();
            let bytes = match object.piece(self.at) {
                Piece::Chunk { index, skip } => {
                    let mut bytes = self.chunk(index).await?;
                    bytes.advance(skip.min(bytes.len()));
                    bytes
                }
                Piece::Bytes(bytes) => bytes,
                Piece::Later => {
                    progress.await;
                    continue;
                }
                Piece::Nothing => return Ok(None),
                Piece::Over(end) => return Err(error_of(end)),
            };
            turn::count_copied(bytes.len());
            self.at += bytes.len() as u64;
            self.is_sequential = true;
            return Ok(Some(bytes));
        }
    }

    /// A chunk's value.
    async fn chunk(&mut self, index: u64) -> Result<Bytes> {
        loop {
            while self.index < index && self.ready.pop_front().is_some() {
                self.index += 1;
            }
            if let Some(bytes) = self.ready.front().filter(|_| self.index == index) {
                return Ok(bytes.clone());
            }
            self.ready.clear();
            self.ahead.retain(|(first, _)| *first >= index);
            if self.ahead.front().is_some_and(|(first, _)| *first > index) {
                self.ahead.clear();
            }
            if self.is_sequential {
                self.read_ahead(index);
            }
            let read = match self.ahead.front_mut() {
                Some((_, reading)) => {
                    let read = reading.await.unwrap_or(Err(Error::Closed));
                    self.ahead.pop_front();
                    read?
                }
                None => {
                    // Its writer may have added some since the windows were asked for: they come with the next read.
                    let longest = if self.is_sequential { self.longest_window() } else { 1 };
                    let most = (self.end().saturating_sub(index) as usize).clamp(1, longest);
                    self.engine.chunks(&self.object, index, most).await?
                }
            };
            (self.ready, self.index) = (read.into(), index);
        }
    }

    /// The chunk at which it stops for now: the object's last is there, or what was asked for.
    fn end(&self) -> u64 {
        self.object.chunk_count().min(self.stop)
    }

    /// Begins to read the windows from the one at `index` on, as far as there are chunks, unless one read gives them all.
    fn read_ahead(&mut self, index: u64) {
        let (end, longest) = (self.end(), self.longest_window());
        if self.ahead.is_empty() {
            if index + longest as u64 >= end {
                return;
            }
            self.next = index;
        }
        while self.ahead.len() <= WINDOWS_AHEAD && self.next < end {
            let (engine, object, first) = (self.engine.clone(), self.object.clone(), self.next);
            let most = self.window.min((end - first) as usize);
            let reading = task::spawn(async move { engine.window(&object, first, most).await });
            self.ahead.push_back((first, reading));
            self.next += most as u64;
            self.window = longest.min(2 * self.window);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.object.unpin();
    }
}

impl Engine {
    /// The chunk at which a range begins, if the digest's entry is an object that is known, and has it.
    pub(super) async fn chunk_at(&self, digest: Digest, range: &Range<u64>) -> Option<ReadChunk> {
        let object = self.objects.at(self.index.lookup(digest)?.location)?;
        let index = range.start / u64::from(object.chunk_len_bytes);
        if range.is_empty() || index >= object.chunk_count() {
            return None;
        }
        let value = self.chunks(&object, index, 1).await.ok()?.pop()?;
        Some(ReadChunk { object, index, value })
    }

    /// Chunks from this one on, `most` of them unless the object ends before.
    async fn window(&self, object: &Arc<Object>, index: u64, most: usize) -> Result<Vec<Bytes>> {
        let mut all = Vec::with_capacity(most);
        while all.len() < most && index + (all.len() as u64) < object.chunk_count() {
            all.extend(self.chunks(object, index + all.len() as u64, most - all.len()).await?);
        }
        Ok(all)
    }

    /// At least one chunk from this one on, and at most `most`: what one read gives.
    async fn chunks(&self, object: &Arc<Object>, index: u64, most: usize) -> Result<Vec<Bytes>> {
        for _ in 0..ATTEMPTS {
            let seen = object.chunk(index);
            let failure = match read::fetch_chunks(&self.segments, object, index, most).await {
                Ok(chunks) => return Ok(chunks),
                Err(failure) => failure,
            };
            if let Some(end) = object.end() {
                return Err(error_of(end));
            }
            if object.chunk(index) != seen {
                continue;
            }
            // Nobody keeps what was replaced.
            if object.head().is_none() && !object.is_writing() {
                return Err(Error::Evicted);
            }
            match failure {
                Failure::Gone => {}
                Failure::Damaged(segment, _) if seen.is_some_and(|at| !self.segments.holds(at.slot, segment.id)) => {}
                Failure::Io(segment, source) => {
                    self.check_open()?;
                    tracing::warn!(path = %segment.path.display(), error = %source, "cannot read a segment");
                    return Err(Error::io("read", segment.path.clone())(source));
                }
                Failure::Damaged(segment, defect) => {
                    let offset = seen.map_or(0, Location::offset);
                    tracing::warn!(path = %segment.path.display(), offset, %defect, "dropped an entry with a damaged part");
                    self.drop_damaged(object).await?;
                    return Err(Error::Damaged);
                }
            }
        }
        Err(Error::Evicted)
    }

    async fn drop_damaged(&self, object: &Arc<Object>) -> Result<()> {
        let head = object.head();
        self.log.end_object(object, End::Damaged);
        let Some((digest, at)) = head else { return Ok(()) };
        self.counters.entries_damaged.add_one();
        let Some(segment) = self.segments.get(at.slot) else { return Ok(()) };
        self.bury(digest, at, segment.id).await
    }
}

fn error_of(end: End) -> Error {
    match end {
        End::Aborted => Error::Aborted,
        End::Evicted => Error::Evicted,
        End::Lost => Error::WriteFailed,
        End::Damaged => Error::Damaged,
    }
}
