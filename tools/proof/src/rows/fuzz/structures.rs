//! Target `structures`: bytes that should be a manifest, a segment header or the name of a segment file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use esker::format::file_name::{parse_segment_name, segment_name};
use esker::format::manifest::{MANIFEST_BYTES, Manifest};
use esker::format::segment_header::{SEGMENT_HEADER_BYTES, SegmentHeader};

use super::forge;
use super::input::Input;

/// The target.
pub fn body(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let bit = input.number::<2>() as usize;
    let mut bytes = input.0.to_vec();
    let len = if flags & 2 == 0 { MANIFEST_BYTES } else { SEGMENT_HEADER_BYTES };
    if let (1, Some(structure)) = (flags & 1, bytes.get_mut(..len)) {
        forge::fix_tail(structure);
    }
    if let Some(slot) = parse_segment_name(OsStr::from_bytes(&bytes)) {
        assert_eq!(segment_name(slot).as_bytes(), bytes);
    }
    check(&bytes, bit, MANIFEST_BYTES, |bytes| {
        let manifest = Manifest::decode(bytes).ok()?;
        assert!(
            (1..=1024).contains(&manifest.index_shards) && manifest.segment_len_bytes.is_multiple_of(4096),
            "{manifest:?}"
        );
        Some(manifest.encode().to_vec())
    });
    check(&bytes, bit, SEGMENT_HEADER_BYTES, |bytes| Some(SegmentHeader::decode(bytes).ok()?.encode().to_vec()));
}

/// What decodes encodes to the same bytes, and neither does a part of it decode, nor it with a bit turned over.
fn check(bytes: &[u8], bit: usize, len: usize, again: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let Some(encoded) = again(bytes) else { return };
    assert_eq!(encoded[..], bytes[..len], "it encodes to other bytes");
    assert_eq!(again(&bytes[..bit % len]), None, "{} bytes of it decode too", bit % len);
    let mut flipped = bytes.to_vec();
    flipped[bit / 8 % len] ^= 1 << (bit % 8);
    assert_eq!(again(&flipped), None, "with bit {} turned over it decodes too", bit % (8 * len));
}

/// What to begin with: the golden ones.
pub fn seeds() -> Vec<Vec<u8>> {
    let manifest = include_bytes!("../../../../../tests/golden/manifest.bin");
    let header = include_bytes!("../../../../../tests/golden/segment_header.bin");
    vec![
        [&[1, 4, 3], &manifest[..]].concat(),
        [&[3, 100, 0], &header[..]].concat(),
        [&[0, 0, 0], &b"seg-00af.esk"[..]].concat(),
    ]
}
