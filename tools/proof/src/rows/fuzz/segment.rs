//! Target `segment`: one segment file, whose records, pads, gaps and footer the input lays down, listed and verified.

use std::path::Path;
use std::sync::Arc;

use esker::backend::Backend;
use esker::backend::sim::Sim;
use esker::format::digest::digest;
use esker::format::footer::{self, Row};
use esker::format::manifest::Manifest;
use esker::format::record::{self, Flags, HEADER_BYTES, Header};
use esker::format::segment_header::{DATA_START, SegmentHeader};
use esker::inspect::{Listing, RecordInfo, escape};
use esker::{Millis, RecordKind, SegmentId, Sequence};

use super::input::Input;
use super::{forge, reports, truth};

const SEGMENT_LEN_BYTES: usize = 16 << 10;
const ID: SegmentId = SegmentId(7);
const SEED: [u8; 16] = *b"a hostile file's";
const NOW: Millis = Millis(1_700_000_000_000);
/// A key up to this length is hashed wherever it may stand, so that its record is always found.
const SHORT_KEY_BYTES: u32 = 64;

/// The target.
pub fn body(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let mut file = File::new(flags);
    while !input.is_empty() {
        file.lay(&mut input);
    }
    let bytes = file.finish(flags);
    let sim = Sim::new(1);
    let path = Path::new(reports::DIR).join("seg-0000.esk");
    sim.write_file(&path, bytes.clone()).expect("a fresh disk");
    if flags & 2 == 0 {
        let manifest = Manifest {
            directory_id: 9,
            segment_len_bytes: SEGMENT_LEN_BYTES as u64,
            seed: SEED,
            created: NOW,
            cleared: Sequence(0),
            index_shards: 1,
            stored: Sequence(0),
        };
        sim.write_file(Path::new(reports::DIR).join("MANIFEST"), manifest.encode()).expect("a fresh disk");
    }
    super::block_on(async {
        let disk: Arc<dyn Backend> = Arc::new(sim);
        let (listed, listing) = reports::records(&*disk, &path).await.expect("nothing but damage");
        check(&bytes, &listed, &listing);
        let inspector = reports::inspector(&disk, NOW);
        let report = reports::verify(&inspector).await.expect("nothing but damage");
        assert!(flags & 2 == 0 || !report.is_clean, "there is no manifest");
        assert_eq!(reports::summary(&inspector).await.is_ok(), flags & 2 == 0);
    });
}

/// Each record stands where it is said to stand, none overlaps another, and none is missing.
fn check(bytes: &[u8], listed: &[RecordInfo], listing: &Listing) {
    let Some(id) = listing.id.map(SegmentId) else { return assert!(listed.is_empty()) };
    let mut free_from = DATA_START;
    for one in listed {
        assert!(one.offset >= free_from && one.offset.is_multiple_of(16), "it overlaps the one before: {one:?}");
        free_from = one.offset + one.len_bytes;
        assert!(free_from <= listing.len_bytes, "it ends behind the file: {one:?}");
        if one.kind == "hole" {
            continue;
        }
        let there = &bytes[one.offset as usize..];
        let header = record::decode_header(there, id, one.offset).expect("what is listed is there");
        assert_eq!((header.record_bytes(), header.value_len), (one.len_bytes, one.value_len));
        if header.kind != RecordKind::Pad {
            assert_eq!(one.key, Some(escape(&there[record::parts(&header).0])));
            assert_eq!(one.defect.is_none(), record::decode(there, id, one.offset).is_ok(), "{one:?}");
        }
    }
    let covers = |one: &RecordInfo, at| (one.offset..one.offset + one.len_bytes).contains(&at) && one.kind != "hole";
    for (at, record) in truth::records(bytes, id) {
        let header = record.header;
        let is_within = at + header.record_bytes() <= listing.data_end && header.key_len <= SHORT_KEY_BYTES;
        assert!(!is_within || listed.iter().any(|one| covers(one, at)), "the record at {at} is not listed: {header:?}");
    }
}

/// A segment file in the making.
struct File {
    bytes: Vec<u8>,
    at: usize,
    rows: Vec<Row>,
}

impl File {
    fn new(flags: u8) -> Self {
        let mut bytes = vec![0; SEGMENT_LEN_BYTES];
        let stream = flags >> 5;
        let header = SegmentHeader {
            id: ID,
            segment_len_bytes: SEGMENT_LEN_BYTES as u64,
            created: NOW,
            stream: if stream == 7 { 255 } else { stream % 3 },
            directory_id: 9,
            group: 0,
        };
        bytes[..64].copy_from_slice(&header.encode());
        Self { bytes, at: DATA_START as usize, rows: Vec::new() }
    }

    fn write(&mut self, bytes: &[u8]) {
        let end = (self.at + bytes.len()).min(self.bytes.len());
        self.bytes[self.at..end].copy_from_slice(&bytes[..end - self.at]);
        self.at = end.next_multiple_of(16);
    }

