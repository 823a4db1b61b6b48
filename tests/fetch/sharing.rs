//! One flight a key: who fetches, who waits, and what becomes of those who wait when that one goes away.

use std::time::Duration;

use esker::{Error, FetchOptions, Fetched, SetOptions, Source};

use crate::{Machine, Origin, eventually, get, text, waiting};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_fetched_and_stored_and_what_is_there_is_not_fetched() {
    let machine = Machine::new();
    let (cache, origin) = (machine.open().await, Origin::open());
    let options = SetOptions::new().ttl(Duration::from_secs(60)).metadata("meta");
    let fetch = origin.fetch_with(b"value".to_vec(), options);
    let hit = cache.get_or_fetch("k", FetchOptions::new(), fetch).await.unwrap();
    assert_eq!((text(&hit), hit.source(), &hit.metadata()[..]), ("value", Source::Fetched, &b"meta"[..]));
    assert_eq!((hit.age(), hit.len_bytes(), hit.sequence().0), (Duration::ZERO, 5, 0));
    let stored = cache.get_or_fetch("k", FetchOptions::new(), origin.fetch("other")).await.unwrap();
    assert_eq!((text(&stored), stored.source(), &stored.metadata()[..]), ("value", Source::Buffer, &b"meta"[..]));
    assert_eq!(stored.expires_at(), hit.expires_at());
    assert!(stored.expires_at().is_some());
    let counts = cache.stats().counts;
    assert_eq!((origin.calls(), counts.fetches, counts.fetches_shared, counts.sets), (1, 1, 0, 1));
    assert_eq!((counts.misses_unknown, counts.hits_buffer), (1, 1), "a call is one get");
    machine.assert_value(cache, "k", Some("value")).await;
}

/// Of a thousand tasks one fetches, and all get its bytes, not copies.
#[tokio::test]
async fn a_thousand_tasks_make_one_fetch() {
    let machine = Machine::new();
    let (cache, origin) = (machine.open().await, Origin::shut());
    let calls: Vec<_> = (0..1000).map(|n| origin.call(&cache, "k", &format!("value {n}"))).collect();
    waiting(&cache, 1000).await;
    origin.let_go(1000);
    let mut bytes = Vec::new();
    for call in calls {
        let hit = call.await.unwrap().unwrap();
        assert_eq!(hit.source(), Source::Fetched);
        bytes.push(hit.into_value());
    }
    assert!(bytes.iter().all(|other| other.as_ptr() == bytes[0].as_ptr()), "the value was copied");
    let counts = cache.stats().counts;
    assert_eq!((origin.calls(), counts.fetches, counts.fetches_shared), (1, 1, 999));
    let first = std::str::from_utf8(&bytes[0]).unwrap().to_owned();
    machine.assert_value(cache, "k", Some(&first)).await;
}

