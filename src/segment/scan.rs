//! Walks the records of a segment file that has no (valid) footer, and rebuilds the footer's rows.

use std::io;

use super::{Doubt, Stream};
use crate::backend::DiskFile;
use crate::backend::exact::read_up_to;
use crate::format::bytes::leading_zero_units;
use crate::format::digest::digest;
use crate::format::footer::{self, FooterDefect, Row, Trailer};
use crate::format::record::{self, Defect, HEADER_BYTES, Header};
use crate::format::segment_header::{DATA_START, SegmentHeader};
use crate::types::{BLOCK_BYTES, Digest, MAX_KEY_BYTES, Millis, RecordKind, SegmentId, UNIT_BYTES};

/// How much is read at a time, in bytes.
const STEP_BYTES: usize = 1 << 20;
/// Keys up to this length are hashed wherever a record may start: a few bytes of work for each byte of the file.
const SHORT_KEY_BYTES: u64 = 64;
/// For longer ones, how many times the length of the walk may be hashed in vain. Where no record is, a value that was
/// chosen for it claims a key of 64 KiB in every 16 bytes (trap 9).
const VAIN_WALKS: u64 = 8;
/// How much of a file's end is read to find the trailer: the whole footer of a segment with few records.
const FOOTER_TAIL_BYTES: u64 = 4 * BLOCK_BYTES;

/// What to walk.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Whose records count.
    pub segment: SegmentId,
    /// Where the walk ends at the latest.
    pub end: u64,
    /// The seed of the directory's digests.
    pub seed: &'a [u8; 16],
    /// Whether the segment is known to be complete, so that all that is found behind a damaged place counts. In one that
    /// was being written it counts only if a pad vouches that the place was on the device; otherwise the damaged place
    /// is the torn end of what survived (P4).
    pub resync: bool,
}

/// A damaged place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// Where.
    pub offset: u64,
    /// What is wrong.
    pub defect: Defect,
}

/// What a walk found.
#[derive(Debug, Default)]
pub struct Scanned {
    /// One row a record, in their order. A record whose value is damaged is a marker: it still says which key it
    /// replaced (trap 13).
    pub rows: Vec<Row>,
    /// End of the last record.
    pub data_end: u64,
    /// Up to where the pads say that the segment was on the device; `u64::MAX` if it is known to be complete.
    pub synced: u64,
    /// The newest creation time.
    pub newest: Millis,
    /// Damaged places.
    pub damage: Vec<Damage>,
    /// The last place that hides which keys it held, since it is damaged or was not looked at.
    pub hidden_at: Option<u64>,
    /// Bytes of records behind the torn end, which do not count.
    pub torn_bytes: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes hashed where there was no record.
    pub bytes_hashed_in_vain: u64,
}

impl Scanned {
    /// Drops what stands behind the first damaged place that no pad vouches for.
    fn cut_torn_end(&mut self, holes: &[u64]) {
        if let Some(torn) = self.damage.iter().map(|d| d.offset).find(|&at| at >= self.synced) {
            self.rows.retain(|row| row.offset() < torn);
            self.damage.retain(|d| d.offset < torn);
            self.torn_bytes = self.data_end - torn;
            self.data_end = torn;
        }
        self.hidden_at = holes.iter().copied().filter(|&at| at < self.data_end).max();
    }
}

/// What a walk came by, for whoever looks on.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// A record, a pad too.
    Record {
        /// Where it starts.
        offset: u64,
        /// Its header, checked.
        header: Header,
        /// Its key.
        key: &'a [u8],
        /// Its metadata field as it stands there; not to be trusted with a defect.
        metadata: &'a [u8],
        /// Its value; likewise.
        value: &'a [u8],
        /// Its row, none for a pad; a marker if there is a defect.
        row: Option<Row>,
        /// What is wrong with metadata or value.
        defect: Option<Defect>,
    },
    /// A place that holds no record. What follows the last record counts only if something was written there.
    Hole {
        /// Where it starts and what is wrong there.
        damage: Damage,
        /// Where it ends: at the next record, or where the walk ended.
        end: u64,
    },
}

/// Walks the records of `file`.
///
/// # Errors
/// The disk's.
pub async fn scan(file: &dyn DiskFile, scope: Scope<'_>) -> io::Result<Scanned> {
    walk(file, scope, &mut |_| {}).await
}

