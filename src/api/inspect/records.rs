//! Every record of one segment file, in the order of the file.

use std::path::Path;

use serde::Serialize;

use super::escape::shown;
use super::examine::{header_of, read_head};
use super::summary::stream_name;
use super::{Inspector, SegmentState};
use crate::backend::{Backend, OpenMode};
use crate::catalog;
use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::format::object::{ChunkKey, ObjectHead};
use crate::format::segment_header::FREE_STREAM;
use crate::format::tags;
use crate::segment::identity::Identity;
use crate::segment::scan::{self, Scope, Seen};
use crate::types::RecordKind;

/// A record, or a place that holds none.
#[derive(Debug, Clone, Serialize)]
pub struct RecordInfo {
    /// Where it starts in the file, in bytes.
    pub offset: u64,
    /// `put`, `delete`, `chunk`, `head`, `pad`, `marker`; `hole` for a damaged place without a readable record.
    pub kind: &'static str,
    /// Bytes that it takes in the file.
    pub len_bytes: u64,
    /// Its sequence; none for pads and holes.
    pub sequence: Option<u64>,
    /// Digest of its key in hexadecimal; none for pads and holes, and without the directory's manifest.
    pub digest: Option<String>,
    /// The namespace that it is in, escaped.
    pub namespace: Option<String>,
    /// Its key, escaped, within its namespace.
    pub key: Option<String>,
    /// Its key in hexadecimal, as it stands on disk.
    pub key_hex: Option<String>,
    /// Length of the key in bytes, as it stands on disk.
    pub key_len: u32,
    /// Length of the metadata field in bytes: the user's metadata, and the tags before them.
    pub metadata_len: u32,
    /// How many tags it has; none if they are damaged.
    pub tags: usize,
    /// Length of the record's value in bytes. That of a head only describes the object.
    pub value_len: u32,
    /// The object that it is the head or a chunk of: the sequence of its first chunk.
    pub object_id: Option<u64>,
    /// Of a chunk: which one, from 0.
    pub chunk_index: Option<u64>,
    /// Of a head: length of the whole value in bytes.
    pub object_len: Option<u64>,
    /// Of a head: number of chunks.
    pub object_chunks: Option<u32>,
    /// When it was set, in unix milliseconds.
    pub created: Option<u64>,
    /// When it expires, in unix milliseconds.
    pub expires: Option<u64>,
    /// What is wrong with it.
    pub defect: Option<String>,
}

/// The segment whose records were listed.
#[derive(Debug, Clone, Serialize)]
pub struct Listing {
    /// The segment's id; none if neither header nor footer says it, and then no record can be told from one of an
    /// earlier life.
    pub id: Option<u64>,
    /// What it is.
    pub state: SegmentState,
    /// What was appended to it.
    pub stream: Option<&'static str>,
    /// When it was begun, in unix milliseconds.
    pub created: Option<u64>,
    /// Length of the file in bytes.
    pub len_bytes: u64,
    /// End of the last record.
    pub data_end: u64,
    /// Records, pads and holes listed.
    pub records: u64,
    /// What is wrong with header or footer.
    pub defect: Option<String>,
}

