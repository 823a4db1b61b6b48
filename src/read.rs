//! The only way out: from a location to a checked record.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::format::length::class_bytes;
use crate::format::object::ChunkKey;
use crate::format::record::{self, Defect, HEADER_BYTES, Header};
use crate::format::tags::{self, Tags};
use crate::index::Location;
use crate::object::Object;
use crate::segment::{Segment, SegmentSet};
use crate::types::{BLOCK_BYTES, Millis, RecordKind, SegmentId, UNIT_BYTES};

/// A record that passed every check but those of the key.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// What it says of itself.
    pub header: Header,
    /// The record up to the end of its value.
    bytes: Bytes,
    /// Which segment it stands in.
    pub segment: SegmentId,
    /// Whether it came from bytes that are not written yet.
    pub from_buffer: bool,
}

impl Fetched {
    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.bytes[record::parts(&self.header).0]
    }

    /// The metadata field: the tags if there are any, then the user's metadata.
    pub fn metadata(&self) -> &[u8] {
        &self.bytes[record::parts(&self.header).1]
    }

    /// The tags.
    pub fn tags(&self) -> Tags<'_> {
        if !self.header.flags.is_tagged() {
            return Tags::default();
        }
        tags::split(self.header.flags, self.metadata()).unwrap_or_default().0
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        &self.bytes[record::parts(&self.header).2]
    }

    /// The user's metadata, and the value. Without metadata this counts no reference, which a get from the page cache would feel.
    pub fn into_parts(mut self) -> (Bytes, Bytes) {
        let (_, mut metadata, value) = record::parts(&self.header);
        if self.header.flags.is_tagged() {
            metadata.start += tags::tags_bytes(self.tags().len());
        }
        let metadata = if metadata.is_empty() { Bytes::new() } else { self.bytes.slice(metadata) };
        self.bytes.advance(value.start);
        (metadata, self.bytes)
    }

    /// Whether the entry has expired.
    pub fn is_expired(&self, now: Millis) -> bool {
        self.header.expires.is_some_and(|at| at <= now)
    }
}

/// Why there is no record.
pub enum Failure {
    /// The segment was evicted meanwhile.
    Gone,
    /// The bytes are damaged, at this offset of this segment.
    Damaged(Arc<Segment>, Defect),
    /// The disk failed.
    Io(Arc<Segment>, std::io::Error),
}

/// Reads the record at a location: from memory or the page cache on this thread, else through the backend.
///
/// # Errors
/// See [`Failure`].
pub async fn fetch(segments: &SegmentSet, location: Location) -> Result<Fetched, Failure> {
    let Some(segment) = segments.get(location.slot) else { return Err(Failure::Gone) };
    let offset = location.offset();
    let len = class_bytes(location.class) as usize;
    let (bytes, from_buffer) = match segment.read_now(offset, len) {
        Some(read) => read,
        None => (read_later(&segment, offset, len).await?, false),
    };
    decode(bytes, &segment, offset, from_buffer).map_err(|defect| Failure::Damaged(segment, defect))
}

/// A record without its value, checked but for metadata and value.
pub struct Head {
    /// What it says of itself.
    pub header: Header,
    /// The record's beginning.
    bytes: Vec<u8>,
    /// Which segment it stands in.
    pub segment: SegmentId,
}

impl Head {
    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.bytes[record::parts(&self.header).0]
    }

    /// The tags.
    pub fn tags(&self) -> Tags<'_> {
        let field = if self.header.flags.is_tagged() { self.bytes.get(record::parts(&self.header).1) } else { None };
        field.and_then(|field| tags::split(self.header.flags, field)).unwrap_or_default().0
    }
}

/// What a key is expected to take, in bytes: a longer one is read with a second read.
const LIKELY_KEY_BYTES: usize = 220;

/// Reads the beginning of the record at a location: header, key and tags.
///
/// # Errors
/// See [`Failure`].
pub async fn fetch_head(segments: &SegmentSet, location: Location) -> Result<Head, Failure> {
    let Some(segment) = segments.get(location.slot) else { return Err(Failure::Gone) };
    let (offset, most) = (location.offset(), class_bytes(location.class) as usize);
    let mut len = most.min(HEADER_BYTES + LIKELY_KEY_BYTES);
    loop {
        let bytes = match segment.read_now(offset, len) {
            Some((bytes, _)) => bytes,
            None => read_later(&segment, offset, len).await?,
        };
        let claimed = record::header_claims(&bytes).map_or(0, |claimed| claimed as usize);
        if claimed > len && claimed <= most {
            len = claimed;
            continue;
        }
        let header = match record::decode_header(&bytes, segment.id, offset) {
            Ok(header) => header,
            Err(defect) => return Err(Failure::Damaged(segment, defect)),
        };
        let metadata_end = record::parts(&header).1.end;
        if header.flags.is_tagged() && metadata_end > len && metadata_end <= most {
            len = metadata_end;
            continue;
        }
        return Ok(Head { header, bytes, segment: segment.id });
    }
}

/// The most that is read at a time for several keys, in bytes.
const RUN_BYTES: u64 = 256 << 10;

