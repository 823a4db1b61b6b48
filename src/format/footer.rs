//! The footer of a sealed segment: one row a record, so that recovery never reads values; and a trailer in the last
//! 64 bytes of the file.

use thiserror::Error;

use super::bytes::{copy, is_zero, put, u32_at, uint};
use super::checksum;
use super::length::{LengthClass, is_segment_len};
use super::record::MIN_RECORD_BYTES;
use super::segment_header::DATA_START;
use crate::types::{BLOCK_BYTES, Digest, Millis, RecordKind, SegmentId, Sequence, UNIT_BYTES};

/// Length of a row.
pub const ROW_BYTES: usize = 24;
/// Length of the trailer.
pub const TRAILER_BYTES: usize = 64;

const MAGIC: &[u8; 8] = b"ESKRFTR\0";
const CRC_AT: usize = 60;
const CLASS_BITS: u32 = 11;
const KIND_MASK: u16 = 0b111;
/// Behind the kind; the last bit is reserved.
const DIRTY_BIT: u32 = 14;

/// What the footer says of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Digest of the key.
    pub digest: Digest,
    /// Sequence of the record.
    pub sequence: Sequence,
    /// Where the record starts, in units of 16 bytes from the start of the file.
    pub offset_units: u32,
    /// The record's length.
    pub class: LengthClass,
    /// The record's kind; never a pad.
    pub kind: RecordKind,
    /// Whether the record has the flag of a value that the origin did not have.
    pub is_dirty: bool,
    /// When the entry expires, in seconds since 1970, rounded up; 0: never. `u32::MAX`: not before then, the record
    /// itself says when.
    pub expires_s: u32,
}

impl Row {
    /// The 24 bytes.
    pub fn encode(&self) -> [u8; ROW_BYTES] {
        let mut bytes = [0; ROW_BYTES];
        put::<8>(&mut bytes, 0, self.digest.0);
        put::<6>(&mut bytes, 8, self.sequence.0);
        put::<4>(&mut bytes, 14, u64::from(self.offset_units));
        let (kind, is_dirty) = ((self.kind as u64) << CLASS_BITS, u64::from(self.is_dirty) << DIRTY_BIT);
        put::<2>(&mut bytes, 18, u64::from(self.class.bits()) | kind | is_dirty);
        put::<4>(&mut bytes, 20, u64::from(self.expires_s));
        bytes
    }

    /// The row; `None` if the kind, the length or a reserved bit is not of this format.
    #[inline]
    pub fn decode(bytes: &[u8; ROW_BYTES]) -> Option<Self> {
        let packed = uint::<2>(bytes, 18) as u16;
        let is_dirty = packed >> DIRTY_BIT == 1;
        let kind = match packed >> CLASS_BITS & KIND_MASK {
            1 => RecordKind::Put,
            2 => RecordKind::Delete,
            3 => RecordKind::Chunk,
            4 => RecordKind::Head,
            6 => RecordKind::Marker,
            7 => RecordKind::Purge,
            _ => return None,
        };
        let class = LengthClass::from_bits(packed & ((1 << CLASS_BITS) - 1))?;
        let is_whole = packed >> DIRTY_BIT <= 1 && (!is_dirty || kind == RecordKind::Put);
        (is_whole && class.len_bytes() >= MIN_RECORD_BYTES).then_some(Self {
            digest: Digest(uint::<8>(bytes, 0)),
            sequence: Sequence(uint::<6>(bytes, 8)),
            offset_units: u32_at(bytes, 14),
            class,
            kind,
            is_dirty,
            expires_s: u32_at(bytes, 20),
        })
    }

    /// Length of the record in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.class.len_bytes()
    }

    /// Offset of the record in bytes.
    pub fn offset(&self) -> u64 {
        u64::from(self.offset_units) * UNIT_BYTES
    }

    /// Whether the row alone proves that the entry has expired. The record itself may say so up to a second earlier.
    pub fn is_expired(&self, now: Millis) -> bool {
        let is_known = self.expires_s != 0 && self.expires_s != u32::MAX;
        is_known && now.0 >= u64::from(self.expires_s) * 1000
    }
}

