//! What an open makes of heads and chunks.

use esker::SetOptions;

use super::{small, value, write};

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_was_not_finished_does_not_appear_and_its_chunks_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    cache.set("key", "old").await.unwrap();
    let mut writer = cache.writer("key", SetOptions::new()).await.unwrap();
    writer.write_bytes(value(1, 100_000)).await.unwrap();
    cache.sync().await.unwrap();
    // As a kill leaves it.
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    drop(writer);
    let cache = small(copy.path()).open().await.unwrap();
    assert_eq!(cache.get("key").await.unwrap().unwrap().value(), "old");
    let report = cache.recovery_report();
    assert_eq!((report.objects_kept, report.dropped_chunks, report.entries_kept), (0, 6, 1), "{report:?}");
    assert!(cache.stats().live_bytes < 100, "{:?}", cache.stats());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_costs_its_object_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    cache.set("key", "old").await.unwrap();
    let lost = value(1, 100_000);
    assert!(write(&cache, "key", &lost, 40_000).await.is_stored());
    assert!(write(&cache, "other", &value(2, 100_000), 40_000).await.is_stored());
    cache.close().await.unwrap();
    let path = dir.path().join("seg-0000.esk");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(64).position(|window| window == &lost[40_000..40_064]).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    assert_eq!(cache.stats().objects, 2);
    // What comes before the damage is read, then it is said.
    let mut reader = cache.reader("key").await.unwrap().unwrap();
    let mut read = 0;
    let error = loop {
        match reader.next_bytes().await {
            Ok(Some(bytes)) => read += bytes.len(),
            Ok(None) => panic!("a clean end after {read} bytes"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, esker::Error::Damaged) && read < 40_000, "{error}, {read}");
    assert!(cache.get("key").await.unwrap().is_none(), "what it replaced does not come back");
    assert!(*cache.get("other").await.unwrap().unwrap().value() == value(2, 100_000));
    assert_eq!((cache.stats().objects, cache.stats().counts.entries_damaged), (1, 1));
    cache.close().await.unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    assert!(cache.get("key").await.unwrap().is_none(), "nor after a reopen");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_head_costs_its_object_and_the_report_counts_what_was_read() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    cache.set("first", "old").await.unwrap();
    for (key, marked) in [("first", "of the first"), ("second", "of the second"), ("third", "of the third")] {
        let mut writer = cache.writer(key, SetOptions::new().metadata(marked)).await.unwrap();
        writer.write_bytes(value(1, 50_000)).await.unwrap();
        assert!(writer.finish().await.unwrap().is_stored());
    }
    cache.close().await.unwrap();
    let read = |report: &esker::RecoveryReport| report.bytes_read - report.segments_by_footer * (4096 + 4 * 4096);
    let cache = small(dir.path()).open().await.unwrap();
    let whole = cache.recovery_report();
    assert_eq!((whole.objects_kept, whole.dropped_damaged, whole.dropped_objects), (3, 0, 0), "{whole:?}");
    let heads_bytes = read(&whole);
    assert!((3 * 64..3 * 256).contains(&heads_bytes), "{heads_bytes} bytes for three heads");
    cache.close().await.unwrap();

    let path = dir.path().join("seg-0000.esk");
    let mut bytes = std::fs::read(&path).unwrap();
    for marked in [&b"of the first"[..], b"of the second"] {
        let at = bytes.windows(marked.len()).position(|window| window == marked).unwrap();
        bytes[at] ^= 1;
    }
    std::fs::write(&path, bytes).unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    let report = cache.recovery_report();
    assert_eq!((report.objects_kept, report.dropped_damaged, report.dropped_objects), (1, 2, 2), "{report:?}");
    assert_eq!(report.dropped_chunks, 2 * 50_000u64.div_ceil(16_384), "{report:?}");
    assert_eq!(read(&report), heads_bytes);
    // Nothing is older than the second. The first stays until it is asked for, so that what it replaced stays dead.
    assert_eq!(report.entries_kept, 2, "{report:?}");
    for key in ["first", "second"] {
        assert!(cache.get(key).await.unwrap().is_none(), "{key}");
    }
    assert_eq!(cache.stats().entries, 1);
    assert!(*cache.get("third").await.unwrap().unwrap().value() == value(1, 50_000));
}