/// The records at these places, in their order, as runs that are worth one read each: in one segment, with gaps that are read
/// over rather than read apart.
pub fn runs(places: &[Location]) -> impl Iterator<Item = &[Location]> {
    let end_of = |at: &Location| at.offset() + class_bytes(at.class);
    let (mut start, mut end) = places.first().map_or((0, 0), |first| (first.offset(), end_of(first)));
    places.chunk_by(move |at, next| {
        // The index may have changed between two questions: places may overlap.
        let joined = end.max(end_of(next));
        let is_near = next.slot == at.slot && next.offset() <= end + BLOCK_BYTES;
        let is_one = is_near && joined - start <= RUN_BYTES;
        (start, end) = if is_one { (start, joined) } else { (next.offset(), end_of(next)) };
        is_one
    })
}

/// Reads a run with one read, if that needs not wait for the disk, or if it may. `None`: it would wait. In it, `None` for what
/// is to be asked for by itself: it is gone, damaged or cannot be read.
pub async fn fetch_run(segments: &SegmentSet, run: &[Location], may_wait: bool) -> Option<Vec<Option<Fetched>>> {
    let none = || run.iter().map(|_| None).collect();
    let Some(first) = run.first() else { return Some(Vec::new()) };
    let Some(segment) = segments.get(first.slot) else { return Some(none()) };
    let start = first.offset();
    let end = run.iter().map(|at| at.offset() + class_bytes(at.class)).fold(start, u64::max);
    let written = segment.written();
    let len = (end - start) as usize;
    let bytes = match segment.read_now(start, len) {
        Some((bytes, _)) => bytes,
        None if !may_wait => return None,
        None => match segment.read(start, len).await {
            Ok(bytes) => bytes,
            Err(_) => return Some(none()),
        },
    };
    let decoded = run.iter().map(|at| {
        let (offset, len) = (at.offset(), class_bytes(at.class) as usize);
        let from = (offset - start) as usize;
        let own = bytes[from..from + len].to_vec();
        decode(own, &segment, offset, offset + len as u64 > written).ok()
    });
    Some(decoded.collect())
}

/// Pads between chunks that are read over rather than read apart, in units of 16 bytes.
const GAP_UNITS: u32 = (BLOCK_BYTES / UNIT_BYTES) as u32;

/// Reads chunks of an object from this one on, up to `most`: those that stand one behind the other, with one read. At least
/// one, fewer than there are where one behind the first is damaged.
///
/// # Errors
/// See [`Failure`]; `Gone` also if there is no such chunk.
pub async fn fetch_chunks(
    segments: &SegmentSet,
    object: &Object,
    index: u64,
    most: usize,
) -> Result<Vec<Bytes>, Failure> {
    let run = object.run(index, most, GAP_UNITS, |at| at.offset_units + (class_bytes(at.class) / UNIT_BYTES) as u32);
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return Err(Failure::Gone) };
    let Some(segment) = segments.get(first.slot) else { return Err(Failure::Gone) };
    let start = first.offset();
    let end = last.offset() + class_bytes(last.class);
    let len = (end - start) as usize;
    let bytes = match segment.read_now(start, len) {
        Some((bytes, _)) => bytes,
        None => read_later(&segment, start, len).await?,
    };
    let bytes = Bytes::from(bytes);
    let mut values = Vec::with_capacity(run.len());
    for (n, at) in run.iter().enumerate() {
        let offset = at.offset();
        let from = (offset - start) as usize;
        let own = bytes.slice(from..from + class_bytes(at.class) as usize);
        let key = ChunkKey { object: object.id, index: index + n as u64 };
        match chunk_value(&own, &segment, offset, key, object.chunk_bytes(key.index)) {
            Ok(value) => values.push(own.slice(value)),
            Err(defect) if n == 0 => return Err(Failure::Damaged(segment, defect)),
            Err(_) => break,
        }
    }
    Ok(values)
}

/// Where the value of a chunk is in its record, if it is this chunk, of this length.
fn chunk_value(
    bytes: &[u8],
    segment: &Segment,
    offset: u64,
    expected: ChunkKey,
    len_bytes: u64,
) -> Result<Range<usize>, Defect> {
    let header = record::decode(bytes, segment.id, offset)?.header;
    let (key, metadata, value) = record::parts(&header);
    if header.kind != RecordKind::Chunk || ChunkKey::decode(&bytes[key]) != Some(expected) {
        return Err(Defect::Kind);
    }
    // A chunk has none.
    if !metadata.is_empty() {
        return Err(Defect::Bounds);
    }
    if value.len() as u64 == len_bytes { Ok(value) } else { Err(Defect::Bounds) }
}

/// Reads a place of a segment through the backend.
async fn read_later(segment: &Arc<Segment>, offset: u64, len: usize) -> Result<Vec<u8>, Failure> {
    segment.read(offset, len).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Failure::Damaged(segment.clone(), Defect::Truncated),
        _ => Failure::Io(segment.clone(), error),
    })
}

fn decode(mut bytes: Vec<u8>, segment: &Segment, offset: u64, from_buffer: bool) -> Result<Fetched, Defect> {
    let header = record::decode(&bytes, segment.id, offset)?.header;
    bytes.truncate(record::parts(&header).2.end);
    Ok(Fetched { header, bytes: Bytes::from(bytes), segment: segment.id, from_buffer })
}
