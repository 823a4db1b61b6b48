//! Traps 1, 2, 3 and 5: what was replaced or deleted stays dead, in whatever order segments go.

use std::time::Duration;

use esker::backend::sim::{DiskError, FaultPlan, OpKind, When};
use esker::format::digest::digest;
use esker::format::segment_header::DATA_START;
use esker::{DiskCache, RecordKind};

use crate::table::{SEED, Table, eventually, fill_until, get, put, short_lived, synced};

/// P2. v1 lies in the long log, v2 in the log of short-lived entries; v2 expires and its segment goes first.
#[tokio::test(flavor = "multi_thread")]
async fn trap_01_a_short_lived_version_dropped_early_uncovers_nothing() {
    let mut table = Table::new(1, 12);
    let cache = table.open().await;
    put(&cache, "k", "v1", synced()).await;
    put(&cache, "witness", "w", synced()).await;
    put(&cache, "k", "v2", synced().ttl(Duration::from_secs(1))).await;
    for n in 0..10 {
        put(&cache, &format!("short {n}"), &"s".repeat(8 << 10), synced().ttl(Duration::from_secs(1))).await;
    }
    assert_eq!(get(&cache, "k").await.as_deref(), Some("v2"));
    table.clock.advance(10_000);
    eventually("an expired segment is dropped", || async { cache.stats().counts.segments_expired > 0 }).await;
    table.assert_dead_for_ever(cache, "k", "witness").await;
}

/// P2. v1 lies in the log of short-lived entries, whose segment stays open; v2 in the long log is evicted before it.
#[tokio::test(flavor = "multi_thread")]
async fn trap_01_a_long_lived_version_dropped_early_uncovers_nothing() {
    let mut table = Table::new(2, 8);
    let cache = table.open().await;
    put(&cache, "k", "v1", short_lived()).await;
    put(&cache, "witness", "w", short_lived()).await;
    put(&cache, "k", "v2", synced()).await;
    fill_until(&cache, |cache| cache.stats().counts.segments_evicted >= 8).await;
    assert!(cache.stats().counts.markers_written > 0);
    table.assert_dead_for_ever(cache, "k", "witness").await;
}

/// P2. The segment of v1 is evicted but its file cannot be freed; v2, which the index takes for the only version, is
/// dropped meanwhile.
#[tokio::test(start_paused = true)]
async fn trap_01_a_version_dropped_while_an_evicted_one_keeps_its_file_uncovers_nothing() {
    let mut table = Table::new(5, 8);
    let cache = table.open().await;
    put(&cache, "k", "v1", synced()).await;
    put(&cache, "witness", "w", short_lived()).await;
    let (path, _) = table.find_on_disk(b"v1");
    fill_until(&cache, |cache| cache.stats().segments >= 4).await;
    cache.sync().await.unwrap();
    let stuck = FaultPlan::default().fail_on(path.to_str().unwrap(), OpKind::Write, When::Always, DiskError::Enospc);
    table.sim.set_faults(stuck);
    let is_forgotten = |cache: &DiskCache| cache.stats().counts.entries_evicted > 0;
    fill_until(&cache, is_forgotten).await;
    assert_eq!(get(&cache, "k").await, None);
    put(&cache, "k", "v2", synced()).await;
    let before = cache.stats().counts.segments_evicted;
    fill_until(&cache, |cache| cache.stats().counts.segments_evicted >= before + 10).await;
    assert_eq!(get(&cache, "k").await, None);
    cache.sync().await.unwrap();
    table.find_on_disk(b"v1");
    table.sim.clear_faults();
    table.assert_dead_for_ever(cache, "k", "witness").await;
}

/// Brings `k` and `witness` into the log of reinserted entries, whose segment stays open.
async fn reinsert(cache: &DiskCache) {
    put(cache, "k", "v1", synced()).await;
    put(cache, "witness", "w", synced()).await;
    assert_eq!(get(cache, "k").await.as_deref(), Some("v1"));
    assert_eq!(get(cache, "witness").await.as_deref(), Some("w"));
    fill_until(cache, |cache| cache.stats().counts.entries_reinserted >= 2).await;
    assert!(cache.contains("k").await.unwrap());
}

