//! What must be caught: a decoder that trusts a length.

use esker::SegmentId;

use super::forge;
use super::input::Input;

/// Reads a record as [`super::record::body`] does, but believes how long its parts are.
pub fn body(data: &[u8]) {
    let mut input = Input(data);
    input.take(9);
    let mut bytes = input.0.to_vec();
    forge::fix_record(&mut bytes, SegmentId(7), 4096);
    if bytes.len() >= 36 && bytes[0] == 1 {
        let key_end = 36 + forge::number::<2>(&bytes, 2) as usize + 1;
        let value_start = key_end + forge::number::<2>(&bytes, 4) as usize;
        let value = &bytes[value_start..value_start + forge::number::<4>(&bytes, 6) as usize];
        assert!(value.len() <= bytes.len());
    }
}
