//! A directory that an input strikes: bytes damaged, structures rewritten with right checksums, files cut, exchanged,
//! renamed or gone.

use std::collections::BTreeSet;

use esker::format::file_name::segment_name;
use esker::format::footer::TRAILER_BYTES;
use esker::format::manifest::MANIFEST_BYTES;
use esker::format::object::{ChunkKey, ObjectHead};
use esker::format::record::{self, Flags, Header, Record};
use esker::format::segment_header::{SEGMENT_HEADER_BYTES, SegmentHeader, TWIN_AT};
use esker::{Millis, RecordKind, SegmentId, Sequence};

use super::input::Input;
use super::{forge, golden, truth};

/// Fields of a manifest, a segment header, a record, a row and a trailer: where each starts, and how long it is.
const FIELDS: [&[(usize, usize)]; 5] = [
    &[(8, 4), (16, 8), (24, 8), (32, 8), (48, 6), (56, 6), (64, 8)],
    &[(8, 4), (16, 8), (24, 8), (32, 6), (40, 1), (44, 8)],
    &[(0, 1), (1, 1), (2, 2), (4, 2), (6, 4), (10, 6), (16, 6), (22, 6), (36, 4)],
    &[(0, 8), (8, 6), (14, 4), (18, 2), (20, 4)],
    &[(8, 8), (16, 4), (24, 8), (32, 8), (40, 6), (46, 6), (52, 6)],
];

/// A structure that an input may aim at: file, offset, and which of [`FIELDS`] it has.
type Place = (usize, usize, usize);

/// A directory.
pub struct Forged {
    /// Its files, by name.
    pub files: Vec<(String, Vec<u8>)>,
    /// Whether checksums were made right over what was changed.
    pub is_forged: bool,
    places: Vec<Place>,
}

impl Forged {
    /// A directory that nothing was done to.
    pub fn new(files: Vec<(String, Vec<u8>)>) -> Self {
        let mut places = Vec::new();
        for (n, (name, bytes)) in files.iter().enumerate() {
            if name == "MANIFEST" {
                places.push((n, 0, 0));
            }
            let Ok(header) = SegmentHeader::decode(bytes) else { continue };
            places.push((n, 0, 1));
            let records = truth::records(bytes, header.id).map(|(at, _)| at as usize).collect::<Vec<_>>();
            places.extend(records.iter().map(|&at| (n, at, 2)));
            let end = bytes.len() - TRAILER_BYTES;
            let rows_at = forge::number::<8>(bytes, end + 24) as usize;
            if rows_at > 0 && rows_at < end {
                places.extend((0..records.len().min(6)).map(|row| (n, rows_at + row * 24, 3)));
                places.push((n, end, 4));
            }
        }
        Self { files, is_forged: false, places }
    }

    /// Takes one stroke from the input.
    pub fn strike(&mut self, input: &mut Input<'_>) {
        let op = input.byte();
        let place = self.places[input.index(self.places.len())];
        match op & 0x3f {
            0 => self.patch(place, input),
            1..=3 => self.set_field(place, input),
            4 => self.copy(place, input),
            5 => self.insert(place, input),
            6 => self.cut(place.0, input),
            7 => self.rename(place.0, input),
            8 => {
                let other = input.index(self.files.len());
                let (a, b) = (self.files[place.0].1.clone(), self.files[other].1.clone());
                (self.files[place.0].1, self.files[other].1) = (b, a);
            }
            _ => self.zero(place, input),
        }
        if op & 0x80 != 0 {
            self.is_forged = true;
            self.fix(place);
        }
    }

    fn at(&mut self, (file, at, _): Place) -> &mut [u8] {
        self.files[file].1.get_mut(at..).unwrap_or_default()
    }

    fn patch(&mut self, place: Place, input: &mut Input<'_>) {
        let (delta, len) = (input.number::<1>() as usize, 1 + input.index(32));
        let bytes = input.take(len);
        let there = self.at(place).iter_mut().skip(delta);
        there.zip(bytes).for_each(|(to, from)| *to = *from);
    }

    fn set_field(&mut self, place: Place, input: &mut Input<'_>) {
        let fields = FIELDS[place.2];
        let (at, len) = fields[input.index(fields.len())];
        let value = input.odd_number().to_le_bytes();
        self.at(place).iter_mut().skip(at).zip(&value[..len]).for_each(|(to, from)| *to = *from);
    }

    fn copy(&mut self, to: Place, input: &mut Input<'_>) {
        let from = self.places[input.index(self.places.len())];
        let len = input.number::<2>() as usize % 8192;
        let bytes: Vec<u8> = self.at(from).iter().take(len).copied().collect();
        self.at(to).iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    }

    fn zero(&mut self, place: Place, input: &mut Input<'_>) {
        let len = input.number::<2>() as usize % 8192;
        self.at(place).iter_mut().take(len).for_each(|byte| *byte = 0);
    }