    /// One piece more.
    fn lay(&mut self, input: &mut Input<'_>) {
        match input.byte() % 8 {
            0 => {
                let len = usize::from(input.byte());
                self.write(input.take(len));
            }
            op @ (1 | 2) => self.record(input, if op == 1 { ID } else { SegmentId(6) }),
            3 => {
                let fields = input.take(HEADER_BYTES);
                let mut bytes = self.bytes[self.at..].to_vec();
                bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = *from);
                forge::fix_record(&mut bytes, ID, self.at as u64);
                self.bytes[self.at..].copy_from_slice(&bytes);
                self.at = (self.at + HEADER_BYTES + 12).min(SEGMENT_LEN_BYTES);
            }
            4 => {
                let len = input.number::<1>() * 16;
                let pad = record::encode_pad(len, ID, self.at as u64, input.odd_number());
                pad.inspect(|pad| self.write(pad));
            }
            5 => self.at = input.number::<2>() as usize * 16 % SEGMENT_LEN_BYTES,
            6 => self.at = (self.at + input.number::<1>() as usize * 16).min(SEGMENT_LEN_BYTES),
            _ => {
                let at = input.number::<2>() as usize % SEGMENT_LEN_BYTES;
                let part = &mut self.bytes[at..];
                let len = usize::from(input.byte() % 16);
                part.iter_mut().zip(input.take(len)).for_each(|(to, from)| *to = *from);
            }
        }
    }

    /// A record that is right, but for its meaning.
    fn record(&mut self, input: &mut Input<'_>, id: SegmentId) {
        use RecordKind::{Chunk, Delete, Head, Marker, Put};
        let choice = input.index(10);
        let kind = [Put, Delete, Chunk, Head, Marker][choice % 5];
        let is_tagged = choice >= 5 && matches!(kind, Put | Head);
        let lens = [1 + input.index(80), input.index(20), input.number::<2>() as usize % 5000];
        let [key, metadata, value] = lens.map(|len| if len > 100 { vec![b'v'; len] } else { input.take(len).to_vec() });
        let metadata = if is_tagged { forge::tagged(input) } else { metadata };
        let key = if key.is_empty() { b"k".to_vec() } else { key };
        let header = Header {
            kind,
            flags: if is_tagged { Flags::TAGGED } else { Flags::NONE },
            key_len: 0,
            metadata_len: 0,
            value_len: 0,
            sequence: Sequence(input.odd_number()),
            created: Millis(input.odd_number()),
            expires: Some(input.odd_number()).filter(|&at| at > 0).map(Millis),
            value_crc: 0,
        };
        let (at, bytes) = (self.at, record::encode(&header, &key, &metadata, &value, id, self.at as u64));
        self.write(&bytes);
        let header = record::decode_header(&bytes, id, at as u64).expect("it is right");
        self.rows.extend(header.class().map(|class| Row {
            digest: digest(&SEED, &key),
            sequence: header.sequence,
            offset_units: (at / 16) as u32,
            class,
            kind,
            is_dirty: false,
            expires_s: footer::expires_seconds(header.expires),
        }));
    }

    /// With a footer if the input wants one, and the damage to it and to the header that it wants.
    fn finish(mut self, flags: u8) -> Vec<u8> {
        let data_end = self.rows.last().map_or(DATA_START, |row| row.offset() + row.len_bytes());
        if flags & 1 == 1 {
            let (at, bytes) = footer::encode(&self.rows, ID, SEGMENT_LEN_BYTES as u64, data_end, NOW);
            if let Some(end) = self.bytes.get_mut(at as usize..).filter(|end| end.len() == bytes.len()) {
                end.copy_from_slice(&bytes);
            }
        }
        if flags & 4 == 4 {
            self.bytes[9] ^= 1;
        }
        if flags & 8 == 8 {
            self.bytes[SEGMENT_LEN_BYTES - 30] ^= 1;
        }
        if flags & 16 == 16 {
            self.bytes.truncate(self.at.max(1));
        }
        self.bytes
    }
}

/// What to begin with: records of each kind, sealed and not, with damage and without.
pub fn seeds() -> Vec<Vec<u8>> {
    let record = |kind: u8, sequence: u8| {
        let lens = [kind, 2, 3, 10, 0];
        let words = [3 | sequence << 2, 3 | 40 << 2, 3];
        [&[1u8][..], &lens, b"key", b"met", b"value of 1", &words].concat()
    };
    let pad = [4u8, 9, 1 | 12 << 2];
    let whole = [record(0, 1), record(1, 2), record(2, 3), pad.to_vec(), record(4, 4), record(3, 5)].concat();
    let torn = [record(0, 1), vec![6, 8], record(0, 2), vec![7, 0, 16, 2, 9, 9], record(1, 3)].concat();
    // Two tags, none where one should be, and more than there are bytes for.
    let tagged = |kind: u8, field: &[u8]| {
        let lens = [kind, 2, 0, 10, 0];
        [&[1u8][..], &lens, b"key", b"value of 1", field, &[3 | 9 << 2, 3 | 40 << 2, 3]].concat()
    };
    let tags = [tagged(5, &[17, 4, 1, 2, 3, 4]), tagged(8, &[0, 1, 0]), tagged(5, &[0, 2, 32, 1])].concat();
    let of = |flags: u8, body: &[u8]| [&[flags], body].concat();
    vec![
        of(1, &whole),
        of(0, &whole),
        of(2, &torn),
        of(9, &torn),
        of(5, &whole),
        of(16, &torn),
        of(0x21, &whole),
        of(1, &tags),
        of(0, &tags),
    ]
}
