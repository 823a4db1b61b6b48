//! Heads and chunks that no cache wrote, with right checksums: whoever looks is neither misled nor worn out by what they
//! claim. One test, since the allocator counts for the whole process.

#![allow(clippy::disallowed_methods, reason = "what is measured is time")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::heap;
use esker::backend::sim::Sim;
use esker::clock::ManualClock;
use esker::format::digest::digest;
use esker::format::footer::{self, Row};
use esker::format::length::LengthClass;
use esker::format::manifest::Manifest;
use esker::format::object::{ChunkKey, ObjectHead};
use esker::format::record::{self, Flags, Header};
use esker::format::segment_header::{DATA_START, SegmentHeader};
use esker::inspect::{EntryInfo, EntryState, Inspector, Piece, Verdict};
use esker::{Config, DiskCache, Millis, RecordKind, SegmentId, Sequence};

#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting;

const DIR: &str = "/cache";
const SEED: [u8; 16] = *b"the hostile seed";
const SEGMENT_LEN_BYTES: u64 = 4 << 20;
const NOW: Millis = Millis(1_700_000_000_000);
const MOST_BYTES: i64 = 64 << 20;

/// A segment that is laid down record by record.
struct Forger {
    id: SegmentId,
    file: Vec<u8>,
    rows: Vec<Row>,
    at: u64,
}

impl Forger {
    fn new() -> Self {
        Self::of(SegmentId(1))
    }

    fn of(id: SegmentId) -> Self {
        let header = SegmentHeader {
            id,
            segment_len_bytes: SEGMENT_LEN_BYTES,
            created: NOW,
            stream: 0,
            directory_id: 7,
            group: 0,
        };
        let mut file = vec![0; SEGMENT_LEN_BYTES as usize];
        file[..64].copy_from_slice(&header.encode());
        Self { id, file, rows: Vec::new(), at: DATA_START }
    }

    /// A record whose row says that it has the key `claimed`.
    fn add(&mut self, kind: RecordKind, key: &[u8], claimed: &[u8], value: &[u8]) {
        let sequence = Sequence(self.rows.len() as u64 + 1);
        let header = Header {
            kind,
            flags: Flags::NONE,
            key_len: 0,
            metadata_len: 0,
            value_len: 0,
            sequence,
            created: NOW,
            expires: None,
            value_crc: 0,
        };
        let bytes = record::encode(&header, key, b"", value, self.id, self.at);
        self.file[self.at as usize..self.at as usize + bytes.len()].copy_from_slice(&bytes);
        let class = LengthClass::for_bytes(bytes.len() as u64).unwrap();
        let offset_units = (self.at / 16) as u32;
        self.rows.push(Row {
            digest: digest(&SEED, claimed),
            sequence,
            offset_units,
            class,
            kind,
            is_dirty: false,
            expires_s: 0,
        });
        self.at += bytes.len() as u64;
    }

    fn chunk(&mut self, object: u64, index: u64, value: &[u8]) {
        let key = ChunkKey { object: Sequence(object), index }.encode();
        self.add(RecordKind::Chunk, &key, &key, value);
    }

    fn head(&mut self, key: &str, object: u64, len_bytes: u64, chunk_len_bytes: u32) {
        let head = ObjectHead::new(Sequence(object), len_bytes, chunk_len_bytes).unwrap();
        self.add(RecordKind::Head, key.as_bytes(), key.as_bytes(), &head.encode());
    }

    fn inspector(self) -> Inspector {
        Inspector::new(Arc::new(disk([self])), DIR, NOW)
    }

    fn sealed(mut self) -> Vec<u8> {
        let (rows_at, bytes) = footer::encode(&self.rows, self.id, SEGMENT_LEN_BYTES, self.at, NOW);
        assert!(self.at <= rows_at);
        self.file[rows_at as usize..].copy_from_slice(&bytes);
        self.file
    }
}