/// The same on many threads, where some of them ask only when the value is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_tasks_on_many_threads_make_one_fetch() {
    let machine = Machine::new();
    let (cache, origin) = (machine.open().await, Origin::open());
    for key in ["a", "b", "c", "d"] {
        let calls: Vec<_> = (0..1000).map(|_| origin.call(&cache, key, key)).collect();
        for call in calls {
            assert_eq!(text(&call.await.unwrap().unwrap()), key);
        }
    }
    assert_eq!((origin.calls(), cache.stats().counts.fetches), (4, 4));
    machine.assert_value(cache, "d", Some("d")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_do_not_wait_for_each_other() {
    let machine = Machine::new();
    let (cache, slow, quick) = (machine.open().await, Origin::shut(), Origin::open());
    let waiting = slow.call(&cache, "slow", "slow value");
    slow.begun().await;
    for n in 0..100 {
        let fetch = quick.fetch(&format!("value {n}"));
        cache.get_or_fetch(format!("k{n}"), FetchOptions::new(), fetch).await.unwrap();
    }
    assert!(!waiting.is_finished() && quick.calls() == 100);
    slow.let_go(1);
    assert_eq!(text(&waiting.await.unwrap().unwrap()), "slow value");
}

/// A6. The leader is cancelled: exactly one of those who wait fetches, and none fails.
#[tokio::test]
async fn a_cancelled_leader_hands_over_to_one() {
    let machine = Machine::new();
    let (cache, doomed, origin) = (machine.open().await, Origin::shut(), Origin::shut());
    let leader = doomed.call(&cache, "k", "never");
    doomed.begun().await;
    let followers: Vec<_> = (0..50).map(|_| origin.call(&cache, "k", "value")).collect();
    waiting(&cache, 51).await;
    assert_eq!(origin.calls(), 0);
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    origin.begun().await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(origin.calls(), 1, "more than one took over");
    origin.let_go(50);
    for follower in followers {
        assert_eq!(text(&follower.await.unwrap().unwrap()), "value");
    }
    let counts = cache.stats().counts;
    assert_eq!((counts.fetches, counts.fetches_abandoned, counts.fetches_shared), (2, 1, 49));
    machine.assert_value(cache, "k", Some("value")).await;
}

/// One after the other is cancelled as soon as it leads: the last one gets its value.
#[tokio::test]
async fn a_row_of_cancelled_leaders_fails_nobody() {
    let machine = Machine::new();
    let (cache, doomed, origin) = (machine.open().await, Origin::shut(), Origin::open());
    let mut row = Vec::new();
    for n in 0..20 {
        row.push(doomed.call(&cache, "k", "never"));
        waiting(&cache, n + 1).await;
    }
    let last = origin.call(&cache, "k", "value");
    waiting(&cache, 21).await;
    // Those who only wait too: whichever was told to lead may be among them.
    for call in &row {
        call.abort();
    }
    let hit = tokio::time::timeout(Duration::from_secs(30), last).await.expect("it hangs");
    assert_eq!(text(&hit.unwrap().unwrap()), "value");
    assert_eq!(origin.calls(), 1);
}

/// A flight whose only caller goes away leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_that_nobody_waits_for_is_forgotten() {
    let machine = Machine::new();
    let (cache, doomed, origin) = (machine.open().await, Origin::shut(), Origin::open());
    let leader = doomed.call(&cache, "k", "never");
    doomed.begun().await;
    leader.abort();
    let _ = leader.await;
    let again = cache.get_or_fetch("k", FetchOptions::new(), origin.fetch("value")).await.unwrap();
    assert_eq!((text(&again), origin.calls()), ("value", 1));
}

#[tokio::test]
async fn a_leader_that_panics_hands_over() {
    let machine = Machine::new();
    let (cache, origin) = (machine.open().await, Origin::open());
    let doomed = Origin::shut();
    let leader = tokio::spawn({
        let (cache, doomed) = (cache.clone(), doomed.clone());
        async move {
            let fetch = || async move {
                doomed.asked().await;
                panic!("a fetch that panics, as planned");
                #[allow(unreachable_code, reason = "it has a type all the same")]
                Ok::<_, Error>(Fetched::new("never"))
            };
            cache.get_or_fetch("k", FetchOptions::new(), fetch).await
        }
    });
    doomed.begun().await;
    let follower = origin.call(&cache, "k", "value");
    waiting(&cache, 2).await;
    doomed.let_go(1);
    assert!(leader.await.unwrap_err().is_panic());
    assert_eq!(text(&follower.await.unwrap().unwrap()), "value");
    assert_eq!(cache.stats().counts.fetches_abandoned, 1);
    machine.assert_value(cache, "k", Some("value")).await;
}

/// Those who wait get the value at once; who called for it waits until it is stored.
#[tokio::test]
async fn nobody_waits_until_the_value_of_another_is_stored() {
    use esker::Durability;
    use esker::backend::sim::{FaultPlan, OpKind};

    let machine = Machine::new();
    let (cache, origin) = (machine.open().await, Origin::shut());
    machine.sim.set_faults(FaultPlan { stalled: vec![OpKind::Sync], ..FaultPlan::default() });
    let options = SetOptions::new().durability(Durability::Synced);
    let leader = tokio::spawn({
        let (cache, fetch) = (cache.clone(), origin.fetch_with(b"value".to_vec(), options));
        async move { cache.get_or_fetch("k", FetchOptions::new(), fetch).await }
    });
    origin.begun().await;
    let follower = origin.call(&cache, "k", "other");
    waiting(&cache, 2).await;
    origin.let_go(1);
    assert_eq!(text(&follower.await.unwrap().unwrap()), "value");
    assert!(!leader.is_finished(), "it was told `Synced` by a disk that does not answer");
    machine.sim.clear_faults();
    assert_eq!(text(&leader.await.unwrap().unwrap()), "value");
    machine.assert_value(cache, "k", Some("value")).await;
}

