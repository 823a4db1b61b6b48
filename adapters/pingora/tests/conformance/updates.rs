//! `update_meta`: what a revalidation does.

use pingora_cache::CacheMeta;

use crate::subject::{all, body, key, label, meta, panics, read, trace};

/// What pingora makes of the meta of a hit and of a 304: a new meta with the extensions of the old one.
fn revalidated(old: CacheMeta, label: &str) -> CacheMeta {
    let mut new = meta(label, None);
    new.extensions_mut().extend(old.extensions().clone());
    new
}

#[tokio::test(flavor = "multi_thread")]
async fn the_meta_is_replaced_and_the_body_stays() {
    for subject in all().await {
        for len in [100, 100_000] {
            let body = body(1, len);
            subject.fill("key", "old", &body).await;
            let (old, hit) = subject.find("key").await.unwrap();
            let id = hit.entry_id();
            for round in ["new", "newer"] {
                let new = revalidated(meta(round, None), round);
                assert!(subject.storage.update_meta(&key("key"), &new, &trace()).await.unwrap(), "{}", subject.name);
            }
            let last = revalidated(old, "newest");
            assert!(subject.storage.update_meta(&key("key"), &last, &trace()).await.unwrap());
            let (found, mut hit) = subject.find("key").await.unwrap();
            assert_eq!((label(&found), hit.entry_id()), ("newest".to_owned(), id));
            assert!(read(&mut hit).await.unwrap() == body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_key_has_no_meta_to_replace() {
    for subject in all().await {
        let storage = subject.storage;
        let update = async move { storage.update_meta(&key("absent"), &meta("new", None), &trace()).await };
        match subject.traits.updates_absent {
            true => assert!(!update.await.unwrap()),
            false => assert!(panics(update).await),
        }
        assert!(subject.find("absent").await.is_none());
    }
}

/// A body never gets another body's header.
#[tokio::test(flavor = "multi_thread")]
async fn a_meta_goes_only_to_the_version_that_was_revalidated() {
    for subject in all().await {
        subject.fill("key", "old", &body(1, 100)).await;
        let (old, _) = subject.find("key").await.unwrap();
        subject.fill("key", "new", &body(2, 200)).await;
        let late = revalidated(old, "late");
        let is_updated = subject.storage.update_meta(&key("key"), &late, &trace()).await.unwrap();
        assert_eq!(is_updated, !subject.traits.updates_only_its_version, "{}", subject.name);
        let expected = if subject.traits.updates_only_its_version { "new" } else { "late" };
        assert_eq!(label(&subject.find("key").await.unwrap().0), expected);
    }
}
