//! Trap 4: a refused or failed update does not leave the old value readable.

use std::time::Duration;

use esker::backend::sim::{DiskError, FaultPlan, OpKind, When};
use esker::{DiskCache, Error, RefuseReason, SetOutcome};

use tokio::time::Instant;

use crate::table::{Table, eventually, fill_until, get, put, synced};

async fn with_old_value(table: &Table) -> DiskCache {
    let cache = table.open().await;
    put(&cache, "k", "v1", synced()).await;
    put(&cache, "witness", "w", synced()).await;
    cache
}

fn refused(reason: RefuseReason) -> SetOutcome {
    SetOutcome::Refused { reason }
}

async fn until_the_marker_is_durable(cache: &DiskCache) {
    // The first one may have gone to the disk while it still failed; a sync then says so, and the next one is in time.
    let is_durable = || async { cache.stats().counts.markers_written > 0 && cache.sync().await.is_ok() };
    eventually("the owed marker is durable", is_durable).await;
}

/// P2, P3. The new value fits no segment.
#[tokio::test(flavor = "multi_thread")]
async fn trap_04_an_update_that_is_too_large_takes_the_old_value_along() {
    let mut table = Table::new(1, 8);
    let cache = with_old_value(&table).await;
    let capacity = table.config.capacity_bytes as usize;
    assert_eq!(cache.set("k", vec![0; capacity + 1]).await.unwrap(), refused(RefuseReason::TooLarge));
    assert_eq!(get(&cache, "k").await, None);
    until_the_marker_is_durable(&cache).await;
    table.assert_dead_for_ever(cache, "k", "witness").await;
}

/// P2, P3. The cache holds as much, but not beside what it must keep free: the beginning is evicted before the end comes.
#[tokio::test(flavor = "multi_thread")]
async fn trap_04_an_update_that_pushes_itself_out_takes_the_old_value_along() {
    let mut table = Table::new(1, 8);
    let cache = with_old_value(&table).await;
    let most = table.config.capacity_bytes as usize - (20 << 10);
    assert_eq!(cache.set("k", vec![0; most]).await.unwrap(), refused(RefuseReason::Evicted));
    assert_eq!(get(&cache, "k").await, None);
    assert_eq!((cache.stats().objects, cache.stats().counts.refused_evicted), (0, 1));
    put(&cache, "witness", "there", synced()).await;
    // Where its segment is still there a marker is owed, which holds for good from here on.
    cache.sync().await.unwrap();
    table.assert_dead_for_ever(cache, "k", "witness").await;
}

/// P2, P3. The same, and the cache is closed at once: a close leaves nothing owed.
#[tokio::test(flavor = "multi_thread")]
async fn trap_04_a_close_right_after_a_refused_update_leaves_the_old_value_dead() {
    for round in 0..20 {
        let table = Table::new(100 + round, 8);
        let cache = with_old_value(&table).await;
        let capacity = table.config.capacity_bytes as usize;
        assert_eq!(cache.set("k", vec![0; capacity + 1]).await.unwrap(), refused(RefuseReason::TooLarge));
        cache.close().await.unwrap();
        assert_eq!(get(&table.open().await, "k").await, None, "round {round}");
    }
}

/// P2, P3. The write pipeline is full, and the writer does not want to wait.
#[tokio::test(flavor = "multi_thread")]
async fn trap_04_a_busy_update_takes_the_old_value_along() {
    let mut table = Table::new(2, 40);
    table.config.write_buffer_bytes = 1 << 20;
    let cache = with_old_value(&table).await;
    table.sim.set_faults(FaultPlan { stalled: vec![OpKind::Write], ..FaultPlan::default() });
    let mut accepted = 0;
    while cache.try_set(format!("filler {accepted}"), vec![0; 8 << 10]).await.unwrap().is_stored() {
        accepted += 1;
        assert!(accepted < 1000, "a stalled disk takes everything");
    }
    assert_eq!(cache.try_set("k", vec![0; 8 << 10]).await.unwrap(), refused(RefuseReason::Busy));
    assert_eq!(get(&cache, "k").await, None);
    table.sim.clear_faults();
    until_the_marker_is_durable(&cache).await;
    assert_eq!(get(&cache, "filler 0").await.map(|v| v.len()), Some(8 << 10));
    table.assert_dead_for_ever(cache, "k", "witness").await;
}

