//! Purge and expire, active and exact.

use pingora_cache::storage::{PurgeOutcome, PurgeTarget};
use pingora_cache::{CacheEntryId, CacheEntryKey};

use crate::subject::{all, body, key, label, meta, now, panics, read, trace};

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_entry_is_gone_and_its_id_is_told() {
    for subject in all().await {
        assert_eq!(subject.purge_active("key").await, PurgeOutcome::NotFound);
        for len in [100, 100_000] {
            subject.fill("key", "old", &body(1, len)).await;
            subject.fill("other", "other", &body(1, len)).await;
            let id = subject.find("key").await.unwrap().1.entry_id();
            assert_eq!(subject.purge_active("key").await, PurgeOutcome::Purged(id), "{}", subject.name);
            assert!(subject.find("key").await.is_none() && subject.find("other").await.is_some());
            assert_eq!(subject.purge_active("key").await, PurgeOutcome::NotFound);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exact_purge_meets_only_its_version() {
    for subject in all().await {
        let compact = key("key").to_compact();
        subject.fill("key", "old", &body(1, 50_000)).await;
        let old = subject.find("key").await.unwrap().1.entry_id();
        subject.fill("key", "new", &body(2, 50_000)).await;
        let new = subject.find("key").await.unwrap().1.entry_id();
        let exact = |id| CacheEntryKey::from_entry_id(compact.clone(), id);
        let absent = exact(Some(CacheEntryId::new(12_345)));
        assert_eq!(subject.purge(PurgeTarget::Exact(&absent)).await, PurgeOutcome::NotFound);
        assert!(subject.find("key").await.is_some());
        if subject.traits.has_entry_ids {
            for other in [exact(old), exact(None)] {
                assert_eq!(subject.purge(PurgeTarget::Exact(&other)).await, PurgeOutcome::NotFound, "{other}");
                assert_eq!(label(&subject.find("key").await.unwrap().0), "new");
            }
        }
        let gone = subject.purge(PurgeTarget::Exact(&exact(new))).await;
        assert!(matches!(gone, PurgeOutcome::Purged(_)), "{}", subject.name);
        assert!(subject.find("key").await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_what_is_purged_reads_on() {
    for subject in all().await {
        let body = body(1, 300_000);
        subject.fill("key", "old", &body).await;
        let (_, mut hit) = subject.find("key").await.unwrap();
        let first = hit.read_body().await.unwrap().unwrap();
        subject.purge_active("key").await;
        let rest = read(&mut hit).await.unwrap();
        assert!([&first[..], &rest[..]].concat() == body, "{}", subject.name);
    }
}

/// What was fetched before a purge must not be served after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_meets_what_is_being_filled() {
    for subject in all().await {
        let (key, body) = (key("key"), body(1, 100_000));
        let mut miss = subject.begin(&key, &meta("old", None)).await;
        let mut own = subject.own_reader(&key, &miss).await;
        miss.write_body(body.slice(..50_000), false).await.unwrap();
        let id = miss.entry_id();
        assert_eq!(subject.purge_active("key").await, PurgeOutcome::Purged(id), "{}", subject.name);
        assert!(subject.lookup(&key).await.is_none(), "a fill that was purged is not found");
        if !subject.traits.purges_fills {
            assert!(panics(miss.finish()).await);
            continue;
        }
        // Another one begins, and is found.
        subject.fill("key", "new", &body).await;
        assert_eq!(label(&subject.lookup(&key).await.unwrap().0), "new");
        let reading = tokio::spawn(async move { read(&mut own).await.unwrap() });
        miss.write_body(body.slice(50_000..), true).await.unwrap();
        miss.finish().await.unwrap();
        assert!(reading.await.unwrap() == body, "who follows it is served to the end");
        let found = subject.lookup(&key).await.map(|(meta, _)| label(&meta));
        assert_ne!(found.as_deref(), Some("old"), "what was purged came back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_entry_is_stale_and_its_body_stays() {
    for subject in all().await {
        let expire = |primary: &str| {
            let compact = key(primary).to_compact();
            async move { subject.storage.expire(PurgeTarget::Active(&compact), &trace()).await.unwrap() }
        };
        assert_eq!(expire("key").await, PurgeOutcome::NotFound);
        for len in [100, 100_000] {
            let body = body(1, len);
            subject.fill("key", "label", &body).await;
            let before = subject.find("key").await.unwrap();
            assert!(before.0.is_fresh(now()));
            assert_eq!(expire("key").await, PurgeOutcome::Expired, "{}", subject.name);
            let (found, mut hit) = subject.find("key").await.unwrap();
            assert!(!found.is_fresh(now() + std::time::Duration::from_millis(20)));
            assert_eq!((label(&found), hit.entry_id()), ("label".to_owned(), before.1.entry_id()));
            assert!(read(&mut hit).await.unwrap() == body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exact_expire_meets_only_its_version() {
    for subject in all().await {
        subject.fill("key", "label", &body(1, 100)).await;
        let id = subject.find("key").await.unwrap().1.entry_id();
        let absent = CacheEntryKey::identified(key("key").to_compact(), CacheEntryId::new(1));
        let expired = subject.storage.expire(PurgeTarget::Exact(&absent), &trace()).await.unwrap();
        assert_eq!(expired, PurgeOutcome::NotFound);
        assert!(subject.find("key").await.unwrap().0.is_fresh(now()));
        let exact = CacheEntryKey::from_entry_id(key("key").to_compact(), id);
        let expired = subject.storage.expire(PurgeTarget::Exact(&exact), &trace()).await.unwrap();
        assert_eq!(expired, PurgeOutcome::Expired, "{}", subject.name);
    }
}