/// A directory of these segments.
fn disk(segments: impl IntoIterator<Item = Forger>) -> Sim {
    let manifest = Manifest {
        directory_id: 7,
        segment_len_bytes: SEGMENT_LEN_BYTES,
        seed: SEED,
        created: NOW,
        cleared: Sequence(0),
        index_shards: 1,
        stored: Sequence(0),
    };
    let sim = Sim::new(1);
    sim.write_file(Path::new(DIR).join("MANIFEST"), manifest.encode()).unwrap();
    for (slot, segment) in segments.into_iter().enumerate() {
        sim.write_file(Path::new(DIR).join(format!("seg-{slot:04x}.esk")), segment.sealed()).unwrap();
    }
    sim
}

/// A cache on this disk.
async fn open(sim: Sim) -> DiskCache {
    let config = Config { capacity_bytes: 64 << 20, segment_len_bytes: Some(SEGMENT_LEN_BYTES), ..Config::default() };
    let builder = DiskCache::builder(DIR).config(config).backend_with(Arc::new(sim));
    builder.clock(Arc::new(ManualClock::new(NOW))).open().await.unwrap()
}

/// How a read of a key ends: how many bytes it gives, and what is wrong behind them.
async fn read(inspector: &Inspector, key: &str) -> (usize, Option<String>) {
    let finding = inspector.get(key.as_bytes()).await.unwrap();
    assert_eq!(finding.verdict, Verdict::Served, "{key}");
    let (mut len, mut value) = (0, inspector.value(&finding));
    while let Some(piece) = value.next().await.unwrap() {
        match piece {
            Piece::Bytes(bytes) => len += bytes.len(),
            Piece::Fault(fault) => return (len, Some(fault.what)),
        }
    }
    (len, None)
}

async fn heads_that_claim_more_than_there_is() {
    let mut forger = Forger::new();
    forger.chunk(1, 0, b"x");
    forger.chunk(1, 2, b"x");
    forger.head("countless", 1, u64::from(u32::MAX), 1);
    forger.head("huge", 9, 1 << 60, 1 << 29);
    forger.add(RecordKind::Head, b"nonsense", b"nonsense", b"28 bytes that are no object.");
    forger.add(RecordKind::Head, b"long", b"long", &vec![7; 1 << 20]);
    let inspector = forger.inspector();
    let summary = inspector.summary().await.unwrap();
    assert_eq!((summary.entries, summary.objects, summary.objects_not_whole, summary.chunks_dead), (0, 0, 4, 2));
    let finding = inspector.get(b"countless").await.unwrap();
    let object = finding.object.unwrap();
    assert_eq!((finding.verdict, object.missing), (Verdict::NotWhole, u64::from(u32::MAX) - 2));
    assert_eq!(object.missing_runs, [(1, 1), (3, u64::from(u32::MAX) - 1)]);
    let object = inspector.get(b"huge").await.unwrap().object.unwrap();
    assert_eq!((object.len_bytes, object.missing), (1 << 60, 1 << 31));
    for key in ["nonsense", "long"] {
        assert_eq!(inspector.get(key.as_bytes()).await.unwrap().verdict, Verdict::Damaged, "{key}");
        assert_eq!(inspector.explain(key.as_bytes()).await.unwrap().versions.len(), 1);
    }
    assert_eq!(inspector.entries(&mut |_| {}).await.unwrap(), 0);
    let report = inspector.verify(&mut |_| {}).await.unwrap();
    assert_eq!((report.damage.len(), report.objects_not_whole), (2, 4), "{report:#?}");
}

