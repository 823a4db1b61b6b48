//! Stale while revalidate: served beyond its time to live, while one task in the background fetches anew.

use std::time::Duration;

use esker::{DiskCache, Durability, FetchOptions, Source};

use crate::{Fetching, Machine, Origin, eventually, get, text, ttl};

const STALE_FOR: Duration = Duration::from_secs(30);

async fn refresh(cache: &DiskCache, fetch: impl FnOnce() -> Fetching + Send + 'static) -> String {
    let hit = cache.get_or_refresh("k", STALE_FOR, FetchOptions::new(), fetch).await.unwrap();
    text(&hit).to_owned()
}

fn value(origin: &Origin, value: &str) -> impl FnOnce() -> Fetching + Send + 'static {
    origin.fetch_with(value.as_bytes().to_vec(), ttl(60))
}

/// Fresh for 60 seconds, stale for 30, then gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_entry_is_served_while_one_task_fetches_it_anew() {
    let machine = Machine::new();
    let (cache, origin) = (machine.open().await, Origin::open());
    assert_eq!(refresh(&cache, value(&origin, "first")).await, "first");
    machine.clock.advance(60_000);
    let fresh = cache.get_or_refresh("k", STALE_FOR, FetchOptions::new(), value(&origin, "never")).await.unwrap();
    assert_eq!((text(&fresh), fresh.source(), origin.calls()), ("first", Source::Buffer, 1));

    machine.clock.advance(1);
    let slow = Origin::shut();
    for _ in 0..20 {
        assert_eq!(refresh(&cache, value(&slow, "second")).await, "first", "it is served at once");
    }
    slow.begun().await;
    assert_eq!((slow.calls(), cache.stats().counts.fetches_in_background), (1, 1));
    slow.let_go(1);
    eventually("the second is stored", || cache.stats().counts.sets == 2).await;
    assert_eq!(refresh(&cache, value(&origin, "never")).await, "second");
    assert_eq!((slow.calls(), origin.calls()), (1, 1));

    machine.clock.advance(90_000);
    assert_eq!(get(&cache, "k").await, None, "it has expired altogether");
    assert_eq!(refresh(&cache, value(&origin, "third")).await, "third");
    let counts = cache.stats().counts;
    assert_eq!((counts.fetches, counts.fetches_in_background), (3, 1));
    machine.assert_value(cache, "k", Some("third")).await;
}

/// Who does not find the entry any more waits for the fetch that is going on in the background.
#[tokio::test]
async fn who_finds_the_entry_expired_waits_for_the_fetch_in_the_background() {
    let machine = Machine::new();
    let (cache, slow) = (machine.open().await, Origin::shut());
    cache.set_with("k", "first", ttl(20)).await.unwrap();
    assert_eq!(refresh(&cache, value(&slow, "second")).await, "first", "stale for all of its life");
    slow.begun().await;
    machine.clock.advance(20_000);
    let call = Origin::open().call(&cache, "k", "never");
    eventually("it has expired", || cache.stats().counts.misses_expired == 1).await;
    assert!(!call.is_finished());
    slow.let_go(1);
    assert_eq!(text(&call.await.unwrap().unwrap()), "second");
    // Who waited has it before it is stored.
    eventually("it is stored", || cache.stats().counts.sets == 2).await;
    machine.assert_value(cache, "k", Some("second")).await;
}

/// P2. What is done while the background fetches is not undone.
#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_in_the_background_undoes_nothing() {
    for act in ["delete", "set", "metadata", "clear"] {
        let machine = Machine::new();
        let (cache, slow) = (machine.open().await, Origin::shut());
        cache.set_with("k", "first", ttl(20)).await.unwrap();
        assert_eq!(refresh(&cache, value(&slow, "older")).await, "first");
        slow.begun().await;
        let expected = match act {
            "delete" => {
                assert!(cache.delete("k").await.unwrap());
                None
            }
            "set" => {
                cache.set("k", "newer").await.unwrap();
                Some("newer")
            }
            "metadata" => {
                assert!(cache.set_metadata("k", "m", Durability::Buffered).await.unwrap().unwrap().is_stored());
                Some("first")
            }
            _ => {
                cache.clear().await.unwrap();
                None
            }
        };
        slow.let_go(1);
        eventually("it is not stored", || cache.stats().counts.fetches_outdated == 1).await;
        machine.assert_value(cache, "k", expected).await;
    }
}

/// An entry without a time to live is never stale.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_expire_is_never_fetched_anew() {
    let machine = Machine::new();
    let (cache, origin) = (machine.open().await, Origin::open());
    assert_eq!(refresh(&cache, origin.fetch("first")).await, "first");
    machine.clock.advance(1 << 40);
    assert_eq!((refresh(&cache, origin.fetch("never")).await.as_str(), origin.calls()), ("first", 1));
}

/// A fetch in the background that fails or panics costs nobody the entry, and the next call tries again, unless the failure
/// is remembered.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_in_the_background_fails_nobody() {
    let machine = Machine::new();
    let (cache, origin) = (machine.open().await, Origin::open());
    cache.set_with("k", "first", ttl(20)).await.unwrap();
    for n in 1..4 {
        assert_eq!(refresh(&cache, origin.fail("gone")).await, "first");
        eventually("it fails", || cache.stats().counts.fetches_failed == n).await;
    }
    assert_eq!(refresh(&cache, || panic!("a fetch that panics, as planned")).await, "first");
    eventually("it panics", || cache.stats().counts.fetches_abandoned == 1).await;
    let options = FetchOptions::new().negative_ttl(Duration::from_secs(5));
    for calls in [4, 4, 5] {
        if calls == 5 {
            machine.clock.advance(5_000);
        }
        let hit = cache.get_or_refresh("k", STALE_FOR, options, origin.fail("gone")).await.unwrap();
        assert_eq!(text(&hit), "first");
        eventually("it fails", || cache.stats().counts.fetches_failed == calls).await;
    }
    assert_eq!((origin.calls(), cache.stats().counts.fetches_spared), (5, 1));
}

/// A fetch in the background does not keep a directory locked.
#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_in_the_background_keeps_no_cache_open() {
    let machine = Machine::new();
    let (cache, slow) = (machine.open().await, Origin::shut());
    cache.set_with("k", "first", ttl(20)).await.unwrap();
    assert_eq!(refresh(&cache, value(&slow, "second")).await, "first");
    slow.begun().await;
    drop(cache);
    let builder = || esker::DiskCache::builder("/cache").config(machine.config.clone());
    let again = async {
        loop {
            match builder().backend_with(std::sync::Arc::new(machine.sim.clone())).open().await {
                Err(esker::Error::Locked { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
                other => return other.unwrap(),
            }
        }
    };
    let cache = tokio::time::timeout(Duration::from_secs(10), again).await.expect("it is locked");
    cache.close().await.unwrap();
    slow.let_go(1);
}

/// P2. A newer value that is refused leaves the older one behind no more than a `set` that is refused does.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_value_from_the_background_takes_the_stale_one_with_it() {
    let mut machine = Machine::new();
    machine.config.max_value_bytes = Some(1_000);
    let cache = machine.open().await;
    let origin = Origin::open();
    assert_eq!(refresh(&cache, value(&origin, "old")).await, "old");
    machine.clock.advance(60_001);
    assert_eq!(refresh(&cache, origin.fetch_with(vec![b'x'; 1_001], ttl(60))).await, "old", "it is stale, not gone");
    eventually("the newer one is refused", || cache.stats().counts.refused_too_large == 1).await;
    assert_eq!(refresh(&cache, value(&origin, "newest")).await, "newest", "what is known to be outdated is not served");
}