/// As [`scan`], and shows `look` every record and every hole in their order.
///
/// # Errors
/// The disk's.
pub async fn walk(
    file: &dyn DiskFile,
    scope: Scope<'_>,
    look: &mut (dyn FnMut(Seen<'_>) + Send),
) -> io::Result<Scanned> {
    let mut window = Window::default();
    let synced = if scope.resync { u64::MAX } else { 0 };
    let mut found = Scanned { data_end: DATA_START, synced, ..Scanned::default() };
    let mut at = DATA_START;
    let mut hole: Option<Damage> = None;
    let mut holes = Vec::new();
    while at + HEADER_BYTES as u64 <= scope.end {
        match next(file, &mut window, scope, at, hole, look).await? {
            Ok(Place::Gap(len)) => at += len,
            Ok(Place::Record { header, row, defect }) => {
                if let Some(damage) = hole.take() {
                    found.damage.push(damage);
                    holes.push(damage.offset);
                }
                if let Some(offset) = header.vouched().filter(|&offset| offset <= at) {
                    found.synced = found.synced.max(offset);
                }
                if let Some(defect) = defect {
                    found.damage.push(Damage { offset: at, defect });
                }
                at += header.record_bytes();
                found.rows.extend(row);
                found.newest = found.newest.max(header.created);
                found.data_end = at;
            }
            Err(defect) => {
                hole.get_or_insert(Damage { offset: at, defect });
                at += UNIT_BYTES.max(window.zero_bytes(at));
            }
        }
    }
    // What follows the last record is a hole only if something was written there.
    if let Some(damage) = hole.filter(|d| scope.resync && d.defect != Defect::Zero) {
        look(Seen::Hole { damage, end: scope.end });
        found.damage.push(damage);
    }
    found.bytes_read = window.bytes_read;
    found.bytes_hashed_in_vain = window.hashed_in_vain;
    found.cut_torn_end(&holes);
    if scope.resync && window.has_skipped {
        found.hidden_at = Some(scope.end);
    }
    Ok(found)
}

enum Place {
    Gap(u64),
    Record { header: Header, row: Option<Row>, defect: Option<Defect> },
}

async fn next(
    file: &dyn DiskFile,
    window: &mut Window,
    scope: Scope<'_>,
    at: u64,
    hole: Option<Damage>,
    look: &mut (dyn FnMut(Seen<'_>) + Send),
) -> io::Result<Result<Place, Defect>> {
    // Behind a record more is tried: there a long key is rarely a lie.
    let most = scope.end * if hole.is_some() { VAIN_WALKS } else { 2 * VAIN_WALKS };
    let is_spent = window.hashed_in_vain > most;
    let head = window.get(file, at, HEADER_BYTES + MAX_KEY_BYTES, scope.end).await?;
    if let Some(gap) = record::gap_bytes(head, at) {
        return Ok(Ok(Place::Gap(gap)));
    }
    let claims = record::header_claims(head).unwrap_or(0);
    if is_spent && claims > HEADER_BYTES as u64 + SHORT_KEY_BYTES {
        window.has_skipped = true;
        return Ok(Err(Defect::HeaderCrc));
    }
    let header = match record::decode_header(head, scope.segment, at) {
        Ok(header) => header,
        Err(defect) => {
            window.hashed_in_vain += if defect == Defect::HeaderCrc { claims } else { 0 };
            return Ok(Err(defect));
        }
    };
    let len = header.record_bytes();
    if at + len > scope.end {
        return Ok(Err(Defect::Bounds));
    }
    if let Some(damage) = hole {
        look(Seen::Hole { damage, end: at });
    }
    let Some(class) = header.class() else {
        look(Seen::Record { offset: at, header, key: &[], metadata: &[], value: &[], row: None, defect: None });
        return Ok(Ok(Place::Record { header, row: None, defect: None }));
    };
    let bytes = window.get(file, at, len as usize, scope.end).await?;
    let defect = record::decode(bytes, scope.segment, at).err();
    let (key, metadata, value) = record::parts(&header);
    let part = |range| bytes.get(range).unwrap_or_default();
    let (key, metadata, value) = (part(key), part(metadata), part(value));
    let row = Row {
        digest: key_digest(header.kind, key, scope.seed),
        sequence: header.sequence,
        offset_units: (at / UNIT_BYTES) as u32,
        class,
        // What it says is in its key.
        kind: if defect.is_some() && header.kind != RecordKind::Purge { RecordKind::Marker } else { header.kind },
        is_dirty: defect.is_none() && header.flags.is_dirty(),
        expires_s: footer::expires_seconds(header.expires),
    };
    look(Seen::Record { offset: at, header, key, metadata, value, row: Some(row), defect });
    Ok(Ok(Place::Record { header, row: Some(row), defect }))
}

/// The digest that a record of this kind and key stands for.
pub fn key_digest(kind: RecordKind, key: &[u8], seed: &[u8; 16]) -> Digest {
    match (kind, key.try_into()) {
        (RecordKind::Marker, Ok(bytes)) => Digest(u64::from_le_bytes(bytes)),
        _ => digest(seed, key),
    }
}

/// A part of the file that is in memory, and what the walk has cost.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
    /// The file ends with these bytes.
    is_last: bool,
    bytes_read: u64,
    hashed_in_vain: u64,
    /// A place that may have been a record was not looked at.
    has_skipped: bool,
}

impl Window {
    /// Up to `len` bytes at `at`, fewer only at `end` or the end of the file.
    async fn get(&mut self, file: &dyn DiskFile, at: u64, len: usize, end: u64) -> io::Result<&[u8]> {
        let len = len.min(end.saturating_sub(at) as usize);
        let has = (self.start + self.bytes.len() as u64).saturating_sub(at) as usize;
        if at < self.start || has < len && !self.is_last {
            let want = len.max(STEP_BYTES).min(end.saturating_sub(at) as usize);
            self.bytes = read_up_to(file, at, want).await?;
            self.bytes_read += self.bytes.len() as u64;
            self.start = at;
            self.is_last = self.bytes.len() < want;
        }
        let from = (at - self.start) as usize;
        let until = (from + len).min(self.bytes.len());
        Ok(self.bytes.get(from..until).unwrap_or_default())
    }

    /// How many whole units from `at` on are zero, in bytes, as far as the window reaches.
    fn zero_bytes(&self, at: u64) -> u64 {
        let bytes = self.bytes.get(at.saturating_sub(self.start) as usize..).unwrap_or_default();
        leading_zero_units(bytes) as u64
    }
}

/// The trailer that a file ends with, whichever segment it is of; `None` if there is none that is undamaged.
///
/// # Errors
/// The disk's.
pub async fn read_trailer(file: &dyn DiskFile, segment_len_bytes: u64) -> io::Result<Option<footer::Trailer>> {
    let len = footer::TRAILER_BYTES;
    let last = read_up_to(file, segment_len_bytes.saturating_sub(len as u64), len).await?;
    Ok(footer::decode_any_trailer(&last, segment_len_bytes).ok())
}

/// What damage in this segment puts in doubt, if it hides keys.
///
/// # Errors
/// The disk's.
pub async fn doubt(file: &dyn DiskFile, header: &SegmentHeader, found: &Scanned) -> io::Result<Option<Doubt>> {
    // A file has its full length before its header is written.
    if file.len().await? < header.segment_len_bytes {
        return Ok(Some(Doubt::In(header.tag(), header.id)));
    }
    let Some(hidden_at) = found.hidden_at else { return Ok(None) };
    let trailer = read_trailer(file, header.segment_len_bytes).await?.filter(|t| t.segment == header.id);
    // But for moved records, sequences ascend with offsets.
    let is_moved = Stream::of_number(header.stream).is_moved();
    let next = found.rows.last().filter(|row| row.offset() > hidden_at && !is_moved);
    let newest = trailer.map(|t| t.max_sequence).or(next.map(|row| row.sequence));
    Ok(Some(newest.map_or(Doubt::In(header.tag(), header.id), Doubt::UpTo)))
}

/// The footer of a segment that is sealed.
///
/// # Errors
/// The disk's. A missing or damaged footer is `Ok(Err(…))`.
pub async fn read_footer(
    file: &dyn DiskFile,
    segment: SegmentId,
    segment_len_bytes: u64,
) -> io::Result<Result<Footer, FooterDefect>> {
    let tail = FOOTER_TAIL_BYTES.min(segment_len_bytes);
    let mut bytes = read_up_to(file, segment_len_bytes - tail, tail as usize).await?;
    let mut bytes_read = bytes.len() as u64;
    if bytes_read < tail {
        return Ok(Err(FooterDefect::Truncated));
    }
    let trailer = match footer::decode_trailer(&bytes, segment, segment_len_bytes) {
        Ok(trailer) => trailer,
        Err(defect) => return Ok(Err(defect)),
    };
    match trailer.rows_offset.checked_sub(segment_len_bytes - tail) {
        Some(before) => drop(bytes.drain(..before as usize)),
        None => {
            bytes = read_up_to(file, trailer.rows_offset, trailer.rows as usize * footer::ROW_BYTES).await?;
            bytes_read += bytes.len() as u64;
        }
    }
    let len = match footer::check_rows(&bytes, &trailer) {
        Ok(checked) => checked.len(),
        Err(defect) => return Ok(Err(defect)),
    };
    bytes.truncate(len);
    Ok(Ok(Footer { trailer, bytes_read, checked: bytes }))
}

/// A valid footer.
#[derive(Debug)]
pub struct Footer {
    /// The trailer.
    pub trailer: Trailer,
    /// Bytes read to find it.
    pub bytes_read: u64,
    checked: Vec<u8>,
}

impl Footer {
    /// One row a record.
    pub fn rows(&self) -> impl Iterator<Item = Row> + Clone + '_ {
        footer::rows(&self.checked)
    }
}

#[cfg(test)]
mod tests;
