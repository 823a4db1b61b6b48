//! What goes in comes out: after it, and while it goes in.

use crate::subject::{all, body, key, label, meta, read};

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_entry_is_found_with_its_meta_and_body() {
    for subject in all().await {
        assert!(subject.find("absent").await.is_none());
        for (n, len) in [1, 1000, 16_000, 40_000, 1_500_000].into_iter().enumerate() {
            let (name, body) = (format!("{len}"), body(n as u8, len));
            subject.fill(&name, "first", &body).await;
            for _ in 0..2 {
                let (found, mut hit) = subject.find(&name).await.unwrap();
                let given = meta("first", Some(len));
                assert_eq!(label(&found), "first");
                assert_eq!(found.headers().get_all("set-thing").iter().count(), 2);
                assert_eq!((found.stale_while_revalidate_sec(), found.stale_if_error_sec()), (5, 7));
                assert!(found.fresh_until() <= given.fresh_until() && found.is_fresh(crate::subject::now()));
                assert!(hit.should_count_access() && hit.get_eviction_weight() == len);
                assert!(read(&mut hit).await.unwrap() == body, "{} of {len}", subject.name);
                assert!(hit.read_body().await.unwrap().is_none(), "the end stays the end");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_body_is_an_entry() {
    for subject in all().await {
        let mut miss = subject.begin(&key("empty"), &meta("empty", Some(0))).await;
        miss.write_body(bytes::Bytes::new(), true).await.unwrap();
        miss.finish().await.unwrap();
        let (found, mut hit) = subject.find("empty").await.unwrap();
        assert_eq!(label(&found), "empty");
        // Pieces may be empty, the whole is.
        assert!(read(&mut hit).await.unwrap().is_empty(), "{}", subject.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_body_replaces_the_old_one_and_who_reads_the_old_one_reads_on() {
    for subject in all().await {
        let (old, new) = (body(1, 300_000), body(2, 200_000));
        subject.fill("key", "old", &old).await;
        let (_, mut reading) = subject.find("key").await.unwrap();
        let first = reading.read_body().await.unwrap().unwrap();
        subject.fill("key", "new", &new).await;
        let (found, mut hit) = subject.find("key").await.unwrap();
        assert_eq!(label(&found), "new");
        assert!(read(&mut hit).await.unwrap() == new);
        let rest = read(&mut reading).await.unwrap();
        assert!([&first[..], &rest[..]].concat() == old, "{}", subject.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn variants_of_a_key_are_entries_of_their_own() {
    for subject in all().await {
        let mut variant = key("key");
        variant.set_variance_key([7; 16]);
        subject.fill("key", "primary", &body(1, 100)).await;
        assert!(subject.lookup(&variant).await.is_none());
        let mut miss = subject.begin(&variant, &meta("variant", None)).await;
        miss.write_body(body(2, 100), true).await.unwrap();
        miss.finish().await.unwrap();
        assert_eq!(label(&subject.lookup(&variant).await.unwrap().0), "variant");
        assert_eq!(label(&subject.find("key").await.unwrap().0), "primary");
    }
}

/// The proxy's way on a miss: it begins the fill, finds it by its tag, and serves its client from there.
#[tokio::test(flavor = "multi_thread")]
async fn a_fill_under_way_is_found_by_its_tag_and_by_its_key() {
    for subject in all().await {
        assert!(subject.storage.support_streaming_partial_write());
        let (key, body) = (key("key"), body(3, 100_000));
        let mut miss = subject.begin(&key, &meta("filling", None)).await;
        let mut own = subject.own_reader(&key, &miss).await;
        let (found, mut other) = subject.lookup(&key).await.expect("found while it is filled");
        assert_eq!((label(&found), other.should_count_access()), ("filling".to_owned(), false));
        assert_eq!(other.get_eviction_weight(), 0);
        miss.write_body(body.slice(..30_000), false).await.unwrap();
        let mut early = Vec::new();
        while early.len() < 30_000 {
            early.extend_from_slice(&own.read_body().await.unwrap().unwrap());
        }
        assert!(early == body[..30_000], "{}: readable before it is finished", subject.name);
        let reading = tokio::spawn(async move { (read(&mut own).await.unwrap(), read(&mut other).await.unwrap()) });
        miss.write_body(body.slice(30_000..), true).await.unwrap();
        miss.finish().await.unwrap();
        let (rest, all) = reading.await.unwrap();
        assert!(rest == body[30_000..] && all == body, "{}", subject.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_waits_for_the_end() {
    for subject in all().await {
        let key = key("key");
        let mut miss = subject.begin(&key, &meta("filling", None)).await;
        let mut own = subject.own_reader(&key, &miss).await;
        miss.write_body(body(1, 10), true).await.unwrap();
        assert_eq!(own.read_body().await.unwrap().unwrap(), body(1, 10));
        let end = tokio::time::timeout(std::time::Duration::from_millis(50), own.read_body()).await;
        assert_eq!(end.is_ok(), subject.traits.ends_at_eof, "{}", subject.name);
        miss.finish().await.unwrap();
        assert!(own.read_body().await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_tell_versions_apart_and_are_those_of_the_entry() {
    for subject in all().await {
        let key = key("key");
        let mut ids = Vec::new();
        for n in 0..3 {
            let mut miss = subject.begin(&key, &meta("id", None)).await;
            let id = miss.entry_id();
            assert_eq!(id.is_some(), subject.traits.has_entry_ids, "{}", subject.name);
            assert_eq!(subject.own_reader(&key, &miss).await.entry_id(), id);
            miss.write_body(body(n, 50_000), true).await.unwrap();
            miss.finish().await.unwrap();
            assert_eq!(subject.lookup(&key).await.unwrap().1.entry_id(), id);
            ids.push(id);
        }
        if subject.traits.has_entry_ids {
            assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
        }
    }
}
