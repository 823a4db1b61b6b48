//! The memory cache from outside: what it stores, refuses, expires, evicts and counts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker::clock::ManualClock;
use esker::{Cache, Durability, Error, MemoryCache, Millis, RefuseReason, SetOptions, SetOutcome, Source};

const STORED: SetOutcome = SetOutcome::Stored { durability: Durability::Buffered };
const TOO_LARGE: SetOutcome = SetOutcome::Refused { reason: RefuseReason::TooLarge };

async fn value(cache: &MemoryCache, key: &str) -> Option<Bytes> {
    cache.get(key).await.unwrap().map(|hit| hit.into_value())
}

#[tokio::test]
async fn stores_replaces_and_deletes() {
    let cache = MemoryCache::new(1 << 20);
    assert!(value(&cache, "a").await.is_none());
    assert_eq!(cache.set("a", "one").await.unwrap(), STORED);
    assert_eq!(value(&cache, "a").await.unwrap(), "one");
    assert_eq!(cache.set("a", "two").await.unwrap(), STORED);
    assert_eq!(value(&cache, "a").await.unwrap(), "two");
    assert!(cache.contains("a").await.unwrap());
    assert!(cache.delete("a").await.unwrap());
    assert!(!cache.delete("a").await.unwrap());
    assert!(!cache.contains("a").await.unwrap());
    assert!(value(&cache, "a").await.is_none());
    let counts = cache.stats().counts;
    assert_eq!((counts.sets, counts.deletes, counts.hits_memory, counts.misses_unknown), (2, 1, 2, 2));
}

#[tokio::test]
async fn an_empty_value_and_metadata_are_kept_as_they_are() {
    let clock = Arc::new(ManualClock::new(Millis(1000)));
    let cache = MemoryCache::with_clock(1 << 20, clock.clone());
    let options = SetOptions::new().metadata("type: none").durability(Durability::Synced).ttl(Duration::from_secs(1));
    assert_eq!(cache.set_with("a", "", options).await.unwrap(), STORED, "nothing is claimed that is not so");
    clock.advance(10);
    let hit = cache.get("a").await.unwrap().unwrap();
    assert!(hit.value().is_empty());
    assert_eq!(hit.metadata(), "type: none");
    assert_eq!((hit.age(), hit.source()), (Duration::from_millis(10), Source::Memory));
    assert_eq!(hit.expires_at(), Some(std::time::UNIX_EPOCH + Duration::from_secs(2)));
}

