//! Target `record`: bytes that should be a record, at some place of some segment; objects in them too.

use esker::format::length::{LengthClass, class_bytes};
use esker::format::object::{ChunkKey, ObjectHead};
use esker::format::purge::Selector;
use esker::format::record::{self, Defect, HEADER_BYTES, Header, Record};
use esker::format::tags;
use esker::{MAX_KEY_BYTES, MAX_TAGS, RecordKind, SegmentId};

use super::forge;
use super::input::Input;

/// The target.
pub fn body(data: &[u8]) {
    let mut input = Input(data);
    let is_forged = input.byte() & 1 == 1;
    let segment = SegmentId(input.number::<2>());
    let offset = input.number::<2>() * 16;
    let (cut, bit) = (input.number::<2>() as usize, input.number::<2>() as usize);
    let mut bytes = input.0.to_vec();
    if is_forged {
        forge::fix_record(&mut bytes, segment, offset);
    }
    if let Some(gap) = record::gap_bytes(&bytes, offset) {
        assert!(gap < 48 && bytes[..gap as usize].iter().all(|&b| b == 0), "a gap of {gap} bytes that is none");
    }
    let claims = record::header_claims(&bytes);
    assert!(claims.is_none_or(|n| n <= (HEADER_BYTES + MAX_KEY_BYTES) as u64), "{claims:?}");
    let decoded = record::decode(&bytes, segment, offset);
    match record::decode_header(&bytes, segment, offset) {
        Ok(header) => check_header(&header, &bytes, segment, offset),
        Err(defect) => assert_eq!(decoded, Err(defect), "the header decides first"),
    }
    if let Ok(record) = decoded {
        check_record(&record, &bytes, segment, offset);
        let payload = covered(&record.header);
        assert_cut(&bytes[..cut % payload], segment, offset);
        assert_flipped(&bytes, bit % (payload * 8), segment, offset);
        let elsewhere = record::decode(&bytes, segment, offset + 16).err();
        assert_eq!(elsewhere, Some(Defect::HeaderCrc), "it is valid in the next place too");
        let stale = record::decode(&bytes, SegmentId(segment.0 + 1), offset).err();
        assert_eq!(stale, Some(Defect::HeaderCrc), "it is valid in the next segment too");
    }
}

/// How many of its bytes are under a CRC.
fn covered(header: &Header) -> usize {
    if header.kind == RecordKind::Pad { HEADER_BYTES } else { header.payload_bytes() as usize }
}

fn check_header(header: &Header, bytes: &[u8], segment: SegmentId, offset: u64) {
    let (key, metadata, value) = record::parts(header);
    assert_eq!((key.end, metadata.end), (metadata.start, value.start));
    assert_eq!(value.end as u64, header.payload_bytes());
    let len = header.record_bytes();
    assert!(len >= header.payload_bytes() && len.is_multiple_of(16) && (48..=1 << 30).contains(&len), "{len} bytes");
    if let Some(class) = header.class() {
        assert_eq!((class.len_bytes(), class_bytes(class.bits())), (len, len));
        assert_eq!(LengthClass::for_bytes(len), Some(class));
    }
    let again = record::encode_head(header, &bytes[key], segment, offset);
    assert_eq!(again[..], bytes[..HEADER_BYTES], "it encodes to other bytes");
}

fn check_record(record: &Record<'_>, bytes: &[u8], segment: SegmentId, offset: u64) {
    let (Record { header, key, metadata, value }, payload) = (record, record.header.payload_bytes() as usize);
    let again = record::encode(header, key, metadata, value, segment, offset);
    assert_eq!(again.len() as u64, header.record_bytes());
    assert_eq!(again[..payload], bytes[..payload], "it encodes to other bytes");
    let (tags, own) = record.tags_and_metadata();
    assert!(tags.len() <= MAX_TAGS && tags.is_empty() != header.flags.is_tagged(), "{tags:?}");
    assert_eq!(own.len() + tags::tags_bytes(tags.len()), metadata.len());
    if let Some(selector) = Selector::decode(key) {
        assert_eq!(selector.encode()[..], key[..]);
    }
    if let Some(chunk) = ChunkKey::decode(key) {
        assert_eq!(chunk.encode()[..], key[..]);
    }
    if let Some(head) = ObjectHead::decode(value) {
        assert_eq!(head.encode()[..], value[..]);
        let count = u64::from(head.chunk_count);
        let last = head.chunk_bytes(count - 1).expect("a head counts its chunks");
        assert_eq!((count - 1) * u64::from(head.chunk_len_bytes) + u64::from(last), head.total_len_bytes);
        assert_eq!(head.chunk_bytes(count), None);
    }
}

fn assert_cut(bytes: &[u8], segment: SegmentId, offset: u64) {
    assert!(record::decode(bytes, segment, offset).is_err(), "{} bytes of it are a record too", bytes.len());
}

/// A CRC finds every single bit.
fn assert_flipped(bytes: &[u8], bit: usize, segment: SegmentId, offset: u64) {
    let mut flipped = bytes.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    assert!(record::decode(&flipped, segment, offset).is_err(), "with bit {bit} turned over it is a record too");
}

/// What to begin with: the golden records.
pub fn seeds() -> Vec<Vec<u8>> {
    let golden: [&[u8]; 8] = [
        include_bytes!("../../../../../tests/golden/put.bin"),
        include_bytes!("../../../../../tests/golden/delete.bin"),
        include_bytes!("../../../../../tests/golden/delete_horizon.bin"),
        include_bytes!("../../../../../tests/golden/marker.bin"),
        include_bytes!("../../../../../tests/golden/head.bin"),
        include_bytes!("../../../../../tests/golden/pad.bin"),
        include_bytes!("../../../../../tests/golden/tagged.bin"),
        include_bytes!("../../../../../tests/golden/purge_tag.bin"),
    ];
    golden.map(|record| [&[1, 7, 0, 0, 1, 9, 0, 3, 0], record].concat()).to_vec()
}
