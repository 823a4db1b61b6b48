//! Trap 14: two keys whose digests agree in all bits that the index keeps, but not in full.

use esker::Digest;
use esker::format::digest::digest;
use esker::index::{Change, Index, Location};

use crate::table::{SEED, Table, fill_until, get, put, short_lived, synced};

/// Whether an index of one shard takes one digest for the other.
fn agree(a: Digest, b: Digest) -> bool {
    let index = Index::new(1);
    index.update(a, |_| (Change::Put(Location { slot: 0, offset_units: 1, class: 1 }, false), ()));
    index.lookup(b).is_some()
}

/// Two keys that share a slot of an index with one shard: the first that a birthday search over `twin 0`, `twin 1`, ...
/// finds. If the index or the digest changes, search again.
fn twins() -> (&'static str, &'static str) {
    let (a, b) = ("twin 2674039", "twin 3291947");
    let (of_a, of_b) = (digest(&SEED, a.as_bytes()), digest(&SEED, b.as_bytes()));
    assert_ne!(of_a, of_b, "the whole digest agrees: not what is tested here");
    assert!(agree(of_a, of_b), "they do not share a slot: has the index another layout?");
    (a, b)
}

/// Asserts that a key has this value, or is a miss where `or_miss`.
async fn assert_value(cache: &esker::DiskCache, key: &str, expected: Option<&str>, or_miss: bool) {
    let value = get(cache, key).await;
    assert!(value.as_deref() == expected || or_miss && value.is_none(), "{key}: {value:?} instead of {expected:?}");
}

/// P1. The newer of the two is served, the older is a miss; neither is ever the other.
#[tokio::test(flavor = "multi_thread")]
async fn trap_14_publish_and_get_tell_twins_apart() {
    let (a, b) = twins();
    for memory_bytes in [0, 1 << 20] {
        let mut table = Table::new(1, 8);
        table.config.memory_bytes = memory_bytes;
        let cache = table.open().await;
        put(&cache, a, "value of a", synced()).await;
        assert_eq!(get(&cache, a).await.as_deref(), Some("value of a"));
        assert_eq!(get(&cache, b).await, None);
        assert!(!cache.contains(b).await.unwrap());
        put(&cache, b, "value of b", synced()).await;
        assert_eq!(get(&cache, b).await.as_deref(), Some("value of b"));
        assert_eq!(get(&cache, a).await, None);
        assert_eq!(cache.stats().counts.misses_collision, 2);
        let cache = table.kill(cache).await;
        assert_value(&cache, b, Some("value of b"), false).await;
        assert_value(&cache, a, Some("value of a"), true).await;
        cache.close().await.unwrap();
    }
}

/// P2. Deleting one of the two may cost the other, but brings nothing back.
#[tokio::test(flavor = "multi_thread")]
async fn trap_14_a_delete_of_one_twin_brings_neither_back() {
    let (a, b) = twins();
    let mut table = Table::new(2, 8);
    let cache = table.open().await;
    put(&cache, a, "a1", synced()).await;
    put(&cache, b, "b1", synced()).await;
    cache.delete(a).await.unwrap();
    assert_value(&cache, a, None, false).await;
    assert_value(&cache, b, Some("b1"), true).await;
    let cache = table.kill(cache).await;
    assert_value(&cache, a, None, false).await;
    assert_value(&cache, b, Some("b1"), true).await;
    put(&cache, b, "b2", synced()).await;
    cache.delete(b).await.unwrap();
    let cache = table.kill(cache).await;
    assert_value(&cache, a, None, false).await;
    assert_value(&cache, b, None, false).await;
}

/// P2. A deleted key stays deleted though its twin took the slot before and after.
#[tokio::test(flavor = "multi_thread")]
async fn trap_14_a_delete_behind_a_twin_still_counts() {
    let (a, b) = twins();
    let mut table = Table::new(3, 8);
    for shards_at_reopen in [1, 32] {
        table.config.index_shards = 1;
        let cache = table.open().await;
        put(&cache, a, "a1", synced()).await;
        put(&cache, b, "b1", synced()).await;
        cache.delete(b).await.unwrap();
        // The slot is empty now: a delete of `a` must not be taken for needless.
        cache.delete(a).await.unwrap();
        assert_value(&cache, a, None, false).await;
        table.config.index_shards = shards_at_reopen;
        let cache = table.kill(cache).await;
        assert_value(&cache, a, None, false).await;
        cache.close().await.unwrap();
    }
}

/// P2. a1 stays in an open segment; a2, then its twin, are evicted: a1 does not come back, also not in an index that
/// tells the two apart.
#[tokio::test(flavor = "multi_thread")]
async fn trap_14_eviction_of_twins_uncovers_nothing() {
    let (a, b) = twins();
    for (seed, shards_at_reopen) in [(4, 1), (5, 32)] {
        let mut table = Table::new(seed, 8);
        let cache = table.open().await;
        put(&cache, a, "a1", short_lived()).await;
        put(&cache, "witness", "w", short_lived()).await;
        put(&cache, a, "a2", synced()).await;
        put(&cache, b, "b1", synced()).await;
        fill_until(&cache, |cache| cache.stats().counts.segments_evicted >= 10).await;
        assert_value(&cache, a, None, false).await;
        table.config.index_shards = shards_at_reopen;
        table.assert_dead_for_ever(cache, a, "witness").await;
    }
}

/// P1. Recovery keeps the newer of the two, from footers as from a scan.
#[tokio::test(flavor = "multi_thread")]
async fn trap_14_recovery_keeps_the_newer_twin() {
    let (a, b) = twins();
    let mut table = Table::new(6, 8);
    let cache = table.open().await;
    for (n, key) in [a, b, a, b, a].into_iter().enumerate() {
        put(&cache, key, &format!("{key} {n}"), synced()).await;
    }
    let cache = table.kill(cache).await;
    assert_value(&cache, a, Some(&format!("{a} 4")), false).await;
    assert_value(&cache, b, None, false).await;
    cache.close().await.unwrap();
    let cache = table.open().await;
    assert_value(&cache, a, Some(&format!("{a} 4")), false).await;
    assert_value(&cache, b, None, false).await;
}
