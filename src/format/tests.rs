//! The codecs, case by case: every flipped bit is noticed, and every check refuses what it is for.

mod footers;
mod properties;

use std::ffi::OsStr;

use super::footer::{self, FooterDefect, ROW_BYTES, Row, TRAILER_BYTES, Trailer};
use super::length::{LengthClass, MAX_RECORD_BYTES, class_bytes};
use super::manifest::{Manifest, ManifestDefect};
use super::object::{ChunkKey, ObjectHead};
use super::record::{self, Defect, Flags, HEADER_BYTES, Header};
use super::segment_header::{HeaderDefect, SegmentHeader};
use super::{checksum, file_name};
use crate::types::{Digest, Millis, RecordKind, SegmentId, Sequence};

const SEGMENT: SegmentId = SegmentId(9);
const SEGMENT_LEN_BYTES: u64 = 1 << 20;

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

fn header(kind: RecordKind, sequence: u64, created: u64, expires: u64) -> Header {
    Header {
        kind,
        flags: Flags::NONE,
        key_len: 0,
        metadata_len: 0,
        value_len: 0,
        sequence: Sequence(sequence),
        created: Millis(created),
        expires: (expires != 0).then_some(Millis(expires)),
        value_crc: 0,
    }
}

fn put_record() -> Vec<u8> {
    record::encode(&header(RecordKind::Put, 1, 2, 3), b"some key", b"meta", b"a value", SEGMENT, 4096)
}

fn segment_header() -> SegmentHeader {
    SegmentHeader {
        id: SEGMENT,
        segment_len_bytes: SEGMENT_LEN_BYTES,
        created: Millis(77),
        stream: 1,
        directory_id: u64::MAX,
        group: 9,
    }
}

fn manifest() -> Manifest {
    Manifest {
        directory_id: 5,
        segment_len_bytes: SEGMENT_LEN_BYTES,
        seed: [0xa5; 16],
        created: Millis(77),
        cleared: Sequence(3),
        index_shards: 10,
        stored: Sequence(2),
    }
}

