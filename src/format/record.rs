//! A record: one entry, deletion, chunk or head in its frame. The table is in the [module doc](super).

use std::ops::Range;

use thiserror::Error;

use super::bytes::{is_zero, put, u32_at, uint};
use super::checksum;
use super::length::{LengthClass, MAX_RECORD_BYTES};
use super::tags::{self, Tags};
use crate::types::{
    BLOCK_BYTES, MAX_KEY_BYTES, MAX_METADATA_BYTES, Millis, RecordKind, SegmentId, Sequence, UNIT_BYTES,
};

/// Length of the header that every record begins with.
pub const HEADER_BYTES: usize = 36;

/// The shortest record, and the shortest pad, in bytes.
pub const MIN_RECORD_BYTES: u64 = 48;

/// Where the header CRC stands: it covers everything before it, and the key.
const CRC_AT: usize = 32;

/// The flags byte of a record. Which flags a record may have depends on its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u8);

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);
    /// The metadata field begins with tags: see [`tags`]. Of a put or a head.
    pub const TAGGED: Flags = Flags(1);
    /// The origin did not have the value when the record was written: see [`Manifest::stored`](super::manifest::Manifest). Of a put.
    pub const DIRTY: Flags = Flags(2);

    /// Whether the metadata field begins with tags.
    #[inline]
    pub fn is_tagged(self) -> bool {
        self.0 & Self::TAGGED.0 != 0
    }

    /// Whether the origin did not have the value.
    #[inline]
    pub fn is_dirty(self) -> bool {
        self.0 & Self::DIRTY.0 != 0
    }

    /// These flags, and that of a value that the origin does not have if so.
    pub fn with_dirty(self, is_dirty: bool) -> Self {
        if is_dirty { Self(self.0 | Self::DIRTY.0) } else { self }
    }

    /// The byte, if a record of this kind may have all of its flags.
    fn decode(byte: u8, kind: RecordKind) -> Option<Self> {
        let allowed = match kind {
            RecordKind::Put => Self::TAGGED.0 | Self::DIRTY.0,
            RecordKind::Head => Self::TAGGED.0,
            _ => 0,
        };
        (byte & !allowed == 0).then_some(Self(byte))
    }
}

/// What the header of a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the record says.
    pub kind: RecordKind,
    /// What else it says.
    pub flags: Flags,
    /// Length of the key in bytes: 1 to 65,536, and 0 in a pad.
    pub key_len: u32,
    /// Length of the metadata field in bytes: the tags if there are any, then the user's metadata.
    pub metadata_len: u16,
    /// Length of the value in bytes; in a pad: the bytes behind the header.
    pub value_len: u32,
    /// Place in the order of all writes.
    pub sequence: Sequence,
    /// When the entry was written.
    pub created: Millis,
    /// From when on the entry is gone; `None`: never.
    pub expires: Option<Millis>,
    /// CRC over metadata and value; 0 in a pad.
    pub value_crc: u32,
}

impl Header {
    /// Bytes of header, key, metadata and value.
    #[inline]
    pub fn payload_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.key_len) + u64::from(self.metadata_len) + u64::from(self.value_len)
    }

    /// Bytes that the record takes in the segment: with its padding, for a pad as it is. A header that no segment
    /// could hold (none of [`decode_header`]'s) gives the bytes rounded up to a unit.
    #[inline]
    pub fn record_bytes(&self) -> u64 {
        match (self.kind, self.class()) {
            (RecordKind::Pad, _) => self.payload_bytes(),
            (_, Some(class)) => class.len_bytes(),
            (_, None) => self.payload_bytes().next_multiple_of(UNIT_BYTES),
        }
    }

    /// In a pad: the offset up to which the segment was on the device when the pad was made.
    pub fn vouched(&self) -> Option<u64> {
        (self.kind == RecordKind::Pad).then_some(self.sequence.0)
    }

    /// The class of the record's length; `None` for a pad, whose length has none, and beyond 1 GiB.
    #[inline]
    pub fn class(&self) -> Option<LengthClass> {
        if self.kind == RecordKind::Pad { None } else { LengthClass::for_bytes(self.payload_bytes()) }
    }

    /// Whether the lengths are ones that this format allows.
    fn is_bounded(&self) -> bool {
        if self.kind == RecordKind::Pad {
            let len = self.payload_bytes();
            let nothing_else = self.key_len == 0 && self.metadata_len == 0 && self.value_crc == 0;
            nothing_else && is_pad_len(len)
        } else {
            self.class().is_some()
        }
    }
}

/// What is wrong with bytes that should be a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Defect {
    /// There are fewer bytes than the record claims.
    #[error("cut off")]
    Truncated,
    /// The kind is none of this format.
    #[error("unknown record kind")]
    Kind,
    /// A flag is set that this version does not know, or not of a record of this kind.
    #[error("unknown flag")]
    Flags,
    /// A length is outside of its limits.
    #[error("length outside of the limits")]
    Bounds,
    /// Header or key are damaged, or belong to another place or another life of the file.
    #[error("header checksum does not match")]
    HeaderCrc,
    /// Header and key are right, metadata or value are damaged.
    #[error("value checksum does not match")]
    ValueCrc,
    /// The metadata field should begin with tags, and does not.
    #[error("no tags where tags should be")]
    Tags,
    /// The kind byte is 0: nothing was written here.
    #[error("nothing written here")]
    Zero,
}

