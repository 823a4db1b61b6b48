//! Trap 6: after a failed write or sync nothing is retried and nothing appended behind it. And of trap 7: what timed out
//! may land later.

use std::time::Duration;

use esker::backend::sim::{DiskError, FaultPlan, OpKind, When};
use esker::backend::{Backend, OpenMode};
use esker::{DiskCache, Durability, Error, Millis, RefuseReason, SetOptions, SetOutcome};

use crate::table::{START, Table, eventually, fill_until, get, put, synced};

/// Sets `key` again and again until the disk takes it: no restart must be needed.
async fn put_when_the_disk_recovers(cache: &DiskCache, key: &str, value: &str) {
    eventually("writes are accepted again", || async {
        let outcome = cache.set_with(key, value.to_owned(), synced()).await;
        matches!(outcome, Ok(outcome) if outcome.is_stored())
    })
    .await;
}

async fn after_one_failure(seed: u64, op: OpKind, durability: Durability) {
    let mut table = Table::new(seed, 8);
    let cache = table.open().await;
    put(&cache, "before", "synced before", synced()).await;
    table.sim.set_faults(FaultPlan::default().fail_on("seg-", op, When::Nth(1), DiskError::Eio));
    let failed = cache.set_with("lost", "lost value", SetOptions::new().durability(durability)).await;
    assert!(matches!(failed, Err(Error::WriteFailed)), "{failed:?}");
    assert_eq!(get(&cache, "lost").await, None);
    assert_eq!(get(&cache, "before").await.as_deref(), Some("synced before"));
    put_when_the_disk_recovers(&cache, "after", "synced after").await;
    let (before, after) = (table.find_on_disk(b"synced before"), table.find_on_disk(b"synced after"));
    assert_ne!(before.0, after.0, "appended behind a failure");
    assert!(cache.stats().counts.entries_lost >= 1);
    for seed in 0..8 {
        let sim = table.sim.fork(seed);
        sim.power_loss();
        let after = table.open_on(&sim.reopen()).await;
        assert_eq!(get(&after, "before").await.as_deref(), Some("synced before"));
        assert_eq!(get(&after, "after").await.as_deref(), Some("synced after"));
    }
    let cache = table.kill(cache).await;
    assert_eq!(get(&cache, "before").await.as_deref(), Some("synced before"));
    assert_eq!(get(&cache, "after").await.as_deref(), Some("synced after"));
}

/// P3, P4. A write fails: the entry is lost and said to be; later ones go elsewhere and survive.
#[tokio::test(flavor = "multi_thread")]
async fn trap_06_after_a_failed_write_later_entries_go_to_a_new_segment() {
    after_one_failure(1, OpKind::Write, Durability::Written).await;
}

/// P3, P4. A sync fails: what it was to make durable is not trusted, though the page cache still shows it.
#[tokio::test(flavor = "multi_thread")]
async fn trap_06_after_a_failed_sync_later_entries_go_to_a_new_segment() {
    after_one_failure(2, OpKind::Sync, Durability::Synced).await;
}