/// An expiry as a row holds it: whole seconds, rounded up, at most `u32::MAX`; 0 for never.
pub fn expires_seconds(expires: Option<Millis>) -> u32 {
    expires.map_or(0, |at| u32::try_from(at.0.div_ceil(1000).max(1)).unwrap_or(u32::MAX))
}

/// The last 64 bytes of a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// The segment that the footer belongs to.
    pub segment: SegmentId,
    /// Number of rows.
    pub rows: u32,
    /// Offset of the first row in bytes: a multiple of 4,096.
    pub rows_offset: u64,
    /// End of the last record, in bytes from the start of the file.
    pub data_end: u64,
    /// CRC over the rows.
    pub rows_crc: u32,
    /// The smallest sequence of the rows; 0 if there are none.
    pub min_sequence: Sequence,
    /// The largest sequence of the rows; 0 if there are none.
    pub max_sequence: Sequence,
    /// When the footer was made: no record is newer, and no later open takes the clock back behind it.
    pub newest: Millis,
}

/// What is wrong with bytes that should be a footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FooterDefect {
    /// There are fewer bytes than the trailer or the rows need.
    #[error("footer cut off")]
    Truncated,
    /// No trailer: the segment was not sealed.
    #[error("no footer")]
    Magic,
    /// An undamaged footer of another segment: an earlier life of the file.
    #[error("footer of another segment")]
    OtherSegment,
    /// An offset, a length or a sequence is outside of its limits.
    #[error("footer points outside of the segment")]
    Bounds,
    /// Damaged.
    #[error("footer checksum does not match")]
    Crc,
}

/// Bytes at the end of the file that this many rows take with the trailer: whole blocks.
pub fn footer_bytes(rows: usize) -> u64 {
    let len = (rows as u64).saturating_mul(ROW_BYTES as u64).saturating_add(TRAILER_BYTES as u64);
    len.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(u64::MAX)
}

/// The footer of a segment and the offset where it goes: its length is [`footer_bytes`], so it ends with the file.
/// `rows` are in the order of their offsets and all lie before `data_end`, which is at most the returned offset;
/// otherwise the footer will not decode.
pub fn encode(
    rows: &[Row],
    segment: SegmentId,
    segment_len_bytes: u64,
    data_end: u64,
    newest: Millis,
) -> (u64, Vec<u8>) {
    let len = footer_bytes(rows.len());
    let rows_offset = segment_len_bytes.saturating_sub(len);
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    for row in rows {
        bytes.extend_from_slice(&row.encode());
    }
    let sequences = || rows.iter().map(|row| row.sequence);
    let trailer = Trailer {
        segment,
        rows: u32::try_from(rows.len()).unwrap_or(u32::MAX),
        rows_offset,
        data_end,
        rows_crc: checksum::crc(&[&bytes]),
        min_sequence: sequences().min().unwrap_or_default(),
        max_sequence: sequences().max().unwrap_or_default(),
        newest,
    };
    let padded = usize::try_from(len).unwrap_or(0).saturating_sub(TRAILER_BYTES).max(bytes.len());
    bytes.resize(padded, 0);
    bytes.extend_from_slice(&encode_trailer(&trailer));
    (rows_offset, bytes)
}

fn encode_trailer(trailer: &Trailer) -> [u8; TRAILER_BYTES] {
    let mut bytes = [0; TRAILER_BYTES];
    copy(&mut bytes, 0, MAGIC);
    put::<8>(&mut bytes, 8, trailer.segment.0);
    put::<4>(&mut bytes, 16, u64::from(trailer.rows));
    put::<4>(&mut bytes, 20, u64::from(trailer.rows_crc));
    put::<8>(&mut bytes, 24, trailer.rows_offset);
    put::<8>(&mut bytes, 32, trailer.data_end);
    put::<6>(&mut bytes, 40, trailer.min_sequence.0);
    put::<6>(&mut bytes, 46, trailer.max_sequence.0);
    put::<6>(&mut bytes, 52, trailer.newest.0);
    let crc = checksum::crc(&[bytes.split_at(CRC_AT).0]);
    put::<4>(&mut bytes, CRC_AT, u64::from(crc));
    bytes
}

