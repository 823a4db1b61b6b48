//! Fetches that fail: all who wait share the error, and it is remembered only where that is asked for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use esker::{DiskCache, Error, FetchOptions, Hit, SharedError};

use crate::{Machine, Origin, get, text, waiting};

fn error_of(outcome: Result<Hit, Error>) -> SharedError {
    match outcome {
        Err(Error::Fetch(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn remembered(seconds: u64) -> FetchOptions {
    FetchOptions::new().negative_ttl(Duration::from_secs(seconds))
}

async fn fail(cache: &DiskCache, key: &str, options: FetchOptions, why: &'static str) -> SharedError {
    error_of(cache.get_or_fetch(key, options, Origin::open().fail(why)).await)
}

/// The same error, which tells what it is; and not a trace of it afterwards.
#[tokio::test]
async fn an_error_is_shared_and_not_cached() {
    let machine = Machine::new();
    let (cache, origin) = (machine.open().await, Origin::shut());
    let call = |_| {
        let (cache, fetch) = (cache.clone(), origin.fail("no such thing"));
        tokio::spawn(async move { cache.get_or_fetch("k", FetchOptions::new(), fetch).await })
    };
    let calls: Vec<_> = (0..20).map(call).collect();
    waiting(&cache, 20).await;
    origin.let_go(20);
    let mut errors = Vec::new();
    for call in calls {
        errors.push(error_of(call.await.unwrap()));
    }
    assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])), "it is not the same error");
    assert_eq!(errors[0].downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::NotFound);
    let said = Error::Fetch(errors[0].clone()).to_string();
    assert!(said.contains("no such thing"), "{said}");
    let counts = cache.stats().counts;
    assert_eq!((origin.calls(), counts.fetches, counts.fetches_failed, counts.fetches_shared), (1, 1, 1, 19));

    let again = cache.get_or_fetch("k", FetchOptions::new(), Origin::open().fetch("value")).await.unwrap();
    assert_eq!(text(&again), "value");
    assert_eq!(cache.stats().counts.fetches_spared, 0);
}

/// Until its time is over, to the millisecond.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_remembered_as_long_as_asked_for() {
    let machine = Machine::new();
    let (cache, origin) = (machine.open().await, Origin::open());
    let error = fail(&cache, "k", remembered(10), "gone").await;
    machine.clock.advance(9_999);
    let again = error_of(cache.get_or_fetch("k", FetchOptions::new(), origin.fetch("value")).await);
    assert!(Arc::ptr_eq(&error, &again));
    assert_eq!((origin.calls(), cache.stats().counts.fetches_spared), (0, 1));
    let other = cache.get_or_fetch("other", FetchOptions::new(), origin.fetch("value")).await.unwrap();
    assert_eq!(text(&other), "value", "another key's failure");
    machine.clock.advance(1);
    let hit = cache.get_or_fetch("k", FetchOptions::new(), origin.fetch("value")).await.unwrap();
    assert_eq!((text(&hit), origin.calls()), ("value", 2));
    // In memory alone.
    fail(&cache, "lost", remembered(1_000), "gone").await;
    cache.close().await.unwrap();
    let cache = machine.open().await;
    assert_eq!(text(&cache.get_or_fetch("lost", remembered(1), origin.fetch("there")).await.unwrap()), "there");
}

/// A write of the key ends it; what is there then is served, and what is not is fetched.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_forgotten_when_its_key_is_written() {
    let machine = Machine::new();
    let (cache, origin) = (machine.open().await, Origin::open());
    fail(&cache, "k", remembered(1_000), "gone").await;
    fail(&cache, "other", remembered(1_000), "gone").await;
    cache.set("k", "value").await.unwrap();
    assert_eq!(text(&cache.get_or_fetch("k", remembered(1), origin.fetch("new")).await.unwrap()), "value");
    assert!(cache.delete("k").await.unwrap());
    assert_eq!(text(&cache.get_or_fetch("k", remembered(1), origin.fetch("new")).await.unwrap()), "new");
    error_of(cache.get_or_fetch("other", remembered(1), origin.fetch("new")).await);
    assert!(!cache.delete("other").await.unwrap(), "nothing was there");
    assert_eq!(text(&cache.get_or_fetch("other", remembered(1), origin.fetch("new")).await.unwrap()), "new");
    fail(&cache, "third", remembered(1_000), "gone").await;
    cache.clear().await.unwrap();
    assert_eq!(text(&cache.get_or_fetch("third", remembered(1), origin.fetch("new")).await.unwrap()), "new");
}

/// What failed before the key was deleted says nothing of what is there after it.
#[tokio::test(flavor = "multi_thread")]
async fn the_failure_of_an_outdated_fetch_is_not_remembered() {
    let machine = Machine::new();
    let (cache, slow) = (machine.open().await, Origin::shut());
    let call = tokio::spawn({
        let (cache, fetch) = (cache.clone(), slow.fail("gone"));
        async move { cache.get_or_fetch("k", remembered(1_000), fetch).await }
    });
    slow.begun().await;
    cache.delete("k").await.unwrap();
    slow.let_go(1);
    error_of(call.await.unwrap());
    let hit = cache.get_or_fetch("k", remembered(1_000), Origin::open().fetch("value")).await.unwrap();
    assert_eq!(text(&hit), "value");
    assert_eq!(get(&cache, "k").await.as_deref(), Some("value"));
}

/// P5. However many fail, the memory that remembers them is bounded; the newest are remembered.
#[tokio::test(flavor = "multi_thread")]
async fn failures_are_remembered_within_bounds() {
    let machine = Machine::new();
    let cache = machine.open().await;
    let error = Arc::new(());
    for n in 0..20_000 {
        machine.clock.advance(1);
        let held = Held(error.clone());
        let options = remembered(1_000);
        let fetch = || async move { Err::<esker::Fetched, _>(held) };
        error_of(cache.get_or_fetch(format!("k{n}"), options, fetch).await);
    }
    let held = Arc::strong_count(&error) - 1;
    assert!((15_000..=16_000).contains(&held), "{held} failures are remembered");
    error_of(cache.get_or_fetch("k19999", remembered(1), Origin::open().fetch("value")).await);
    let long = "k".repeat(1025);
    fail(&cache, &long, remembered(1_000), "gone").await;
    let hit = cache.get_or_fetch(&long, remembered(1), Origin::open().fetch("value")).await.unwrap();
    assert_eq!(text(&hit), "value", "a long key's failure takes memory");
    cache.clear().await.unwrap();
    assert_eq!(Arc::strong_count(&error), 1, "a clear forgets them");
}

/// An error that shows how often it is held.
#[derive(Debug, thiserror::Error)]
#[error("held")]
struct Held(#[allow(dead_code, reason = "counted by its references")] Arc<()>);
