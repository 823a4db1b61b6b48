//! What a write does to the origin and to the cache, and what a get shows meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use esker::backend::sim::Sim;
use esker::{BackendKind, DiskCache, Error, FetchOptions, OriginCache, SetOptions, SetOutcome, Source, WriteMode};

use super::common::small;
use super::{Mock, eventually};

const BOTH: [WriteMode; 2] = [WriteMode::Around, WriteMode::Through];

async fn on_sim(origin: &Arc<Mock>, mode: WriteMode) -> OriginCache {
    let backend = Arc::new(Sim::new(1));
    let cache = DiskCache::builder("/cache").config(small(16)).backend_with(backend).open().await.unwrap();
    cache.with_origin(origin.clone(), mode, FetchOptions::new())
}

/// What a get shows, and where it was found.
async fn shown(cache: &OriginCache, key: &str) -> Option<(String, Source)> {
    let hit = cache.get(key).await.unwrap()?;
    Some((String::from_utf8(hit.value().to_vec()).unwrap(), hit.source()))
}

fn value(shown: Option<(String, Source)>) -> Option<String> {
    shown.map(|(value, _)| value)
}

async fn writes_and_reads(cache: &OriginCache, origin: &Mock, mode: WriteMode) {
    let stored = cache.set_with("key", "v1", SetOptions::new().metadata("m1")).await.unwrap();
    assert_eq!(stored.is_some_and(|outcome| outcome.is_stored()), mode == WriteMode::Through);
    assert_eq!(origin.has("key").unwrap(), "v1");
    assert_eq!(cache.cache().contains("key").await.unwrap(), mode == WriteMode::Through);
    let loads = u64::from(mode == WriteMode::Around);
    for n in 0..3 {
        let hit = cache.get("key").await.unwrap().unwrap();
        assert_eq!((&hit.value()[..], &hit.metadata()[..]), (&b"v1"[..], &b"m1"[..]));
        assert_eq!((hit.source() == Source::Fetched, origin.loads()), (n == 0 && loads == 1, loads));
    }
    cache.set("key", "v2").await.unwrap();
    assert_eq!((value(shown(cache, "key").await).unwrap(), origin.has("key").unwrap()), ("v2".into(), "v2".into()));
    cache.delete("key").await.unwrap();
    assert_eq!((shown(cache, "key").await, origin.has("key")), (None, None));
    assert!(!cache.cache().contains("key").await.unwrap());
    let counts = cache.cache().stats().counts;
    assert_eq!((counts.origin_stores, counts.origin_removes, counts.origin_failures), (2, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_at_the_origin_and_a_get_shows_it() {
    for mode in BOTH {
        let origin = Mock::new();
        writes_and_reads(&on_sim(&origin, mode).await, &origin, mode).await;
        for kind in [BackendKind::TokioFs, BackendKind::Auto] {
            let (dir, origin) = (tempfile::tempdir().unwrap(), Mock::new());
            let cache = DiskCache::builder(dir.path()).config(small(16)).backend(kind).open().await.unwrap();
            let over = cache.with_origin(origin.clone(), mode, FetchOptions::new());
            writes_and_reads(&over, &origin, mode).await;
            cache.close().await.unwrap();
        }
    }
}

/// P2: also if the origin took what it says that it refused.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_write_that_the_origin_refused_a_get_shows_what_it_has() {
    for (mode, lies) in [(BOTH[0], false), (BOTH[0], true), (BOTH[1], false), (BOTH[1], true)] {
        let origin = Mock::build(lies, tokio::sync::Semaphore::MAX_PERMITS);
        let cache = on_sim(&origin, mode).await;
        cache.set("key", "v1").await.unwrap();
        assert_eq!(value(shown(&cache, "key").await).unwrap(), "v1");
        origin.failures.store(1, Ordering::SeqCst);
        let refused = cache.set("key", "v2").await;
        assert!(matches!(&refused, Err(Error::Origin { source, .. }) if source.is::<std::io::Error>()), "{refused:?}");
        assert!(!cache.cache().contains("key").await.unwrap(), "neither the refused one nor an older one");
        let expected = if lies { "v2" } else { "v1" };
        assert_eq!(shown(&cache, "key").await.unwrap(), (expected.into(), Source::Fetched));
        origin.failures.store(1, Ordering::SeqCst);
        assert!(matches!(cache.delete("key").await, Err(Error::Origin { .. })));
        assert_eq!(value(shown(&cache, "key").await), (!lies).then(|| expected.into()));
        assert_eq!(cache.cache().stats().counts.origin_failures, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_origin_has_not_is_asked_for_once_and_remembered_only_by_choice() {
    let origin = Mock::shut();
    let cache = on_sim(&origin, WriteMode::Through).await;
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { shown(&cache, "key").await })
        })
        .collect();
    eventually("a load", || origin.loads() == 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    origin.gate.add_permits(tokio::sync::Semaphore::MAX_PERMITS >> 1);
    for one in asking {
        assert_eq!(one.await.unwrap(), None);
    }
    let before = origin.loads();
    assert!(before <= 20 && shown(&cache, "key").await.is_none());
    assert_eq!(origin.loads(), before + 1, "not remembered");
    let fetch = FetchOptions::new().negative_ttl(Duration::from_secs(600));
    let remembers = cache.cache().with_origin(origin.clone(), WriteMode::Around, fetch);
    for _ in 0..3 {
        assert!(shown(&remembers, "other").await.is_none());
    }
    assert_eq!(origin.loads(), before + 2);
    remembers.set("other", "v1").await.unwrap();
    assert_eq!(value(shown(&remembers, "other").await).unwrap(), "v1", "a write ends it");
}

/// A load that began before a write ends after it: what it gives is not stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_overtaken_by_a_write_leaves_nothing_behind() {
    for mode in BOTH {
        let origin = Mock::shut();
        let cache = on_sim(&origin, mode).await;
        origin.put("key", "old");
        let loading = tokio::spawn({
            let cache = cache.clone();
            async move { value(shown(&cache, "key").await) }
        });
        eventually("the load", || origin.loads() == 1).await;
        let writing = tokio::spawn({
            let cache = cache.clone();
            async move { cache.set("key", "new").await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!loading.is_finished() && !writing.is_finished());
        origin.gate.add_permits(2);
        writing.await.unwrap().unwrap();
        assert_eq!(loading.await.unwrap().unwrap(), "old", "it asked before the write was done");
        origin.gate.add_permits(100);
        assert_eq!(value(shown(&cache, "key").await).unwrap(), "new");
        assert_eq!(cache.cache().get("key").await.unwrap().unwrap().value()[..], *b"new");
    }
}

/// Between the moment when the cache forgets a key and that when the origin has the new value, nobody brings the old one back.
#[tokio::test(flavor = "multi_thread")]
async fn who_misses_while_a_key_is_written_gets_what_is_written() {
    for mode in BOTH {
        let origin = Mock::shut();
        let cache = on_sim(&origin, mode).await;
        origin.put("key", "old");
        let writing = tokio::spawn({
            let cache = cache.clone();
            async move { cache.set("key", "new").await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let reading = tokio::spawn({
            let cache = cache.clone();
            async move { value(shown(&cache, "key").await) }
        });
        let other = tokio::time::timeout(Duration::from_millis(50), cache.get("other")).await;
        assert!(other.is_err() && origin.loads() == 1, "another key is asked for meanwhile, this one is not");
        assert!(!reading.is_finished());
        origin.gate.add_permits(1 << 10);
        writing.await.unwrap().unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), "new");
    }
}

/// Also if the first is dropped while the origin works on it.
#[tokio::test(flavor = "multi_thread")]
async fn writes_of_a_key_reach_the_origin_in_their_order() {
    for mode in BOTH {
        let origin = Mock::shut();
        let cache = on_sim(&origin, mode).await;
        let dropped = tokio::time::timeout(Duration::from_millis(50), cache.set("key", "v0")).await;
        assert!(dropped.is_err());
        let mut writing = Vec::new();
        for n in 1..6 {
            let cache = cache.clone();
            writing.push(tokio::spawn(async move { cache.set("key", format!("v{n}")).await }));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(origin.taken.lock().unwrap().is_empty());
        origin.gate.add_permits(1 << 10);
        for one in writing {
            one.await.unwrap().unwrap();
        }
        let taken: Vec<_> = origin.taken.lock().unwrap().iter().map(|(_, value)| value.clone().unwrap()).collect();
        assert_eq!(taken, ["v0", "v1", "v2", "v3", "v4", "v5"]);
        assert_eq!(value(shown(&cache, "key").await).unwrap(), "v5");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cache_refuses_is_at_the_origin_and_is_read_from_it() {
    let origin = Mock::new();
    let config = esker::Config { max_value_bytes: Some(100), ..small(16) };
    let backend = Arc::new(Sim::new(1));
    let cache = DiskCache::builder("/cache").config(config).backend_with(backend).open().await.unwrap();
    let over = cache.with_origin(origin.clone(), WriteMode::Through, FetchOptions::new());
    over.set("key", "short").await.unwrap();
    let outcome = over.set("key", vec![b'x'; 101]).await.unwrap();
    assert!(matches!(outcome, Some(SetOutcome::Refused { .. })), "{outcome:?}");
    assert_eq!(shown(&over, "key").await.unwrap(), ("x".repeat(101), Source::Fetched));
    // What cannot be a key or metadata reaches neither.
    assert!(matches!(over.set("", "v").await, Err(Error::InvalidInput(_))));
    let options = SetOptions::new().metadata(vec![0; esker::MAX_METADATA_BYTES + 1]);
    assert!(matches!(over.set_with("key", "v", options).await, Err(Error::InvalidInput(_))));
    assert_eq!(origin.taken.lock().unwrap().len(), 2);
}

/// The cache may be behind the origin after the next open if it cannot say on disk what it forgot: then nothing is written.
#[tokio::test(flavor = "multi_thread")]
async fn where_the_disk_fails_a_cached_key_is_not_written() {
    use esker::backend::sim::{DiskError, FaultPlan, OpKind, When};
    let (origin, sim) = (Mock::new(), Sim::new(1));
    let cache =
        DiskCache::builder("/cache").config(small(16)).backend_with(Arc::new(sim.clone())).open().await.unwrap();
    let over = cache.with_origin(origin.clone(), WriteMode::Through, FetchOptions::new());
    over.set("key", "v1").await.unwrap();
    cache.sync().await.unwrap();
    sim.set_faults(FaultPlan::default().fail(OpKind::Sync, When::Always, DiskError::Eio));
    assert!(matches!(over.set("key", "v2").await, Err(Error::WriteFailed)));
    assert_eq!(origin.has("key").unwrap(), "v1");
    assert_eq!(value(shown(&over, "key").await).unwrap(), "v1", "read from the origin");
    sim.set_faults(FaultPlan::default());
    for _ in 0..100 {
        if over.set("key", "v3").await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((origin.has("key").unwrap(), value(shown(&over, "key").await).unwrap()), ("v3".into(), "v3".into()));
}

/// An origin that panics does so in the write's own task, and does not keep its key.
#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_panics_fails_the_write_alone() {
    struct Panics;
    impl esker::Origin for Panics {
        fn load<'a>(&'a self, _: &'a [u8]) -> esker::BoxFuture<'a, Result<Option<esker::Fetched>, esker::BoxError>> {
            Box::pin(async { Ok(None) })
        }
        fn store<'a>(
            &'a self,
            _: &'a [u8],
            value: bytes::Bytes,
            _: bytes::Bytes,
        ) -> esker::BoxFuture<'a, Result<(), esker::BoxError>> {
            Box::pin(async move { if value == "bad" { panic!("a bug of the origin's") } else { Ok(()) } })
        }
        fn remove<'a>(&'a self, _: &'a [u8]) -> esker::BoxFuture<'a, Result<(), esker::BoxError>> {
            Box::pin(async { Ok(()) })
        }
    }
    let backend = Arc::new(Sim::new(1));
    let cache = DiskCache::builder("/cache").config(small(16)).backend_with(backend).open().await.unwrap();
    let over = cache.with_origin(Arc::new(Panics), WriteMode::Through, FetchOptions::new());
    assert!(matches!(over.set("key", "bad").await, Err(Error::Origin { .. })));
    assert!(over.get("key").await.unwrap().is_none());
    assert!(over.set("key", "good").await.unwrap().is_some_and(|outcome| outcome.is_stored()));
}
