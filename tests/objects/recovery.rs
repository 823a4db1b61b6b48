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
    std::mem::forget(writer);
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
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
