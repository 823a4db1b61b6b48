//! The format, byte for byte. The files under `tests/golden` came from a separate encoder, written from the specification
//! in another language; they are never written again. What a later version reads, it must still read from these.

use esker::format::digest::{digest, tag_digest};
use esker::format::file_name::{parse_segment_name, segment_name};
use esker::format::footer::{self, Row};
use esker::format::length::LengthClass;
use esker::format::manifest::Manifest;
use esker::format::object::{ChunkKey, ObjectHead};
use esker::format::purge::Selector;
use esker::format::record::{self, Flags, Header};
use esker::format::segment_header::SegmentHeader;
use esker::format::tags;
use esker::{Digest, Millis, RecordKind, SegmentId, Sequence};

const PUT: &[u8] = include_bytes!("golden/put.bin");
const DELETE: &[u8] = include_bytes!("golden/delete.bin");
const DELETE_HORIZON: &[u8] = include_bytes!("golden/delete_horizon.bin");
const MARKER: &[u8] = include_bytes!("golden/marker.bin");
const CHUNK: &[u8] = include_bytes!("golden/chunk.bin");
const HEAD: &[u8] = include_bytes!("golden/head.bin");
const PAD: &[u8] = include_bytes!("golden/pad.bin");
const DIRTY: &[u8] = include_bytes!("golden/dirty.bin");
const TAGGED: &[u8] = include_bytes!("golden/tagged.bin");
const PURGE_TAG: &[u8] = include_bytes!("golden/purge_tag.bin");
const SEGMENT_HEADER: &[u8] = include_bytes!("golden/segment_header.bin");
const FOOTER: &[u8] = include_bytes!("golden/footer.bin");
const MANIFEST: &[u8] = include_bytes!("golden/manifest.bin");

const SEGMENT: SegmentId = SegmentId(7);
const SEGMENT_LEN_BYTES: u64 = 65_536;
const DIRECTORY: u64 = 0x1122_3344_5566_7788;
const BEGIN: u64 = 1_700_000_000_000;

fn seed() -> [u8; 16] {
    std::array::from_fn(|i| i as u8)
}

fn header(kind: RecordKind, parts: [&[u8]; 3], sequence: u64, created: u64) -> Header {
    Header {
        kind,
        flags: Flags::NONE,
        key_len: parts[0].len() as u32,
        metadata_len: parts[1].len() as u16,
        value_len: parts[2].len() as u32,
        sequence: Sequence(sequence),
        created: Millis(created),
        expires: None,
        value_crc: if kind == RecordKind::Pad { 0 } else { record::value_crc(parts[1], parts[2]) },
    }
}

/// The record encodes to the golden bytes, and the golden bytes decode to the record.
fn pin(golden: &[u8], header: &Header, parts: [&[u8]; 3], offset: u64) {
    let [key, metadata, value] = parts;
    assert_eq!(record::encode(header, key, metadata, value, SEGMENT, offset), golden);
    assert_eq!(header.record_bytes(), golden.len() as u64);
    assert_eq!(record::decode_header(golden, SEGMENT, offset), Ok(*header));
    let decoded = record::decode(golden, SEGMENT, offset).unwrap();
    assert_eq!((decoded.header, decoded.key, decoded.metadata, decoded.value), (*header, key, metadata, value));
}

#[test]
fn put_and_delete() {
    let parts: [&[u8]; 3] = [b"key", b"m", b"value"];
    let put = Header { expires: Some(Millis(BEGIN + 60_000)), ..header(RecordKind::Put, parts, 42, BEGIN) };
    pin(PUT, &put, parts, 4096);
    let parts: [&[u8]; 3] = [b"gone", b"", b""];
    pin(DELETE, &header(RecordKind::Delete, parts, 43, BEGIN + 1), parts, 4144);
}

/// As they are written: the value says up to which segment what they cover may stand.
#[test]
fn delete_and_marker_with_their_horizon() {
    let value = 7u64.to_le_bytes();
    let parts: [&[u8]; 3] = [b"gone", b"", &value];
    pin(DELETE_HORIZON, &header(RecordKind::Delete, parts, 43, BEGIN + 1), parts, 4144);
    let (key, value) = (digest(&seed(), b"key").0.to_le_bytes(), 6u64.to_le_bytes());
    let parts: [&[u8]; 3] = [&key, b"", &value];
    pin(MARKER, &header(RecordKind::Marker, parts, 42, BEGIN + 4), parts, 6400);
}

#[test]
fn chunk_and_head() {
    let chunk = ChunkKey { object: Sequence(44), index: 1 };
    let value: Vec<u8> = (0..2100_u32).map(|i| (i * 7 % 251) as u8).collect();
    let key = chunk.encode();
    let parts: [&[u8]; 3] = [&key, b"", &value];
    pin(CHUNK, &header(RecordKind::Chunk, parts, 45, BEGIN + 2), parts, 4192);
    assert_eq!(ChunkKey::decode(record::decode(CHUNK, SEGMENT, 4192).unwrap().key), Some(chunk));

    let head = ObjectHead::new(Sequence(44), 6200, 2100).unwrap();
    assert_eq!(head.chunk_count, 3);
    let value = head.encode();
    let parts: [&[u8]; 3] = [b"big", b"type", &value];
    pin(HEAD, &header(RecordKind::Head, parts, 46, BEGIN + 3), parts, 6368);
    assert_eq!(ObjectHead::decode(record::decode(HEAD, SEGMENT, 6368).unwrap().value), Some(head));
}

