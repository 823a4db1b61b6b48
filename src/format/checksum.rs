//! CRC-32 (the IEEE polynomial, as in zlib), plain and salted with the place.

use crc32fast::Hasher;

use crate::types::SegmentId;

/// The CRC over `parts`, one after the other.
pub fn crc(parts: &[&[u8]]) -> u32 {
    finish(Hasher::new(), parts)
}

/// The CRC over the segment id and the offset in the file (16 bytes, little-endian), then `parts`. A record of the
/// file's earlier life has another segment id, and one in the wrong place another offset: neither passes.
pub fn salted(segment: SegmentId, offset: u64, parts: &[&[u8]]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&segment.0.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    finish(hasher, parts)
}

fn finish(mut hasher: Hasher, parts: &[&[u8]]) -> u32 {
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}
