//! Seeking: the end of a range is exclusive, and a reader may be sent on as often as one likes.

use crate::subject::{all, body, key, meta, read};

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_serves_one_range_after_the_other() {
    for subject in all().await {
        for len in [1000, 200_000] {
            let body = body(1, len);
            subject.fill("key", "ranges", &body).await;
            let (_, mut hit) = subject.find("key").await.unwrap();
            assert!(hit.can_seek() && hit.can_seek_multipart());
            for (start, end) in [(0, 1), (5, 5), (10, 20), (0, len), (len / 2, len + 50), (len - 1, len), (3, len / 2)]
            {
                hit.seek(start, Some(end)).unwrap();
                let part = read(&mut hit).await.unwrap();
                assert!(part == body[start..end.min(len)], "{start}..{end} of {len}, {}", subject.name);
                hit.seek_multipart(start, Some(end)).unwrap();
                assert!(read(&mut hit).await.unwrap() == part);
            }
            hit.seek(7, None).unwrap();
            assert!(hit.read_body().await.unwrap().is_some());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seek_in_the_middle_of_reading_forgets_what_was_not_read() {
    for subject in all().await {
        let body = body(1, 200_000);
        subject.fill("key", "ranges", &body).await;
        let (_, mut hit) = subject.find("key").await.unwrap();
        assert!(hit.read_body().await.unwrap().is_some());
        hit.seek(100_000, Some(100_010)).unwrap();
        assert!(read(&mut hit).await.unwrap() == body[100_000..100_010], "{}", subject.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_behind_the_end() {
    for subject in all().await {
        subject.fill("key", "ranges", &body(1, 100)).await;
        let (_, mut hit) = subject.find("key").await.unwrap();
        assert!(hit.seek(100, None).is_err(), "{}", subject.name);
        assert!(hit.seek(1000, Some(2000)).is_err());
        hit.seek(99, Some(100)).unwrap();
        assert_eq!(read(&mut hit).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_a_fill_may_seek_ahead_of_it() {
    for subject in all().await {
        let (key, body) = (key("key"), body(1, 200_000));
        let mut miss = subject.begin(&key, &meta("filling", Some(body.len()))).await;
        let mut own = subject.own_reader(&key, &miss).await;
        assert_eq!(own.can_seek(), subject.traits.seeks_in_fills, "{}", subject.name);
        if !own.can_seek() {
            assert!(own.seek(10, Some(20)).is_err());
            continue;
        }
        own.seek(150_000, Some(150_100)).unwrap();
        let reading = tokio::spawn(async move {
            let ahead = read(&mut own).await.unwrap();
            own.seek(10, Some(20)).unwrap();
            (ahead, read(&mut own).await.unwrap())
        });
        for piece in body.chunks(7_000) {
            miss.write_body(body.slice_ref(piece), false).await.unwrap();
        }
        miss.finish().await.unwrap();
        let (ahead, back) = reading.await.unwrap();
        assert!(ahead == body[150_000..150_100] && back == body[10..20]);
    }
}
