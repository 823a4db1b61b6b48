//! The only way out: from a location to a checked record.

use std::sync::Arc;

use bytes::Bytes;

use crate::format::length::class_bytes;
use crate::format::record::{self, Defect};
use crate::index::Location;
use crate::segment::{Segment, SegmentSet};
use crate::types::{Millis, RecordKind, SegmentId, Sequence, UNIT_BYTES};

/// A record that passed every check but those of the key.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// What it says.
    pub kind: RecordKind,
    /// Its sequence.
    pub sequence: Sequence,
    /// When it was set.
    pub created: Millis,
    /// When it expires.
    pub expires: Option<Millis>,
    /// Its key.
    pub key: Bytes,
    /// The user's metadata.
    pub metadata: Bytes,
    /// The value.
    pub value: Bytes,
    /// Over metadata and value.
    pub value_crc: u32,
    /// Which segment it stands in.
    pub segment: SegmentId,
    /// Whether it came from bytes that are not written yet.
    pub from_buffer: bool,
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

fn decode(bytes: Vec<u8>, segment: &Segment, offset: u64, from_buffer: bool) -> Result<Fetched, Defect> {
    let header = record::decode(&bytes, segment.id, offset)?.header;
    let (key, metadata, value) = record::parts(&header);
    let bytes = Bytes::from(bytes);
    Ok(Fetched {
        kind: header.kind,
        sequence: header.sequence,
        created: header.created,
        expires: header.expires,
        key: bytes.slice(key),
        metadata: bytes.slice(metadata),
        value: bytes.slice(value),
        value_crc: header.value_crc,
        segment: segment.id,
        from_buffer,
    })
}