/// P2, P3. The disk fails, and refuses the update.
#[tokio::test(flavor = "multi_thread")]
async fn trap_04_an_update_refused_by_a_failing_disk_takes_the_old_value_along() {
    let mut table = Table::new(3, 8);
    let cache = with_old_value(&table).await;
    table.sim.set_faults(FaultPlan::default().fail_on("seg-", OpKind::Write, When::Always, DiskError::Eio));
    cache.set_with("other", "x", synced()).await.expect_err("every write fails");
    assert_eq!(cache.set_with("k", "v2", synced()).await.unwrap(), refused(RefuseReason::DiskFailed));
    assert_eq!(get(&cache, "k").await, None);
    table.sim.clear_faults();
    cache.sync().await.expect_err("what was lost is told");
    until_the_marker_is_durable(&cache).await;
    table.assert_dead_for_ever(cache, "k", "witness").await;
}

/// P2. A delete that the disk refuses is an error, but the value is not served any more.
#[tokio::test(flavor = "multi_thread")]
async fn trap_04_a_failed_delete_does_not_leave_the_value_readable() {
    let mut table = Table::new(4, 8);
    let cache = with_old_value(&table).await;
    table.sim.set_faults(FaultPlan::default().fail_on("seg-", OpKind::Write, When::Always, DiskError::Eio));
    cache.delete("k").await.expect_err("every write fails");
    assert_eq!(get(&cache, "k").await, None);
    table.sim.clear_faults();
    until_the_marker_is_durable(&cache).await;
    table.assert_dead_for_ever(cache, "k", "witness").await;
}

/// P5. On a disk that lets nothing be freed, writers that wait for room together are refused together: not one after the
/// other, each after the limit for a disk operation.
#[tokio::test(start_paused = true)]
async fn trap_05_writers_that_wait_for_room_together_are_refused_together() {
    const LIMIT: Duration = Duration::from_secs(30);
    let mut table = Table::new(7, 8);
    table.config.io_timeout_ms = LIMIT.as_millis() as u64;
    let cache = table.open().await;
    fill_until(&cache, |cache| cache.stats().counts.segments_evicted >= 3).await;
    // What cannot be read is not evicted; what is free is still written to.
    table.sim.set_faults(FaultPlan::default().fail_on("seg-", OpKind::Read, When::Always, DiskError::Eio));
    let write = |writer: usize| {
        let cache = cache.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let began = Instant::now();
                let outcome = cache.set(format!("{writer} {n}"), vec![0; 8 << 10]).await.unwrap();
                if !outcome.is_stored() {
                    return (outcome, began.elapsed());
                }
            }
            unreachable!("a full disk takes everything")
        })
    };
    let writers: Vec<_> = (0..8).map(write).collect();
    for writer in writers {
        let (outcome, waited) = writer.await.unwrap();
        assert_eq!(outcome, refused(RefuseReason::DiskFailed));
        assert!(waited < LIMIT + LIMIT / 2, "one waited for {waited:?}");
    }
}

/// Who does not want to wait is answered at once while a segment is begun on a disk that hangs.
#[tokio::test(start_paused = true)]
async fn trap_05_a_try_set_does_not_wait_for_a_segment_that_is_begun() {
    let table = Table::new(8, 8);
    let cache = table.open().await;
    table.sim.set_faults(FaultPlan { stalled: vec![OpKind::Open], ..FaultPlan::default() });
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.set("waits", "v").await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let began = Instant::now();
    assert_eq!(cache.try_set("does not", "v").await.unwrap(), refused(RefuseReason::Busy));
    assert!(began.elapsed() < Duration::from_secs(1) && !waiting.is_finished());
    table.sim.clear_faults();
    assert!(waiting.await.unwrap().unwrap().is_stored());
}

