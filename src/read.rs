//! The only way out: from a location to a checked record.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::format::length::class_bytes;
use crate::format::record::{self, Defect, Header};
use crate::index::Location;
use crate::segment::{Segment, SegmentSet};
use crate::types::{Millis, SegmentId, UNIT_BYTES};

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

    /// The user's metadata.
    pub fn metadata(&self) -> &[u8] {
        &self.bytes[record::parts(&self.header).1]
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        &self.bytes[record::parts(&self.header).2]
    }

    /// Key, metadata and value, which share one buffer.
    pub fn shared_parts(&self) -> (Bytes, Bytes, Bytes) {
        let (key, metadata, value) = record::parts(&self.header);
        (self.bytes.slice(key), self.bytes.slice(metadata), self.bytes.slice(value))
    }

    /// Metadata and value. Without metadata this counts no reference, which a get from the page cache would feel.
    pub fn into_parts(mut self) -> (Bytes, Bytes) {
        let (_, metadata, value) = record::parts(&self.header);
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
    let offset = u64::from(location.offset_units) * UNIT_BYTES;
    let len = class_bytes(location.class) as usize;
    let (bytes, from_buffer) = match segment.read_now(offset, len) {
        Some(read) => read,
        None => match segment.read(offset, len).await {
            Ok(bytes) => (bytes, false),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(Failure::Damaged(segment, Defect::Truncated));
            }
            Err(e) => return Err(Failure::Io(segment, e)),
        },
    };
    decode(bytes, &segment, offset, from_buffer).map_err(|defect| Failure::Damaged(segment, defect))
}

fn decode(mut bytes: Vec<u8>, segment: &Segment, offset: u64, from_buffer: bool) -> Result<Fetched, Defect> {
    let header = record::decode(&bytes, segment.id, offset)?.header;
    bytes.truncate(record::parts(&header).2.end);
    Ok(Fetched { header, bytes: Bytes::from(bytes), segment: segment.id, from_buffer })
}
