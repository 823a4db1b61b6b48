//! The header of a segment file: its first 64 bytes, and once more the last 64 bytes of the first block; zero between.

use thiserror::Error;

use super::bytes::{copy, is_zero, put, u32_at, uint};
use super::digest::digest;
use super::length::is_segment_len;
use super::{checksum, manifest};
use crate::types::{BLOCK_BYTES, Millis, SegmentId};

/// Offset of the first record.
pub const DATA_START: u64 = BLOCK_BYTES;
/// Length of the header.
pub const SEGMENT_HEADER_BYTES: usize = 64;
/// Offset of its twin: in another sector, so that what damages one leaves the other.
pub const TWIN_AT: u64 = DATA_START - SEGMENT_HEADER_BYTES as u64;
/// The highest stream number: 0 new entries, 1 moved ones, 2 short-lived ones, 3 new ones of the main log,
/// 4 moved ones that expire.
pub const MAX_STREAM: u8 = 4;
/// The stream number of a segment that holds nothing. The id stays, so that it is never used again.
pub const FREE_STREAM: u8 = 255;

const MAGIC: &[u8; 8] = b"ESKRSEG\0";
const CRC_AT: usize = 60;

/// What the header of a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The segment's id, never used twice in a directory.
    pub id: SegmentId,
    /// Length of the file in bytes.
    pub segment_len_bytes: u64,
    /// When the segment was begun.
    pub created: Millis,
    /// Which append stream filled it: 0 new, 1 reinserted, 2 short-lived, 3 main, 4 expiring; 255: it is free.
    pub stream: u8,
    /// The directory it belongs to, as in the manifest.
    pub directory_id: u64,
    /// Whose streams: the digest of a namespace's name ([`group_of`]); 0: everybody's.
    pub group: u64,
}

/// One append stream of the directory's history: the sequences in its segments ascend with their ids, but for moved records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamTag {
    /// As in the header.
    pub stream: u8,
    /// As in the header.
    pub group: u64,
}

/// The group of a namespace, in a directory with this seed: never 0.
pub fn group_of(seed: &[u8; 16], namespace: &str) -> u64 {
    digest(seed, namespace.as_bytes()).0.max(1)
}

/// What is wrong with bytes that should be a segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeaderDefect {
    /// There are fewer than 64 bytes.
    #[error("segment header cut off")]
    Truncated,
    /// Not a segment of ours, or never written.
    #[error("not a segment header")]
    Magic,
    /// Of this format version, or damaged in this field (which is read before the CRC).
    #[error("segment header of format version {0}")]
    Version(u32),
    /// Damaged.
    #[error("segment header checksum does not match")]
    Crc,
    /// Undamaged, but a field holds what this version does not allow.
    #[error("segment header holds an impossible value")]
    Meaning,
}

impl SegmentHeader {
    /// Which stream filled it.
    pub fn tag(&self) -> StreamTag {
        StreamTag { stream: self.stream, group: self.group }
    }

    /// The 64 bytes.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        copy(&mut bytes, 0, MAGIC);
        put::<4>(&mut bytes, 8, u64::from(manifest::VERSION));
        put::<8>(&mut bytes, 16, self.id.0);
        put::<8>(&mut bytes, 24, self.segment_len_bytes);
        put::<6>(&mut bytes, 32, self.created.0);
        put::<1>(&mut bytes, 40, u64::from(self.stream));
        put::<8>(&mut bytes, 44, self.directory_id);
        put::<8>(&mut bytes, 52, self.group);
        let crc = checksum::crc(&[bytes.split_at(CRC_AT).0]);
        put::<4>(&mut bytes, CRC_AT, u64::from(crc));
        bytes
    }

    /// The first block of a segment file: the header, zeros, and the header's twin.
    pub fn encode_block(&self) -> [u8; DATA_START as usize] {
        let mut block = [0; DATA_START as usize];
        let header = self.encode();
        copy(&mut block, 0, &header);
        copy(&mut block, TWIN_AT as usize, &header);
        block
    }

    /// Decodes the first 64 bytes of a segment file, or its twin's; what follows them is ignored.
    ///
    /// # Errors
    /// The first [`HeaderDefect`], in the order in which they are declared.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderDefect> {
        let bytes: &[u8; SEGMENT_HEADER_BYTES] = bytes.first_chunk().ok_or(HeaderDefect::Truncated)?;
        if !bytes.starts_with(MAGIC) {
            return Err(HeaderDefect::Magic);
        }
        let version = u32_at(bytes, 8);
        if version != manifest::VERSION {
            return Err(HeaderDefect::Version(version));
        }
        if checksum::crc(&[bytes.split_at(CRC_AT).0]) != u32_at(bytes, CRC_AT) {
            return Err(HeaderDefect::Crc);
        }
        let header = Self {
            id: SegmentId(uint::<8>(bytes, 16)),
            segment_len_bytes: uint::<8>(bytes, 24),
            created: Millis(uint::<6>(bytes, 32)),
            stream: uint::<1>(bytes, 40) as u8,
            directory_id: uint::<8>(bytes, 44),
            group: uint::<8>(bytes, 52),
        };
        let reserved = [(12, 16), (38, 40), (41, 44)];
        let is_plain = reserved.iter().all(|(from, to)| is_zero(bytes, *from, *to));
        if is_plain
            && header.id <= SegmentId::MAX
            && (header.stream <= MAX_STREAM || header.stream == FREE_STREAM && header.group == 0)
            && is_segment_len(header.segment_len_bytes)
        {
            Ok(header)
        } else {
            Err(HeaderDefect::Meaning)
        }
    }
}
