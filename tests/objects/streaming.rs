//! In and out, on every backend.

use std::io::SeekFrom;

use esker::{BackendKind, Durability, SetOptions, SetOutcome};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::{read_all, small, value, write};

#[tokio::test(flavor = "multi_thread")]
async fn any_length_comes_back_whole_in_parts_and_after_a_reopen() {
    for backend in [BackendKind::TokioFs, BackendKind::Auto] {
        let dir = tempfile::tempdir().unwrap();
        let builder = || small(dir.path()).backend(backend);
        let chunk = (16 << 10) - 52;
        // Up to more than a segment.
        let lens = [0, 1, 1000, chunk - 1, chunk, chunk + 1, 2 * chunk, 2 * chunk + 1, 100_000, 300_000, 1_000_000];
        let mut cache = builder().open().await.unwrap();
        for (n, len) in lens.into_iter().enumerate() {
            let outcome = write(&cache, &format!("key {n}"), &value(n as u64, len), 10_000).await;
            assert_eq!(outcome, SetOutcome::Stored { durability: Durability::Buffered });
        }
        for life in 0..3 {
            for (n, len) in lens.into_iter().enumerate() {
                let (key, value) = (format!("key {n}"), value(n as u64, len));
                let hit = cache.get(&key).await.unwrap().unwrap();
                assert!(*hit.value() == value, "{key} of {len} bytes in life {life}");
                assert!(cache.contains(&key).await.unwrap());
                let mut reader = cache.reader(&key).await.unwrap().unwrap();
                assert_eq!(reader.len_bytes(), Some(len as u64));
                assert!(read_all(&mut reader).await.unwrap() == value, "{key} of {len} bytes in life {life}");
                for (from, to) in [(0, 10), (chunk - 5, chunk + 5), (len / 2, len / 2 + 40_000), (len, len + 9), (7, 7)]
                {
                    let part = cache.get_range(&key, from as u64..to as u64).await.unwrap().unwrap();
                    let expected = value.slice(from.min(len)..to.min(len).max(from.min(len)));
                    assert!(*part.value() == expected, "{from}..{to} of {key} of {len} bytes in life {life}");
                    assert_eq!(part.len_bytes(), len as u64);
                }
            }
            // More than a chunk is an object.
            assert_eq!((cache.stats().entries, cache.stats().objects), (lens.len() as u64, 6));
            match life {
                0 => cache.close().await.unwrap(),
                _ => cache.flush().await.unwrap(),
            }
            drop(cache);
            cache = builder().open().await.unwrap();
            assert_eq!(cache.recovery_report().objects_kept, 6, "{:?}", cache.recovery_report());
            assert_eq!(cache.recovery_report().dropped_chunks, 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_larger_than_a_segment_is_set_and_got_in_one_piece() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    let value = value(1, 700_000);
    let options = SetOptions::new().metadata("meta").durability(Durability::Synced);
    let outcome = cache.set_with("key", value.clone(), options).await.unwrap();
    assert_eq!(outcome, SetOutcome::Stored { durability: Durability::Synced });
    let hit = cache.get("key").await.unwrap().unwrap();
    assert!(*hit.value() == value && hit.metadata() == "meta");
    // 43 chunks.
    assert_eq!((cache.stats().objects, cache.stats().objects_bytes), (1, 300 + 43 * 8));
    assert!(cache.delete("key").await.unwrap());
    assert!(cache.get("key").await.unwrap().is_none());
    assert_eq!((cache.stats().objects, cache.stats().objects_bytes, cache.stats().live_bytes), (0, 0, 0));
}

/// Around the length at which a value does not fit a segment any more, with what the segment needs besides.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_just_fits_a_segment_or_just_does_not_is_stored_either_way() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    for len in ((232 << 10)..(264 << 10)).step_by(509) {
        let value = value(len as u64, len);
        assert!(cache.set("key", value.clone()).await.unwrap().is_stored(), "{len} bytes");
        assert!(*cache.get("key").await.unwrap().unwrap().value() == value, "{len} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokios_traits_write_read_and_seek() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    let value = value(2, 200_000);
    let mut writer = cache.writer("key", SetOptions::new()).await.unwrap();
    tokio::io::copy(&mut &value[..], &mut writer).await.unwrap();
    writer.flush().await.unwrap();
    writer.shutdown().await.unwrap();
    assert_eq!(writer.written_bytes(), 200_000);
    assert!(cache.get("key").await.unwrap().is_none(), "it is not finished");
    assert!(writer.finish().await.unwrap().is_stored());

    let mut reader = cache.reader("key").await.unwrap().unwrap();
    let mut all = Vec::new();
    reader.read_to_end(&mut all).await.unwrap();
    assert!(all == value);
    assert_eq!(reader.stream_position().await.unwrap(), 200_000);
    for (to, at) in [
        (SeekFrom::Start(5), 5),
        (SeekFrom::End(-1000), 199_000),
        (SeekFrom::Current(-100_000), 99_300),
        (SeekFrom::Start(150_000), 150_000),
    ] {
        assert_eq!(reader.seek(to).await.unwrap(), at);
        let mut some = [0; 300];
        reader.read_exact(&mut some).await.unwrap();
        assert!(some[..] == value[at as usize..at as usize + 300], "{to:?}");
    }
    assert!(reader.seek(SeekFrom::Current(-1_000_000)).await.is_err());
    assert_eq!(reader.seek(SeekFrom::Start(1 << 40)).await.unwrap(), 1 << 40);
    assert_eq!(reader.read(&mut [0; 10]).await.unwrap(), 0);
}

/// The next call goes on where a dropped one was.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = small(dir.path()).open().await.unwrap();
    let value = value(3, 400_000);
    let mut writer = cache.writer("key", SetOptions::new()).await.unwrap();
    for piece in value.chunks(50_000) {
        let mut writing = std::pin::pin!(writer.write_bytes(value.slice_ref(piece)));
        let _ = futures_poll(writing.as_mut()).await;
    }
    assert!(writer.finish().await.unwrap().is_stored());
    let mut reader = cache.reader("key").await.unwrap().unwrap();
    let mut all = Vec::new();
    loop {
        let _ = futures_poll(std::pin::pin!(reader.next_bytes())).await.map(|read| {
            all.extend_from_slice(&read.unwrap().unwrap_or_default());
        });
        match reader.next_bytes().await.unwrap() {
            Some(bytes) => all.extend_from_slice(&bytes),
            None => break,
        }
    }
    assert!(all == value);
}

/// Polls once.
async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        std::task::Poll::Ready(out) => std::task::Poll::Ready(Some(out)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_replaced_and_the_value_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut cache = small(dir.path()).open().await.unwrap();
    let options = || SetOptions::new().metadata("old").ttl(std::time::Duration::from_secs(3600));
    assert_eq!(cache.set_metadata("large", "new", Durability::Buffered).await.unwrap(), None);
    cache.set_with("small", "value", options()).await.unwrap();
    let value = value(4, 100_000);
    let mut writer = cache.writer("large", options()).await.unwrap();
    writer.write_bytes(value.clone()).await.unwrap();
    assert!(writer.finish().await.unwrap().is_stored());
    let before = cache.get("large").await.unwrap().unwrap();
    for key in ["small", "large"] {
        let outcome = cache.set_metadata(key, "new", Durability::Written).await.unwrap();
        assert_eq!(outcome, Some(SetOutcome::Stored { durability: Durability::Written }));
    }
    for life in 0..2 {
        let hit = cache.get("small").await.unwrap().unwrap();
        assert_eq!((&hit.value()[..], &hit.metadata()[..]), (&b"value"[..], &b"new"[..]), "life {life}");
        let hit = cache.get("large").await.unwrap().unwrap();
        assert!(*hit.value() == value && hit.metadata() == "new", "life {life}");
        assert_eq!(hit.expires_at(), before.expires_at());
        assert!(hit.sequence() > before.sequence());
        assert_eq!((cache.stats().entries, cache.stats().objects), (2, 1));
        cache.close().await.unwrap();
        cache = small(dir.path()).open().await.unwrap();
    }
    assert!(cache.delete("large").await.unwrap());
    assert_eq!(cache.set_metadata("large", "new", Durability::Buffered).await.unwrap(), None);
    assert!(cache.stats().live_bytes < 200, "{:?}", cache.stats());
}