/// Decodes a trailer from the last 64 of `last64`, the end of a segment file that is `segment_len_bytes` long.
///
/// # Errors
/// The first of: `Truncated`, `Magic`, `Bounds`, `Crc`, `OtherSegment`.
pub fn decode_trailer(last64: &[u8], segment: SegmentId, segment_len_bytes: u64) -> Result<Trailer, FooterDefect> {
    let bytes: &[u8; TRAILER_BYTES] = last64.last_chunk().ok_or(FooterDefect::Truncated)?;
    if !bytes.starts_with(MAGIC) {
        return Err(FooterDefect::Magic);
    }
    let trailer = Trailer {
        segment: SegmentId(uint::<8>(bytes, 8)),
        rows: u32_at(bytes, 16),
        rows_crc: u32_at(bytes, 20),
        rows_offset: uint::<8>(bytes, 24),
        data_end: uint::<8>(bytes, 32),
        min_sequence: Sequence(uint::<6>(bytes, 40)),
        max_sequence: Sequence(uint::<6>(bytes, 46)),
        newest: Millis(uint::<6>(bytes, 52)),
    };
    let len = footer_bytes(trailer.rows as usize);
    let is_placed = is_segment_len(segment_len_bytes)
        && trailer.segment <= SegmentId::MAX
        && segment_len_bytes.checked_sub(len) == Some(trailer.rows_offset)
        && (DATA_START..=trailer.rows_offset).contains(&trailer.data_end)
        && trailer.data_end.is_multiple_of(UNIT_BYTES)
        && trailer.min_sequence <= trailer.max_sequence
        && is_zero(bytes, 58, CRC_AT);
    if !is_placed {
        return Err(FooterDefect::Bounds);
    }
    if checksum::crc(&[bytes.split_at(CRC_AT).0]) != u32_at(bytes, CRC_AT) {
        return Err(FooterDefect::Crc);
    }
    if trailer.segment != segment {
        return Err(FooterDefect::OtherSegment);
    }
    Ok(trailer)
}

/// Decodes the trailer of whichever segment a file ends with.
///
/// # Errors
/// As [`decode_trailer`], but for `OtherSegment`.
pub fn decode_any_trailer(last64: &[u8], segment_len_bytes: u64) -> Result<Trailer, FooterDefect> {
    let bytes: &[u8; TRAILER_BYTES] = last64.last_chunk().ok_or(FooterDefect::Truncated)?;
    decode_trailer(bytes, SegmentId(uint::<8>(bytes, 8)), segment_len_bytes)
}

/// Checks the rows that a trailer announces, in the bytes at its `rows_offset`; what follows the rows is ignored.
/// Returns the bytes of the rows: each lies between the segment header and `data_end`, behind the row before it.
///
/// # Errors
/// `Truncated` if `bytes` do not hold all rows, then `Crc`, then `Bounds`.
pub fn check_rows<'a>(bytes: &'a [u8], trailer: &Trailer) -> Result<&'a [u8], FooterDefect> {
    let len = (trailer.rows as usize).checked_mul(ROW_BYTES).ok_or(FooterDefect::Truncated)?;
    let bytes = bytes.get(..len).ok_or(FooterDefect::Truncated)?;
    if checksum::crc(&[bytes]) != trailer.rows_crc {
        return Err(FooterDefect::Crc);
    }
    let mut free_from = DATA_START;
    for chunk in bytes.as_chunks::<ROW_BYTES>().0 {
        let row = Row::decode(chunk).ok_or(FooterDefect::Bounds)?;
        let end = row.offset() + row.len_bytes();
        let is_known = (trailer.min_sequence..=trailer.max_sequence).contains(&row.sequence);
        if row.offset() < free_from || end > trailer.data_end || !is_known {
            return Err(FooterDefect::Bounds);
        }
        free_from = end;
    }
    Ok(bytes)
}

/// The rows in bytes that [`check_rows`] returned.
pub fn rows(checked: &[u8]) -> impl Iterator<Item = Row> + Clone + '_ {
    checked.as_chunks::<ROW_BYTES>().0.iter().filter_map(Row::decode)
}

/// Both steps at once.
///
/// # Errors
/// As [`check_rows`].
pub fn decode_rows(bytes: &[u8], trailer: &Trailer) -> Result<Vec<Row>, FooterDefect> {
    check_rows(bytes, trailer).map(|checked| rows(checked).collect())
}
