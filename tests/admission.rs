//! What is written to disk at all (V3): everything, as much as a budget allows, or what is used a second time.

#[path = "common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::Duration;

use common::small;
use esker::backend::sim::Sim;
use esker::clock::ManualClock;
use esker::{
    AdmissionPolicy, Config, DiskCache, Durability, Error, EvictReason, FetchOptions, Fetched, Millis, RefuseReason,
    SetOptions, SetOutcome, Source,
};

const START: Millis = Millis(1_700_000_000_000);
const SECOND_USE: AdmissionPolicy = AdmissionPolicy::SecondUse { held_bytes: Some(256 << 10) };
const NOT_ADMITTED: SetOutcome = SetOutcome::Refused { reason: RefuseReason::NotAdmitted };

/// A disk and a clock.
struct Place {
    sim: Sim,
    clock: Arc<ManualClock>,
    config: Config,
}

impl Place {
    fn new(admission: AdmissionPolicy) -> Self {
        let config = Config { admission, ..small(16) };
        Self { sim: Sim::new(1), clock: Arc::new(ManualClock::new(START)), config }
    }

    async fn open(&self) -> DiskCache {
        let builder = DiskCache::builder("/cache").config(self.config.clone()).clock(self.clock.clone());
        builder.backend_with(Arc::new(self.sim.clone())).open().await.unwrap()
    }

    async fn reopen(&mut self, cache: DiskCache) -> DiskCache {
        cache.close().await.unwrap();
        drop(cache);
        self.sim = self.sim.reopen();
        self.open().await
    }
}

async fn get(cache: &DiskCache, key: &str) -> Option<String> {
    let hit = cache.get(key).await.unwrap()?;
    Some(String::from_utf8(hit.value().to_vec()).unwrap())
}

/// A budget refuses what is beyond, and an older value goes with it (P2).
#[tokio::test(flavor = "multi_thread")]
async fn a_budget_bounds_what_is_written() {
    let mut place =
        Place::new(AdmissionPolicy::Budget { bytes_per_second: Some(50_000), bytes_per_day: Some(1_000_000) });
    let cache = place.open().await;
    assert!(cache.set("old", "value").await.unwrap().is_stored());
    let mut stored = 0;
    while cache.set(format!("k{stored}"), vec![0; 5_000]).await.unwrap().is_stored() {
        stored += 1;
    }
    assert!((8..=12).contains(&stored), "{stored}");
    let mut writer = cache.writer("streamed", SetOptions::new()).await.unwrap();
    writer.write_bytes(vec![0; 10_000].into()).await.unwrap();
    assert_eq!(writer.finish().await.unwrap(), NOT_ADMITTED);
    assert_eq!(cache.set("old", "newer").await.unwrap(), NOT_ADMITTED);
    assert_eq!(get(&cache, "old").await, None, "the older value went with the refused one");
    assert!(cache.stats().counts.refused_not_admitted >= 2);
    place.clock.advance(1_000);
    assert!(cache.set("old", "newest").await.unwrap().is_stored());
    let cache = place.reopen(cache).await;
    assert_eq!(get(&cache, "old").await.as_deref(), Some("newest"));
    // All of a day: what is written, not what is set, counts.
    let mut seconds = 0;
    while seconds < 300 {
        place.clock.advance(1_000);
        cache.set("k", vec![0; 20_000]).await.unwrap();
        cache.flush().await.unwrap();
        seconds += 1;
    }
    let written = cache.stats().counts.bytes_written;
    assert!((700_000..1_500_000).contains(&written), "{written}");
    assert!(cache.delete("k").await.is_ok(), "deletes are no matter of budgets");
}

