//! The way in for values that come piece by piece, or fit no segment: chunks go to the log as they are full, the head last.

use std::sync::Arc;

use bytes::Bytes;

use super::set::{Put, Times, field};
use super::{Engine, Opened};
use crate::entry::{RefuseReason, SetOptions, SetOutcome};
use crate::error::{Error, Result};
use crate::flight::Flight;
use crate::format::digest::digest;
use crate::format::object::{CHUNK_KEY_BYTES, ChunkKey, ObjectHead};
use crate::format::record::{self, Flags, HEADER_BYTES};
use crate::log::{Appended, Entry, Order, Ticket};
use crate::object::{About, End, Object};
use crate::segment::StreamId;
use crate::sync::Mutex;
use crate::types::{Digest, Durability, RecordKind};

/// What of a chunk's record is not its value.
const CHUNK_FRAME_BYTES: u64 = (HEADER_BYTES + CHUNK_KEY_BYTES) as u64;
/// A segment holds at least so many chunks.
const CHUNKS_A_SEGMENT: u64 = 8;

/// A value on its way into the cache.
pub struct Writing {
    engine: Arc<Engine>,
    /// What its readers follow.
    pub object: Arc<Object>,
    /// Key, metadata and times.
    about: About,
    /// The metadata field of its record, if it has tags.
    tagged: Option<Bytes>,
    digest: Digest,
    stream: StreamId,
    durability: Durability,
    /// Whether it waits for room.
    wait: bool,
    /// The flight that fetched it: it becomes an entry only if that is not outdated.
    flight: Option<Arc<Flight>>,
    refused: Mutex<Option<RefuseReason>>,
}

impl Engine {
    /// Begins a value.
    pub fn begin(self: &Arc<Self>, key: &[u8], options: &SetOptions, wait: bool) -> Result<Writing> {
        let digest = self.check_key(key)?;
        let times = self.times(key, options, 0)?;
        // Its length is not known yet: it has a chunk, at least.
        let stream = self.placed(times.stream, digest, self.config.chunk_len_bytes);
        let times = Times { stream, ..times };
        let (value, tagged) = (Bytes::new(), self.tagged(options));
        let writing = self.begin_put(&Put { digest, key, value, options, tagged, times, wait, flight: None });
        if self.refuses_streams() {
            writing.refuse(RefuseReason::NotAdmitted);
        }
        Ok(writing)
    }

    fn begin_put(self: &Arc<Self>, put: &Put<'_>) -> Writing {
        let Times { created, expires, stream } = put.times;
        let (key, metadata) = (Bytes::copy_from_slice(put.key), put.options.metadata.clone());
        let about = About { key, metadata, created, expires };
        let object = Arc::new(Object::begin(self.log.next_sequence(), self.chunk_value_bytes()));
        // Nobody follows what was fetched: it may be outdated already.
        if put.flight.is_none() {
            self.objects.open(&object, about.clone());
        }
        Writing {
            engine: self.clone(),
            object,
            about,
            tagged: put.tagged.clone(),
            digest: put.digest,
            stream,
            durability: put.options.durability,
            wait: put.wait,
            flight: put.flight.cloned(),
            refused: Mutex::new(None),
        }
    }

    /// Stores a value that fits no segment.
    pub(super) async fn set_in_chunks(self: &Arc<Self>, put: Put<'_>) -> Result<SetOutcome> {
        /// Dropped before it was finished.
        struct Guard(Writing);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.abort();
            }
        }
        let writing = Guard(self.begin_put(&put));
        writing.0.object.add(put.value);
        writing.0.finish().await
    }

    /// Length of a chunk's value, in bytes.
    fn chunk_value_bytes(&self) -> u32 {
        let most = self.segments.segment_len_bytes() / CHUNKS_A_SEGMENT;
        (self.config.chunk_len_bytes.min(most) - CHUNK_FRAME_BYTES) as u32
    }
}