/// P3. While every write fails, sets are refused or fail, reads go on, and all is well again when the fault clears.
#[tokio::test(flavor = "multi_thread")]
async fn trap_06_a_failing_disk_refuses_reads_on_and_recovers_without_a_restart() {
    let table = Table::new(3, 8);
    let cache = table.open().await;
    put(&cache, "before", "synced before", synced()).await;
    table.sim.set_faults(FaultPlan::default().fail_on("seg-", OpKind::Write, When::Always, DiskError::Eio));
    for n in 0..20 {
        let outcome = cache.set_with(format!("lost {n}"), "x", synced()).await;
        assert!(!matches!(outcome, Ok(outcome) if outcome.is_stored()), "{outcome:?}");
        assert_eq!(get(&cache, "before").await.as_deref(), Some("synced before"));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(cache.stats().counts.refused_disk_failed > 0);
    table.sim.clear_faults();
    put_when_the_disk_recovers(&cache, "after", "synced after").await;
    assert_eq!(get(&cache, "lost 3").await, None);
}

/// P2, P3. The disk loses a chunk in one segment, and takes the head in the next one: the object is lost, and said to be.
#[tokio::test(flavor = "multi_thread")]
async fn trap_06_a_lost_chunk_costs_its_object() {
    for (seed, op) in [(21, OpKind::Write), (22, OpKind::Sync)] {
        let mut table = Table::new(seed, 12);
        table.config.chunk_len_bytes = 4096;
        let cache = table.open().await;
        put(&cache, "large", "old", synced()).await;
        table.sim.set_faults(FaultPlan::default().fail_on("seg-", op, When::Nth(1), DiskError::Eio));
        let outcome = cache.set_with("large", vec![7; 100 << 10], synced()).await;
        // Refused, if the chunk was lost before there was a head.
        let is_refused = matches!(outcome, Ok(SetOutcome::Refused { reason: RefuseReason::DiskFailed }));
        assert!(is_refused || matches!(outcome, Err(Error::WriteFailed)), "{op:?}: {outcome:?}");
        assert_eq!(get(&cache, "large").await, None, "{op:?}");
        assert_eq!(cache.stats().objects, 0, "{op:?}");
        assert_eq!(cache.stats().counts.entries_lost, u64::from(!is_refused), "{op:?}");
        eventually("what is dead stays so", || async { cache.sync().await.is_ok() }).await;
        table.sim.power_loss();
        table.sim = table.sim.reopen();
        assert_eq!(get(&table.open().await, "large").await, None, "{op:?}");
    }
}

/// Where room is not short, nothing that is served goes in place of an expired segment that cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn trap_06_an_expired_segment_that_cannot_be_read_costs_no_other() {
    let table = Table::new(23, 12);
    let cache = table.open().await;
    put(&cache, "kept", "the kept value", synced()).await;
    put(&cache, "brief", "the brief value", synced().ttl(Duration::from_secs(5))).await;
    cache.close().await.unwrap();
    let (path, _) = table.find_on_disk(b"the brief value");
    assert_ne!(path, table.find_on_disk(b"the kept value").0);
    let cache = table.open().await;
    let name = path.file_name().unwrap().to_str().unwrap();
    table.sim.set_faults(FaultPlan::default().fail_on(name, OpKind::Read, When::Always, DiskError::Eio));
    table.clock.advance(10_000);
    eventually("eviction tries", || async { cache.stats().counts.evictions_tried > 0 }).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(get(&cache, "kept").await.as_deref(), Some("the kept value"));
    table.sim.clear_faults();
    eventually("it goes when it can be read", || async { cache.stats().counts.segments_expired == 1 }).await;
    assert_eq!(get(&cache, "kept").await.as_deref(), Some("the kept value"));
}

/// P2. An update that was accepted and then lost to the disk does not bring the old value back.
#[tokio::test(flavor = "multi_thread")]
async fn trap_06_a_lost_update_does_not_uncover_the_old_value() {
    for (seed, op) in [(4, OpKind::Write), (5, OpKind::Sync)] {
        let mut table = Table::new(seed, 8);
        let cache = table.open().await;
        put(&cache, "k", "v1", synced()).await;
        put(&cache, "witness", "w", synced()).await;
        table.sim.set_faults(FaultPlan::default().fail_on("seg-", op, When::Nth(1), DiskError::Eio));
        let failed = cache.set_with("k", "v2", synced()).await;
        assert!(matches!(failed, Err(Error::WriteFailed)), "{failed:?}");
        assert_eq!(get(&cache, "k").await, None);
        eventually("the owed marker is written", || async { cache.stats().counts.markers_written > 0 }).await;
        cache.sync().await.expect_err("what was lost is told");
        cache.sync().await.expect("once");
        table.assert_dead_for_ever(cache, "k", "witness").await;
    }
}