/// A new entry is in memory only, until it is used; then it is on disk.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_goes_to_disk_with_its_second_use() {
    let mut place = Place::new(SECOND_USE);
    let cache = place.open().await;
    for key in ["used", "unused"] {
        let options = SetOptions::new().metadata(&b"about it"[..]).ttl(Duration::from_secs(900));
        assert_eq!(cache.set_with(key, "value", options).await.unwrap(), SetOutcome::Held);
    }
    assert_eq!(
        cache.set_with("safe", "v", SetOptions::new().durability(Durability::Written)).await.unwrap(),
        SetOutcome::Stored { durability: Durability::Written }
    );
    assert_eq!(cache.stats().entries, 3);
    assert!(cache.contains("unused").await.unwrap(), "to look is no use");
    place.clock.advance(1_000);
    for source in [Source::Memory, Source::Buffer] {
        let hit = cache.get("used").await.unwrap().unwrap();
        assert_eq!((&hit.value()[..], &hit.metadata()[..], hit.source()), (&b"value"[..], &b"about it"[..], source));
        let expires = std::time::UNIX_EPOCH + Duration::from_millis(START.0 + 900_000);
        assert_eq!((hit.age(), hit.expires_at()), (Duration::from_secs(1), Some(expires)));
    }
    assert_eq!(cache.stats().entries, 3);
    let counts = cache.stats().counts;
    assert_eq!((counts.hits_held, counts.entries_held, counts.sets), (1, 2, 3));
    let cache = place.reopen(cache).await;
    assert_eq!(get(&cache, "used").await.as_deref(), Some("value"));
    assert_eq!((get(&cache, "unused").await, cache.stats().entries), (None, 2));
}

/// What was dropped unused, and is set again, has shown its second use; what is known on disk too.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_again_is_written() {
    let place = Place::new(SECOND_USE);
    let cache = place.open().await;
    let mut evictions = cache.evictions().await.unwrap();
    for n in 0..100 {
        assert_eq!(cache.set(format!("k{n}"), vec![1; 5_000]).await.unwrap(), SetOutcome::Held);
    }
    assert_eq!(get(&cache, "k0").await, None);
    let first = evictions.try_next().unwrap();
    assert_eq!((&first.key[..], first.reason), (&b"k0"[..], EvictReason::Unused));
    for durable in ["again", "and again"] {
        let outcome = cache.set("k0", durable).await.unwrap();
        assert_eq!(outcome, SetOutcome::Stored { durability: Durability::Buffered });
    }
    // Too long to be held.
    assert_eq!(cache.set("long", vec![1; 50_000]).await.unwrap(), NOT_ADMITTED);
    assert!(matches!(cache.set("long", vec![2; 50_000]).await.unwrap(), SetOutcome::Stored { .. }));
    let counts = cache.stats().counts;
    assert!(counts.entries_unused > 40 && counts.bytes_written < 100_000, "{counts:?}");
    assert!(cache.stats().held_bytes < 300 << 10, "{}", cache.stats().held_bytes);
}

/// P1, P2. Whatever is done to a key that is held is done to what is held.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_no_older_than_what_was_done() {
    let mut place = Place::new(SECOND_USE);
    let cache = place.open().await;
    let durable = || SetOptions::new().durability(Durability::Synced);
    for act in ["delete", "purge", "tag", "clear", "set", "metadata", "writer", "fetch", "expire", "refuse"] {
        assert!(
            cache
                .set_with("k", "first", SetOptions::new().ttl(Duration::from_secs(100)).tags(["t"]))
                .await
                .unwrap()
                .is_stored()
        );
        let expected = match act {
            "delete" => {
                assert!(cache.delete("k").await.unwrap());
                None
            }
            "purge" => {
                cache.purge_prefix("k").await.unwrap();
                None
            }
            "tag" => {
                cache.purge_tag("t").await.unwrap();
                None
            }
            "clear" => {
                cache.clear().await.unwrap();
                None
            }
            "set" => {
                cache.set_with("k", "second", durable()).await.unwrap();
                Some("second")
            }
            "metadata" => {
                let outcome = cache.set_metadata("k", "m", Durability::Synced).await.unwrap();
                assert_eq!(outcome, Some(SetOutcome::Stored { durability: Durability::Synced }));
                Some("first")
            }
            "writer" => {
                let mut writer = cache.writer("k", durable()).await.unwrap();
                writer.write_bytes("streamed".into()).await.unwrap();
                assert!(writer.finish().await.unwrap().is_stored());
                Some("streamed")
            }
            "fetch" => {
                let fetch = || async { Ok::<_, std::io::Error>(Fetched::new("fetched")) };
                let hit = cache.get_or_fetch("k", FetchOptions::new(), fetch).await.unwrap();
                assert_eq!(hit.value(), "first");
                Some("first")
            }
            "expire" => {
                place.clock.advance(200_000);
                None
            }
            _ => {
                assert!(!cache.set("k", vec![0; 8 << 20]).await.unwrap().is_stored());
                None
            }
        };
        assert_eq!(get(&cache, "k").await.as_deref(), expected, "{act}");
        assert_eq!(get(&cache, "k").await.as_deref(), expected, "{act}, once more");
        if act == "delete" {
            assert!(!cache.delete("k").await.unwrap());
        }
        cache.delete("k").await.unwrap();
    }
    let cache = place.reopen(cache).await;
    assert_eq!(get(&cache, "k").await, None);
}

