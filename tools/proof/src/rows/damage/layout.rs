//! What stands where in an undamaged file: read with the format's own functions, apart from the scanner that is judged.

use std::ops::Range;

use esker::format::footer::{self, Trailer};
use esker::format::record::{self, Header};
use esker::format::segment_header::{DATA_START, FREE_STREAM, SegmentHeader};
use esker::{RecordKind, SegmentId};

use crate::common::SEGMENT_LEN_BYTES;

/// A record, a pad too.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its header.
    pub header: Header,
    /// Its key.
    pub key: Vec<u8>,
    /// Where it stands, padding included.
    pub all: Range<u64>,
    /// Of this header and key, without which nobody knows whose it is.
    pub head: Range<u64>,
    /// Header, key, metadata and value.
    pub payload: Range<u64>,
}

impl Place {
    /// Whether it is filler.
    pub fn is_pad(&self) -> bool {
        self.header.kind == RecordKind::Pad
    }
}

/// A file.
#[derive(Debug, Clone)]
pub enum Layout {
    /// The manifest.
    Manifest,
    /// The lock.
    Lock,
    /// A segment file that holds nothing.
    Free,
    /// A segment.
    Used(Used),
}

/// A segment.
#[derive(Debug, Clone)]
pub struct Used {
    /// Its id.
    pub id: SegmentId,
    /// Its stream.
    pub stream: u8,
    /// Its records, in their order.
    pub places: Vec<Place>,
    /// Its trailer, if it is sealed.
    pub trailer: Option<Trailer>,
}

impl Used {
    /// Where its rows stand, if it is sealed.
    pub fn rows(&self) -> Option<Range<u64>> {
        self.trailer.map(|t| t.rows_offset..t.rows_offset + u64::from(t.rows) * footer::ROW_BYTES as u64)
    }

    /// The sequences of its records; none if it holds none.
    pub fn sequences(&self) -> impl Iterator<Item = u64> + '_ {
        self.places.iter().filter(|place| !place.is_pad()).map(|place| place.header.sequence.0)
    }
}

impl Layout {
    /// Of the file of this name.
    pub fn of(name: &str, bytes: &[u8]) -> Self {
        match name {
            "MANIFEST" => return Self::Manifest,
            "LOCK" => return Self::Lock,
            _ => {}
        }
        let Ok(header) = SegmentHeader::decode(bytes) else { return Self::Free };
        if header.stream == FREE_STREAM {
            return Self::Free;
        }
        let last = &bytes[bytes.len() - footer::TRAILER_BYTES..];
        let trailer = footer::decode_any_trailer(last, SEGMENT_LEN_BYTES).ok().filter(|t| t.segment == header.id);
        let end = trailer.map_or(bytes.len() as u64, |t| t.data_end);
        Self::Used(Used { id: header.id, stream: header.stream, places: places(bytes, header.id, end), trailer })
    }
}

fn places(bytes: &[u8], segment: SegmentId, end: u64) -> Vec<Place> {
    let mut places = Vec::new();
    let mut at = DATA_START;
    while at < end {
        let rest = &bytes[at as usize..end as usize];
        if let Some(gap) = record::gap_bytes(rest, at) {
            at += gap;
            continue;
        }
        let Ok(found) = record::decode(rest, segment, at) else { break };
        let (key, _, value) = record::parts(&found.header);
        // What stands behind the header of a pad says nothing.
        let said = if found.header.kind == RecordKind::Pad { record::HEADER_BYTES } else { value.end };
        places.push(Place {
            header: found.header,
            key: found.key.to_vec(),
            all: at..at + found.header.record_bytes(),
            head: at..at + key.end as u64,
            payload: at..at + said as u64,
        });
        at += found.header.record_bytes();
    }
    places
}