impl Inspector {
    /// Shows `look` every record of a segment file. The manifest beside the file says how digests are made; without
    /// one there are none. A free segment holds no records.
    ///
    /// # Errors
    /// `Io`.
    pub async fn records(
        backend: &dyn Backend,
        path: &Path,
        look: &mut (dyn FnMut(RecordInfo) + Send),
    ) -> Result<Listing> {
        let failed = |e| Error::io("read", path)(e);
        let file = backend.open(path, OpenMode::Read).await.map_err(Error::io("open", path))?;
        let len_bytes = file.len().await.map_err(failed)?;
        let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let manifest = catalog::read_manifest(backend, dir).await.ok();
        let head = read_head(&*file, manifest.as_ref()).await.map_err(failed)?;
        let header = header_of(&head);
        let mut listing = Listing {
            id: header.map(|h| h.id.0),
            state: SegmentState::Free,
            stream: header.and_then(|h| stream_name(h.stream)),
            created: header.map(|h| h.created.0),
            len_bytes,
            data_end: 0,
            records: 0,
            defect: None,
        };
        let header = match head.identity {
            Identity::Blank => return Ok(listing),
            Identity::Ours(header) if header.stream == FREE_STREAM => return Ok(listing),
            Identity::Lost(defect) => {
                listing.state = SegmentState::Damaged;
                listing.defect = Some(defect.to_string());
                return Ok(listing);
            }
            Identity::Foreign(header) | Identity::Ours(header) => header,
        };
        let is_foreign = matches!(head.identity, Identity::Foreign(_));
        // Another directory's seed says nothing of these keys.
        let manifest = manifest.filter(|_| !is_foreign);
        let segment_len_bytes = manifest.map_or(header.segment_len_bytes, |m| m.segment_len_bytes);
        let footer = scan::read_footer(&*file, header.id, segment_len_bytes).await.map_err(failed)?;
        listing.state = SegmentState::of_footer(footer.as_ref().err().copied());
        listing.defect = match (&footer, listing.state) {
            (Err(defect), SegmentState::Damaged) => Some(defect.to_string()),
            _ => None,
        };
        if is_foreign {
            listing.state = SegmentState::Foreign;
        }
        let end = footer.map_or(len_bytes.min(segment_len_bytes), |f| f.trailer.data_end);
        let seed = manifest.map_or([0; 16], |m: Manifest| m.seed);
        let scope = Scope { segment: header.id, end, seed: &seed, resync: true };
        let mut count = 0;
        // What follows the last record of an unsealed segment is no hole: held back until a record comes after it.
        let mut held = None;
        let is_open = listing.state == SegmentState::Open;
        let mut each = |seen: Seen<'_>| {
            let is_hole = matches!(seen, Seen::Hole { .. });
            let info = describe(seen, manifest.is_some());
            if let Some(hole) = held.take() {
                count += 1;
                look(hole);
            }
            if is_hole && is_open {
                held = Some(info);
            } else {
                count += 1;
                look(info);
            }
        };
        let scanned = scan::walk(&*file, scope, &mut each).await.map_err(failed)?;
        Ok(Listing { data_end: scanned.data_end, records: count, ..listing })
    }
}

fn describe(seen: Seen<'_>, has_seed: bool) -> RecordInfo {
    match seen {
        Seen::Hole { damage, end } => RecordInfo {
            offset: damage.offset,
            kind: "hole",
            len_bytes: end.saturating_sub(damage.offset),
            sequence: None,
            digest: None,
            namespace: None,
            key: None,
            key_hex: None,
            key_len: 0,
            metadata_len: 0,
            tags: 0,
            value_len: 0,
            object_id: None,
            chunk_index: None,
            object_len: None,
            object_chunks: None,
            created: None,
            expires: None,
            defect: Some(damage.defect.to_string()),
        },
        Seen::Record { offset, header, key, metadata, value, row, defect } => {
            let is_pad = header.kind == RecordKind::Pad;
            // A key is right whenever there is a record; a value is not.
            let chunk = if header.kind == RecordKind::Chunk { ChunkKey::decode(key) } else { None };
            let (tags, _) = tags::split(header.flags, metadata).unwrap_or_default();
            let is_head = header.kind == RecordKind::Head && defect.is_none();
            let head = if is_head { ObjectHead::decode(value) } else { None };
            let (namespace, shown) = shown(header.kind, key);
            RecordInfo {
                offset,
                kind: kind_name(header.kind),
                len_bytes: header.record_bytes(),
                sequence: (!is_pad).then_some(header.sequence.0),
                digest: row.filter(|_| has_seed).map(|row| format!("{:016x}", row.digest.0)),
                namespace,
                key: (!is_pad).then_some(shown),
                key_hex: (!is_pad).then(|| hex(key)),
                key_len: header.key_len,
                metadata_len: u32::from(header.metadata_len),
                tags: if defect.is_none() { tags.len() } else { 0 },
                value_len: header.value_len,
                object_id: chunk.map(|chunk| chunk.object.0).or(head.map(|head| head.object.0)),
                chunk_index: chunk.map(|chunk| chunk.index),
                object_len: head.map(|head| head.total_len_bytes),
                object_chunks: head.map(|head| head.chunk_count),
                created: (!is_pad).then_some(header.created.0),
                expires: header.expires.map(|at| at.0),
                defect: defect.map(|d| d.to_string()),
            }
        }
    }
}

/// The kind's name.
pub(super) fn kind_name(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Put => "put",
        RecordKind::Delete => "delete",
        RecordKind::Chunk => "chunk",
        RecordKind::Head => "head",
        RecordKind::Pad => "pad",
        RecordKind::Marker => "marker",
        RecordKind::Purge => "purge",
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