/// A purge mark is not given up as long as something that it covers is held.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_outlives_what_is_held() {
    let place = Place::new(SECOND_USE);
    let cache = place.open().await;
    assert_eq!(cache.set("a/1", "purged").await.unwrap(), SetOutcome::Held);
    cache.purge_prefix("a/").await.unwrap();
    for n in 0..500 {
        let options = SetOptions::new().durability(Durability::Written);
        assert!(cache.set_with(format!("b/{n}"), vec![0; 7_000], options).await.unwrap().is_stored());
    }
    assert_eq!(get(&cache, "a/1").await, None);
}

/// Another policy at run time: what is held waits on, what comes is written.
#[tokio::test(flavor = "multi_thread")]
async fn the_policy_can_be_changed_while_the_cache_is_open() {
    let place = Place::new(AdmissionPolicy::All);
    let cache = place.open().await;
    assert!(matches!(cache.set("a", "v").await.unwrap(), SetOutcome::Stored { .. }));
    cache.set_admission(SECOND_USE).await.unwrap();
    assert_eq!(cache.set("b", "v").await.unwrap(), SetOutcome::Held);
    cache.set_admission(AdmissionPolicy::All).await.unwrap();
    assert!(matches!(cache.set("c", "v").await.unwrap(), SetOutcome::Stored { .. }));
    for key in ["a", "b", "c"] {
        assert_eq!(get(&cache, key).await.as_deref(), Some("v"));
    }
    for bad in [
        AdmissionPolicy::Budget { bytes_per_second: None, bytes_per_day: None },
        AdmissionPolicy::Budget { bytes_per_second: Some(0), bytes_per_day: None },
        AdmissionPolicy::SecondUse { held_bytes: Some(100) },
    ] {
        let refused = cache.set_admission(bad).await;
        assert!(matches!(refused, Err(Error::InvalidConfig(_))), "{bad:?}: {refused:?}");
        assert!(Config { admission: bad, ..small(16) }.validate().is_err());
    }
    cache.close().await.unwrap();
    assert!(matches!(cache.set_admission(AdmissionPolicy::All).await, Err(Error::Closed)));
}

/// What is fetched is held like what is set, unless something was done to its key meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_is_held_unless_it_is_outdated() {
    let cache = Place::new(SECOND_USE).open().await;
    let fetched =
        |key: &'static str| cache.get_or_fetch(key, FetchOptions::new(), async || Ok::<_, Error>(Fetched::new("v")));
    assert_eq!(fetched("k").await.unwrap().value()[..], b"v"[..]);
    assert_eq!((get(&cache, "k").await, cache.stats().counts.entries_held), (Some("v".into()), 1));
    let outdating = cache.clone();
    let fetch = async move || {
        outdating.delete("gone").await?;
        Ok::<_, Error>(Fetched::new("old"))
    };
    let hit = cache.get_or_fetch("gone", FetchOptions::new(), fetch).await.unwrap();
    assert_eq!(hit.value()[..], b"old"[..], "whoever asked before gets it");
    assert_eq!((get(&cache, "gone").await, cache.stats().counts.entries_held), (None, 1));
}
