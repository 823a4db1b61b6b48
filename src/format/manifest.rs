//! The manifest: what a directory is. A file of 256 bytes, replaced as a whole.

use thiserror::Error;

use super::bytes::{copy, is_zero, put, u32_at, uint};
use super::checksum;
use super::length::is_segment_len;
use crate::config::MAX_INDEX_SHARDS;
use crate::types::{Millis, Sequence};

/// The version of the format that this code reads and writes.
pub const VERSION: u32 = 1;
/// Length of the manifest.
pub const MANIFEST_BYTES: usize = 256;

const MAGIC: &[u8; 8] = b"ESKRMAN\0";
const CRC_AT: usize = 252;

/// What a manifest says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Manifest {
    /// Names the directory; every segment header repeats it.
    pub directory_id: u64,
    /// Length of every segment file, in bytes.
    pub segment_len_bytes: u64,
    /// The secret that key digests start from.
    pub seed: [u8; 16],
    /// When the directory was made.
    pub created: Millis,
    /// Every record up to this sequence is gone; 0: none.
    pub cleared: Sequence,
    /// Shards of the index, 1 to 1,024: they decide which digests share a slot, so that they must not change.
    pub index_shards: u64,
    /// Every value that was written as dirty up to this sequence is at the origin; 0: none.
    pub stored: Sequence,
}

impl std::fmt::Debug for Manifest {
    /// Everything but the seed, which must not get into a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manifest")
            .field("directory_id", &self.directory_id)
            .field("segment_len_bytes", &self.segment_len_bytes)
            .field("created", &self.created)
            .field("cleared", &self.cleared)
            .field("index_shards", &self.index_shards)
            .field("stored", &self.stored)
            .finish_non_exhaustive()
    }
}

/// What is wrong with bytes that should be a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ManifestDefect {
    /// There are fewer than 256 bytes.
    #[error("manifest cut off")]
    Truncated,
    /// Not a manifest of ours.
    #[error("not a manifest")]
    Magic,
    /// Written by a newer version of the format. Read before the CRC, which a newer version may have moved.
    #[error("manifest of format version {0}; this build reads up to {VERSION}")]
    NewerVersion(u32),
    /// Damaged.
    #[error("manifest checksum does not match")]
    Crc,
    /// Undamaged, but a field holds what this version does not allow.
    #[error("manifest holds an impossible value")]
    Meaning,
}

impl Manifest {
    /// The 256 bytes.
    pub fn encode(&self) -> [u8; MANIFEST_BYTES] {
        let mut bytes = [0; MANIFEST_BYTES];
        copy(&mut bytes, 0, MAGIC);
        put::<4>(&mut bytes, 8, u64::from(VERSION));
        put::<8>(&mut bytes, 16, self.directory_id);
        put::<8>(&mut bytes, 24, self.segment_len_bytes);
        copy(&mut bytes, 32, &self.seed);
        put::<6>(&mut bytes, 48, self.created.0);
        put::<6>(&mut bytes, 56, self.cleared.0);
        put::<8>(&mut bytes, 64, self.index_shards);
        put::<6>(&mut bytes, 72, self.stored.0);
        let crc = checksum::crc(&[bytes.split_at(CRC_AT).0]);
        put::<4>(&mut bytes, CRC_AT, u64::from(crc));
        bytes
    }

    /// Decodes the first 256 bytes; what follows them is ignored.
    ///
    /// # Errors
    /// The first of `Magic`, `NewerVersion`, `Truncated`, `Crc`, `Meaning`; `Truncated` instead of `Magic` if there are
    /// fewer than 256 bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestDefect> {
        // Magic and version first: a newer format is refused by name, however long its manifest is.
        if !bytes.starts_with(MAGIC) {
            return Err(if bytes.len() < MANIFEST_BYTES { ManifestDefect::Truncated } else { ManifestDefect::Magic });
        }
        let version = u32_at(bytes, 8);
        if version > VERSION {
            return Err(ManifestDefect::NewerVersion(version));
        }
        let bytes: &[u8; MANIFEST_BYTES] = bytes.first_chunk().ok_or(ManifestDefect::Truncated)?;
        if checksum::crc(&[bytes.split_at(CRC_AT).0]) != u32_at(bytes, CRC_AT) {
            return Err(ManifestDefect::Crc);
        }
        let mut seed = [0; 16];
        copy(&mut seed, 0, bytes.get(32..48).unwrap_or_default());
        let manifest = Self {
            directory_id: uint::<8>(bytes, 16),
            segment_len_bytes: uint::<8>(bytes, 24),
            seed,
            created: Millis(uint::<6>(bytes, 48)),
            cleared: Sequence(uint::<6>(bytes, 56)),
            index_shards: uint::<8>(bytes, 64),
            stored: Sequence(uint::<6>(bytes, 72)),
        };
        let reserved = [(12, 16), (54, 56), (62, 64), (78, CRC_AT)];
        let is_plain = reserved.iter().all(|(from, to)| is_zero(bytes, *from, *to));
        if version == VERSION
            && is_plain
            && is_segment_len(manifest.segment_len_bytes)
            && (1..=MAX_INDEX_SHARDS as u64).contains(&manifest.index_shards)
        {
            Ok(manifest)
        } else {
            Err(ManifestDefect::Meaning)
        }
    }
}