/// L1. A value that fits no segment.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_is_fetched_and_stored() {
    let machine = Machine::new();
    let (cache, origin) = (machine.open().await, Origin::open());
    let large = crate::common::value(1, 1, 300 << 10);
    let fetch = || origin.fetch_with(large.clone(), SetOptions::new());
    let hit = cache.get_or_fetch("k", FetchOptions::new(), fetch()).await.unwrap();
    assert_eq!(hit.value()[..], large[..]);
    assert_eq!(cache.stats().objects, 1);
    let hit = cache.get_or_fetch("k", FetchOptions::new(), fetch()).await.unwrap();
    assert_eq!((&hit.value()[..], origin.calls()), (&large[..], 1));
    cache.close().await.unwrap();
    let cache = machine.open().await;
    assert_eq!(cache.get("k").await.unwrap().unwrap().value()[..], large[..]);
}

/// What is not stored is given all the same, and the older value is gone as after any refused write.
#[tokio::test]
async fn a_value_that_is_not_stored_is_given_to_all() {
    let mut machine = Machine::new();
    machine.config.max_value_bytes = Some(10);
    let (cache, origin) = (machine.open().await, Origin::shut());
    let calls: Vec<_> = (0..3).map(|_| origin.call(&cache, "k", "longer than ten bytes")).collect();
    waiting(&cache, 3).await;
    origin.let_go(1);
    for call in calls {
        assert_eq!(text(&call.await.unwrap().unwrap()), "longer than ten bytes");
    }
    let counts = cache.stats().counts;
    assert_eq!((counts.fetches, counts.fetches_unstored, counts.refused_too_large, counts.sets), (1, 1, 1, 0));
    assert_eq!(get(&cache, "k").await, None);

    let call = origin.call(&cache, "k", "short");
    origin.begun().await;
    origin.begun().await;
    cache.close().await.unwrap();
    origin.let_go(1);
    assert_eq!(text(&call.await.unwrap().unwrap()), "short", "the cache was closed meanwhile");
    assert_eq!(cache.stats().counts.fetches_unstored, 2);
    let closed = cache.get_or_fetch("k", FetchOptions::new(), origin.fetch("value")).await;
    assert!(matches!(closed, Err(Error::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_keys_are_refused_and_fetch_nothing() {
    let machine = Machine::new();
    let (cache, origin) = (machine.open().await, Origin::open());
    let refused = cache.get_or_fetch("", FetchOptions::new(), origin.fetch("value")).await;
    assert!(matches!(refused, Err(Error::InvalidInput(_))));
    let metadata = SetOptions::new().metadata(vec![0; 1 << 16]);
    let fetch = origin.fetch_with(b"value".to_vec(), metadata);
    match cache.get_or_fetch("k", FetchOptions::new(), fetch).await {
        Err(Error::Fetch(error)) => assert!(matches!(error.downcast_ref(), Some(Error::InvalidInput(_))), "{error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!((origin.calls(), cache.stats().counts.fetches_failed), (1, 1));
}

/// The segments are indexed first: what is there is not fetched.
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_is_being_indexed_is_waited_for() {
    use esker::backend::sim::{FaultPlan, OpKind};

    let mut machine = Machine::new();
    let cache = machine.open().await;
    cache.set("k", "value").await.unwrap();
    cache.close().await.unwrap();
    machine.config.index_in_background = true;
    machine.sim.set_faults(FaultPlan { stalled: vec![OpKind::Len], ..FaultPlan::default() });
    let (cache, origin) = (machine.open().await, Origin::open());
    let call = origin.call(&cache, "k", "other");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!call.is_finished() && origin.calls() == 0);
    machine.sim.clear_faults();
    assert_eq!((text(&call.await.unwrap().unwrap()), origin.calls()), ("value", 0));
    eventually("it is indexed", || cache.recovery_progress().is_done).await;
}
