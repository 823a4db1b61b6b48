//! Readers of a value whose writer is not done.

use std::time::Duration;

use esker::{Error, SetOptions};

use super::{read_all, small, value, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_readers_follow_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    let value = value(1, 500_000);
    let mut writer = cache.writer("key", SetOptions::new().metadata("meta")).await.unwrap();
    let mut readers = tokio::task::JoinSet::new();
    for (n, piece) in value.chunks(5_000).enumerate() {
        let mut reader =
            if n % 2 == 0 { writer.reader() } else { cache.reader_attached("key").await.unwrap().unwrap() };
        assert_eq!((reader.len_bytes(), &reader.metadata()[..]), (None, &b"meta"[..]));
        readers.spawn(async move { read_all(&mut reader).await });
        writer.write_bytes(value.slice_ref(piece)).await.unwrap();
    }
    assert!(writer.finish().await.unwrap().is_stored());
    while let Some(read) = readers.join_next().await {
        assert!(read.unwrap().unwrap() == value);
    }
}

/// What is in memory only is seen too: a slow origin's readers do not wait for a chunk to fill.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_seen_at_once_and_may_be_sought() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(dir.path()).attach_to_writers(true).open().await.unwrap();
    let value = value(2, 100_000);
    let mut writer = cache.writer("key", SetOptions::new()).await.unwrap();
    let mut reader = cache.reader("key").await.unwrap().unwrap();
    writer.write_bytes(value.slice(..10)).await.unwrap();
    assert_eq!(reader.next_bytes().await.unwrap().unwrap(), value.slice(..10));
    writer.write_bytes(value.slice(10..50_000)).await.unwrap();
    for at in [0, 20_000, 49_999, 3] {
        reader.seek_to(at);
        let bytes = reader.next_bytes().await.unwrap().unwrap();
        assert!(value.slice(at as usize..).starts_with(&bytes) && !bytes.is_empty(), "from {at}");
    }
    // Behind what is there: it waits.
    reader.seek_to(60_000);
    assert!(tokio::time::timeout(Duration::from_millis(20), reader.next_bytes()).await.is_err());
    writer.write_bytes(value.slice(50_000..)).await.unwrap();
    assert!(value.slice(60_000..).starts_with(&reader.next_bytes().await.unwrap().unwrap()));
    reader.seek_to(200_000);
    assert!(writer.finish().await.unwrap().is_stored());
    assert_eq!(reader.next_bytes().await.unwrap(), None);
    assert_eq!(reader.len_bytes(), Some(100_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_gives_up_says_so_to_its_readers_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    cache.set("key", "old").await.unwrap();
    let live = cache.stats().live_bytes;
    for len in [1000, 100_000] {
        let mut writer = cache.writer("key", SetOptions::new()).await.unwrap();
        let mut reader = writer.reader();
        writer.write_bytes(value(3, len)).await.unwrap();
        drop(writer);
        assert!(matches!(read_all(&mut reader).await, Err(Error::Aborted)));
        assert_eq!(cache.get("key").await.unwrap().unwrap().value(), "old");
    }
    let stats = cache.stats();
    assert_eq!((stats.live_bytes, stats.counts.writers_aborted, stats.objects), (live, 2, 0));
    assert!(cache.reader_attached("key").await.unwrap().unwrap().len_bytes() == Some(3), "nobody writes any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_writers_the_last_to_finish_wins_and_readers_see_no_mix() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    let (one, two) = (value(4, 150_000), value(5, 120_000));
    let mut first = cache.writer("key", SetOptions::new()).await.unwrap();
    let mut second = cache.writer("key", SetOptions::new()).await.unwrap();
    let (mut of_first, mut of_second) = (first.reader(), second.reader());
    for (a, b) in one.chunks(10_000).zip(two.chunks(8_000)) {
        first.write_bytes(one.slice_ref(a)).await.unwrap();
        second.write_bytes(two.slice_ref(b)).await.unwrap();
    }
    assert!(second.finish().await.unwrap().is_stored());
    let mut of_entry = cache.reader("key").await.unwrap().unwrap();
    assert!(cache.get("key").await.unwrap().unwrap().value() == &two);
    assert!(first.finish().await.unwrap().is_stored());
    assert!(cache.get("key").await.unwrap().unwrap().value() == &one);
    assert!(read_all(&mut of_first).await.unwrap() == one);
    assert!(read_all(&mut of_second).await.unwrap() == two);
    assert!(read_all(&mut of_entry).await.unwrap() == two, "it is the version that was there");
    assert_eq!(cache.stats().objects, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_ends_what_is_being_written() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    assert!(write(&cache, "whole", &value(6, 100_000), 9_999).await.is_stored());
    let mut writer = cache.writer("key", SetOptions::new()).await.unwrap();
    let mut reader = writer.reader();
    writer.write_bytes(value(7, 100_000)).await.unwrap();
    cache.clear().await.unwrap();
    assert!(matches!(read_all(&mut reader).await, Err(Error::Evicted)));
    writer.write_bytes(value(7, 100_000)).await.unwrap();
    assert!(writer.is_refused());
    assert_eq!(writer.finish().await.unwrap(), esker::SetOutcome::Refused { reason: esker::RefuseReason::Evicted });
    assert!(cache.get("key").await.unwrap().is_none() && cache.get("whole").await.unwrap().is_none());
    assert_eq!((cache.stats().live_bytes, cache.stats().objects), (0, 0));
}

/// What came before the clear was forgotten, what came after it is not the value.
#[tokio::test(flavor = "multi_thread")]
async fn a_clear_in_the_middle_of_a_short_value_leaves_no_half_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    let mut writer = cache.writer("key", SetOptions::new()).await.unwrap();
    writer.write_bytes(value(1, 1000)).await.unwrap();
    cache.clear().await.unwrap();
    writer.write_bytes(value(2, 1000)).await.unwrap();
    assert_eq!(writer.finish().await.unwrap(), esker::SetOutcome::Refused { reason: esker::RefuseReason::Evicted });
    assert!(cache.get("key").await.unwrap().is_none());
}