/// P3, P4. An entry that was accepted and lost in the background is told by the next sync, and by that one only.
#[tokio::test(start_paused = true)]
async fn trap_06_a_loss_in_the_background_is_told_once() {
    let table = Table::new(9, 8);
    let cache = table.open().await;
    put(&cache, "before", "v", synced()).await;
    table.sim.set_faults(FaultPlan::default().fail_on("seg-", OpKind::Write, When::Nth(1), DiskError::Eio));
    put(&cache, "lost", "v", SetOptions::new()).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((cache.stats().counts.entries_lost, get(&cache, "lost").await), (1, None));
    let told = cache.sync().await;
    assert!(matches!(told, Err(Error::WriteFailed)), "{told:?}");
    cache.sync().await.expect("told once");
    put(&cache, "after", "v", SetOptions::new()).await;
    cache.close().await.expect("nothing was lost since");
}

/// P7. A cache that met a failure and was closed holds no lock: it can be opened again while its old handle lives.
#[tokio::test(flavor = "multi_thread")]
async fn trap_06_a_closed_cache_holds_no_lock_on_the_segment_that_failed() {
    let mut table = Table::new(6, 8);
    table.config.lock_wait_ms = 500;
    let cache = table.open().await;
    put(&cache, "before", "synced before", synced()).await;
    table.sim.set_faults(FaultPlan::default().fail_on("seg-", OpKind::Write, When::Nth(1), DiskError::Eio));
    cache.set_with("lost", "x", synced()).await.expect_err("the write fails");
    cache.close().await.expect_err("what was lost is told");
    let reopened = table.open().await;
    assert_eq!(get(&reopened, "before").await.as_deref(), Some("synced before"));
    assert!(cache.get("before").await.is_err(), "the closed one is closed");
}

/// P2, P4. What a failed sync left in the page cache still shows after a kill, but may never reach the device: before
/// recovery relies on it, it is written again.
#[tokio::test(start_paused = true)]
async fn trap_06_what_recovery_serves_after_a_failed_sync_is_on_the_device() {
    let mut table = Table::new(8, 8);
    let cache = table.open().await;
    put(&cache, "before", "synced before", synced()).await;
    table.sim.set_faults(FaultPlan::default().fail_on("seg-", OpKind::Sync, When::Nth(1), DiskError::Eio));
    let failed = cache.set_with("k", "v", synced()).await;
    assert!(matches!(failed, Err(Error::WriteFailed)), "{failed:?}");
    let cache = table.kill(cache).await;
    assert_eq!(get(&cache, "k").await.as_deref(), Some("v"), "the test proves nothing");
    for seed in 0..8 {
        let sim = table.sim.fork(seed);
        sim.power_loss();
        let after = table.open_on(&sim.reopen()).await;
        assert_eq!(get(&after, "k").await.as_deref(), Some("v"), "the power went, seed {seed}");
        assert_eq!(get(&after, "before").await.as_deref(), Some("synced before"));
    }
}

/// P2, P4. A write that timed out lands when the disk answers again, but not in the next life of its file: as long as
/// the header that frees a segment is on its way, the file is locked.
#[tokio::test(start_paused = true)]
async fn trap_07_a_header_that_is_still_on_its_way_keeps_the_lock_of_its_file() {
    let table = Table::new(7, 8);
    let cache = table.open().await;
    for n in 0..30 {
        let options = SetOptions::new().ttl(Duration::from_secs(10));
        assert!(cache.set_with(format!("expires {n}"), vec![0; 8 << 10], options).await.unwrap().is_stored());
    }
    cache.sync().await.unwrap();
    table.sim.set_faults(FaultPlan { stalled: vec![OpKind::Write], ..FaultPlan::default() });
    table.clock.set(Millis(START.0 + 20_000));
    // Eviction tries again and again to free the expired segments.
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(cache.stats().counts.failures_write >= 4, "{:?}", cache.stats().counts);
    for path in table.segment_files() {
        let file = table.sim.open(&path, OpenMode::ReadWrite { direct: false }).await.unwrap();
        assert!(!file.try_lock().unwrap(), "{} could be written to", path.display());
    }
    table.sim.clear_faults();
    eventually("the segments are freed", || async { cache.stats().counts.segments_expired >= 4 }).await;
    put(&cache, "after", "v", synced()).await;
    cache.close().await.unwrap();
    assert_eq!(get(&table.open().await, "after").await.as_deref(), Some("v"));
}