/// P2. v1 was reinserted into the main log; v2 comes into the first log and is dropped there before v1.
#[tokio::test(flavor = "multi_thread")]
async fn trap_01_a_version_dropped_before_its_reinserted_predecessor_uncovers_nothing() {
    let mut table = Table::new(3, 8);
    let cache = table.open().await;
    reinsert(&cache).await;
    put(&cache, "k", "v2", synced()).await;
    let before = cache.stats().counts.segments_evicted;
    fill_until(&cache, |cache| cache.stats().counts.segments_evicted >= before + 10).await;
    assert!(cache.stats().counts.markers_written > 0);
    table.assert_dead_for_ever(cache, "k", "witness").await;
}

/// P2. What eviction rewrites keeps its place in the order of writes, and its bytes.
#[tokio::test(flavor = "multi_thread")]
async fn trap_02_a_reinserted_record_keeps_its_sequence() {
    let table = Table::new(4, 8);
    let cache = table.open().await;
    put(&cache, "k", "v1", synced()).await;
    cache.close().await.unwrap();
    let key = digest(&SEED, b"k");
    let of_key = || table.sealed_rows().into_iter().filter(|(_, row)| row.digest == key).collect::<Vec<_>>();
    let [(0, original)] = of_key()[..] else { panic!("{:?}", of_key()) };
    let cache = table.open().await;
    get(&cache, "k").await;
    fill_until(&cache, |cache| cache.stats().counts.entries_reinserted >= 1).await;
    cache.close().await.unwrap();
    let moved: Vec<_> = of_key().into_iter().filter(|(stream, _)| *stream == 1).collect();
    let [(_, moved)] = moved[..] else { panic!("{moved:?}") };
    assert_eq!(moved.sequence, original.sequence);
    assert_eq!(get(&table.open().await, "k").await.as_deref(), Some("v1"));
}

/// P2. A key that is overwritten all the time while eviction rewrites it: the last write wins, after a reopen too.
#[tokio::test(flavor = "multi_thread")]
async fn trap_02_reinsertion_never_beats_a_newer_write() {
    let table = Table::new(5, 8);
    let cache = table.open().await;
    let mut last = [0; 20];
    for round in 0..40 {
        for n in (0..20).filter(|n| (n + round) % 7 == 0) {
            last[n] = round;
            put(&cache, &format!("k{n}"), &round.to_string(), esker::SetOptions::new()).await;
        }
        for (n, last) in last.iter().enumerate() {
            if let Some(value) = get(&cache, &format!("k{n}")).await {
                assert_eq!(value, last.to_string(), "k{n}");
            }
        }
        let evicted = cache.stats().counts.segments_evicted;
        fill_until(&cache, |cache| round < 3 || cache.stats().counts.segments_evicted > evicted).await;
    }
    assert!(cache.stats().counts.entries_reinserted > 20, "{:?}", cache.stats());
    cache.close().await.unwrap();
    let cache = table.open().await;
    let mut hits = 0;
    for (n, last) in last.iter().enumerate() {
        if let Some(value) = get(&cache, &format!("k{n}")).await {
            assert_eq!(value, last.to_string(), "k{n} after the reopen");
            hits += 1;
        }
    }
    assert!(hits > 0, "nothing was kept, so nothing was shown");
}