#[test]
fn pad() {
    let filler = [0xee; 28];
    let parts: [&[u8]; 3] = [b"", b"", &filler];
    pin(PAD, &header(RecordKind::Pad, parts, 47, 0), parts, 6448);
    assert_eq!(record::encode_pad(64, SEGMENT, 6448, 47).unwrap(), PAD[..record::HEADER_BYTES]);
}

/// A put with two tags before its metadata, and a purge of one of them.
#[test]
fn tags_and_their_purge() {
    let (red, user) = (tag_digest(&seed(), b"red"), tag_digest(&seed(), b"user/17"));
    assert_eq!(red, Digest(0x646f_ca91_9e06_5d0d));
    let field = tags::encode([red, user, red], b"m");
    let parts: [&[u8]; 3] = [b"key", &field, b"value"];
    let put = Header {
        flags: Flags::TAGGED,
        expires: Some(Millis(BEGIN + 60_000)),
        ..header(RecordKind::Put, parts, 48, BEGIN + 5)
    };
    pin(TAGGED, &put, parts, 6512);
    let (found, metadata) = record::decode(TAGGED, SEGMENT, 6512).unwrap().tags_and_metadata();
    assert_eq!((found.iter().collect::<Vec<_>>(), metadata), (vec![red, user], &b"m"[..]));
    let (key, value) = (Selector::Tag(red).encode(), 7u64.to_le_bytes());
    let parts: [&[u8]; 3] = [&key, b"", &value];
    pin(PURGE_TAG, &header(RecordKind::Purge, parts, 49, BEGIN + 6), parts, 6576);
}

/// A put that the origin does not have.
#[test]
fn dirty() {
    let parts: [&[u8]; 3] = [b"key", b"m", b"later"];
    let put = Header { flags: Flags::DIRTY, ..header(RecordKind::Put, parts, 50, BEGIN + 7) };
    pin(DIRTY, &put, parts, 6624);
    assert!(put.flags.is_dirty() && !put.flags.is_tagged());
}

#[test]
fn segment_header() {
    let header = SegmentHeader {
        id: SEGMENT,
        segment_len_bytes: SEGMENT_LEN_BYTES,
        created: Millis(BEGIN),
        stream: 2,
        directory_id: DIRECTORY,
        group: 0,
    };
    assert_eq!(header.encode(), SEGMENT_HEADER);
    assert_eq!(SegmentHeader::decode(SEGMENT_HEADER), Ok(header));
}

#[test]
fn footer() {
    let row = |key: &[u8], kind, sequence, offset: u32, len_bytes, expires| Row {
        digest: digest(&seed(), key),
        sequence: Sequence(sequence),
        offset_units: offset / 16,
        class: LengthClass::for_bytes(len_bytes).unwrap(),
        kind,
        is_dirty: false,
        expires_s: footer::expires_seconds(expires),
    };
    let chunk = ChunkKey { object: Sequence(44), index: 1 }.encode();
    let rows = [
        row(b"key", RecordKind::Put, 42, 4096, 48, Some(Millis(BEGIN + 60_000))),
        row(b"gone", RecordKind::Delete, 43, 4144, 48, None),
        row(&chunk, RecordKind::Chunk, 45, 4192, 2152, None),
        row(b"big", RecordKind::Head, 46, 6368, 71, None),
    ];
    let (rows_offset, bytes) = footer::encode(&rows, SEGMENT, SEGMENT_LEN_BYTES, 6448, Millis(BEGIN + 3));
    assert_eq!(bytes, FOOTER);
    assert_eq!(rows_offset, SEGMENT_LEN_BYTES - 4096);

    let trailer = footer::decode_trailer(&FOOTER[4096 - 64..], SEGMENT, SEGMENT_LEN_BYTES).unwrap();
    assert_eq!((trailer.segment, trailer.rows, trailer.rows_offset), (SEGMENT, 4, rows_offset));
    assert_eq!((trailer.data_end, trailer.newest), (6448, Millis(BEGIN + 3)));
    assert_eq!((trailer.min_sequence, trailer.max_sequence), (Sequence(42), Sequence(46)));
    assert_eq!(footer::decode_rows(FOOTER, &trailer).unwrap(), rows);
}

#[test]
fn manifest() {
    let manifest = Manifest {
        directory_id: DIRECTORY,
        segment_len_bytes: SEGMENT_LEN_BYTES,
        seed: seed(),
        created: Millis(BEGIN),
        cleared: Sequence(41),
        index_shards: 8,
        stored: Sequence(0),
    };
    assert_eq!(manifest.encode(), MANIFEST);
    assert_eq!(Manifest::decode(MANIFEST), Ok(manifest));
    let stored = Manifest { stored: Sequence(0x0102), ..manifest }.encode();
    assert_eq!((&stored[..72], &stored[72..79]), (&MANIFEST[..72], &[2, 1, 0, 0, 0, 0, 0][..]));
    assert!(!format!("{manifest:?}").contains("seed"), "the seed is a secret");
}

#[test]
fn digests_and_names() {
    assert_eq!(digest(&seed(), b"key"), Digest(0xb947_dfe5_5ac9_b05d));
    let name = segment_name(0xab);
    assert_eq!(name, "seg-00ab.esk");
    assert_eq!(parse_segment_name(name.as_ref()), Some(0xab));
    let not_ours = [
        "seg-00AB.esk",
        "seg-0ab.esk",
        "seg-000ab.esk",
        "seg-+0ab.esk",
        "seg-00ab.esk~",
        "seg-00ab",
        "Seg-00ab.esk",
        "",
        "MANIFEST",
    ];
    for name in not_ours {
        assert_eq!(parse_segment_name(name.as_ref()), None, "{name}");
    }
}
