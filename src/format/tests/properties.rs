//! Properties of the codecs: what is encoded decodes, and no bytes make them panic.

use proptest::prelude::*;

use super::{SEGMENT, SEGMENT_LEN_BYTES, header, rows};
use crate::format::file_name;
use crate::format::footer::{self, ROW_BYTES, Row, TRAILER_BYTES};
use crate::format::length::{LengthClass, MAX_RECORD_BYTES};
use crate::format::manifest::Manifest;
use crate::format::object::{CHUNK_KEY_BYTES, ChunkKey, ObjectHead};
use crate::format::record::{self, HEADER_BYTES};
use crate::format::segment_header::SegmentHeader;
use crate::types::{Millis, RecordKind, SegmentId, Sequence};

proptest! {
    #[test]
    fn a_length_is_rounded_up_by_little(len in 0..=MAX_RECORD_BYTES, more in 0_u64..5000) {
        let class = LengthClass::for_bytes(len).unwrap();
        prop_assert!(class.len_bytes() >= len);
        if class.bits() > 0 {
            let below = LengthClass::from_bits(class.bits() - 1).unwrap();
            prop_assert!(below.len_bytes() < len, "a smaller class would have done");
        }
        let exact = len.next_multiple_of(16);
        let waste = class.len_bytes() - exact;
        let is_small = waste == 0 || (len >= 2048 && waste * 64 < len);
        prop_assert!(is_small, "{} bytes waste {}", len, waste);
        if let Some(longer) = LengthClass::for_bytes(len + more) {
            prop_assert!(longer.len_bytes() >= class.len_bytes());
        }
    }

    #[test]
    fn a_record_decodes_to_what_was_encoded(
        kind in prop::sample::select(vec![RecordKind::Put, RecordKind::Delete, RecordKind::Chunk, RecordKind::Head, RecordKind::Marker, RecordKind::Purge]),
        key in prop::collection::vec(any::<u8>(), 1..300),
        metadata in prop::collection::vec(any::<u8>(), 0..300),
        value in prop::collection::vec(any::<u8>(), 0..5000),
        (sequence, created, expires) in (0..1_u64 << 48, 0..1_u64 << 48, 0..1_u64 << 48),
        (segment, unit) in (any::<u64>(), 0..1_u64 << 26),
    ) {
        let (segment, offset) = (SegmentId(segment), unit * 16);
        let bytes = record::encode(
            &header(kind, sequence, created, expires), &key, &metadata, &value, segment, offset,
        );
        let decoded = record::decode(&bytes, segment, offset).unwrap();
        prop_assert_eq!((decoded.key, decoded.metadata, decoded.value), (&key[..], &metadata[..], &value[..]));
        let says = header(kind, sequence, created, expires);
        let got = decoded.header;
        prop_assert_eq!((got.kind, got.sequence, got.created, got.expires),
            (says.kind, says.sequence, says.created, says.expires));
        prop_assert_eq!(got.record_bytes(), bytes.len() as u64);
        prop_assert_eq!(record::record_len(key.len(), metadata.len(), value.len()), got.class());
        prop_assert!(bytes[got.payload_bytes() as usize..].iter().all(|b| *b == 0));
        prop_assert_eq!(&record::encode_head(&got, &key, segment, offset)[..], &bytes[..HEADER_BYTES]);
    }

    #[test]
    fn a_long_key_decodes(len in 65_000_usize..=65_536) {
        let key = vec![7; len];
        let bytes = record::encode(&header(RecordKind::Put, 1, 2, 3), &key, b"m", b"v", SEGMENT, 4096);
        prop_assert_eq!(record::decode(&bytes, SEGMENT, 4096).unwrap().key, &key[..]);
    }

    #[test]
    fn a_footer_decodes_to_its_rows(count in 0_usize..2000) {
        let (rows, data_end) = rows(count);
        let (rows_offset, bytes) = footer::encode(&rows, SEGMENT, SEGMENT_LEN_BYTES, data_end, Millis(8));
        prop_assert_eq!(rows_offset + bytes.len() as u64, SEGMENT_LEN_BYTES);
        let trailer = footer::decode_trailer(&bytes, SEGMENT, SEGMENT_LEN_BYTES).unwrap();
        prop_assert_eq!(trailer.rows_offset, rows_offset);
        prop_assert_eq!(footer::decode_rows(&bytes, &trailer).unwrap(), rows);
    }

    #[test]
    fn segment_headers_and_manifests_round_trip(
        (id, directory_id, group) in (0..1_u64 << 62, any::<u64>(), any::<u64>()), index_shards in 1_u64..=1024,
        blocks in 2_u64..=1 << 18,
        (created, cleared, stored) in (0..1_u64 << 48, 0..1_u64 << 48, 0..1_u64 << 48),
        (stream, seed) in (0_u8..=3, any::<[u8; 16]>()),
    ) {
        let (segment_len_bytes, created) = (blocks * 4096, Millis(created));
        let header = SegmentHeader { id: SegmentId(id), segment_len_bytes, created, stream, directory_id, group };
        prop_assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
        let (cleared, stored) = (Sequence(cleared), Sequence(stored));
        let manifest = Manifest { directory_id, segment_len_bytes, seed, created, cleared, index_shards, stored };
        prop_assert!(Manifest::decode(&manifest.encode()) == Ok(manifest));
    }

    #[test]
    fn object_layouts_round_trip(object in 0..1_u64 << 48, index in 0..u64::from(u32::MAX), total in 1_u64..1 << 40,
        chunk_len in 1_u32 << 10..1 << 29)
    {
        let chunk = ChunkKey { object: Sequence(object), index };
        prop_assert_eq!(ChunkKey::decode(&chunk.encode()), Some(chunk));
        let head = ObjectHead::new(Sequence(object), total, chunk_len).unwrap();
        prop_assert_eq!(ObjectHead::decode(&head.encode()), Some(head));
        let last = u64::from(head.chunk_count) - 1;
        let last_len = u64::from(head.chunk_bytes(last).unwrap());
        prop_assert_eq!(last * u64::from(chunk_len) + last_len, total);
        prop_assert_eq!(head.chunk_bytes(last + 1), None);
    }

    #[test]
    fn names_round_trip(n: u64) {
        let slot = n as u16;
        prop_assert_eq!(file_name::parse_segment_name(file_name::segment_name(slot).as_ref()), Some(slot));
    }

    /// Kind and magics are put right in turn, so that the checks behind them are reached.
    #[test]
    fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), kind in 0_u8..10, offset: u64, len: u64) {
        for magic in [&b""[..], &[kind, 0], b"ESKRSEG\0\x01\0\0\0", b"ESKRMAN\0\x01\0\0\0", b"ESKRFTR\0"] {
            let take = magic.len().min(bytes.len());
            bytes[..take].copy_from_slice(&magic[..take]);
            prop_assert!(record::decode(&bytes, SEGMENT, offset).is_err());
            prop_assert!(record::header_claims(&bytes).is_none_or(|claim| claim <= 36 + 65_536));
            prop_assert!(SegmentHeader::decode(&bytes).is_err());
            prop_assert!(Manifest::decode(&bytes).is_err());
            let front = bytes.first_chunk::<TRAILER_BYTES>().map_or(&bytes[..], |front| &front[..]);
            prop_assert!(footer::decode_trailer(front, SEGMENT, len).is_err());
            let _ = record::gap_bytes(&bytes, offset);
        }
    }

    /// Rows and chunk keys have no CRC of their own: every bit of them must mean something, or be refused.
    #[test]
    fn what_decodes_is_what_is_encoded(mut row: [u8; ROW_BYTES], mut chunk: [u8; CHUNK_KEY_BYTES], kind in 0_u8..8) {
        row[19] = row[19] & 7 | kind << 3;
        prop_assert!(Row::decode(&row).is_none_or(|decoded| decoded.encode() == row));
        chunk[6..8].fill(0);
        chunk[12..].fill(0);
        prop_assert_eq!(ChunkKey::decode(&chunk).map(|decoded| decoded.encode()), Some(chunk));
        chunk[6] = 1;
        prop_assert_eq!(ChunkKey::decode(&chunk), None);
    }
}
