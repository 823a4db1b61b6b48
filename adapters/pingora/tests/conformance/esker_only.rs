//! What only a storage on disk can promise.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use esker::clock::ManualClock;
use esker::{Config, Millis};
use esker_pingora::EskerStorage;
use pingora_cache::CacheEntryKey;
use pingora_cache::storage::{PurgeOutcome, PurgeTarget, Storage};

use crate::subject::{ESKER, body, config, key, label, meta, now, open, open_with_clock, panics, read, trace};

async fn fill(storage: &'static EskerStorage, primary: &str, label: &str, len: usize) {
    let mut miss = storage.get_miss_handler(&key(primary), &meta(label, Some(len)), &trace()).await.unwrap();
    miss.write_body(body(label.len() as u8, len), true).await.unwrap();
    miss.finish().await.unwrap();
}

async fn find(storage: &'static EskerStorage, primary: &str) -> Option<String> {
    let (meta, mut hit) = storage.lookup(&key(primary), &trace()).await.unwrap()?;
    let (label, len) = (label(&meta), hit.get_eviction_weight());
    assert!(read(&mut hit).await.unwrap() == body(label.len() as u8, len), "{primary}");
    Some(label)
}

async fn reopen(storage: &'static EskerStorage, dir: &Path) -> &'static EskerStorage {
    storage.close().await.unwrap();
    open(dir, config()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_ids_and_metas_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path(), config()).await;
    for (name, len) in [("small", 100), ("large", 300_000)] {
        fill(storage, name, "old", len).await;
        assert!(storage.update_meta(&key(name), &meta("new", Some(len)), &trace()).await.unwrap());
    }
    let id = storage.lookup(&key("large"), &trace()).await.unwrap().unwrap().1.entry_id();
    let storage = reopen(storage, dir.path()).await;
    assert_eq!((find(storage, "small").await, find(storage, "large").await), (Some("new".into()), Some("new".into())));
    let exact = CacheEntryKey::from_entry_id(key("large").to_compact(), id);
    let gone = storage.purge(PurgeTarget::Exact(&exact), pingora_cache::PurgeType::Eviction, &trace()).await.unwrap();
    assert_eq!(gone, PurgeOutcome::Purged(id));
    let storage = reopen(storage, dir.path()).await;
    assert_eq!((find(storage, "small").await, find(storage, "large").await), (Some("new".into()), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_is_purged_in_this_life_and_in_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut storage = open(dir.path(), config()).await;
    let names = |host: &str| (0..40).map(|n| format!("{host}/images/{n}")).collect::<Vec<_>>();
    for restart in [false, true] {
        for (n, name) in [names("a"), names("b")].concat().iter().enumerate() {
            fill(storage, name, "label", if n % 2 == 0 { 100 } else { 40_000 }).await;
        }
        if restart {
            storage = reopen(storage, dir.path()).await;
            assert_eq!(storage.names(), 0);
        }
        assert_eq!(storage.purge_prefix("a/im").await.unwrap(), 40);
        assert_eq!(storage.purge_prefix("a/im").await.unwrap(), 0);
        for (a, b) in names("a").iter().zip(&names("b")) {
            assert_eq!((find(storage, a).await, find(storage, b).await), (None, Some("label".into())));
        }
        assert_eq!(storage.names(), 40);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_meets_what_is_being_filled_and_variants() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path(), config()).await;
    let mut variant = key("a/1");
    variant.set_variance_key([7; 16]);
    for key in [&key("a/1"), &variant] {
        let mut miss = storage.get_miss_handler(key, &meta("v", None), &trace()).await.unwrap();
        miss.write_body(body(1, 10), true).await.unwrap();
        miss.finish().await.unwrap();
    }
    let mut miss = storage.get_miss_handler(&key("a/2"), &meta("filling", None), &trace()).await.unwrap();
    miss.write_body(body(1, 10), true).await.unwrap();
    assert_eq!(storage.purge_prefix("a/").await.unwrap(), 3);
    miss.finish().await.unwrap();
    for key in [&key("a/1"), &variant, &key("a/2")] {
        assert!(storage.lookup(key, &trace()).await.unwrap().is_none());
    }
    assert_eq!(storage.counts().fills_purged, 1);
}

/// More than fits: names of what was evicted do not pile up, and names of what is there are all there.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_knows_what_is_there_and_forgets_what_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path(), config()).await;
    for n in 0..1500 {
        fill(storage, &format!("a/{n}"), "label", 20_000).await;
    }
    let count = async |storage: &'static EskerStorage| {
        let mut found = 0;
        for n in 0..1500 {
            found += u64::from(find(storage, &format!("a/{n}")).await.is_some());
        }
        found
    };
    let found = count(storage).await;
    assert!((1..1000).contains(&found), "{found} entries: eviction was to happen");
    assert_eq!(storage.names(), 1500);
    // A segment holds 51 of them: of that which is being emptied, names may be left.
    let names = storage.reindex().await.unwrap();
    assert!((found..found + 51).contains(&names), "{names} names of {found} entries");
    let storage = reopen(storage, dir.path()).await;
    let found = count(storage).await;
    assert_eq!(storage.reindex().await.unwrap(), found);
    // Deletes are records too: for their sake the oldest entries are evicted, before their turn comes.
    let purged = storage.purge_prefix("a/").await.unwrap();
    assert!((found - 102..=found).contains(&purged), "{purged} of {found}");
    assert_eq!(count(storage).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_or_not_readable_is_a_miss() {
    use pingora_cache::key::CacheHashKey;
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path(), config()).await;
    let hash = key("key").combined_bin();
    for metadata in [&b""[..], b"EPG1", b"EPG1 and something that is none of ours, long enough", b"garbage"] {
        let options = esker::SetOptions::new().metadata(metadata.to_vec());
        storage.cache().set_with(hash, body(1, 10), options).await.unwrap();
        assert!(storage.lookup(&key("key"), &trace()).await.unwrap().is_none());
        assert!(!storage.update_meta(&key("key"), &meta("new", None), &trace()).await.unwrap());
        let compact = key("key").to_compact();
        let target = PurgeTarget::Active(&compact);
        assert_eq!(storage.expire(target, &trace()).await.unwrap(), PurgeOutcome::NotFound);
        let purged = storage.purge(target, pingora_cache::PurgeType::Invalidation, &trace()).await.unwrap();
        assert_eq!(purged, PurgeOutcome::NotFound);
        assert!(!storage.cache().contains(hash).await.unwrap(), "a purge removes it all the same");
    }
    assert_eq!(storage.counts().misses_unusable, 4);
    assert_eq!(storage.reindex().await.unwrap(), 0);
}

/// The disk refuses a body: too large for it, say. The client that caused the fill is served all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_cache_refuses_is_served_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path(), Config { max_value_bytes: Some(100_000), ..config() }).await;
    // In one record, in chunks, and more than is kept in memory for a client that keeps up.
    for len in [150_000, 400_000, 5_000_000] {
        let (key, body) = (key("key"), body(1, len));
        let mut miss = storage.get_miss_handler(&key, &meta("large", Some(len)), &trace()).await.unwrap();
        let tag = miss.streaming_write_tag().map(<[u8]>::to_vec);
        let (_, mut own) = storage.lookup_streaming_write(&key, tag.as_deref(), &trace()).await.unwrap().unwrap();
        let mut got = Vec::new();
        for piece in body.chunks(30_000) {
            miss.write_body(body.slice_ref(piece), false).await.unwrap();
            while got.len() + 60_000 < len && got.len() < piece.as_ptr() as usize - body.as_ptr() as usize {
                got.extend_from_slice(&own.read_body().await.unwrap().unwrap());
            }
        }
        assert!(matches!(miss.finish().await.unwrap(), pingora_cache::storage::MissFinishType::Created(0)));
        got.extend_from_slice(&read(&mut own).await.unwrap());
        assert!(got == body, "{len}");
        assert!(storage.lookup(&key, &trace()).await.unwrap().is_none());
    }
    let counts = storage.counts();
    assert_eq!((counts.fills_refused, counts.relayed, counts.fills_stored), (3, 3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_goes_when_it_is_of_no_use_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let clock =
        Arc::new(ManualClock::new(Millis(now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64)));
    let storage = open_with_clock(dir.path(), clock.clone(), Duration::from_secs(100)).await;
    fill(storage, "key", "label", 100).await;
    // Fresh for 60 s, of use for 7 s more, kept for 100 s.
    clock.advance(160_000);
    assert!(find(storage, "key").await.is_some());
    clock.advance(10_000);
    assert!(find(storage, "key").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_cache_misses_and_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path(), config()).await;
    fill(storage, "key", "label", 100).await;
    storage.close().await.unwrap();
    assert!(storage.lookup(&key("key"), &trace()).await.unwrap().is_none());
    assert!(storage.get_miss_handler(&key("key"), &meta("new", None), &trace()).await.is_err());
    assert_eq!((storage.counts().misses_failed, ESKER.has_entry_ids), (1, true));
}

/// Headers that no entry can hold: pingora serves them without the cache.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_does_not_fit_is_an_error_before_the_fill() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path(), config()).await;
    let long = key(&"x".repeat(70_000));
    assert!(storage.get_miss_handler(&long, &meta("new", None), &trace()).await.is_err());
    assert!(!panics(async move { storage.lookup(&long, &trace()).await.unwrap().is_none() }).await);
    assert_eq!((storage.counts().fills, storage.names()), (0, 0));
}