async fn chunks_that_are_not_what_their_head_says() {
    let mut forger = Forger::new();
    for index in 0..3 {
        forger.chunk(1, index, &[7; 100]);
    }
    // The second of them is short, in a record of the same class and in one of another; the third is another record.
    forger.chunk(2, 0, &[7; 100]);
    forger.chunk(2, 1, &[7; 99]);
    forger.chunk(3, 0, &[7; 100]);
    forger.chunk(3, 1, &[7; 3000]);
    let claimed = ChunkKey { object: Sequence(4), index: 0 }.encode();
    let key = ChunkKey { object: Sequence(4), index: 5 }.encode();
    forger.add(RecordKind::Chunk, &key, &claimed, &[7; 100]);
    for (key, object, len) in [("right", 1, 300), ("short", 2, 200), ("long", 3, 200), ("other", 4, 100)] {
        forger.head(key, object, len, 100);
    }
    let sim = disk([forger]);
    let inspector = Inspector::new(Arc::new(sim.clone()), DIR, NOW);
    assert_eq!(inspector.summary().await.unwrap().objects, 4);
    assert_eq!(read(&inspector, "right").await, (300, None));
    for (key, len, what) in [("short", 100, "another record"), ("long", 100, "length"), ("other", 0, "another record")]
    {
        let (read, fault) = read(&inspector, key).await;
        assert!(read == len && fault.as_ref().is_some_and(|fault| fault.contains(what)), "{key}: {read}, {fault:?}");
        assert_eq!(inspector.explain(key.as_bytes()).await.unwrap().finding.verdict, Verdict::Damaged, "{key}");
    }
    let report = inspector.verify(&mut |_| {}).await.unwrap();
    assert!(report.damage.iter().any(|damage| damage.what.contains("another length")), "{report:#?}");
    // A cache neither serves them nor waits for what does not come.
    let cache = open(sim).await;
    assert_eq!(cache.get("right").await.unwrap().unwrap().value().len(), 300);
    for key in ["short", "long", "other"] {
        let mut reader = cache.reader(key).await.unwrap().unwrap();
        let damaged = async {
            while reader.next_bytes().await?.is_some() {}
            esker::Result::Ok(())
        };
        let ended = tokio::time::timeout(std::time::Duration::from_secs(60), damaged).await.expect(key);
        assert!(matches!(ended, Err(esker::Error::Damaged)), "{key}: {ended:?}");
        assert!(cache.get(key).await.unwrap().is_none(), "{key}");
    }
}

/// A chunk and its copy: that of the later segment counts, as in a cache.
async fn twins_of_a_chunk(is_later_first: bool) {
    let (mut older, mut later) = (Forger::of(SegmentId(1)), Forger::of(SegmentId(2)));
    older.chunk(1, 0, b"old");
    later.chunk(1, 0, b"new");
    later.head("key", 1, 3, 3);
    let sim = disk(if is_later_first { [later, older] } else { [older, later] });
    let inspector = Inspector::new(Arc::new(sim.clone()), DIR, NOW);
    let finding = inspector.get(b"key").await.unwrap();
    let piece = inspector.value(&finding).next().await.unwrap();
    assert_eq!(piece, Some(Piece::Bytes("new".into())));
    let summary = inspector.summary().await.unwrap();
    let cache = open(sim).await;
    let stats = cache.stats();
    assert_eq!((summary.entries, summary.objects, summary.chunks_dead), (1, 1, cache.recovery_report().dropped_chunks));
    assert_eq!((summary.entries, summary.live_bytes), (stats.entries, stats.live_bytes));
    assert_eq!(cache.get("key").await.unwrap().unwrap().value(), "new");
}

/// Looking for each chunk of each head would take hours.
async fn heads_that_all_claim_the_same_object() {
    const MANY: u64 = 20_000;
    let mut forger = Forger::new();
    for index in 0..MANY {
        forger.chunk(1, index, b"x");
    }
    // Those of one half are whole, those of the other lack the last one.
    for n in 0..MANY {
        forger.head(&format!("{n}"), 1, MANY + n % 2, 1);
    }
    forger.chunk(2, 0, b"x");
    let sim = disk([forger]);
    let inspector = Inspector::new(Arc::new(sim.clone()), DIR, NOW);
    let mut entries = 0;
    inspector.entries(&mut |entry| entries += u64::from(entry.object.is_some())).await.unwrap();
    assert_eq!(entries, MANY / 2);
    let summary = inspector.summary().await.unwrap();
    assert_eq!((summary.objects, summary.objects_not_whole), (MANY / 2, MANY / 2));
    assert_eq!((summary.chunks_live, summary.chunks_dead), (MANY, 1));
    assert!(summary.live_bytes < SEGMENT_LEN_BYTES, "no byte counts twice: {}", summary.live_bytes);
    let cache = open(sim).await;
    assert_eq!((cache.stats().objects, cache.recovery_report().dropped_chunks), (1, 1), "one head has them");
    assert!(cache.stats().live_bytes < SEGMENT_LEN_BYTES, "{:?}", cache.stats());
}

