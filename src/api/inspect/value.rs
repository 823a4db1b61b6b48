//! A value, chunk by chunk: no more than one of them is in memory.

use bytes::Bytes;
use serde::Serialize;

use super::find::Finding;
use super::fold::{At, Fold};
use super::object::Files;
use super::{Inspector, Verdict};
use crate::error::Result;
use crate::format::file_name::segment_name;
use crate::format::length::class_bytes;
use crate::format::object::{CHUNK_KEY_BYTES, ChunkKey, ObjectHead};
use crate::format::record::{self, record_len};
use crate::types::{RecordKind, SegmentId};

/// A chunk that is not what its head says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChunkFault {
    /// Which chunk, from 0.
    pub index: u64,
    /// Name of the file that it stands in.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What is wrong with it.
    pub what: String,
}

/// What comes next of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// So much of it, checked.
    Bytes(Bytes),
    /// Nothing more: the next chunk is damaged, or went while the value was read.
    Fault(ChunkFault),
}

/// Where a chunk is, whatever becomes of what found it.
#[derive(Debug, Clone, Copy)]
pub struct ChunkAt {
    /// The slot of its file.
    pub slot: u16,
    /// The segment that the file was.
    pub segment: SegmentId,
    /// Where in it.
    pub at: At,
}

impl ChunkAt {
    /// A chunk that was taken in.
    pub fn new(fold: &Fold, at: At) -> Option<Self> {
        let (slot, segment) = fold.segment(at)?;
        Some(Self { slot, segment, at })
    }
}

/// A value that is read piece by piece.
pub struct Value<'a> {
    files: Files<'a>,
    source: Source<'a>,
}

enum Source<'a> {
    /// One record holds it.
    Record(Option<Bytes>),
    /// The next chunk of how many.
    Chunks { head: ObjectHead, places: &'a [ChunkAt], next: usize },
}

impl Value<'_> {
    /// The next piece; none at the end, and behind a fault.
    ///
    /// # Errors
    /// `Io`.
    pub async fn next(&mut self) -> Result<Option<Piece>> {
        let (head, index, place) = match &mut self.source {
            Source::Record(bytes) => return Ok(bytes.take().map(Piece::Bytes)),
            Source::Chunks { head, places, next } => {
                let Some(place) = places.get(*next) else { return Ok(None) };
                *next += 1;
                (*head, *next as u64 - 1, *place)
            }
        };
        Ok(Some(match read_chunk(&mut self.files, &head, index, place).await? {
            Ok(bytes) => Piece::Bytes(bytes),
            Err(fault) => {
                self.source = Source::Record(None);
                Piece::Fault(fault)
            }
        }))
    }
}

/// A chunk's value, checked against its checksums and against what the head says of it.
///
/// # Errors
/// The disk's.
pub async fn read_chunk(
    files: &mut Files<'_>,
    head: &ObjectHead,
    index: u64,
    place: ChunkAt,
) -> Result<Result<Bytes, ChunkFault>> {
    let ChunkAt { slot, segment, at } = place;
    let fault = |what: String| ChunkFault { index, file: segment_name(slot), offset: at.offset(), what };
    let len = head.chunk_bytes(index).unwrap_or(0) as usize;
    // Before a byte is read: what is as long as the head says is no longer than a record.
    let expected = record_len(CHUNK_KEY_BYTES, 0, len);
    if expected.map(|class| class.len_bytes()) != Some(class_bytes(at.class)) {
        return Ok(Err(fault("it has another length than the head says".into())));
    }
    let bytes = files.read(slot, at, usize::MAX).await?;
    let defect = match record::decode(&bytes, segment, at.offset()) {
        Ok(record) => {
            let key = ChunkKey { object: head.object, index };
            let is_it = record.header.kind == RecordKind::Chunk && ChunkKey::decode(record.key) == Some(key);
            let value = record::parts(&record.header).2;
            if is_it && record.metadata.is_empty() && value.len() == len {
                return Ok(Ok(Bytes::from(bytes).slice(value)));
            }
            "it is another record than its row says".into()
        }
        Err(defect) => defect.to_string(),
    };
    let is_gone = !files.is_still(slot, segment).await?;
    Ok(Err(fault(if is_gone { "its segment was freed or begun anew while the value was read".into() } else { defect })))
}

impl Inspector {
    /// The value that was found; empty if the key is not served.
    pub fn value<'a>(&'a self, finding: &'a Finding) -> Value<'a> {
        let source = match &finding.head {
            Some(head) if finding.verdict == Verdict::Served => {
                Source::Chunks { head: *head, places: &finding.places, next: 0 }
            }
            _ => Source::Record(Some(finding.value.clone()).filter(|bytes| !bytes.is_empty())),
        };
        Value { files: Files::new(self), source }
    }
}