#[tokio::test]
async fn an_entry_expires_at_its_time_and_stays_expired_when_the_clock_steps_back() {
    let clock = Arc::new(ManualClock::new(Millis(1000)));
    let cache = MemoryCache::with_clock(1 << 20, clock.clone());
    for key in ["a", "b"] {
        cache.set_with(key, "v", SetOptions::new().ttl(Duration::from_millis(50))).await.unwrap();
    }
    cache.set("for ever", "v").await.unwrap();
    clock.advance(49);
    assert!(value(&cache, "a").await.is_some());
    clock.advance(1);
    assert!(!cache.contains("a").await.unwrap());
    clock.set(Millis(1000));
    assert!(value(&cache, "a").await.is_none());
    assert!(!cache.delete("b").await.unwrap(), "an expired entry is no entry");
    assert_eq!(cache.stats().counts.misses_expired, 1);
    assert_eq!(cache.stats().entries, 1, "what is found expired is dropped");
    clock.set(Millis(u64::MAX));
    assert!(value(&cache, "for ever").await.is_some());
    cache.set_with("zero", "v", SetOptions::new().ttl(Duration::ZERO)).await.unwrap();
    assert!(value(&cache, "zero").await.is_none());
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_takes_the_older_value_along() {
    let cache = MemoryCache::new(1 << 20);
    let most = cache.max_entry_bytes() as usize - 1;
    assert_eq!(cache.set("a", vec![1; most]).await.unwrap(), STORED);
    assert_eq!(cache.set("b", "stays").await.unwrap(), STORED);
    assert_eq!(cache.set("a", vec![2; most + 1]).await.unwrap(), TOO_LARGE);
    assert!(value(&cache, "a").await.is_none(), "P2: the older value must not be served after an update");
    assert!(value(&cache, "b").await.is_some());
    assert_eq!(cache.stats().counts.refused_too_large, 1);
    assert_eq!(MemoryCache::new(0).set("a", "").await.unwrap(), TOO_LARGE);
}

#[tokio::test]
async fn keys_and_metadata_have_limits() {
    let cache = MemoryCache::new(64 << 20);
    let invalid = |error: Error| matches!(error, Error::InvalidInput(_));
    for bad in [vec![], vec![b'k'; 65_537]] {
        assert!(cache.get(&bad).await.is_err_and(invalid));
        assert!(cache.contains(&bad).await.is_err_and(invalid));
        assert!(cache.set(&bad, "v").await.is_err_and(invalid));
        assert!(cache.delete(&bad).await.is_err_and(invalid));
    }
    assert_eq!(cache.set(vec![b'k'; 65_536], "v").await.unwrap(), STORED);
    assert!(cache.get(vec![b'k'; 65_536]).await.unwrap().is_some());
    let metadata = |len| SetOptions::new().metadata(vec![1; len]);
    assert!(cache.set_with("a", "v", metadata(65_536)).await.is_err_and(invalid));
    assert_eq!(cache.set_with("a", "v", metadata(65_535)).await.unwrap(), STORED);
}

#[tokio::test]
async fn never_holds_more_than_its_capacity_and_never_a_wrong_value() {
    const CAPACITY_BYTES: u64 = 1 << 20;
    let cache = MemoryCache::new(CAPACITY_BYTES);
    let mut newest = HashMap::new();
    for n in 0..20_000u64 {
        let key = format!("key {}", n * 7919 % 3001);
        let text = Bytes::from(format!("{n} ").repeat((n % 300) as usize + 1));
        assert_eq!(cache.set(&key, text.clone()).await.unwrap(), STORED);
        assert!(cache.stats().memory_bytes <= CAPACITY_BYTES);
        newest.insert(key, text);
    }
    let mut found = 0;
    for (key, text) in &newest {
        if let Some(there) = value(&cache, key).await {
            assert_eq!(there, text);
            found += 1;
        }
    }
    let stats = cache.stats();
    assert_eq!(found, stats.entries, "what is counted is there");
    assert!(found > 300 && stats.counts.entries_evicted > 1000, "{found} of {}", newest.len());
    let live: u64 = stats.counts.bytes_admitted;
    assert!(stats.live_bytes < stats.memory_bytes && stats.live_bytes < live);
    cache.clear().await.unwrap();
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.memory_bytes, stats.live_bytes, stats.counts.clears), (0, 0, 0, 1));
}

#[tokio::test]
async fn works_as_a_trait_object_and_clones_share_one_cache() {
    let memory = MemoryCache::new(1 << 20);
    let cache: Arc<dyn Cache> = Arc::new(memory.clone());
    assert_eq!(cache.set(b"a", Bytes::from_static(b"v")).await.unwrap(), STORED);
    assert!(memory.contains("a").await.unwrap());
    assert_eq!(cache.get(b"a").await.unwrap().unwrap().value(), "v");
    assert!(cache.delete(b"a").await.unwrap());
    cache.set(b"b", Bytes::new()).await.unwrap();
    cache.clear().await.unwrap();
    assert!(cache.get(b"b").await.unwrap().is_none());
    let stats = cache.stats();
    assert_eq!((stats.backend, stats.hits(), stats.misses(), stats.hit_ratio()), (None, 1, 1, 0.5));
}

/// As on disk, where a time has 48 bits.
#[tokio::test]
async fn the_longest_time_to_live_ends_with_the_last_time_that_there_is() {
    let cache = MemoryCache::new(1 << 20);
    cache.set_with("a", "v", SetOptions::new().ttl(Duration::MAX)).await.unwrap();
    let expires_at = cache.get("a").await.unwrap().unwrap().expires_at();
    assert_eq!(expires_at, Some(std::time::UNIX_EPOCH + Duration::from_millis(Millis::MAX.0)));
}

/// What a user keeps in a cache does not get into a log by `{:?}`.
#[tokio::test]
async fn what_is_printed_tells_lengths_and_no_contents() {
    let cache = MemoryCache::new(1 << 20);
    let options = SetOptions::new().metadata("SECRET");
    let printed = format!("{options:?}");
    cache.set_with("a", "a SECRET value", options).await.unwrap();
    let printed = printed + &format!("{:?}", cache.get("a").await.unwrap().unwrap());
    assert!(printed.contains("value_bytes: 14") && printed.contains("metadata_bytes: 6"), "{printed}");
    assert!(!printed.contains("SECRET"), "{printed}");
}
