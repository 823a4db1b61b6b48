//! Traps 4 and 5: markers that are owed, and rounds of eviction that cannot free anything, come to an end.

use std::time::Duration;

use esker::backend::sim::{DiskError, FaultPlan, OpKind, When};
use esker::format::digest::digest;
use esker::format::record;
use esker::format::segment_header::SegmentHeader;
use esker::{DiskCache, Error, RecordKind, RefuseReason, SetOptions, SetOutcome};

use crate::table::{SEED, Table, fill_until, get, put, short_lived, synced};

const MAX_VALUE_BYTES: usize = 16 << 10;

/// A table on which values beyond [`MAX_VALUE_BYTES`] are refused.
pub fn table(sim_seed: u64) -> Table {
    let mut table = Table::new(sim_seed, 8);
    table.config.max_value_bytes = Some(MAX_VALUE_BYTES as u64);
    table
}

/// Replaces `key` by something that is refused, so that a marker is owed for it.
pub async fn owe(cache: &DiskCache, key: &str) {
    let outcome = cache.set(key.to_owned(), vec![0; MAX_VALUE_BYTES + 1]).await.unwrap();
    assert_eq!(outcome, SetOutcome::Refused { reason: RefuseReason::TooLarge });
}

fn no_open(pattern: &str) -> FaultPlan {
    FaultPlan::default().fail_on(pattern, OpKind::Open, When::Always, DiskError::Eio)
}

/// P5. A marker that is written late says what it covers as of the time when it was owed: were it given a younger horizon
/// each time it finds no room, it would never go.
#[tokio::test(start_paused = true)]
async fn trap_05_a_marker_that_waits_for_room_keeps_its_horizon() {
    let table = table(1);
    let cache = table.open().await;
    put(&cache, "k", "v1", synced()).await;
    // The stream that markers go to has no segment yet, and after a failure it waits before it asks for one again.
    table.sim.set_faults(no_open("seg-"));
    owe(&cache, "k").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    table.sim.clear_faults();
    fill_until(&cache, |cache| cache.stats().segments >= 3).await;
    assert_eq!(cache.stats().counts.markers_written, 0, "the marker did not wait: the test proves nothing");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cache.stats().counts.markers_written, 1);
    cache.close().await.unwrap();
    let (_, row) = table.sealed_rows().into_iter().find(|(_, row)| row.kind == RecordKind::Marker).expect("a marker");
    let files: Vec<_> = table.segment_files().into_iter().map(|path| table.sim.read_file(path).unwrap()).collect();
    let headers: Vec<_> = files.iter().map(|bytes| SegmentHeader::decode(bytes).unwrap()).collect();
    let at = headers.iter().position(|header| header.stream == 1).expect("the markers' segment");
    let marker = record::decode(&files[at][row.offset() as usize..], headers[at].id, row.offset()).expect("whole");
    let horizon = u64::from_le_bytes(marker.value.try_into().unwrap());
    let oldest = headers.iter().map(|header| header.id.0).min().unwrap();
    assert_eq!(horizon, oldest, "not as of the time when it was owed");
}

/// P5. The open segment of a stream that is hardly used does not keep deletes alive for ever: it is sealed, and goes.
#[tokio::test(start_paused = true)]
async fn trap_05_an_idle_open_segment_does_not_keep_markers_alive_for_ever() {
    let table = table(2);
    let cache = table.open().await;
    put(&cache, "idle", "v", short_lived()).await;
    for n in 0..50 {
        put(&cache, &format!("k{n}"), "v", SetOptions::new()).await;
        assert!(cache.delete(format!("k{n}")).await.unwrap());
    }
    fill_until(&cache, |cache| cache.stats().counts.segments_evicted >= 100).await;
    assert!(cache.stats().counts.markers_written >= 50, "no delete was carried on: the test proves nothing");
    assert_eq!(get(&cache, "idle").await, None, "its segment is never evicted");
    cache.close().await.unwrap();
    let markers = table.sealed_rows().into_iter().filter(|(_, row)| row.kind == RecordKind::Marker).count();
    assert_eq!(markers, 0, "deletes of what is nowhere live on");
}

