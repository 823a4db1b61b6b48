//! Which segment a file holds. Its header says so, the header's twin in the same block, and the trailer of a sealed one:
//! each may be damaged, left from an earlier life of the file, or have landed in the wrong file.

use std::io;

use crate::backend::DiskFile;
use crate::backend::exact::read_up_to;
use crate::format::footer::{self, TRAILER_BYTES};
use crate::format::record::{self, HEADER_BYTES};
use crate::format::segment_header::{
    DATA_START, FREE_STREAM, HeaderDefect, SEGMENT_HEADER_BYTES, SegmentHeader, TWIN_AT,
};
use crate::segment::Stream;
use crate::types::MAX_KEY_BYTES;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// Nothing was ever written, or nothing that was begun.
    Blank,
    /// Something was written, and nothing says what.
    Lost(HeaderDefect),
    /// It is another directory's.
    Foreign(SegmentHeader),
    /// This segment, or a free file.
    Ours(SegmentHeader),
}

/// What is wrong with the header, though it is known what the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It cannot be read.
    Unreadable(HeaderDefect),
    /// It is of an earlier life, or of another file.
    Misplaced,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(defect) => defect.fmt(f),
            Self::Misplaced => f.write_str("segment header of another file or an earlier life"),
        }
    }
}

/// What was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identified {
    /// What it is.
    pub identity: Identity,
    /// What is wrong with its header, if it has another witness.
    pub fault: Option<Fault>,
    /// The twin is damaged, or says something else.
    pub is_twin_wrong: bool,
}

/// What the file is, in the directory of this id, if that is known.
///
/// # Errors
/// The disk's.
pub async fn identify(
    file: &dyn DiskFile,
    directory_id: Option<u64>,
    segment_len_bytes: u64,
) -> io::Result<Identified> {
    let block = read_up_to(file, 0, DATA_START as usize).await?;
    let head = block.get(..SEGMENT_HEADER_BYTES.min(block.len())).unwrap_or_default();
    let twin = block.get(TWIN_AT as usize..).unwrap_or_default();
    let (first, second) = (SegmentHeader::decode(head), SegmentHeader::decode(twin).ok());
    let is_blank = |bytes: &[u8]| bytes.iter().all(|&b| b == 0);
    let known = |identity| Identified { identity, fault: None, is_twin_wrong: second.is_none() && !is_blank(twin) };
    if let Ok(header) = first
        && second == Some(header)
    {
        return Ok(known(Identity::of(header, directory_id)));
    }
    let is_ours = |h: &SegmentHeader| directory_id.is_none_or(|id| id == h.directory_id);
    let mut witnesses: Vec<_> = first.ok().into_iter().chain(second).filter(is_ours).collect();
    match (witnesses.is_empty(), first.ok().or(second)) {
        (true, Some(foreign)) => return Ok(known(Identity::Foreign(foreign))),
        (_, header) => witnesses.extend(trailed(file, directory_id, segment_len_bytes, header).await?),
    }
    let Some(chosen) = choose(file, &witnesses).await? else {
        return Ok(known(match first {
            Err(defect) if !is_blank(head) => Identity::Lost(defect),
            _ => Identity::Blank,
        }));
    };
    let fault = match first {
        Err(defect) => Some(Fault::Unreadable(defect)),
        Ok(header) => (header.id != chosen.id).then_some(Fault::Misplaced),
    };
    let is_twin_wrong = if second.is_some() { second != Some(chosen) } else { !is_blank(twin) };
    Ok(Identified { identity: Identity::Ours(chosen), fault, is_twin_wrong })
}

impl Identity {
    fn of(header: SegmentHeader, directory_id: Option<u64>) -> Self {
        if directory_id.is_some_and(|id| id != header.directory_id) {
            Self::Foreign(header)
        } else {
            Self::Ours(header)
        }
    }
}

/// What the trailer says. Freeing a file takes the trailer away, so that it is of what stands there now. The stream is
/// not known, unless a header of the same segment tells.
async fn trailed(
    file: &dyn DiskFile,
    directory_id: Option<u64>,
    segment_len_bytes: u64,
    header: Option<SegmentHeader>,
) -> io::Result<Option<SegmentHeader>> {
    let at = segment_len_bytes.saturating_sub(TRAILER_BYTES as u64);
    let last = read_up_to(file, at, TRAILER_BYTES).await?;
    let Ok(trailer) = footer::decode_any_trailer(&last, segment_len_bytes) else { return Ok(None) };
    Ok(Some(SegmentHeader {
        id: trailer.segment,
        segment_len_bytes,
        created: trailer.newest,
        // That of which the least is known.
        stream: Stream::Reinserted as u8,
        directory_id: directory_id.or(header.map(|h| h.directory_id)).unwrap_or_default(),
        group: 0,
    }))
}

/// Whom to believe. If they disagree, it is whose record stands first in the file: every life begins there.
async fn choose(file: &dyn DiskFile, witnesses: &[SegmentHeader]) -> io::Result<Option<SegmentHeader>> {
    let Some(mut id) = witnesses.iter().map(|h| h.id).max() else { return Ok(None) };
    if witnesses.iter().any(|h| h.id != id) {
        let first = first_record(file).await?;
        let owns = |h: &&SegmentHeader| record::decode_header(&first, h.id, DATA_START).is_ok();
        id = witnesses.iter().find(owns).map_or(id, |h| h.id);
    }
    let of_it = |h: &&SegmentHeader| h.id == id;
    // A life ends when its file is freed.
    let freed = witnesses.iter().filter(of_it).find(|h| h.stream == FREE_STREAM);
    Ok(freed.or(witnesses.iter().find(of_it)).copied())
}

/// As much of the first record as its header's checksum covers.
async fn first_record(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let head = read_up_to(file, DATA_START, HEADER_BYTES).await?;
    let claims = record::header_claims(&head).unwrap_or(0).min((HEADER_BYTES + MAX_KEY_BYTES) as u64);
    read_up_to(file, DATA_START, claims as usize).await
}