/// P3, P6. Signals without end, or a disk that says it is full even for a file that it has: every call is answered.
#[tokio::test(start_paused = true)]
async fn trap_06_a_disk_that_answers_the_same_for_ever_is_not_asked_for_ever() {
    let table = Table::new(10, 8);
    let cache = table.open().await;
    put(&cache, "before", "synced before", synced()).await;
    fill_until(&cache, |cache| cache.stats().counts.segments_evicted >= 3).await;
    let answers =
        [(OpKind::Read, DiskError::Eintr), (OpKind::Write, DiskError::Eintr), (OpKind::Open, DiskError::Enospc)];
    for (op, error) in answers {
        table.sim.set_faults(FaultPlan::default().fail_on("seg-", op, When::Always, error));
        for n in 0..10 {
            let set = cache.set_with(format!("{n}"), vec![0; 8 << 10], synced());
            let answered = tokio::time::timeout(Duration::from_secs(60), set).await;
            drop(answered.unwrap_or_else(|_| panic!("{op:?} {error:?}: set {n} was never answered")));
            drop(tokio::time::timeout(Duration::from_secs(60), cache.get("before")).await.expect("get is answered"));
        }
        table.sim.clear_faults();
        put_when_the_disk_recovers(&cache, "after", "synced after").await;
    }
}

/// P5. The sync of a new file hangs: who gives up on it does not make another one beside it, and another, since what hangs
/// goes on taking its room, by whatever name.
#[tokio::test(start_paused = true)]
async fn trap_06_new_files_that_hang_take_no_room_that_nobody_counts() {
    let table = Table::new(11, 8);
    let cache = table.open().await;
    table.sim.set_faults(FaultPlan { stalled: vec![OpKind::Sync], ..FaultPlan::default() });
    let mut refused = 0;
    for n in 0..30 {
        let set = cache.set_with(format!("{n}"), vec![0; 8 << 10], SetOptions::new()).await;
        refused += usize::from(!set.unwrap().is_stored());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(refused > 2, "{:?}", cache.stats().counts);
    let peak = table.sim.peak_bytes();
    assert!(peak <= table.config.capacity_bytes, "{peak} bytes on a disk of {}", table.config.capacity_bytes);
    table.sim.clear_faults();
    put_when_the_disk_recovers(&cache, "after", "v").await;
    assert_eq!(get(&cache, "after").await.as_deref(), Some("v"));
    cache.close().await.unwrap();
}

/// Trap 6, P5. A segment fails while the next one of its stream is open: that one is written on, and sealed in the end.
#[tokio::test(start_paused = true)]
async fn trap_06_a_failure_leaves_the_next_segment_alone() {
    let table = Table::new(40, 8);
    let cache = table.open().await;
    table.sim.set_faults(FaultPlan { stalled: vec![OpKind::Write], ..FaultPlan::default() });
    fill_until(&cache, |cache| cache.stats().segments == 2).await;
    table.sim.set_faults(FaultPlan::default().fail_on("seg-0000", OpKind::Write, When::Always, DiskError::Eio));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(cache.stats().counts.entries_lost > 0, "nothing failed: the test proves nothing");
    put(&cache, "k", "after the failure", synced()).await;
    let (path, _) = table.find_on_disk(b"after the failure");
    assert!(path.ends_with("seg-0001.esk"), "{} and not the segment that was open", path.display());
    let closing = tokio::time::timeout(Duration::from_secs(300), cache.close()).await;
    assert!(matches!(closing.expect("close ends"), Err(Error::WriteFailed) | Ok(())));
    table.sim.clear_faults();
    assert_eq!(get(&table.open().await, "k").await.as_deref(), Some("after the failure"));
}
