//! Target `footer`: bytes that should be the end of a sealed segment.

use esker::SegmentId;
use esker::format::footer::{self, ROW_BYTES, Row, TRAILER_BYTES, Trailer};

use super::forge;
use super::input::Input;

/// The target.
pub fn body(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let segment_len_bytes = 8192 + (input.number::<1>() % 64) * 4096;
    let bit = input.number::<2>() as usize;
    let (rows, trailer) = input.0.split_at(input.0.len().saturating_sub(TRAILER_BYTES));
    let mut file = vec![0; segment_len_bytes as usize];
    lay(&mut file, rows, trailer, flags);
    let segment = SegmentId(forge::number::<8>(&file, file.len() - TRAILER_BYTES + 8));
    let trailer = match footer::decode_trailer(&file, segment, segment_len_bytes) {
        Ok(trailer) => trailer,
        Err(defect) => return assert_eq!(footer::decode_any_trailer(&file, segment_len_bytes).err(), Some(defect)),
    };
    assert_eq!(footer::decode_any_trailer(&file, segment_len_bytes), Ok(trailer));
    assert!(footer::decode_trailer(&file, SegmentId(segment.0 ^ 1), segment_len_bytes).is_err());
    assert!(trailer.data_end <= trailer.rows_offset && trailer.rows_offset <= segment_len_bytes - 64, "{trailer:?}");
    let mut flipped = file[file.len() - TRAILER_BYTES..].to_vec();
    flipped[bit / 8 % TRAILER_BYTES] ^= 1 << (bit % 8);
    assert!(footer::decode_trailer(&flipped, segment, segment_len_bytes).is_err(), "{trailer:?}");
    let stored = &file[trailer.rows_offset as usize..];
    if let Ok(rows) = footer::decode_rows(stored, &trailer) {
        check_rows(&rows, stored, &trailer);
        check_again(&rows, &trailer, segment_len_bytes);
    }
}

/// Puts rows and trailer where they belong. Forged, the trailer says how many rows there are and where, and all CRCs
/// are right.
fn lay(file: &mut [u8], rows: &[u8], trailer: &[u8], flags: u8) {
    let end = file.len() - TRAILER_BYTES;
    file[end..end + trailer.len()].copy_from_slice(trailer);
    let count = rows.len().div_ceil(ROW_BYTES);
    let Some(offset) = (file.len() as u64).checked_sub(footer::footer_bytes(count)) else { return };
    if let Some(part) = file[offset as usize..end].get_mut(..rows.len()) {
        part.copy_from_slice(rows);
    }
    if flags & 2 == 2 {
        forge::put::<4>(file, end + 16, count as u64);
        forge::put::<8>(file, end + 24, offset);
    }
    if flags & 1 == 1 {
        forge::fix_footer(file);
    }
}

fn check_rows(rows: &[Row], stored: &[u8], trailer: &Trailer) {
    assert_eq!(rows.len(), trailer.rows as usize);
    let mut free_from = 4096;
    for (row, bytes) in rows.iter().zip(stored.chunks(ROW_BYTES)) {
        assert_eq!(row.encode()[..], bytes[..], "it encodes to other bytes");
        assert!(row.offset() >= free_from, "it overlaps the one before: {row:?}");
        free_from = row.offset() + row.len_bytes();
        assert!(free_from <= trailer.data_end, "it ends behind the data: {row:?}");
        assert!((trailer.min_sequence..=trailer.max_sequence).contains(&row.sequence), "{row:?}");
    }
}

/// Made anew from its rows it is the same footer, but for limits of the sequences that were wider than need be.
fn check_again(rows: &[Row], trailer: &Trailer, segment_len_bytes: u64) {
    let (at, bytes) = footer::encode(rows, trailer.segment, segment_len_bytes, trailer.data_end, trailer.newest);
    assert_eq!((at, bytes.len() as u64), (trailer.rows_offset, segment_len_bytes - trailer.rows_offset));
    let again = footer::decode_trailer(&bytes, trailer.segment, segment_len_bytes).expect("what was made anew decodes");
    let narrow = Trailer { min_sequence: again.min_sequence, max_sequence: again.max_sequence, ..*trailer };
    assert_eq!(again, narrow);
    assert_eq!(footer::decode_rows(&bytes, &again).as_deref(), Ok(rows));
}

/// What to begin with: the golden one, with few rows too.
pub fn seeds() -> Vec<Vec<u8>> {
    let golden = include_bytes!("../../../../../tests/golden/footer.bin");
    let trailer = &golden[golden.len() - TRAILER_BYTES..];
    let rows = forge::number::<4>(trailer, 16) as usize * ROW_BYTES;
    // The golden segment has 64 KiB.
    let of = |rows: usize, flags| [&[flags, 14, 77, 0], &golden[..rows], trailer].concat();
    vec![of(rows, 0), of(rows, 3), of(ROW_BYTES, 3), of(0, 3)]
}