/// A whole record, borrowed from the bytes it was decoded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The header.
    pub header: Header,
    /// The key.
    pub key: &'a [u8],
    /// The metadata field: the tags if there are any, then the user's metadata.
    pub metadata: &'a [u8],
    /// The value.
    pub value: &'a [u8],
}

impl<'a> Record<'a> {
    /// The tags, and the user's metadata.
    pub fn tags_and_metadata(&self) -> (Tags<'a>, &'a [u8]) {
        tags::split(self.header.flags, self.metadata).unwrap_or_default()
    }
}

/// The class of a record with parts of these lengths; `None` if a part is longer than the format allows, the key is
/// empty, or the record would pass 1 GiB.
pub fn record_len(key_len: usize, metadata_len: usize, value_len: usize) -> Option<LengthClass> {
    let value_len = u64::from(u32::try_from(value_len).ok()?);
    if key_len == 0 || key_len > MAX_KEY_BYTES || metadata_len > MAX_METADATA_BYTES {
        return None;
    }
    LengthClass::for_bytes(HEADER_BYTES as u64 + key_len as u64 + metadata_len as u64 + value_len)
}

/// The CRC that a header holds for these parts.
pub fn value_crc(metadata: &[u8], value: &[u8]) -> u32 {
    checksum::crc(&[metadata, value])
}

/// The header of a record at `offset`. Key, metadata, value and zero padding up to [`Header::record_bytes`] follow it.
/// `key` must be as long as the header says; otherwise the record will not pass [`decode_header`].
pub fn encode_head(header: &Header, key: &[u8], segment: SegmentId, offset: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    put::<1>(&mut bytes, 0, header.kind as u64);
    put::<1>(&mut bytes, 1, u64::from(header.flags.0));
    put::<2>(&mut bytes, 2, u64::from(header.key_len.saturating_sub(1)));
    put::<2>(&mut bytes, 4, u64::from(header.metadata_len));
    put::<4>(&mut bytes, 6, u64::from(header.value_len));
    put::<6>(&mut bytes, 10, header.sequence.0);
    put::<6>(&mut bytes, 16, header.created.0);
    // 0 means never: an entry that expired at the beginning of time still has to expire.
    put::<6>(&mut bytes, 22, header.expires.map_or(0, |at| at.0.max(1)));
    put::<4>(&mut bytes, 28, u64::from(header.value_crc));
    let crc = checksum::salted(segment, offset, &[bytes.split_at(CRC_AT).0, key]);
    put::<4>(&mut bytes, CRC_AT, u64::from(crc));
    bytes
}

/// A whole record at `offset`, with its padding. The lengths and the value CRC are taken from the parts, whatever
/// `header` says. The parts must be within the limits of [`record_len`]; otherwise the record will not decode.
pub fn encode(header: &Header, key: &[u8], metadata: &[u8], value: &[u8], segment: SegmentId, offset: u64) -> Vec<u8> {
    let is_pad = header.kind == RecordKind::Pad;
    let header = Header {
        key_len: u32::try_from(key.len()).unwrap_or(u32::MAX),
        metadata_len: u16::try_from(metadata.len()).unwrap_or(u16::MAX),
        value_len: u32::try_from(value.len()).unwrap_or(u32::MAX),
        value_crc: if is_pad { 0 } else { value_crc(metadata, value) },
        ..*header
    };
    let mut bytes = Vec::with_capacity(HEADER_BYTES + key.len() + metadata.len() + value.len());
    bytes.extend_from_slice(&encode_head(&header, key, segment, offset));
    for part in [key, metadata, value] {
        bytes.extend_from_slice(part);
    }
    let padded = usize::try_from(header.record_bytes()).unwrap_or(0).max(bytes.len());
    bytes.resize(padded, 0);
    bytes
}

/// The header of a pad that takes `len_bytes`, its header included; what stands behind the header does not matter.
/// `synced` is the offset up to which the segment is on the device. `None` unless the length is a multiple of 16 from 48 bytes to 1 GiB.
pub fn encode_pad(len_bytes: u64, segment: SegmentId, offset: u64, synced: u64) -> Option<[u8; HEADER_BYTES]> {
    if !is_pad_len(len_bytes) {
        return None;
    }
    let header = Header {
        kind: RecordKind::Pad,
        flags: Flags::NONE,
        key_len: 0,
        metadata_len: 0,
        value_len: u32::try_from(len_bytes - HEADER_BYTES as u64).ok()?,
        sequence: Sequence(synced),
        created: Millis(0),
        expires: None,
        value_crc: 0,
    };
    Some(encode_head(&header, &[], segment, offset))
}