/// P1, P3. Eight writers at once, a clean close: every entry is there again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn trap_03_all_that_eight_writers_wrote_at_once_is_recovered() {
    let table = Table::new(6, 64);
    let cache = table.open().await;
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let cache = cache.clone();
            tokio::spawn(async move {
                for n in 0..250 {
                    put(&cache, &format!("{writer}/{n}"), &format!("{writer} wrote {n}"), Default::default()).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    cache.close().await.unwrap();
    let cache = table.open().await;
    assert_eq!(cache.recovery_report().entries_kept, 2000, "{:?}", cache.recovery_report());
    for (writer, n) in (0..8).flat_map(|writer| (0..250).map(move |n| (writer, n))) {
        assert_eq!(get(&cache, &format!("{writer}/{n}")).await, Some(format!("{writer} wrote {n}")));
    }
}

/// P2. Eight writers fight over a few keys: whoever won before the close has won after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn trap_03_the_order_in_memory_is_the_order_on_disk() {
    let mut table = Table::new(7, 64);
    let mut cache = table.open().await;
    for round in 0..4 {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let cache = cache.clone();
                tokio::spawn(async move {
                    for n in 0..200 {
                        put(&cache, &format!("k{}", n % 5), &format!("{round} {writer} {n}"), Default::default()).await;
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let mut won = Vec::new();
        for n in 0..5 {
            won.push(get(&cache, &format!("k{n}")).await.expect("just written"));
        }
        cache.sync().await.unwrap();
        cache = table.kill(cache).await;
        for (n, won) in won.iter().enumerate() {
            assert_eq!(get(&cache, &format!("k{n}")).await.as_ref(), Some(won));
        }
    }
}

/// P2. The segment of a delete is evicted while an older segment holds what it deleted.
#[tokio::test(flavor = "multi_thread")]
async fn trap_05_a_delete_outlives_its_segment_while_an_older_copy_remains() {
    let mut table = Table::new(8, 8);
    let cache = table.open().await;
    put(&cache, "k", "v1", short_lived()).await;
    put(&cache, "witness", "w", short_lived()).await;
    assert!(cache.delete("k").await.unwrap());
    fill_until(&cache, |cache| cache.stats().counts.segments_evicted >= 10).await;
    assert!(cache.stats().counts.markers_written > 0, "the delete was not carried on");
    table.assert_dead_for_ever(cache, "k", "witness").await;
}

/// P2. The same where what was deleted had been reinserted.
#[tokio::test(flavor = "multi_thread")]
async fn trap_05_a_delete_outlives_its_segment_while_a_reinserted_copy_remains() {
    let mut table = Table::new(9, 8);
    let cache = table.open().await;
    reinsert(&cache).await;
    assert!(cache.delete("k").await.unwrap());
    let before = cache.stats().counts.segments_evicted;
    fill_until(&cache, |cache| cache.stats().counts.segments_evicted >= before + 10).await;
    table.assert_dead_for_ever(cache, "k", "witness").await;
}

/// P5. Deletes whose prey is gone do not pile up: eviction drops them in the end.
#[tokio::test(flavor = "multi_thread")]
async fn trap_05_a_delete_goes_when_no_older_segment_remains() {
    let table = Table::new(10, 8);
    let cache = table.open().await;
    for n in 0..20 {
        put(&cache, &format!("k{n}"), "v", Default::default()).await;
        assert!(cache.delete(format!("k{n}")).await.unwrap());
    }
    fill_until(&cache, |cache| cache.stats().counts.segments_evicted >= 20).await;
    // Some may have been carried on into the segment of reinserted entries, which only a close seals.
    cache.close().await.unwrap();
    let cache = table.open().await;
    fill_until(&cache, |cache| cache.stats().counts.segments_evicted >= 20).await;
    cache.close().await.unwrap();
    let is_delete = |kind| matches!(kind, RecordKind::Delete | RecordKind::Marker);
    let left: Vec<_> = table.sealed_rows().into_iter().filter(|(_, row)| is_delete(row.kind)).collect();
    assert!(left.is_empty(), "deletes of keys that are nowhere: {left:?}");
}

/// P2. The power goes before the first header of a life is on the device, but after records behind it are; then the next
/// life sets and deletes a key, in the same file, and dies too. What stands behind its delete is not its own.
#[tokio::test]
async fn two_lives_that_die_at_their_first_header_do_not_mix() {
    let mut table = Table::new(1, 8);
    let cache = table.open().await;
    put(&cache, "first", "in the block of the set to come", synced()).await;
    put(&cache, "second", "in the block of the delete to come", synced()).await;
    put(&cache, "ghost", "in the next", synced()).await;
    let there = table.find_on_disk(b"in the next");
    table.sim.zero(&there.0, 0..DATA_START).unwrap();
    let cache = table.kill(cache).await;
    assert_eq!(get(&cache, "ghost").await, None);
    put(&cache, "ghost", "set to be deleted", synced()).await;
    assert!(cache.delete("ghost").await.unwrap());
    assert_eq!(table.find_on_disk(b"in the next"), there, "it does not stand behind the delete: this proves nothing");
    let cache = table.kill(cache).await;
    assert_eq!(get(&cache, "ghost").await, None, "{:?}", cache.recovery_report());
}
