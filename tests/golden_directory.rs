//! A whole directory of format version 1, from the same separate encoder as the other golden files: it must open for
//! ever. `golden/directory.bin` holds the files with their zeros left out (see [`unpack`]): a sealed segment of new
//! entries, one of short-lived ones, one of moved entries that was never sealed, a free one, and another directory's.
//! `golden/objects.bin` holds values in chunks: one that is whole, with one of its chunks moved to a segment that was never
//! sealed; one that lacks a chunk; and a chunk of none.

#![allow(clippy::disallowed_methods, reason = "the files are laid down behind the back of the library")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use esker::backend::tokio_fs::TokioFs;
use esker::clock::ManualClock;
use esker::inspect::{Inspector, Piece, SegmentState, Verdict};
use esker::{BackendKind, DiskCache, Millis};

const PACKED: &[u8] = include_bytes!("golden/directory.bin");
const PACKED_OBJECTS: &[u8] = include_bytes!("golden/objects.bin");
const NOW: Millis = Millis(1_700_000_000_000 + 3_600_000);
/// 2100-01-01.
const FAR: Millis = Millis(4_102_444_800_000);

/// Takes the first `N` bytes as a number.
fn take<const N: usize>(bytes: &mut &[u8]) -> usize {
    let (number, rest) = bytes.split_at(N);
    *bytes = rest;
    number.iter().rev().fold(0, |all, &byte| all << 8 | usize::from(byte))
}

/// A file is: the length of its name (1 byte), its name, its length (4), the number of its pieces (2), and of each piece
/// its offset (4), its length (4) and its bytes. What is in no piece is zero.
fn unpack(mut packed: &[u8], dir: &Path) {
    while !packed.is_empty() {
        let name_len = take::<1>(&mut packed);
        let (name, rest) = packed.split_at(name_len);
        packed = rest;
        let mut file = vec![0; take::<4>(&mut packed)];
        for _ in 0..take::<2>(&mut packed) {
            let (at, len) = (take::<4>(&mut packed), take::<4>(&mut packed));
            let (piece, rest) = packed.split_at(len);
            file[at..at + len].copy_from_slice(piece);
            packed = rest;
        }
        std::fs::write(dir.join(std::str::from_utf8(name).unwrap()), file).unwrap();
    }
}

fn long_key() -> Vec<u8> {
    (0..=255).collect()
}

fn long_value() -> Vec<u8> {
    (0..2100u32).map(|i| (i * 7 % 251) as u8).collect()
}