    /// A whole record of some key of the directory.
    fn insert(&mut self, place: Place, input: &mut Input<'_>) {
        use RecordKind::{Chunk, Delete, Head, Marker, Put};
        let key = golden::KEYS[input.index(golden::KEYS.len())].as_bytes();
        let choice = input.index(14);
        let kind = [Put, Put, Put, Delete, Marker, Chunk, Head][choice % 7];
        let is_tagged = choice >= 7 && matches!(kind, Put | Head);
        let (sequence, expires) = (Sequence(input.odd_number()), input.odd_number());
        let len = input.index(64);
        let value = input.take(len);
        let field = if is_tagged { forge::tagged(input) } else { Vec::new() };
        let header = Header {
            kind,
            flags: if is_tagged { Flags::TAGGED } else { Flags::NONE },
            key_len: 0,
            metadata_len: 0,
            value_len: 0,
            sequence,
            created: Millis(1_700_000_000_000),
            expires: Some(Millis(expires)).filter(|at| at.0 > 0),
            value_crc: 0,
        };
        let id = self.id(place.0);
        let bytes = record::encode(&header, key, &field, value, id, place.1 as u64);
        self.at(place).iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        self.is_forged = true;
    }

    fn cut(&mut self, file: usize, input: &mut Input<'_>) {
        let len = input.number::<2>() as usize * 2;
        self.files[file].1.resize(len, 0);
    }

    /// To another slot, to a name that is not ours, or away.
    fn rename(&mut self, file: usize, input: &mut Input<'_>) {
        let name = match input.byte() {
            slot @ 0..=9 => segment_name(u16::from(slot)),
            10 => "seg-ffff.esk".into(),
            11 => "MANIFEST.tmp".into(),
            12 => "\u{1b}[31m\u{202e}\n".into(),
            13 => "LOCK".into(),
            _ => format!("gone-{file}"),
        };
        if self.files.iter().all(|(other, _)| *other != name) {
            self.files[file].0 = name;
        }
    }

    fn id(&self, file: usize) -> SegmentId {
        SegmentId(forge::number::<8>(&self.files[file].1, 16))
    }

    /// Makes the checksums of what stands there right.
    fn fix(&mut self, place: Place) {
        let id = self.id(place.0);
        match place.2 {
            0 | 1 => {
                let len = if place.2 == 0 { MANIFEST_BYTES } else { SEGMENT_HEADER_BYTES };
                self.at(place).get_mut(..len).map(forge::fix_tail);
            }
            2 => forge::fix_record(self.at(place), id, place.1 as u64),
            _ => forge::fix_footer(&mut self.files[place.0].1),
        }
    }

    /// Whether two files claim to be the same segment: then which record is newer is not said, and no two readers need
    /// agree.
    pub fn is_ambiguous(&self) -> bool {
        let mut seen = BTreeSet::new();
        (0..self.files.len()).any(|file| self.files[file].0.starts_with("seg-") && !seen.insert(self.id(file)))
    }

    /// Whether a put of these stands anywhere, with right checksums; or a head, and all chunks that it needs for this value.
    pub fn holds(&self, key: &[u8], value: &[u8], metadata: &[u8]) -> bool {
        let is_it = |one: &Record<'_>| (one.key, one.tags_and_metadata().1) == (key, metadata);
        let heads = self.records(RecordKind::Head).filter(is_it);
        self.records(RecordKind::Put).any(|put| is_it(&put) && put.value == value)
            || heads.filter_map(|head| ObjectHead::decode(head.value)).any(|head| self.has_chunks(&head, value))
    }

    fn has_chunks(&self, head: &ObjectHead, value: &[u8]) -> bool {
        let stands = |key: &[u8], part: &[u8]| {
            self.records(RecordKind::Chunk).any(|chunk| (chunk.key, chunk.value) == (key, part))
        };
        let mut parts = (0..).zip(value.chunks(head.chunk_len_bytes as usize));
        head.total_len_bytes == value.len() as u64
            && parts.all(|(index, part)| stands(&ChunkKey { object: head.object, index }.encode(), part))
    }

    /// Every record of a kind that stands anywhere, with right checksums.
    fn records(&self, kind: RecordKind) -> impl Iterator<Item = Record<'_>> {
        self.files.iter().flat_map(move |(_, bytes)| {
            // What the header says, its twin, or the trailer: where the file ends, or where a segment ends.
            let ends = [bytes.len(), golden::SEGMENT_LEN_BYTES].map(|end| end.saturating_sub(TRAILER_BYTES - 8));
            let ids = [16, TWIN_AT as usize + 16, ends[0], ends[1]].map(|at| forge::number::<8>(bytes, at));
            let records = ids.into_iter().flat_map(move |id| truth::records(bytes, SegmentId(id)));
            records.map(|(_, record)| record).filter(move |record| record.header.kind == kind)
        })
    }
}
