//! P1, P2: a fetch that began before its key was written, deleted or cleared is not stored over that, and who asks afterwards
//! does not get it.

use esker::{DiskCache, Durability, FetchOptions, SetOptions};

use crate::{Machine, Origin, get, text, waiting};

/// Everything that must not be undone.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Delete,
    Clear,
    Purge,
    PurgeTag,
    Set,
    SetLarge,
    TrySet,
    WriteShort,
    WriteLong,
    Refused,
}

const ACTS: [Act; 10] = [
    Act::Delete,
    Act::Clear,
    Act::Purge,
    Act::PurgeTag,
    Act::Set,
    Act::SetLarge,
    Act::TrySet,
    Act::WriteShort,
    Act::WriteLong,
    Act::Refused,
];
const LONG: usize = 100 << 10;

impl Act {
    /// Acts, and says what the key holds then.
    async fn run(self, cache: &DiskCache, key: &str) -> Option<String> {
        let (short, long) = ("newer".to_owned(), "n".repeat(LONG));
        match self {
            Self::Delete => drop(cache.delete(key).await.unwrap()),
            Self::Clear => cache.clear().await.unwrap(),
            Self::Purge => cache.purge_prefix(&key[..1]).await.unwrap(),
            // What is fetched may have it.
            Self::PurgeTag => cache.purge_tag("any tag").await.unwrap(),
            Self::Set => assert!(cache.set(key, short.clone()).await.unwrap().is_stored()),
            Self::SetLarge => assert!(cache.set(key, long.clone()).await.unwrap().is_stored()),
            Self::TrySet => assert!(cache.try_set(key, short.clone()).await.unwrap().is_stored()),
            Self::WriteShort | Self::WriteLong => {
                let value = if self == Self::WriteLong { &long } else { &short };
                let mut writer = cache.writer(key, SetOptions::new()).await.unwrap();
                writer.write_bytes(value.clone().into()).await.unwrap();
                assert!(writer.finish().await.unwrap().is_stored());
            }
            Self::Refused => assert!(!cache.set(key, vec![0; 1 << 20]).await.unwrap().is_stored()),
        }
        match self {
            Self::Delete | Self::Clear | Self::Purge | Self::PurgeTag | Self::Refused => None,
            Self::Set | Self::TrySet | Self::WriteShort => Some(short),
            Self::SetLarge | Self::WriteLong => Some(long),
        }
    }
}

fn machine() -> Machine {
    let mut machine = Machine::new();
    machine.config.max_value_bytes = Some(512 << 10);
    machine
}

/// Whoever asked before gets what was fetched; it is not stored, now and after a reopen.
#[tokio::test]
async fn a_fetch_undoes_nothing_that_was_done_meanwhile() {
    for act in ACTS {
        for fetched in ["older".to_owned(), "o".repeat(200 << 10)] {
            let machine = machine();
            let (cache, origin) = (machine.open().await, Origin::shut());
            let calls: Vec<_> = (0..3).map(|_| origin.call(&cache, "k", &fetched)).collect();
            waiting(&cache, 3).await;
            let expected = act.run(&cache, "k").await;
            let live_bytes = cache.stats().live_bytes;
            origin.let_go(1);
            for call in calls {
                assert_eq!(text(&call.await.unwrap().unwrap()), fetched, "{act:?}");
            }
            let counts = cache.stats().counts;
            assert_eq!((counts.fetches, counts.fetches_outdated, counts.fetches_unstored), (1, 1, 0), "{act:?}");
            assert_eq!(cache.stats().live_bytes, live_bytes, "{act:?}: what was not stored counts");
            assert_eq!(
                counts.refused_evicted + counts.writers_aborted,
                0,
                "{act:?}: nothing of the user's was refused"
            );
            machine.assert_value(cache, "k", expected.as_deref()).await;
        }
    }
}

/// Who asks after the act has returned makes a fetch of its own, though the first one is not done.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_later_does_not_join_an_outdated_flight() {
    for act in [Act::Delete, Act::Clear, Act::PurgeTag, Act::Refused] {
        let machine = machine();
        let (cache, slow, quick) = (machine.open().await, Origin::shut(), Origin::open());
        let first = slow.call(&cache, "k", "older");
        slow.begun().await;
        act.run(&cache, "k").await;
        let later = cache.get_or_fetch("k", FetchOptions::new(), quick.fetch("newer")).await.unwrap();
        assert_eq!((text(&later), quick.calls()), ("newer", 1), "{act:?}");
        slow.let_go(1);
        assert_eq!(text(&first.await.unwrap().unwrap()), "older");
        let counts = cache.stats().counts;
        assert_eq!((counts.fetches, counts.fetches_shared, counts.fetches_outdated), (2, 0, 1), "{act:?}");
        machine.assert_value(cache, "k", Some("newer")).await;
    }
}

/// The leader of an outdated flight goes away: those who waited ask again, and share one fetch, which is stored.
#[tokio::test]
async fn who_waited_for_a_cancelled_outdated_flight_begins_a_new_one() {
    let machine = machine();
    let (cache, doomed, origin) = (machine.open().await, Origin::shut(), Origin::shut());
    let leader = doomed.call(&cache, "k", "never");
    doomed.begun().await;
    let followers: Vec<_> = (0..10).map(|_| origin.call(&cache, "k", "newer")).collect();
    waiting(&cache, 11).await;
    Act::Delete.run(&cache, "k").await;
    leader.abort();
    origin.begun().await;
    origin.let_go(10);
    for follower in followers {
        assert_eq!(text(&follower.await.unwrap().unwrap()), "newer");
    }
    // A few may have asked again only when it was stored already.
    assert_eq!((origin.calls(), cache.stats().counts.fetches_outdated), (1, 0));
    machine.assert_value(cache, "k", Some("newer")).await;
}

/// Other keys' flights are not concerned.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_to_other_keys_outdates_nothing() {
    let machine = machine();
    let (cache, origin) = (machine.open().await, Origin::shut());
    let call = origin.call(&cache, "k", "value");
    origin.begun().await;
    for n in 0..100 {
        cache.set(format!("k{n}"), "v").await.unwrap();
        cache.delete(format!("k{}", n + 50)).await.unwrap();
        cache.purge_prefix(format!("k{n}")).await.unwrap();
    }
    assert_eq!(cache.set_metadata("k", "m", Durability::Buffered).await.unwrap(), None);
    origin.let_go(1);
    assert_eq!(text(&call.await.unwrap().unwrap()), "value");
    assert_eq!(cache.stats().counts.fetches_outdated, 0);
    machine.assert_value(cache, "k", Some("value")).await;
}

/// A key that was deleted while its fetched value waited for the disk stays deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_delete_while_the_value_is_stored_is_not_undone() {
    let machine = machine();
    let (cache, origin) = (machine.open().await, Origin::open());
    let hit = cache.get_or_fetch("k", FetchOptions::new(), origin.fetch("value")).await.unwrap();
    assert_eq!(text(&hit), "value");
    assert!(cache.delete("k").await.unwrap());
    assert_eq!((get(&cache, "k").await, cache.stats().counts.fetches_outdated), (None, 0));
    machine.assert_value(cache, "k", None).await;
}
