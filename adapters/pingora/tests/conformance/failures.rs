//! Fills that come to nothing, and questions without an answer.

use pingora_cache::CacheKey;

use crate::subject::{all, body, key, label, meta, panics, read, trace};

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_that_is_given_up_leaves_what_was_there() {
    for subject in all().await {
        let old = body(1, 50_000);
        subject.fill("key", "old", &old).await;
        let mut miss = subject.begin(&key("key"), &meta("new", None)).await;
        miss.write_body(body(2, 100_000), false).await.unwrap();
        drop(miss);
        let (found, mut hit) = subject.find("key").await.unwrap();
        assert_eq!(label(&found), "old");
        assert!(read(&mut hit).await.unwrap() == old, "{}", subject.name);
        drop(subject.begin(&key("other"), &meta("new", None)).await);
        assert!(subject.find("other").await.is_none());
    }
}

/// The trap of traps: a body that was cut short must not look whole.
#[tokio::test(flavor = "multi_thread")]
async fn who_follows_a_fill_that_is_given_up_is_told() {
    for subject in all().await {
        for len in [10, 100_000] {
            let (key, body) = (key("key"), body(1, len));
            let mut miss = subject.begin(&key, &meta("filling", None)).await;
            let mut own = subject.own_reader(&key, &miss).await;
            let (_, mut other) = subject.lookup(&key).await.unwrap();
            miss.write_body(body.clone(), false).await.unwrap();
            let reading = tokio::spawn(async move { (read(&mut own).await, read(&mut other).await) });
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            drop(miss);
            let (own, other) = reading.await.unwrap();
            let (own, other) = (own.is_err(), other.is_err());
            assert_eq!((own, other), (subject.traits.tells_of_given_up_fills, own), "{} of {len}", subject.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_shorter_than_its_header_says_is_not_stored() {
    for subject in all().await {
        let mut miss = subject.begin(&key("key"), &meta("short", Some(100))).await;
        miss.write_body(body(1, 99), true).await.unwrap();
        assert_eq!(miss.finish().await.is_err(), subject.traits.checks_lengths, "{}", subject.name);
        assert_eq!(subject.find("key").await.is_none(), subject.traits.checks_lengths);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_names_its_own_fill_or_nothing() {
    for subject in all().await {
        let (storage, key) = (subject.storage, key("key"));
        let misses_unknown_tags = subject.traits.misses_unknown_tags;
        for tag in [&12_345_u64.to_be_bytes()[..], b"short"] {
            let tag = tag.to_vec();
            let asked = key.clone();
            let look = async move { storage.lookup_streaming_write(&asked, Some(&tag), &trace()).await.unwrap() };
            match misses_unknown_tags {
                true => assert!(look.await.is_none()),
                false => assert!(panics(look).await),
            }
        }
        // Of a fill that is done the entry is found, as long as it is that one.
        if misses_unknown_tags {
            let mut miss = subject.begin(&key, &meta("first", None)).await;
            let tag = miss.streaming_write_tag().unwrap().to_vec();
            miss.write_body(body(1, 10), true).await.unwrap();
            miss.finish().await.unwrap();
            let found = storage.lookup_streaming_write(&key, Some(&tag), &trace()).await.unwrap();
            assert_eq!(label(&found.unwrap().0), "first");
            subject.fill("key", "second", &body(2, 10)).await;
            assert!(storage.lookup_streaming_write(&key, Some(&tag), &trace()).await.unwrap().is_none());
        }
    }
}

/// Stands for two keys with one hash.
#[tokio::test(flavor = "multi_thread")]
async fn another_key_with_the_same_hash_is_a_miss() {
    use pingora_cache::key::CacheHashKey;
    for subject in all().await {
        let victim = key("victim");
        let mut other = CacheKey::new("attacker", "");
        other.set_primary_bin_override(victim.primary_bin());
        let mut miss = subject.begin(&other, &meta("attacker", None)).await;
        miss.write_body(body(1, 10), true).await.unwrap();
        miss.finish().await.unwrap();
        assert!(subject.lookup(&other).await.is_some());
        assert_eq!(subject.lookup(&victim).await.is_none(), subject.traits.compares_keys, "{}", subject.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_behind_the_end_is_an_error() {
    for subject in all().await {
        let key = key("key");
        let mut miss = subject.begin(&key, &meta("end", None)).await;
        miss.write_body(body(1, 10), true).await.unwrap();
        let more = async move { miss.write_body(body(1, 10), false).await };
        // Pingora's own storage panics.
        assert_ne!(tokio::spawn(more).await.map(|written| written.is_ok()).ok(), Some(true), "{}", subject.name);
    }
}
