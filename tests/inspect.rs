//! What is said of a directory by looking at it is what the cache then serves. The directories are made by hand, of
//! records that a running cache leaves only in rare orders.

use std::path::Path;
use std::sync::Arc;

use esker::backend::sim::Sim;
use esker::clock::ManualClock;
use esker::config::DIRECTORY_OVERHEAD_BYTES;
use esker::format::digest::digest;
use esker::format::footer::{self, Row};
use esker::format::length::LengthClass;
use esker::format::manifest::Manifest;
use esker::format::record::{self, Flags, Header};
use esker::format::segment_header::{DATA_START, SegmentHeader};
use esker::inspect::{Inspector, Verdict};
use esker::{Config, DiskCache, Millis, RecordKind, SegmentId, Sequence};

const DIR: &str = "/cache";
const SEED: [u8; 16] = *b"inspect the seed";
const SEGMENT_LEN_BYTES: u64 = 64 << 10;
const DIRECTORY: u64 = 7;
const NOW: Millis = Millis(1_700_000_000_000);

/// A record of `k`: what it is, its sequence, and its value.
type Record<'a> = (RecordKind, u64, &'a str);

/// A sealed segment's file.
fn sealed(id: u64, records: &[Record<'_>]) -> Vec<u8> {
    let id = SegmentId(id);
    let header = SegmentHeader {
        id,
        segment_len_bytes: SEGMENT_LEN_BYTES,
        created: NOW,
        stream: 0,
        directory_id: DIRECTORY,
        group: 0,
    };
    let mut file = vec![0; SEGMENT_LEN_BYTES as usize];
    file[..64].copy_from_slice(&header.encode());
    let mut at = DATA_START;
    let mut rows = Vec::new();
    for &(kind, sequence, value) in records {
        let digest = digest(&SEED, b"k");
        let digest_bytes = digest.0.to_le_bytes();
        let (key, value): (&[u8], &[u8]) = match kind {
            RecordKind::Put => (b"k", value.as_bytes()),
            RecordKind::Delete => (b"k", &[9; 8]),
            _ => (&digest_bytes, &[9; 8]),
        };
        let header = Header {
            kind,
            flags: Flags::NONE,
            key_len: key.len() as u32,
            metadata_len: 0,
            value_len: value.len() as u32,
            sequence: Sequence(sequence),
            created: NOW,
            expires: None,
            value_crc: record::value_crc(b"", value),
        };
        let bytes = record::encode(&header, key, b"", value, id, at);
        file[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
        let class = LengthClass::for_bytes(bytes.len() as u64).unwrap();
        let offset_units = (at / 16) as u32;
        rows.push(Row {
            digest,
            sequence: Sequence(sequence),
            offset_units,
            class,
            kind,
            is_dirty: false,
            expires_s: 0,
        });
        at += bytes.len() as u64;
    }
    let (rows_at, bytes) = footer::encode(&rows, id, SEGMENT_LEN_BYTES, at, NOW);
    file[rows_at as usize..].copy_from_slice(&bytes);
    file
}

fn manifest() -> Manifest {
    Manifest {
        directory_id: DIRECTORY,
        segment_len_bytes: SEGMENT_LEN_BYTES,
        seed: SEED,
        created: NOW,
        cleared: Sequence(0),
        index_shards: 1,
        stored: Sequence(0),
    }
}

/// Lays the segments down, in slots of this order, and asks both for `k`.
async fn both(segments: &[(u64, &[Record<'_>])]) -> (Option<String>, Option<String>, Verdict) {
    both_after(segments, |_| {}).await
}

/// As [`both`], with damage done.
async fn both_after(
    segments: &[(u64, &[Record<'_>])],
    damage: impl FnOnce(&Sim),
) -> (Option<String>, Option<String>, Verdict) {
    let sim = Sim::new(1);
    let dir = Path::new(DIR);
    sim.write_file(dir.join("MANIFEST"), manifest().encode()).unwrap();
    sim.write_file(dir.join("LOCK"), "").unwrap();
    for (slot, (id, records)) in segments.iter().enumerate() {
        sim.write_file(dir.join(format!("seg-{slot:04x}.esk")), sealed(*id, records)).unwrap();
    }
    damage(&sim);
    let inspector = Inspector::new(Arc::new(sim.clone()), DIR, NOW);
    let summary = inspector.summary().await.unwrap();
    let found = inspector.get(b"k").await.unwrap();
    let config = Config {
        capacity_bytes: 16 * SEGMENT_LEN_BYTES + DIRECTORY_OVERHEAD_BYTES,
        segment_len_bytes: Some(SEGMENT_LEN_BYTES),
        ..Config::default()
    };
    let builder = DiskCache::builder(DIR).config(config).backend_with(Arc::new(sim));
    let cache = builder.clock(Arc::new(ManualClock::new(NOW))).open().await.unwrap();
    let stats = cache.stats();
    assert_eq!((summary.entries, summary.live_bytes), (stats.entries, stats.live_bytes), "{summary:#?}");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let served = cache.get("k").await.unwrap().map(|hit| text(hit.value()));
    let shown = (found.verdict == Verdict::Served).then(|| text(&found.value));
    (served, shown, found.verdict)
}

/// P2. The entry was moved on to a younger segment while a marker was left for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_marker_wins_over_a_record_with_its_sequence_in_a_younger_segment() {
    let marker: &[Record] = &[(RecordKind::Marker, 5, "")];
    let put: &[Record] = &[(RecordKind::Put, 5, "dead")];
    for (marker_id, put_id) in [(1, 2), (2, 1)] {
        for segments in [[(marker_id, marker), (put_id, put)], [(put_id, put), (marker_id, marker)]] {
            let (served, _, verdict) = both(&segments).await;
            assert_eq!((served, verdict), (None, Verdict::Marked), "marker in {marker_id}, put in {put_id}");
        }
    }
}

/// A record and its moved copy: the copy is served, in whichever slot it is.
#[tokio::test(flavor = "multi_thread")]
async fn of_twins_the_younger_segments_is_served() {
    let (old, new): (&[Record], &[Record]) = (&[(RecordKind::Put, 5, "old")], &[(RecordKind::Put, 5, "new")]);
    for segments in [[(1, old), (2, new)], [(2, new), (1, old)]] {
        let (served, shown, _) = both(&segments).await;
        assert_eq!(served.as_deref(), Some("new"));
        assert_eq!(shown, served);
    }
}

/// P2. Sequences decide, not segments: a reinserted record is older than it looks.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_sequence_wins_in_an_older_segment() {
    let reinserted: &[Record] = &[(RecordKind::Put, 5, "v1")];
    let (served, shown, _) = both(&[(1, &[(RecordKind::Put, 6, "v2")]), (2, reinserted)]).await;
    assert_eq!((served.as_deref(), shown.as_deref()), (Some("v2"), Some("v2")));
    let (served, _, verdict) = both(&[(1, &[(RecordKind::Delete, 6, "")]), (2, reinserted)]).await;
    assert_eq!((served, verdict), (None, Verdict::Deleted));
}

/// Found by fuzzing: the trailer says which segment it is, and the cache serves it; `segdump get` said that it is damaged,
/// and `segdump records` listed records of an unknown segment.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_lost_its_header_is_looked_at_as_it_is_served() {
    let (served, shown, _) = both_after(&[(3, &[(RecordKind::Put, 5, "value")])], |sim| {
        sim.zero(Path::new(DIR).join("seg-0000.esk"), 0..64).unwrap();
    })
    .await;
    assert_eq!((served.as_deref(), shown.as_deref()), (Some("value"), Some("value")));

    let sim = Sim::new(1);
    let path = Path::new(DIR).join("seg-0000.esk");
    sim.write_file(Path::new(DIR).join("MANIFEST"), manifest().encode()).unwrap();
    sim.write_file(&path, sealed(3, &[(RecordKind::Put, 5, "value")])).unwrap();
    sim.zero(&path, 0..64).unwrap();
    let listing = Inspector::records(&sim, &path, &mut |_| {}).await.unwrap();
    assert_eq!((listing.id, listing.records), (Some(3), 1));
}