impl Writing {
    /// Gives the log every chunk that is full and has something behind it: a value of one chunk is one record. What was refused is dropped; [`Writing::finish`] says so.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn drain(&self) -> Result<()> {
        let full = self.object.chunk_len_bytes as usize;
        while self.object.rest_bytes() > full {
            self.append_chunk().await?;
        }
        Ok(())
    }

    /// Whether nothing more is taken, since the value was refused.
    pub fn is_refused(&self) -> bool {
        let is_outdated = self.flight.as_ref().is_some_and(|flight| flight.is_outdated());
        is_outdated || self.refused.lock().is_some() || self.object.end().is_some()
    }

    /// Reads it while it is written.
    pub fn reader(&self) -> Opened {
        Opened::attached(&self.engine, self.object.clone(), self.about.clone())
    }

    /// Takes bytes; [`Writing::drain`] gives them to the log.
    pub fn add(&self, bytes: Bytes) {
        if self.is_refused() {
            return;
        }
        let len = self.object.written_bytes() + bytes.len() as u64;
        if len > self.engine.max_value_bytes() {
            return self.refuse(RefuseReason::TooLarge);
        }
        self.object.add(bytes);
    }

    /// Makes it an entry.
    ///
    /// # Errors
    /// `Closed`; `WriteFailed` if it was lost to a failing disk before it was as durable as asked for.
    pub async fn finish(&self) -> Result<SetOutcome> {
        self.engine.check_open()?;
        let is_small =
            self.object.chunk(0).is_none() && self.object.rest_bytes() <= self.object.chunk_len_bytes as usize;
        if !is_small {
            while self.object.rest_bytes() > 0 && !self.is_refused() {
                self.append_chunk().await?;
            }
        }
        if let Some(reason) = *self.refused.lock() {
            return Ok(self.engine.refuse(self.digest, reason, self.flight.as_ref()));
        }
        let ticket = if is_small { self.append_whole().await? } else { self.append_head().await? };
        let ticket = match ticket {
            Ok(ticket) => ticket,
            Err(reason) => {
                self.refuse(reason);
                return Ok(self.engine.refuse(self.digest, reason, self.flight.as_ref()));
            }
        };
        self.object.progress.notify_waiters();
        self.engine.objects.close(&self.object, &self.about.key);
        self.engine.count_set(&self.about.key);
        let around = self.about.key.len() + self.metadata().1.len();
        self.engine.counters.bytes_admitted.add(around as u64 + self.object.written_bytes());
        self.engine.log.wait(&ticket, self.durability).await?;
        // The head is where it should be, and a chunk in the segment before it may be lost.
        if self.object.end() == Some(End::Lost) {
            return Err(Error::WriteFailed);
        }
        Ok(SetOutcome::Stored { durability: self.durability })
    }

    /// Ends it, unless it is finished.
    pub fn abort(&self) {
        self.engine.objects.close(&self.object, &self.about.key);
        if self.object.is_writing() {
            self.engine.counters.writers_aborted.add_one();
            self.engine.log.end_object(&self.object, End::Aborted);
        }
    }

    fn refuse(&self, reason: RefuseReason) {
        *self.refused.lock() = Some(reason);
        self.engine.objects.close(&self.object, &self.about.key);
        self.engine.log.end_object(&self.object, End::Aborted);
    }

    async fn append_chunk(&self) -> Result<()> {
        let value = self.object.next_chunk();
        let index = self.object.chunk_count();
        let key = ChunkKey { object: self.object.id, index }.encode();
        let entry = Entry {
            kind: RecordKind::Chunk,
            digest: digest(&self.engine.seed, &key),
            object: Some(&self.object),
            ..self.entry(&key, (Flags::NONE, &[]), &value)
        };
        match self.engine.log.append(self.stream, &entry, Order::Newest, self.wait).await? {
            Ok(Appended::Done(..)) => self.object.progress.notify_waiters(),
            Ok(Appended::Stale) => self.refuse(self.why_ended()),
            Err(reason) => self.refuse(reason),
        }
        Ok(())
    }

    async fn append_whole(&self) -> Result<std::result::Result<Ticket, RefuseReason>> {
        let value = self.object.next_chunk();
        let entry = self.entry(&self.about.key, self.metadata(), &value);
        self.append(&Entry { object: Some(&self.object), ..entry }).await
    }

    async fn append_head(&self) -> Result<std::result::Result<Ticket, RefuseReason>> {
        let (id, len) = (self.object.id, self.object.written_bytes());
        let Some(head) = ObjectHead::new(id, len, self.object.chunk_len_bytes) else {
            return Ok(Err(RefuseReason::TooLarge));
        };
        let value = head.encode();
        let entry = self.entry(&self.about.key, self.metadata(), &value);
        self.append(&Entry { kind: RecordKind::Head, object: Some(&self.object), ..entry }).await
    }

    async fn append(&self, entry: &Entry<'_>) -> Result<std::result::Result<Ticket, RefuseReason>> {
        Ok(match self.engine.append(self.stream, entry, Order::Newest, self.wait).await? {
            Ok(Appended::Done(placed)) => Ok(placed.ticket),
            Ok(Appended::Stale) => Err(self.why_ended()),
            Err(reason) => Err(reason),
        })
    }

    /// Why the log does not take more of it.
    fn why_ended(&self) -> RefuseReason {
        match self.object.end() {
            Some(End::Lost) => RefuseReason::DiskFailed,
            _ => RefuseReason::Evicted,
        }
    }

    /// Flags and metadata field of the record that makes it an entry.
    fn metadata(&self) -> (Flags, &[u8]) {
        let (flags, metadata) = field(self.tagged.as_ref(), &self.about.metadata);
        (flags, metadata)
    }

    fn entry<'a>(&'a self, key: &'a [u8], (flags, metadata): (Flags, &'a [u8]), value: &'a [u8]) -> Entry<'a> {
        Entry {
            kind: RecordKind::Put,
            digest: self.digest,
            key,
            flags,
            metadata,
            value,
            value_crc: record::value_crc(metadata, value),
            created: self.about.created,
            expires: self.about.expires,
            object: None,
            flight: self.flight.as_deref(),
        }
    }
}
