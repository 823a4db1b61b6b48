//! Tags of an entry: what it can be purged by besides its key and its age. They stand at the front of the metadata field of
//! its record, if that has the flag. The layout is in the [module doc](super).

use bytes::Bytes;

use super::bytes::uint;
use super::digest::tag_digest;
use super::record::Flags;
use crate::types::{Digest, MAX_TAGS};

/// Bytes of a tag.
const TAG_BYTES: usize = 8;

/// The tags of a record, borrowed from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tags<'a>(&'a [u8]);

impl Tags<'_> {
    /// Whether there is none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.0.len() / TAG_BYTES
    }

    /// Each.
    pub fn iter(&self) -> impl Iterator<Item = Digest> {
        self.0.chunks_exact(TAG_BYTES).map(|tag| Digest(uint::<TAG_BYTES>(tag, 0)))
    }
}

/// Bytes that so many tags take of the metadata field.
pub fn tags_bytes(count: usize) -> usize {
    if count == 0 { 0 } else { 1 + count * TAG_BYTES }
}

/// The tags, and the user's metadata, of a metadata field; its first 257 bytes are enough for the tags. `None` if there should
/// be tags, and there are none.
#[inline]
pub fn split(flags: Flags, field: &[u8]) -> Option<(Tags<'_>, &[u8])> {
    if !flags.is_tagged() {
        return Some((Tags(&[]), field));
    }
    let (&count, rest) = field.split_first()?;
    if !(1..=MAX_TAGS).contains(&usize::from(count)) {
        return None;
    }
    let (tags, metadata) = rest.split_at_checked(usize::from(count) * TAG_BYTES)?;
    Some((Tags(tags), metadata))
}

/// The user's metadata of a metadata field, sharing its buffer.
#[inline]
pub fn metadata(flags: Flags, field: &Bytes) -> Bytes {
    if !flags.is_tagged() {
        return field.clone();
    }
    split(flags, field).map_or(Bytes::new(), |(tags, _)| field.slice(tags_bytes(tags.len())..))
}

/// The metadata field of a record with these tags, none of them twice; what is beyond 32 is left out.
pub fn encode(tags: impl IntoIterator<Item = Digest>, metadata: &[u8]) -> Vec<u8> {
    let mut field = vec![0];
    for tag in tags {
        let is_new = field[1..].chunks_exact(TAG_BYTES).all(|there| there != tag.0.to_le_bytes());
        if is_new && usize::from(field[0]) < MAX_TAGS {
            field[0] += 1;
            field.extend_from_slice(&tag.0.to_le_bytes());
        }
    }
    field.extend_from_slice(metadata);
    field
}

/// The metadata field of an entry with tags of these texts; `None` if there are none: then it is the metadata.
pub fn field(seed: &[u8; 16], texts: &[Bytes], metadata: &[u8]) -> Option<Bytes> {
    let tags = texts.iter().map(|text| tag_digest(seed, text));
    (!texts.is_empty()).then(|| encode(tags, metadata).into())
}

#[cfg(test)]
mod tests {
    use super::super::record::{self, Defect, Header};
    use super::*;
    use crate::types::{Millis, RecordKind, SegmentId, Sequence};

    /// A record that is right, but for its tags.
    fn record(kind: RecordKind, field: &[u8]) -> Vec<u8> {
        let header = Header {
            kind,
            flags: Flags::TAGGED,
            key_len: 0,
            metadata_len: 0,
            value_len: 0,
            sequence: Sequence(1),
            created: Millis(1),
            expires: None,
            value_crc: 0,
        };
        record::encode(&header, b"key", field, b"value", SegmentId(9), 4096)
    }

    /// P1. Header and key are right: the record says what it replaced.
    #[test]
    fn a_record_without_the_tags_that_it_should_have_is_damaged() {
        let good = encode([Digest(7)], b"meta");
        let bytes = record(RecordKind::Put, &good);
        let decoded = record::decode(&bytes, SegmentId(9), 4096).unwrap();
        let (tags, metadata) = decoded.tags_and_metadata();
        assert_eq!((tags.iter().collect::<Vec<_>>(), metadata), (vec![Digest(7)], &b"meta"[..]));
        for field in [&b""[..], b"\0", b"\x01", &good[..8], b"\x21", &[0; 300]] {
            for kind in [RecordKind::Put, RecordKind::Head] {
                let bytes = record(kind, field);
                assert!(record::decode_header(&bytes, SegmentId(9), 4096).is_ok());
                assert_eq!(record::decode(&bytes, SegmentId(9), 4096), Err(Defect::Tags), "{field:?}");
            }
        }
        for kind in [RecordKind::Delete, RecordKind::Chunk, RecordKind::Pad, RecordKind::Marker, RecordKind::Purge] {
            assert_eq!(record::decode(&record(kind, &good), SegmentId(9), 4096), Err(Defect::Flags), "{kind:?}");
        }
    }

    #[test]
    fn what_is_no_number_of_tags_is_damage() {
        let field = encode([Digest(1), Digest(2), Digest(1)], b"meta");
        assert_eq!(field, b"\x02\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0meta");
        let (tags, metadata) = split(Flags::TAGGED, &field).unwrap();
        assert_eq!(
            (tags.len(), tags.iter().collect::<Vec<_>>(), metadata),
            (2, vec![Digest(1), Digest(2)], &b"meta"[..])
        );
        assert_eq!(super::metadata(Flags::TAGGED, &Bytes::from(field.clone())), "meta");
        assert_eq!(split(Flags::NONE, &field), Some((Tags::default(), &field[..])));
        assert_eq!(
            split(Flags::TAGGED, &field[..17]).map(|(tags, metadata)| (tags.len(), metadata.len())),
            Some((2, 0))
        );
        for len in 0..17 {
            assert_eq!(split(Flags::TAGGED, &field[..len]), None, "{len} bytes");
        }
        for count in [0, 33, 255] {
            let long = [&[count][..], &[7; 255 * 8]].concat();
            assert_eq!(split(Flags::TAGGED, &long), None, "{count} tags");
        }
        let most = encode((0..40).map(Digest), b"");
        assert_eq!((most[0], most.len(), split(Flags::TAGGED, &most).unwrap().0.len()), (32, tags_bytes(32), 32));
    }
}