/// Key, value, metadata, expiry.
type Entry = (Vec<u8>, Vec<u8>, &'static str, Option<Millis>);

/// Everything that is served.
fn served() -> Vec<Entry> {
    let long = [(long_key(), long_value(), "", Some(FAR))];
    let gap = vec![b'g'; 3897];
    let plain = [("replaced", "new"), ("empty", ""), ("behind", "the gap"), ("last", "of the log")];
    let plain = plain.map(|(key, value)| (key.into(), value.into(), "", None));
    let others = [
        ("kept".into(), "kept value".into(), "kept metadata", None),
        ("lives".into(), "until 2100".into(), "", Some(FAR)),
        ("gap".into(), gap, "", None),
    ];
    long.into_iter().chain(plain).chain(others).collect()
}

const NOT_SERVED: [(&str, Verdict); 5] = [
    ("cleared", Verdict::Cleared),
    ("gone", Verdict::Deleted),
    ("expired", Verdict::Expired),
    ("marked", Verdict::Marked),
    ("never", Verdict::Unknown),
];

#[tokio::test(flavor = "multi_thread")]
async fn it_is_read_as_it_was_meant() {
    let dir = tempfile::tempdir().unwrap();
    unpack(PACKED, dir.path());
    let inspector = Inspector::new(Arc::new(TokioFs), dir.path(), NOW);
    for (key, value, metadata, expires) in served() {
        let found = inspector.get(&key).await.unwrap();
        assert_eq!(found.verdict, Verdict::Served, "{}", key.escape_ascii());
        assert_eq!((&found.value[..], &found.metadata[..]), (&value[..], metadata.as_bytes()));
        assert_eq!(found.expires, expires.map(|at| at.0));
    }
    for (key, verdict) in NOT_SERVED {
        assert_eq!(inspector.get(key.as_bytes()).await.unwrap().verdict, verdict, "{key}");
    }
    let summary = inspector.summary().await.unwrap();
    let states: Vec<_> = summary.segments.iter().map(|s| (s.id, s.state)).collect();
    let of = |id, state| (Some(id), state);
    let expected = [
        of(3, SegmentState::Sealed),
        of(4, SegmentState::Sealed),
        of(6, SegmentState::Open),
        of(2, SegmentState::Free),
        of(9, SegmentState::Foreign),
    ];
    assert_eq!(states, expected);
    assert_eq!((summary.entries, summary.damaged_records, summary.cleared_sequence), (served().len() as u64, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_opens_serves_what_it_holds_and_lives_on() {
    let dir = tempfile::tempdir().unwrap();
    unpack(PACKED, dir.path());
    let foreign = std::fs::read(dir.path().join("seg-0005.esk")).unwrap();
    for opened in 1..=2 {
        let builder = DiskCache::builder(dir.path()).capacity_bytes(1 << 20).backend(BackendKind::TokioFs);
        let cache = builder.clock(Arc::new(ManualClock::new(NOW))).open().await.unwrap();
        let report = cache.recovery_report();
        assert_eq!((report.dropped_damaged, report.dropped_doubtful, report.torn_bytes), (0, 0, 0), "{report:?}");
        if opened == 1 {
            assert_eq!((report.segments_by_footer, report.segments_scanned, report.segments_free), (2, 1, 1));
            assert_eq!((report.records, report.entries_kept), (16, served().len() as u64), "{report:?}");
        }
        for (key, value, metadata, expires) in served() {
            let hit = cache.get(&key).await.unwrap().unwrap_or_else(|| panic!("{} is gone", key.escape_ascii()));
            assert_eq!((&hit.value()[..], &hit.metadata()[..]), (&value[..], metadata.as_bytes()));
            assert_eq!(hit.expires_at(), expires.map(|at| UNIX_EPOCH + Duration::from_millis(at.0)));
        }
        for (key, _) in NOT_SERVED {
            assert!(cache.get(key).await.unwrap().is_none(), "{key}");
        }
        assert!(cache.set(format!("written at open {opened}"), "v").await.unwrap().is_stored());
        cache.close().await.unwrap();
        assert_eq!(std::fs::read(dir.path().join("seg-0005.esk")).unwrap(), foreign, "it is left alone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_in_chunks_are_read_as_they_were_meant() {
    let dir = tempfile::tempdir().unwrap();
    unpack(PACKED_OBJECTS, dir.path());
    let value: Vec<u8> = (0..2500u32).map(|i| (i * 7 % 251) as u8).collect();
    let inspector = Inspector::new(Arc::new(TokioFs), dir.path(), NOW);
    let finding = inspector.get(b"object").await.unwrap();
    assert_eq!((finding.verdict, &finding.metadata[..]), (Verdict::Served, &b"meta"[..]));
    let (mut read, mut pieces) = (Vec::new(), inspector.value(&finding));
    while let Some(piece) = pieces.next().await.unwrap() {
        let Piece::Bytes(bytes) = piece else { panic!("{piece:?}") };
        read.extend_from_slice(&bytes);
    }
    assert_eq!(read, value);
    assert_eq!(inspector.get(b"half").await.unwrap().verdict, Verdict::NotWhole);
    for opened in 1..=2 {
        let builder = DiskCache::builder(dir.path()).capacity_bytes(1 << 20).backend(BackendKind::TokioFs);
        let cache = builder.clock(Arc::new(ManualClock::new(NOW))).open().await.unwrap();
        let report = cache.recovery_report();
        assert_eq!((report.objects_kept, report.dropped_objects, report.dropped_chunks), (1, 1, 2), "{report:?}");
        let hit = cache.get("object").await.unwrap().unwrap();
        assert_eq!((&hit.value()[..], &hit.metadata()[..]), (&value[..], &b"meta"[..]), "open {opened}");
        let part = cache.get_range("object", 990..2010).await.unwrap().unwrap();
        assert_eq!(&part.value()[..], &value[990..2010]);
        assert!(cache.get("half").await.unwrap().is_none());
        cache.close().await.unwrap();
    }
}