/// P5. A writer that waits for room on a full disk, of which nothing can be evicted, goes on once there is room.
#[tokio::test(start_paused = true)]
async fn trap_05_a_writer_that_waits_on_a_full_disk_goes_on_when_there_is_room() {
    for when_ms in (0..500).step_by(100) {
        let table = Table::new(9, 16);
        let cache = table.open().await;
        fill_until(&cache, |cache| cache.stats().segments >= 5).await;
        cache.sync().await.unwrap();
        let full = FaultPlan { capacity_bytes: Some(table.sim.used_bytes()), ..FaultPlan::default() };
        table.sim.set_faults(full.fail_on("seg-", OpKind::Read, When::Always, DiskError::Eio));
        let writer = tokio::spawn({
            let cache = cache.clone();
            async move {
                for n in 0..40 {
                    let outcome = cache.set(format!("k{n}"), vec![0; 8 << 10]).await.unwrap();
                    assert!(outcome.is_stored(), "{n}: {outcome:?}");
                }
            }
        });
        // A second after it has come to the end of what is there, it would be refused.
        tokio::time::sleep(Duration::from_millis(when_ms)).await;
        assert!(!writer.is_finished(), "the disk was not full: the test proves nothing");
        table.sim.clear_faults();
        writer.await.unwrap_or_else(|e| panic!("after {when_ms} ms: {e}"));
    }
}

/// P5. Where there is no room even for the first segment, nobody waits for an eviction that cannot come; and a file that was
/// not made counts as none.
#[tokio::test(start_paused = true)]
async fn trap_05_a_disk_without_room_for_a_segment_refuses_at_once() {
    let table = Table::new(10, 8);
    let cache = table.open().await;
    for (error, reason) in [(DiskError::Enospc, RefuseReason::DiskFull), (DiskError::Eio, RefuseReason::DiskFailed)] {
        table.sim.set_faults(FaultPlan::default().fail_on("seg-", OpKind::Open, When::Always, error));
        let began = Instant::now();
        assert_eq!(cache.set("k", "v").await.unwrap(), refused(reason));
        assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
        assert_eq!(cache.stats().segments, 0);
    }
}

/// P3. Sets that wait while the cache is closed are told so, or are there at the next open.
#[tokio::test(start_paused = true)]
async fn trap_04_a_set_that_a_close_overtakes_is_not_stored_for_nothing() {
    let mut table = Table::new(11, 64);
    table.config.write_buffer_bytes = 1 << 20;
    let cache = table.open().await;
    table.sim.set_faults(FaultPlan { stalled: vec![OpKind::Write], ..FaultPlan::default() });
    let set = |n: usize| {
        let cache = cache.clone();
        tokio::spawn(async move { (n, cache.set(format!("k{n}"), vec![n as u8; 30 << 10]).await) })
    };
    let sets: Vec<_> = (0..100).map(set).collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let closing = tokio::spawn({
        let cache = cache.clone();
        async move { cache.close().await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    table.sim.clear_faults();
    closing.await.unwrap().unwrap();
    drop(cache);
    let cache = table.open().await;
    let mut overtaken = 0;
    for set in sets {
        match set.await.unwrap() {
            (n, Ok(outcome)) => {
                let is_there = cache.contains(format!("k{n}")).await.unwrap();
                assert!(is_there || !outcome.is_stored(), "{n}: {outcome:?}, and it is not there");
            }
            (_, Err(error)) => {
                assert!(matches!(error, Error::Closed), "{error}");
                overtaken += 1;
            }
        }
    }
    assert!(overtaken > 0, "none waited: the test proves nothing");
}
