//! Traps 4 and 5: eviction, while the markers that keep older versions dead find no room on the disk.

use std::time::Duration;

use esker::DiskCache;
use esker::backend::sim::{DiskError, FaultPlan, OpKind, When};

use crate::debts::{owe, table};
use crate::table::{Table, get, put, short_lived, synced};

/// An old version of `k` in a sealed segment, a newer one in the next, which is to expire first.
async fn two_sealed_versions(table: &Table) -> DiskCache {
    let cache = table.open().await;
    put(&cache, "k", "v1", synced()).await;
    put(&cache, "k", "v2", short_lived()).await;
    cache.close().await.unwrap();
    assert_eq!(table.segment_files().len(), 2);
    table.open().await
}

/// A third version is refused, so that a marker is owed; then the segment of the second one expires.
async fn owe_and_expire(table: &Table, cache: &DiskCache) {
    owe(cache, "k").await;
    table.clock.advance(120_000);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let counts = cache.stats().counts;
    assert!(counts.evictions_tried > 0 && counts.markers_written == 0, "this proves nothing: {counts:?}");
}

async fn assert_dead_after_power_loss(table: &Table) {
    let sim = table.sim.fork(1);
    sim.power_loss();
    sim.clear_faults();
    assert_eq!(get(&table.open_on(&sim.reopen()).await, "k").await, None, "v1 came back");
}

/// P2. A record that keeps an older one dead is not freed as long as its marker is owed.
#[tokio::test(start_paused = true)]
async fn trap_05_what_keeps_an_older_version_dead_stays_until_its_marker_is_written() {
    let table = table(10);
    let cache = two_sealed_versions(&table).await;
    let no_new_file = (2..8)
        .map(|slot| format!("seg-{slot:04}"))
        .fold(FaultPlan::default(), |plan, name| plan.fail_on(&name, OpKind::Open, When::Always, DiskError::Eio));
    table.sim.set_faults(no_new_file);
    owe_and_expire(&table, &cache).await;
    assert_eq!(cache.stats().counts.segments_evicted, 0);
    assert_dead_after_power_loss(&table).await;
}

/// P2, P5. Where the disk has no room even for markers, the manifest says first that all is cleared up to what is freed.
#[tokio::test(start_paused = true)]
async fn trap_05_a_clear_stands_in_for_the_markers_that_find_no_room() {
    let table = table(11);
    let cache = two_sealed_versions(&table).await;
    let manifest_bytes = 16 << 10;
    let full = FaultPlan { capacity_bytes: Some(table.sim.used_bytes() + manifest_bytes), ..FaultPlan::default() };
    // The old version stays, and what is freed is not used again: the marker would fit there.
    let full = full.fail_on("seg-0000", OpKind::Read, When::Always, DiskError::Eio);
    table.sim.set_faults(full.fail_on("seg-0001", OpKind::Open, When::From(2), DiskError::Eio));
    owe_and_expire(&table, &cache).await;
    assert_eq!(cache.stats().counts.segments_evicted, 1);
    assert_dead_after_power_loss(&table).await;
}

/// P2. Only a segment of which nothing got to the device is freed without a word: a marker that did, before a later one of the
/// same segment was lost, is needed.
#[tokio::test(start_paused = true)]
async fn trap_05_a_marker_that_is_durable_stays_when_one_behind_it_is_lost() {
    let table = table(12);
    let cache = table.open().await;
    put(&cache, "k", "v1", synced()).await;
    put(&cache, "other", "v1", synced()).await;
    cache.close().await.unwrap();
    let cache = table.open().await;
    owe(&cache, "k").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    cache.sync().await.unwrap();
    assert_eq!(cache.stats().counts.markers_written, 1);
    let full = FaultPlan { capacity_bytes: Some(table.sim.used_bytes()), ..FaultPlan::default() };
    let full = full.fail_on("seg-0000", OpKind::Read, When::Always, DiskError::Eio);
    let full = full.fail_on("MANIFEST", OpKind::Write, When::Always, DiskError::Eio);
    table.sim.set_faults(full.fail_on("seg-0001", OpKind::Sync, When::Nth(1), DiskError::Eio));
    owe(&cache, "other").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(cache.sync().await.is_err());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let counts = cache.stats().counts;
    assert!(counts.evictions_tried > 0, "this proves nothing: {counts:?}");
    assert_dead_after_power_loss(&table).await;
}
