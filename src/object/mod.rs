//! Large values: which pieces each has, and where they stand.
//!
//! An object is written chunk by chunk and becomes an entry by its head record, which is published last; the index knows the
//! head alone. Where the chunks are is kept here, eight bytes each, and found again at start from the heads and the rows of
//! the footers. When the head is replaced, deleted or evicted, its chunks are dead with it; when a chunk goes, the object
//! does, while its head stays in the index until its own segment goes, so that nothing older comes back.

mod table;
mod writing;

use bytes::Bytes;

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, Notify};
use crate::types::{Digest, Location, Sequence};

pub use table::Objects;
pub use writing::About;

/// Why nothing more can be read of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its writer was dropped, or refused.
    Aborted,
    /// A part of it was evicted, or the cache was cleared.
    Evicted,
    /// The disk lost a part of it.
    Lost,
    /// A part of it is damaged.
    Damaged,
}

/// How far an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its writer is not done.
    Writing,
    /// It is all there. Where its head is; none if nothing serves it any more, or it is a record of its own.
    Whole { head: Option<(Digest, Location)> },
    /// It ended.
    Over(End),
}

/// A value in chunks.
#[derive(Debug)]
pub struct Object {
    /// The sequence by which its chunks are told from others.
    pub id: Sequence,
    /// Length of every chunk but the last, in bytes.
    pub chunk_len_bytes: u32,
    inner: Mutex<Inner>,
    /// Told when there is more of it, and when it ends.
    pub progress: Notify,
    readers: AtomicUsize,
}

#[derive(Debug)]
struct Inner {
    stage: Stage,
    /// Where the chunks are that the log has.
    chunks: Vec<Location>,
    /// What comes behind them, and is in memory only.
    rest: Vec<Bytes>,
    rest_bytes: usize,
    /// All that was written.
    written_bytes: u64,
    /// Whether that is all of the value. It stays known when the object has ended.
    is_complete: bool,
}

/// What an object has at a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A chunk in the log, from this offset in its value on.
    Chunk {
        /// Which.
        index: u64,
        /// Where in its value.
        skip: usize,
    },
    /// Bytes in memory.
    Bytes(Bytes),
    /// Nothing yet.
    Later,
    /// Nothing: the value ends before.
    Nothing,
    /// Nothing any more.
    Over(End),
}

impl Object {
    /// An object that a writer begins.
    pub fn begin(id: Sequence, chunk_len_bytes: u32) -> Self {
        Self::new(id, chunk_len_bytes, Stage::Writing, Vec::new(), 0)
    }

    /// An object that was found whole.
    pub fn found(id: Sequence, chunk_len_bytes: u32, len_bytes: u64, chunks: Vec<Location>) -> Self {
        Self::new(id, chunk_len_bytes, Stage::Whole { head: None }, chunks, len_bytes)
    }

    fn new(id: Sequence, chunk_len_bytes: u32, stage: Stage, chunks: Vec<Location>, written_bytes: u64) -> Self {
        let is_complete = stage != Stage::Writing;
        let inner = Inner { stage, chunks, rest: Vec::new(), rest_bytes: 0, written_bytes, is_complete };
        Self { id, chunk_len_bytes, inner: Mutex::new(inner), progress: Notify::new(), readers: AtomicUsize::new(0) }
    }

    /// Length of the value in bytes, once it is known.
    pub fn len_bytes(&self) -> Option<u64> {
        let inner = self.inner.lock();
        inner.is_complete.then_some(inner.written_bytes)
    }

    /// Why it ended, if it did.
    pub fn end(&self) -> Option<End> {
        match self.inner.lock().stage {
            Stage::Over(end) => Some(end),
            _ => None,
        }
    }

    /// What is at this position of the value.
    pub fn piece(&self, at: u64) -> Piece {
        let inner = self.inner.lock();
        if let Stage::Over(end) = inner.stage {
            return Piece::Over(end);
        }
        let chunk_len = u64::from(self.chunk_len_bytes);
        let index = at / chunk_len;
        if inner.is_complete && at >= inner.written_bytes {
            return Piece::Nothing;
        }
        if index < inner.chunks.len() as u64 {
            return Piece::Chunk { index, skip: (at % chunk_len) as usize };
        }
        let mut skip = at - inner.chunks.len() as u64 * chunk_len;
        for bytes in &inner.rest {
            if skip < bytes.len() as u64 {
                return Piece::Bytes(bytes.slice(skip as usize..));
            }
            skip -= bytes.len() as u64;
        }
        Piece::Later
    }

    /// Where the chunks from this one on are, up to `most` of them, as long as each stands behind the one before it in the
    /// same segment with at most `gap_units` between them. Empty if there is no such chunk.
    pub fn run(&self, index: u64, most: usize, gap_units: u32, end_of: impl Fn(Location) -> u32) -> Vec<Location> {
        let inner = self.inner.lock();
        let mut run: Vec<Location> = Vec::new();
        for &at in inner.chunks.iter().skip(index as usize).take(most) {
            let follows = |before: &Location| {
                let end = end_of(*before);
                at.slot == before.slot && (end..=end + gap_units).contains(&at.offset_units)
            };
            if !run.last().is_none_or(follows) {
                break;
            }
            run.push(at);
        }
        run
    }

    /// Where a chunk is.
    pub fn chunk(&self, index: u64) -> Option<Location> {
        self.inner.lock().chunks.get(index as usize).copied()
    }

    /// Length that a chunk's value must have, in bytes.
    pub fn chunk_bytes(&self, index: u64) -> u64 {
        let start = index.saturating_mul(u64::from(self.chunk_len_bytes));
        self.inner.lock().written_bytes.saturating_sub(start).min(u64::from(self.chunk_len_bytes))
    }

    /// How many chunks the log has.
    pub fn chunk_count(&self) -> u64 {
        self.inner.lock().chunks.len() as u64
    }

    /// Its chunks.
    pub fn chunks(&self) -> Vec<Location> {
        self.inner.lock().chunks.clone()
    }

    /// Where its head is, and the digest of its key; none while it is written, and when nothing serves it any more.
    pub fn head(&self) -> Option<(Digest, Location)> {
        match self.inner.lock().stage {
            Stage::Whole { head } => head,
            _ => None,
        }
    }

    /// Whether its writer is not done.
    pub fn is_writing(&self) -> bool {
        self.inner.lock().stage == Stage::Writing
    }

    /// Whether somebody reads or writes it: then eviction spares it if it can.
    pub fn is_in_use(&self) -> bool {
        self.readers.load(Ordering::SeqCst) > 0 || self.is_writing()
    }

    /// One reader more.
    pub fn pin(&self) {
        self.readers.fetch_add(1, Ordering::SeqCst);
    }

    /// One reader less.
    pub fn unpin(&self) {
        self.readers.fetch_sub(1, Ordering::SeqCst);
    }
}