/// P3. A flush answers for what was owed before it began, not for what others owe meanwhile.
#[tokio::test(start_paused = true)]
async fn trap_04_a_flush_waits_for_the_markers_that_were_owed_before_it_only() {
    const KEYS: usize = 1_000;
    let table = table(3);
    let cache = table.open().await;
    let mut keys: Vec<_> = (0..KEYS).map(|n| format!("k{n}")).collect();
    // In the order in which markers are written.
    keys.sort_by_key(|key| digest(&SEED, key.as_bytes()).0);
    for key in &keys {
        // A few bytes each: they fit a segment.
        put(&cache, key, "", SetOptions::new()).await;
    }
    cache.sync().await.unwrap();
    table.sim.set_faults(no_open("seg-"));
    for key in &keys[..KEYS / 4] {
        owe(&cache, key).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let flushing = tokio::spawn({
        let cache = cache.clone();
        async move { cache.flush().await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    for key in &keys[KEYS / 4..] {
        owe(&cache, key).await;
    }
    assert!(!flushing.is_finished(), "it waits for nothing: the test proves nothing");
    // Now there is room for one segment of markers, and that is too little.
    let used = table.segment_files().len();
    let others = (used + 1..8).map(|slot| format!("seg-{slot:04}"));
    table.sim.set_faults(
        others.fold(FaultPlan::default(), |plan, name| plan.fail_on(&name, OpKind::Open, When::Always, DiskError::Eio)),
    );
    flushing.await.unwrap().expect("all that was owed before it is written");
    let written = cache.stats().counts.markers_written as usize;
    assert!((KEYS / 4..KEYS).contains(&written), "{written} markers are written: the test proves nothing");
}

/// P2, P3. A marker that was lost on its way to the disk is not written, whatever was thought of it: as long as the disk
/// takes nothing, no flush says that all is well.
#[tokio::test(start_paused = true)]
async fn trap_04_a_flush_does_not_take_a_marker_that_was_lost_for_written() {
    let mut table = table(4);
    let cache = table.open().await;
    put(&cache, "k", "v1", synced()).await;
    put(&cache, "witness", "w", synced()).await;
    table.sim.set_faults(FaultPlan::default().fail_on("seg-", OpKind::Write, When::Always, DiskError::Eio));
    put(&cache, "k", "v2", SetOptions::new()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((get(&cache, "k").await, cache.stats().counts.entries_lost), (None, 1));
    for n in 0..40 {
        cache.flush().await.expect_err(&format!("flush {n} says that the marker is written"));
        tokio::time::sleep(Duration::from_millis(7 * n)).await;
    }
    assert!(cache.stats().counts.markers_written > 2, "none was on its way: the test proves nothing");
    table.sim.clear_faults();
    tokio::time::sleep(Duration::from_secs(2)).await;
    cache.flush().await.expect("the disk is well again");
    table.assert_dead_for_ever(cache, "k", "witness").await;
}

/// P5. While no file can be freed, each round of eviction finds the same segments: it does not write again what it wrote.
#[tokio::test(start_paused = true)]
async fn trap_05_rounds_that_free_nothing_write_nothing_twice() {
    const DELETES: u64 = 8;
    let table = table(5);
    let cache = table.open().await;
    // Older than the deletes, in a segment that stays open, so that these must be carried on.
    put(&cache, "old", "v", short_lived()).await;
    for n in 0..DELETES {
        put(&cache, &format!("k{n}"), "v", SetOptions::new()).await;
        assert!(cache.delete(format!("k{n}")).await.unwrap());
    }
    fill_until(&cache, |cache| cache.stats().segments >= 5).await;
    cache.sync().await.unwrap();
    assert_eq!(cache.stats().counts.segments_evicted, 0);
    let stuck = table.segment_files().into_iter().fold(FaultPlan::default(), |plan, path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        plan.fail_on(&name, OpKind::Open, When::Always, DiskError::Eio)
    });
    table.sim.set_faults(stuck);
    // One more segment, which is not full and so stays, makes room short.
    for n in 0..8 {
        assert!(cache.set(format!("more {n}"), vec![1; 8 << 10]).await.unwrap().is_stored());
    }
    tokio::time::sleep(Duration::from_secs(50)).await;
    let counts = cache.stats().counts;
    assert_eq!(counts.segments_evicted, 0, "something was freed: the test proves nothing");
    assert!(counts.evictions_failed > 50, "too few rounds to show anything: {}", counts.evictions_failed);
    assert!(counts.markers_written >= DELETES, "the deletes were not carried on: the test proves nothing");
    let most = 2 * DELETES;
    assert!(counts.markers_written <= most, "{} markers for {DELETES} deletes", counts.markers_written);
}

/// P2, P3. The marker for a refused update is only owed: a delete that follows is written, though the index knows nothing of
/// the key any more.
#[tokio::test(start_paused = true)]
async fn trap_04_a_delete_does_not_rely_on_a_marker_that_is_owed() {
    let mut table = table(6);
    let cache = table.open().await;
    put(&cache, "k", "v1", synced()).await;
    put(&cache, "witness", "w", synced()).await;
    table.sim.set_faults(no_open("seg-"));
    owe(&cache, "k").await;
    assert!(!cache.delete("k").await.unwrap());
    assert_eq!(cache.stats().counts.markers_written, 0, "it is not owed any more: the test proves nothing");
    table.sim.power_loss();
    table.sim.clear_faults();
    let cache = table.kill(cache).await;
    table.assert_dead_for_ever(cache, "k", "witness").await;
}

/// P2, P3. A `clear` that could not be written is owed too: a close says so, and an update that is refused meanwhile keeps
/// the old version dead by itself.
#[tokio::test(start_paused = true)]
async fn trap_04_a_clear_that_is_not_on_disk_is_not_relied_on() {
    let table = table(7);
    let cache = table.open().await;
    put(&cache, "k", "v1", synced()).await;
    table.sim.set_faults(FaultPlan::default().fail_on("MANIFEST", OpKind::Write, When::Always, DiskError::Eio));
    cache.clear().await.expect_err("the manifest cannot be written");
    owe(&cache, "k").await;
    cache.sync().await.expect("markers can be written");
    let sim = table.sim.fork(1);
    sim.power_loss();
    sim.clear_faults();
    assert_eq!(get(&table.open_on(&sim.reopen()).await, "k").await, None);
    assert!(matches!(cache.close().await, Err(Error::WriteFailed)), "the clear is not on disk");
}

/// P2. What a failing disk did not sync may have landed all the same, in a segment that cannot be freed: the marker that covers
/// it is carried on as long as that is there.
#[tokio::test(start_paused = true)]
async fn trap_06_a_marker_for_what_was_lost_lives_as_long_as_the_segment_that_may_hold_it() {
    let mut table = Table::new(11, 8);
    let cache = table.open().await;
    // The first sync is that of the file's length.
    table.sim.set_faults(FaultPlan::default().fail_on("seg-0000", OpKind::Sync, When::From(2), DiskError::Eio));
    let lost = cache.set_with("k", "landed, and lost", synced()).await;
    assert!(matches!(lost, Err(Error::WriteFailed)), "{lost:?}");
    table.sim.set_faults(no_open("seg-0000"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cache.stats().counts.markers_written, 1, "no marker: the test proves nothing");
    fill_until(&cache, |cache| cache.stats().counts.segments_evicted >= 40).await;
    while cache.sync().await.is_err() {}
    assert!(cache.stats().counts.markers_written > 1, "the marker's segment was not evicted: the test proves nothing");
    // It dies before it can free the segment after all.
    table.sim.clear_faults();
    let cache = table.kill(cache).await;
    assert!(!table.find_on_disk(b"landed, and lost").0.as_os_str().is_empty(), "it did not land");
    assert_eq!(get(&cache, "k").await, None, "{:?}", cache.recovery_report());
}