/// As before, but nothing is forgotten, since each key has something older: which chunks are missing is told as long as that
/// takes no more than looking at what is there.
async fn heads_that_stay_and_claim_what_is_not_there() {
    const MANY: u64 = 10_000;
    let mut forger = Forger::new();
    for n in 0..MANY {
        forger.add(RecordKind::Put, n.to_string().as_bytes(), n.to_string().as_bytes(), b"older");
    }
    for n in 0..MANY {
        forger.chunk(1, n, b"x");
    }
    for n in 0..MANY {
        forger.head(&n.to_string(), 1, MANY + 1, 1);
    }
    forger.chunk(2, 0, b"x");
    let (mut told, mut untold) = (0, 0);
    let mut look = |entry: EntryInfo| {
        assert_eq!(entry.state, EntryState::NotWhole);
        match entry.object {
            Some(object) => told += u64::from(object.missing == 1),
            None => untold += 1,
        }
    };
    assert_eq!(forger.inspector().entries(&mut look).await.unwrap(), MANY);
    assert!(told > 10 && untold > MANY / 2, "{told} {untold}");
}

/// However long it is.
async fn a_value_is_read_with_a_chunk_in_memory() {
    let (chunk_len, chunks) = (64 << 10, 55);
    let mut forger = Forger::new();
    for index in 0..chunks {
        forger.chunk(1, index, &vec![7; chunk_len]);
    }
    forger.head("key", 1, chunks * chunk_len as u64, chunk_len as u32);
    let inspector = forger.inspector();
    heap::forget_peak();
    let before = heap::live_bytes();
    assert_eq!(read(&inspector, "key").await, (chunks as usize * chunk_len, None));
    assert_eq!(inspector.explain(b"key").await.unwrap().finding.verdict, Verdict::Served);
    let took = heap::peak_bytes() - before;
    assert!(took > chunk_len as i64 && took < 1 << 20, "{took} bytes for {chunks} chunks");
}

/// A key may have millions of versions.
async fn versions_without_end() {
    const MANY: u64 = 30_000;
    let mut forger = Forger::new();
    for _ in 0..MANY {
        forger.add(RecordKind::Put, b"key", b"key", b"value");
    }
    let explained = forger.inspector().explain(b"key").await.unwrap();
    assert_eq!((explained.versions.len(), explained.versions_left_off), (64, MANY - 64));
    assert!(explained.versions[0].is_newest && explained.versions[0].sequence == MANY);
    assert!(explained.versions.windows(2).all(|pair| pair[0].sequence == pair[1].sequence + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_claimed_is_believed() {
    a_value_is_read_with_a_chunk_in_memory().await;
    heap::forget_peak();
    let before = heap::live_bytes();
    let started = std::time::Instant::now();
    heads_that_claim_more_than_there_is().await;
    chunks_that_are_not_what_their_head_says().await;
    twins_of_a_chunk(false).await;
    twins_of_a_chunk(true).await;
    heads_that_all_claim_the_same_object().await;
    heads_that_stay_and_claim_what_is_not_there().await;
    versions_without_end().await;
    let took = heap::peak_bytes() - before;
    assert!(took > 0 && took < MOST_BYTES, "{took} bytes");
    assert!(started.elapsed().as_secs() < 120, "{:?}", started.elapsed());
}
