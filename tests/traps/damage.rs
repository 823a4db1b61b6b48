//! Trap 13: damage to a newer record does not uncover an older one.

use std::path::Path;

use esker::DiskCache;

use crate::table::{Table, fill_until, get, put, synced};

const OLD: &str = "the old value of the key";
const NEW: &str = "the new value of the key";

fn rot(table: &Table, path: &Path, from: u64, len: u64) {
    for offset in from..from + len {
        table.sim.flip_bit(path, offset).unwrap();
    }
}

async fn two_versions(table: &Table) -> DiskCache {
    let cache = table.open().await;
    put(&cache, "k", OLD, synced()).await;
    put(&cache, "witness", "w", synced()).await;
    put(&cache, "k", NEW, synced()).await;
    put(&cache, "behind", "b", synced()).await;
    cache
}

/// P1, P2, P7. The newer record lies in a segment that was not sealed.
#[tokio::test(flavor = "multi_thread")]
async fn trap_13_a_damaged_value_in_an_unsealed_segment_uncovers_nothing() {
    let mut table = Table::new(1, 8);
    let cache = two_versions(&table).await;
    let (path, at) = table.find_on_disk(NEW.as_bytes());
    rot(&table, &path, at + 3, 1);
    let cache = table.kill(cache).await;
    assert_eq!(get(&cache, "k").await, None);
    assert_eq!(cache.recovery_report().dropped_damaged, 1, "{:?}", cache.recovery_report());
    assert!(cache.recovery_report().notes.iter().any(|note| note.contains("seg-0000.esk")));
    assert_eq!(get(&cache, "behind").await.as_deref(), Some("b"), "what follows the damage is kept");
    table.assert_dead_for_ever(cache, "k", "witness").await;
}

/// P1, P2. The damage is met by a reader of a sealed segment, then by the next recovery.
#[tokio::test(flavor = "multi_thread")]
async fn trap_13_a_damaged_value_in_a_sealed_segment_uncovers_nothing() {
    let mut table = Table::new(2, 8);
    two_versions(&table).await.close().await.unwrap();
    let (path, at) = table.find_on_disk(NEW.as_bytes());
    rot(&table, &path, at + 3, 1);
    let cache = table.open().await;
    assert_eq!(get(&cache, "k").await, None);
    assert_eq!(cache.stats().counts.misses_damaged, 1);
    assert_eq!(get(&cache, "k").await, None);
    assert_eq!(cache.stats().counts.entries_damaged, 1, "counted once, not at every get");
    cache.sync().await.unwrap();
    table.assert_dead_for_ever(cache, "k", "witness").await;
}

/// P2. The segment of a damaged version is evicted before that of the version it replaced.
#[tokio::test(flavor = "multi_thread")]
async fn trap_13_a_damaged_version_that_is_evicted_uncovers_nothing() {
    let mut table = Table::new(3, 8);
    let cache = table.open().await;
    put(&cache, "k", OLD, crate::table::short_lived()).await;
    put(&cache, "witness", "w", crate::table::short_lived()).await;
    put(&cache, "k", NEW, synced()).await;
    let (path, at) = table.find_on_disk(NEW.as_bytes());
    rot(&table, &path, at + 3, 1);
    fill_until(&cache, |cache| cache.stats().counts.segments_evicted >= 10).await;
    table.assert_dead_for_ever(cache, "k", "witness").await;
}

/// P2, P7. Footer and header are damaged, so nobody can say which key stood there: entries that it may have replaced
/// are forgotten and counted; what is newer is kept.
#[tokio::test(flavor = "multi_thread")]
async fn trap_13_where_keys_are_hidden_what_may_have_been_replaced_is_forgotten() {
    let table = Table::new(4, 8);
    let cache = table.open().await;
    put(&cache, "k", OLD, synced()).await;
    cache.close().await.unwrap();
    let cache = table.open().await;
    put(&cache, "k", NEW, synced()).await;
    put(&cache, "behind", "b", synced()).await;
    cache.close().await.unwrap();
    let cache = table.open().await;
    put(&cache, "newer", "n", synced()).await;
    cache.close().await.unwrap();
    let (path, at) = table.find_on_disk(NEW.as_bytes());
    rot(&table, &path, at - 20, 1);
    let len = table.sim.read_file(&path).unwrap().len() as u64;
    rot(&table, &path, len - 10, 1);
    for reopened in 0..3 {
        let cache = table.open().await;
        assert_eq!(get(&cache, "k").await, None, "reopened {reopened} times: {:?}", cache.recovery_report());
        assert_eq!(get(&cache, "newer").await.as_deref(), Some("n"));
        if reopened == 0 {
            assert!(cache.recovery_report().dropped_doubtful >= 1, "{:?}", cache.recovery_report());
        }
        cache.close().await.unwrap();
    }
}
