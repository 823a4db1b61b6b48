//! Checksums made right again, so that what is behind them is reached: an attacker can compute a CRC too.

use esker::format::checksum;
use esker::format::footer::{ROW_BYTES, TRAILER_BYTES};
use esker::format::record::{self, HEADER_BYTES};
use esker::format::tags;
use esker::{Digest, SegmentId};

use super::input::Input;

/// Where the header CRC of a record stands.
const RECORD_CRC_AT: usize = 32;
const VALUE_CRC_AT: usize = 28;
const PAD: u8 = 5;

/// The `N`-byte little-endian number at `at`; 0 where the bytes end before it.
pub fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let part = bytes.get(at..at + N).unwrap_or_default();
    part.iter().rev().fold(0, |all, &byte| all << 8 | u64::from(byte))
}

/// Puts a number there, as far as there are bytes.
pub fn put<const N: usize>(bytes: &mut [u8], at: usize, value: u64) {
    if let Some(part) = bytes.get_mut(at..at + N) {
        part.copy_from_slice(&value.to_le_bytes()[..N]);
    }
}

/// The metadata field of a record that should begin with tags: it does, or is what the input says.
pub fn tagged(input: &mut Input<'_>) -> Vec<u8> {
    let (count, len) = (input.byte(), input.index(64));
    let bytes = input.take(len);
    if count & 1 == 0 { bytes.to_vec() } else { tags::encode((0..u64::from(count / 8)).map(Digest), bytes) }
}

/// Makes both CRCs of a record right, as far as its lengths let it.
pub fn fix_record(bytes: &mut [u8], segment: SegmentId, offset: u64) {
    if bytes.len() < HEADER_BYTES {
        return;
    }
    let is_pad = bytes[0] == PAD;
    let key_len = if is_pad { 0 } else { number::<2>(bytes, 2) as usize + 1 };
    let metadata_end = HEADER_BYTES + key_len + number::<2>(bytes, 4) as usize;
    let value_end = metadata_end.saturating_add(number::<4>(bytes, 6) as usize);
    let key = HEADER_BYTES..HEADER_BYTES + key_len;
    if let (false, Some(parts)) = (is_pad, bytes.get(key.end..value_end)) {
        let crc = record::value_crc(parts, &[]);
        put::<4>(bytes, VALUE_CRC_AT, crc.into());
    }
    if let Some(key) = bytes.get(key) {
        let crc = checksum::salted(segment, offset, &[&bytes[..RECORD_CRC_AT], key]);
        put::<4>(bytes, RECORD_CRC_AT, crc.into());
    }
}

/// Makes the CRC in the last four bytes right: that of a manifest, a segment header or a trailer.
pub fn fix_tail(bytes: &mut [u8]) {
    if let Some(at) = bytes.len().checked_sub(4) {
        let crc = checksum::crc(&[&bytes[..at]]);
        put::<4>(bytes, at, crc.into());
    }
}

/// Makes the footer at the end of a segment file right: the CRC over the rows where the trailer says they are, then
/// that of the trailer.
pub fn fix_footer(file: &mut [u8]) {
    let Some(at) = file.len().checked_sub(TRAILER_BYTES) else { return };
    let (rows, offset) = (number::<4>(file, at + 16) as usize, number::<8>(file, at + 24));
    let rows = usize::try_from(offset).ok().and_then(|offset| file.get(offset..)?.get(..rows.checked_mul(ROW_BYTES)?));
    if let Some(crc) = rows.map(|rows| checksum::crc(&[rows])) {
        put::<4>(file, at + 20, crc.into());
    }
    fix_tail(&mut file[at..]);
}