/// Rows one behind the other, with lengths and kinds that vary.
fn rows(count: usize) -> (Vec<Row>, u64) {
    let kinds = [RecordKind::Put, RecordKind::Delete, RecordKind::Chunk, RecordKind::Head];
    let mut at = 4096;
    let row = |i: usize| {
        let class = LengthClass::for_bytes(48 + 16 * (i as u64 % 7)).unwrap();
        let offset_units = (at / 16) as u32;
        at += class.len_bytes();
        let digest = Digest((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (sequence, kind, is_dirty) = (Sequence(100 + i as u64), kinds[i % 4], i.is_multiple_of(8));
        Row { digest, sequence, offset_units, class, kind, is_dirty, expires_s: i as u32 }
    };
    let rows = (0..count).map(row).collect();
    (rows, at)
}

#[test]
fn the_example_of_the_specification_is_true() {
    let page = include_str!("mod.rs");
    let hex: Vec<u8> = page
        .lines()
        .filter_map(|line| line.strip_prefix("//! 0010"))
        .flat_map(|line| line.split_whitespace().skip(1))
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let put = header(RecordKind::Put, 42, 1_700_000_000_000, 1_700_000_060_000);
    assert_eq!(record::encode(&put, b"key", b"m", b"value", SegmentId(7), 4096), hex);
}

#[test]
fn every_class_is_exact_and_longer_than_the_one_before() {
    let mut before = None;
    for bits in 0..2048 {
        let Some(class) = LengthClass::from_bits(bits) else {
            assert!(bits > 1344);
            assert_eq!(class_bytes(bits), 0);
            continue;
        };
        assert_eq!(class.bits(), bits);
        assert_eq!(class_bytes(bits), class.len_bytes());
        assert_eq!(LengthClass::for_bytes(class.len_bytes()), Some(class));
        assert!(class.len_bytes().is_multiple_of(16));
        assert!(before < Some(class.len_bytes()));
        before = Some(class.len_bytes());
    }
    assert_eq!(before, Some(1 << 30));
    assert_eq!(LengthClass::for_bytes((1 << 30) + 1), None);
    assert_eq!(LengthClass::for_bytes(u64::MAX), None);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let put = put_record();
    let (_, metadata, value) = record::parts(&record::decode_header(&put, SEGMENT, 4096).unwrap());
    for bit in 0..value.end * 8 {
        let bytes = flipped(&put, bit);
        let defect = record::decode(&bytes, SEGMENT, 4096).unwrap_err();
        if bit / 8 >= metadata.start {
            assert_eq!(defect, Defect::ValueCrc);
            assert!(record::decode_header(&bytes, SEGMENT, 4096).is_ok(), "the key must stay provable");
        }
    }
    let pad = record::encode_pad(4096, SEGMENT, 8192, 1).unwrap();
    assert!(record::decode_header(&pad, SEGMENT, 8192).is_ok());
    for bit in 0..HEADER_BYTES * 8 {
        assert!(record::decode_header(&flipped(&pad, bit), SEGMENT, 8192).is_err(), "bit {bit} of a pad");
    }
    let bytes = segment_header().encode();
    for bit in 0..bytes.len() * 8 {
        assert!(SegmentHeader::decode(&flipped(&bytes, bit)).is_err(), "bit {bit} of a segment header");
    }
    let bytes = manifest().encode();
    for bit in 0..bytes.len() * 8 {
        assert!(Manifest::decode(&flipped(&bytes, bit)).is_err(), "bit {bit} of a manifest");
    }
}

#[test]
fn every_flipped_bit_of_a_footer_is_noticed() {
    let (rows, data_end) = rows(5);
    let (_, bytes) = footer::encode(&rows, SEGMENT, SEGMENT_LEN_BYTES, data_end, Millis(8));
    let (body, end) = bytes.split_at(bytes.len() - TRAILER_BYTES);
    let trailer = footer::decode_trailer(end, SEGMENT, SEGMENT_LEN_BYTES).unwrap();
    for bit in 0..TRAILER_BYTES * 8 {
        let defect = footer::decode_trailer(&flipped(end, bit), SEGMENT, SEGMENT_LEN_BYTES);
        assert!(defect.is_err(), "bit {bit} of a trailer");
    }
    for bit in 0..rows.len() * ROW_BYTES * 8 {
        assert_eq!(footer::decode_rows(&flipped(body, bit), &trailer), Err(FooterDefect::Crc), "bit {bit} of the rows");
    }
}

#[test]
fn a_record_of_another_place_or_life_is_refused() {
    let put = put_record();
    assert!(record::decode(&put, SEGMENT, 4096).is_ok());
    assert_eq!(record::decode(&put, SegmentId(10), 4096), Err(Defect::HeaderCrc));
    assert_eq!(record::decode(&put, SEGMENT, 4112), Err(Defect::HeaderCrc));
}

#[test]
fn a_record_may_end_early_but_not_before_its_value() {
    let put = put_record();
    let header = record::decode_header(&put, SEGMENT, 4096).unwrap();
    for len in 0..header.payload_bytes() as usize {
        assert_eq!(record::decode(&put[..len], SEGMENT, 4096), Err(Defect::Truncated), "{len} bytes");
    }
    assert!(record::decode(&put[..header.payload_bytes() as usize], SEGMENT, 4096).is_ok());
    assert_eq!(record::header_claims(&put), Some(36 + 8));
    assert!(record::decode_header(&put[..36 + 8], SEGMENT, 4096).is_ok());
    assert_eq!(record::header_claims(&put[..35]), None);
}

#[test]
fn the_reason_is_the_first_that_applies() {
    let put = put_record();
    let with = |at: usize, byte: u8| {
        let mut bytes = put.clone();
        bytes[at] = byte;
        record::decode(&bytes, SEGMENT, 4096).unwrap_err()
    };
    assert_eq!(with(0, 0), Defect::Zero);
    assert_eq!(with(0, 8), Defect::Kind);
    assert_eq!(with(1, 0x80), Defect::Flags);
    assert_eq!(with(1, 1), Defect::HeaderCrc, "a flag that it may have");
    assert_eq!(with(9, 0xff), Defect::Bounds, "a value of almost 4 GiB");
    assert_eq!(with(3, 0xff), Defect::Truncated, "a key longer than what is there");
    assert_eq!(with(35, !put[35]), Defect::HeaderCrc);
    assert_eq!(record::decode(&[], SEGMENT, 4096), Err(Defect::Truncated));
    assert_eq!(record::decode(&[0; 16], SEGMENT, 4096), Err(Defect::Zero));
}

#[test]
fn a_pad_that_says_more_than_a_pad_is_refused() {
    // Each has a right CRC, so only the bounds can refuse it.
    let pad = header(RecordKind::Pad, 1, 0, 0);
    let refuse = |header: Header, key: &[u8]| {
        let mut bytes = record::encode_head(&header, key, SEGMENT, 4096).to_vec();
        bytes.extend_from_slice(key);
        record::decode_header(&bytes, SEGMENT, 4096)
    };
    assert!(refuse(Header { value_len: 12, ..pad }, b"").is_ok());
    for value_len in [0, 11, 13, u32::MAX] {
        assert_eq!(refuse(Header { value_len, ..pad }, b""), Err(Defect::Bounds));
    }
    assert_eq!(refuse(Header { value_len: 10, key_len: 2, ..pad }, b"ab"), Err(Defect::Bounds));
    assert_eq!(refuse(Header { value_len: 10, metadata_len: 2, ..pad }, b""), Err(Defect::Bounds));
    assert_eq!(refuse(Header { value_len: 12, value_crc: 1, ..pad }, b""), Err(Defect::Bounds));
    for len_bytes in [0, 16, 32, 47, 49, u64::MAX - 15, u64::MAX] {
        assert_eq!(record::encode_pad(len_bytes, SEGMENT, 4096, 1), None);
    }
}

#[test]
fn only_a_pad_vouches_for_what_was_synced() {
    let pad = record::encode_pad(4096, SEGMENT, 8192, 7777).unwrap();
    assert_eq!(record::decode_header(&pad, SEGMENT, 8192).unwrap().vouched(), Some(7777));
    assert_eq!(record::decode_header(&put_record(), SEGMENT, 4096).unwrap().vouched(), None);
}

#[test]
fn a_gap_is_zero_and_shorter_than_any_pad() {
    assert_eq!(record::gap_bytes(&[0; 64], 4096 - 16), Some(16));
    assert_eq!(record::gap_bytes(&[0; 32], 4096 - 32), Some(32));
    assert_eq!(record::gap_bytes(&[0; 31], 4096 - 32), None, "not all there");
    assert_eq!(record::gap_bytes(&[0; 64], 4096 - 48), None, "a pad would have fitted");
    assert_eq!(record::gap_bytes(&[0; 64], 4096), None, "a new block");
    assert_eq!(record::gap_bytes(&[0; 64], 4096 - 8), None, "not where a record starts");
    assert_eq!(record::gap_bytes(&flipped(&[0; 32], 255), 4096 - 32), None, "not zero");
    assert_eq!(record::gap_bytes(&flipped(&[0; 32], 255), 4096 - 16), Some(16), "the next block does not matter");
}

#[test]
fn what_does_not_fit_a_record_is_refused() {
    let most = MAX_RECORD_BYTES as usize - HEADER_BYTES - 1;
    assert_eq!(record::record_len(1, 0, most).map(LengthClass::len_bytes), Some(MAX_RECORD_BYTES));
    assert_eq!(record::record_len(1, 0, most + 1), None);
    assert_eq!(record::record_len(1, 0, usize::MAX), None);
    assert_eq!(record::record_len(0, 0, 1), None);
    assert_eq!(record::record_len(65_537, 0, 1), None);
    assert_eq!(record::record_len(1, 65_536, 1), None);
    assert!(record::record_len(65_536, 65_535, 1).is_some());
}

#[test]
fn numbers_that_do_not_fit_do_not_wrap() {
    let put = header(RecordKind::Put, u64::MAX, u64::MAX, 1 << 48);
    let bytes = record::encode(&put, b"k", b"", b"", SEGMENT, 4096);
    let header = record::decode_header(&bytes, SEGMENT, 4096).unwrap();
    let most = (1 << 48) - 1;
    assert_eq!((header.sequence, header.created, header.expires), (Sequence::MAX, Millis(most), Some(Millis(most))));
    let put = Header { expires: Some(Millis(0)), ..put };
    let bytes = record::encode(&put, b"k", b"", b"", SEGMENT, 4096);
    let header = record::decode_header(&bytes, SEGMENT, 4096).unwrap();
    assert_eq!(header.expires, Some(Millis(1)), "an expiry must not become `never`");
}

#[test]
fn parts_beyond_the_limits_do_not_decode() {
    let put = header(RecordKind::Put, 1, 2, 0);
    let long = vec![7; 65_537];
    let cases: [[&[u8]; 3]; 3] = [[b"", b"", b"value"], [&long, b"", b"value"], [b"key", &long, b"value"]];
    for [key, metadata, value] in cases {
        let bytes = record::encode(&put, key, metadata, value, SEGMENT, 4096);
        assert!(record::decode(&bytes, SEGMENT, 4096).is_err());
    }
}

#[test]
fn a_row_never_expires_before_its_entry() {
    let (rows, _) = rows(1);
    let at = |expires_ms: u64| Row { expires_s: footer::expires_seconds(Some(Millis(expires_ms))), ..rows[0] };
    assert!(!rows[0].is_expired(Millis(u64::MAX)), "0 is never");
    assert!(!at(10_001).is_expired(Millis(10_999)));
    assert!(at(10_001).is_expired(Millis(11_000)));
    assert!(at(10_000).is_expired(Millis(10_000)));
    assert!(at(0).is_expired(Millis(1000)));
    assert!(!at(1 << 47).is_expired(Millis(1 << 46)), "too far off for a row");
    assert_eq!(footer::expires_seconds(None), 0);
}

#[test]
fn a_row_of_an_unknown_kind_or_length_is_refused() {
    let (rows, _) = rows(1);
    let good = rows[0].encode();
    assert_eq!(Row::decode(&good), Some(rows[0]));
    let with = |packed: u16| {
        let mut bytes = good;
        bytes[18..20].copy_from_slice(&packed.to_le_bytes());
        Row::decode(&bytes)
    };
    assert!(with(3 | 1 << 11).is_some());
    assert_eq!(with(3 | 6 << 11).map(|row| row.kind), Some(RecordKind::Marker));
    assert_eq!(with(3 | 7 << 11).map(|row| row.kind), Some(RecordKind::Purge));
    assert_eq!(with(3), None, "kind 0");
    assert_eq!(with(3 | 5 << 11), None, "a pad has no row");
    assert_eq!(with(3 | 1 << 11 | 1 << 14).map(|row| (row.kind, row.is_dirty)), Some((RecordKind::Put, true)));
    assert_eq!(with(3 | 2 << 11 | 1 << 14), None, "a delete is not dirty");
    assert_eq!(with(3 | 1 << 11 | 1 << 15), None, "a reserved bit");
    assert_eq!(with(2 | 1 << 11), None, "shorter than any record");
    assert_eq!(with(1345 | 1 << 11), None, "longer than any record");
}

#[test]
fn a_footer_takes_whole_blocks() {
    assert_eq!([0, 1, 168, 169].map(footer::footer_bytes), [4096, 4096, 4096, 8192]);
    assert_eq!(footer::footer_bytes(usize::MAX), u64::MAX);
}

/// The bytes with `byte` at `at` and a right CRC in the last four.
fn sealed(mut bytes: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
    bytes[at] = byte;
    let crc_at = bytes.len() - 4;
    let crc = checksum::crc(&[&bytes[..crc_at]]);
    bytes[crc_at..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let good = manifest().encode().to_vec();
    let mut newer = good.clone();
    newer[8] = 2;
    assert_eq!(Manifest::decode(&newer), Err(ManifestDefect::NewerVersion(2)), "whatever its CRC");
    assert_eq!(Manifest::decode(&newer[..12]), Err(ManifestDefect::NewerVersion(2)), "whatever its length");
    assert_eq!(Manifest::decode(&sealed(good.clone(), 8, 0)), Err(ManifestDefect::Meaning));
    assert_eq!(Manifest::decode(&good[..255]), Err(ManifestDefect::Truncated));
    assert_eq!(Manifest::decode(&[0; 255]), Err(ManifestDefect::Truncated), "too short to say whose it is");
    assert_eq!(Manifest::decode(&sealed(good, 0, b'e')), Err(ManifestDefect::Magic));
    let segment = segment_header().encode().to_vec();
    assert_eq!(SegmentHeader::decode(&sealed(segment, 8, 2)), Err(HeaderDefect::Version(2)));
}

#[test]
fn an_undamaged_impossible_value_is_refused() {
    let good = segment_header().encode().to_vec();
    // Reserved bytes, the stream, and lengths that are no multiple of a block, too long, or 0.
    for (at, byte) in [(12, 1), (39, 1), (41, 1), (40, 5), (40, 255), (24, 1), (31, 1), (26, 0)] {
        assert_eq!(SegmentHeader::decode(&sealed(good.clone(), at, byte)), Err(HeaderDefect::Meaning), "byte {at}");
    }
    assert_eq!(SegmentHeader::decode(&good[..63]), Err(HeaderDefect::Truncated));
    let with_id = |id| SegmentHeader::decode(&SegmentHeader { id: SegmentId(id), ..segment_header() }.encode());
    assert_eq!(with_id((1 << 62) - 1).map(|h| h.id), Ok(SegmentId::MAX));
    assert_eq!([with_id(1 << 62), with_id(u64::MAX)], [Err(HeaderDefect::Meaning); 2]);
    let good = manifest().encode().to_vec();
    for (at, byte) in [(12, 1), (54, 1), (62, 1), (78, 1), (251, 1), (24, 1), (31, 1), (26, 0)] {
        assert_eq!(Manifest::decode(&sealed(good.clone(), at, byte)), Err(ManifestDefect::Meaning), "byte {at}");
    }
}

#[test]
fn a_manifest_shows_all_but_its_seed() {
    let shown = format!("{:?}", manifest());
    assert!(shown.contains("directory_id: 5") && shown.contains("cleared: Sequence(3)"), "{shown}");
    assert!(!shown.contains("seed") && !shown.contains("165"), "{shown}");
}

#[test]
fn what_is_nearly_a_name_is_no_name_of_ours() {
    let slot = |name: &str| file_name::parse_segment_name(OsStr::new(name));
    assert_eq!(slot("seg-00af.esk"), Some(0xaf));
    for name in ["seg-+0af.esk", "seg-af.esk", "seg-000af.esk", "seg-00AF.esk", "seg-00af.esk~", "seg_00af.esk"] {
        assert_eq!(slot(name), None, "{name}");
    }
}

#[test]
fn a_chunk_that_no_head_can_count_is_refused() {
    let key = |object, index| ChunkKey::decode(&ChunkKey { object: Sequence(object), index }.encode());
    let most = u64::from(u32::MAX) - 1;
    assert_eq!(key(1, most), Some(ChunkKey { object: Sequence(1), index: most }));
    assert_eq!([key(1, most + 1), key(1 << 48, 0)], [None; 2]);
}

#[test]
fn a_head_that_contradicts_itself_is_refused() {
    let head = ObjectHead::new(Sequence(1), 1000, 300).unwrap();
    assert_eq!(head.chunk_count, 4);
    assert_eq!([0, 2, 3, 4, u64::MAX].map(|i| head.chunk_bytes(i)), [Some(300), Some(300), Some(100), None, None]);
    assert_eq!(ObjectHead::new(Sequence(1), 900, 300).unwrap().chunk_bytes(3), None);
    assert_eq!(ObjectHead::decode(&ObjectHead { chunk_count: 3, ..head }.encode()), None);
    assert_eq!(ObjectHead::decode(&ObjectHead { chunk_count: 5, ..head }.encode()), None);
    let mut flagged = head.encode();
    flagged[24] = 1;
    assert_eq!(ObjectHead::decode(&flagged), None);
    assert_eq!(ObjectHead::new(Sequence(1), 0, 300), None);
    assert_eq!(ObjectHead::new(Sequence(1), 1, 0), None);
    assert_eq!(ObjectHead::new(Sequence(1), 1 << 40, 1), None, "more chunks than a head counts");
    assert_eq!(ObjectHead::new(Sequence(1), 1 << 40, u32::MAX), None, "a chunk that fits no record");
    assert_eq!(ObjectHead::new(Sequence(1 << 48), 1, 1), None);
}