/// The header of the record at `offset`, after checking kind, flags, lengths and the CRC over header and key. Metadata
/// and value need not be there, and are not checked.
///
/// # Errors
/// The first [`Defect`] in this order: `Zero`, `Kind`, `Flags`, `Truncated`, `Bounds`, `HeaderCrc`; `Truncated` too
/// when `bytes` do not hold header and key.
pub fn decode_header(bytes: &[u8], segment: SegmentId, offset: u64) -> Result<Header, Defect> {
    let header = read_fields(bytes)?;
    if !header.is_bounded() {
        return Err(Defect::Bounds);
    }
    let (key_range, _, _) = parts(&header);
    let key = bytes.get(key_range).ok_or(Defect::Truncated)?;
    let head = bytes.get(..CRC_AT).ok_or(Defect::Truncated)?;
    if checksum::salted(segment, offset, &[head, key]) != u32_at(bytes, CRC_AT) {
        return Err(Defect::HeaderCrc);
    }
    Ok(header)
}

/// How many bytes [`decode_header`] needs, by the first 36 bytes, which nothing has verified yet: at most 36 + 65,536.
/// `None` if there are fewer than 36 bytes, or kind or flags are invalid.
pub fn header_claims(bytes: &[u8]) -> Option<u64> {
    let header = read_fields(bytes).ok()?;
    Some(HEADER_BYTES as u64 + u64::from(header.key_len))
}

/// The record at `offset`, everything checked. The padding behind the value need not be there. The parts of a pad are
/// not checked: they say nothing.
///
/// # Errors
/// As [`decode_header`]; then `Truncated` when metadata or value end early, `ValueCrc`, and `Tags`.
pub fn decode(bytes: &[u8], segment: SegmentId, offset: u64) -> Result<Record<'_>, Defect> {
    let header = decode_header(bytes, segment, offset)?;
    let (key, metadata, value) = parts(&header);
    let part = |range| bytes.get(range).ok_or(Defect::Truncated);
    let record = Record { header, key: part(key)?, metadata: part(metadata)?, value: part(value)? };
    let is_pad = header.kind == RecordKind::Pad;
    if !is_pad && value_crc(record.metadata, record.value) != header.value_crc {
        return Err(Defect::ValueCrc);
    }
    if tags::split(header.flags, record.metadata).is_none() {
        return Err(Defect::Tags);
    }
    Ok(record)
}

/// Where key, metadata and value stand in the record, counted from its first byte.
pub fn parts(header: &Header) -> (Range<usize>, Range<usize>, Range<usize>) {
    let end_of = |start: usize, len: u32| start.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
    let key_end = end_of(HEADER_BYTES, header.key_len);
    let metadata_end = end_of(key_end, u32::from(header.metadata_len));
    let value_end = end_of(metadata_end, header.value_len);
    (HEADER_BYTES..key_end, key_end..metadata_end, metadata_end..value_end)
}

/// How many zero bytes a scanner skips at `offset`: the 16 or 32 bytes up to the end of a block in which no pad fits.
/// `bytes` start at `offset`. `None` if the end of the block is not that near, or the bytes are not all there and zero.
pub fn gap_bytes(bytes: &[u8], offset: u64) -> Option<u64> {
    let rest = BLOCK_BYTES - offset % BLOCK_BYTES;
    let is_gap = rest < MIN_RECORD_BYTES && rest.is_multiple_of(UNIT_BYTES) && is_zero(bytes, 0, rest as usize);
    is_gap.then_some(rest)
}

fn is_pad_len(len_bytes: u64) -> bool {
    (MIN_RECORD_BYTES..=MAX_RECORD_BYTES).contains(&len_bytes) && len_bytes.is_multiple_of(UNIT_BYTES)
}

fn kind_of(byte: u8) -> Result<RecordKind, Defect> {
    match byte {
        0 => Err(Defect::Zero),
        1 => Ok(RecordKind::Put),
        2 => Ok(RecordKind::Delete),
        3 => Ok(RecordKind::Chunk),
        4 => Ok(RecordKind::Head),
        5 => Ok(RecordKind::Pad),
        6 => Ok(RecordKind::Marker),
        7 => Ok(RecordKind::Purge),
        _ => Err(Defect::Kind),
    }
}

/// The fields as they stand, with kind and flags checked, the lengths not.
#[inline]
fn read_fields(bytes: &[u8]) -> Result<Header, Defect> {
    let kind = kind_of(*bytes.first().ok_or(Defect::Truncated)?)?;
    let flags = Flags::decode(*bytes.get(1).ok_or(Defect::Truncated)?, kind).ok_or(Defect::Flags)?;
    let head: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(Defect::Truncated)?;
    let key_field = uint::<2>(head, 2) as u32;
    // A pad has no key. A field other than 0 there is kept as a length, which the bounds then refuse.
    let key_len = if kind == RecordKind::Pad && key_field == 0 { 0 } else { key_field + 1 };
    let expires = uint::<6>(head, 22);
    Ok(Header {
        kind,
        flags,
        key_len,
        metadata_len: uint::<2>(head, 4) as u16,
        value_len: u32_at(head, 6),
        sequence: Sequence(uint::<6>(head, 10)),
        created: Millis(uint::<6>(head, 16)),
        expires: (expires != 0).then_some(Millis(expires)),
        value_crc: u32_at(head, 28),
    })
}
