//! What recovery says, and what it leaves behind (P7).

#[path = "common/mod.rs"]
mod common;
#[allow(dead_code, reason = "the traps use the rest")]
#[path = "traps/table.rs"]
mod table;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use esker::backend::sim::{DiskError, FaultPlan, OpKind, When};
use esker::format::file_name::segment_name;
use esker::format::footer::{self, TRAILER_BYTES};
use esker::format::segment_header::{DATA_START, FREE_STREAM, SegmentHeader, TWIN_AT};
use esker::{Config, DiskCache, Durability, RecoveryReport, SegmentId, SetOptions};

use table::{DIR, SEGMENT_LEN_BYTES, START, Table, eventually, fill_until, get, put, short_lived, synced};

/// What the report counts, with the rest as it is.
fn counts(report: &RecoveryReport) -> RecoveryReport {
    RecoveryReport { elapsed_ms: 0, notes: Vec::new(), ..report.clone() }
}

fn written() -> SetOptions {
    SetOptions::new().durability(Durability::Written)
}

/// The header of every segment file.
fn headers(table: &Table) -> Vec<SegmentHeader> {
    let header = |path: &PathBuf| SegmentHeader::decode(&table.sim.read_file(path).ok()?).ok();
    table.segment_files().iter().filter_map(header).collect()
}

/// Lays down a free file of this length, which was this segment before.
fn free_file(table: &Table, slot: u16, id: u64, len_bytes: u64) -> PathBuf {
    let directory_id = headers(table)[0].directory_id;
    let id = SegmentId(id);
    let header = SegmentHeader {
        id,
        segment_len_bytes: SEGMENT_LEN_BYTES,
        created: START,
        stream: FREE_STREAM,
        directory_id,
        group: 0,
    };
    let mut bytes = header.encode().to_vec();
    bytes.resize(len_bytes as usize, 0);
    let path = PathBuf::from(DIR).join(segment_name(slot));
    table.sim.write_file(&path, bytes).unwrap();
    path
}

/// One sealed segment for each of these keys.
async fn segments(table: &Table, keys: &[&str]) {
    for key in keys {
        let cache = table.open().await;
        put(&cache, key, &format!("the value of {key}"), synced()).await;
        cache.close().await.unwrap();
    }
}

/// The disk after a kill, with `k` in a segment that was being written, and that segment.
async fn killed(sim_seed: u64, options: SetOptions) -> (Table, PathBuf) {
    let mut table = Table::new(sim_seed, 8);
    let cache = table.open().await;
    put(&cache, "k", "the value of k", options).await;
    table.sim = table.sim.reopen();
    drop(cache);
    let (path, _) = table.find_on_disk(b"the value of k");
    (table, path)
}

/// Damages the header and the trailer of the segment that holds `needle`.
fn behead(table: &Table, needle: &str) {
    let (path, _) = table.find_on_disk(needle.as_bytes());
    for at in [20, TWIN_AT + 20, SEGMENT_LEN_BYTES - 10] {
        table.sim.flip_bit(&path, at).unwrap();
    }
}

/// P7. Every record is counted under what became of it, also when several threads share the shards.
#[tokio::test(flavor = "multi_thread")]
async fn the_report_counts_every_record_under_what_became_of_it() {
    let mut table = Table::new(1, 16);
    table.config.index_shards = 16;
    let cache = table.open().await;
    put(&cache, "cleared 1", "c", synced()).await;
    put(&cache, "cleared 2", "c", synced()).await;
    cache.close().await.unwrap();
    let cache = table.open().await;
    cache.clear().await.unwrap();
    for n in 0..20 {
        put(&cache, &format!("kept {n}"), "first", synced()).await;
    }
    put(&cache, "brief", "b", synced().ttl(Duration::from_secs(5))).await;
    cache.close().await.unwrap();
    let cache = table.open().await;
    for n in 0..5 {
        put(&cache, &format!("kept {n}"), "second", synced()).await;
    }
    cache.delete("kept 19").await.unwrap();
    cache.close().await.unwrap();
    table.clock.advance(60_000);
    let files = table.segment_files().len() as u64;
    let cache = table.open().await;
    let expected = RecoveryReport {
        segments_by_footer: files,
        bytes_read: files * (DATA_START + 4 * 4096),
        records: 2 + 20 + 1 + 5 + 1,
        entries_kept: 19,
        dropped_replaced: 5 + 1,
        dropped_expired: 1,
        dropped_cleared: 2,
        ..RecoveryReport::default()
    };
    assert_eq!(counts(&cache.recovery_report()), expected);
}

/// P7. What was being written is walked, its damage counted, and sealed: the next open reads its footer.
#[tokio::test(flavor = "multi_thread")]
async fn the_report_counts_what_was_walked_and_it_is_walked_once() {
    let mut table = Table::new(2, 8);
    let cache = table.open().await;
    put(&cache, "kept", "the first value", synced()).await;
    put(&cache, "damaged", "the second value", synced()).await;
    put(&cache, "also kept", "the third value", synced()).await;
    table.sim.crash_process();
    drop(cache);
    table.sim = table.sim.reopen();
    let (path, at) = table.find_on_disk(b"the second value");
    table.sim.flip_bit(&path, at).unwrap();
    let cache = table.open().await;
    let walked = RecoveryReport {
        segments_scanned: 1,
        bytes_read: SEGMENT_LEN_BYTES,
        records: 3,
        entries_kept: 2,
        dropped_damaged: 1,
        ..RecoveryReport::default()
    };
    assert_eq!(counts(&cache.recovery_report()), walked);
    cache.close().await.unwrap();
    let cache = table.open().await;
    let sealed = RecoveryReport {
        segments_by_footer: 1,
        segments_scanned: 0,
        bytes_read: DATA_START + 4 * 4096,
        dropped_damaged: 0,
        ..walked
    };
    assert_eq!(counts(&cache.recovery_report()), sealed);
    assert_eq!(get(&cache, "also kept").await.as_deref(), Some("the third value"));
}

/// P4, P7. What stands behind a hole that nobody vouches for does not count, and is said to be torn.
#[tokio::test(flavor = "multi_thread")]
async fn the_report_counts_what_is_behind_the_torn_end() {
    let mut table = Table::new(8, 8);
    let cache = table.open().await;
    put(&cache, "kept", "the first value", written()).await;
    put(&cache, "torn", "the second value", written()).await;
    put(&cache, "behind", "the third value", written()).await;
    table.sim.crash_process();
    drop(cache);
    table.sim = table.sim.reopen();
    let (path, at) = table.find_on_disk(b"torn");
    table.sim.flip_bit(&path, at).unwrap();
    let cache = table.open().await;
    let report = counts(&cache.recovery_report());
    assert_eq!((report.records, report.dropped_damaged, report.torn_bytes), (1, 0, 2 * 4096), "{report:?}");
    assert_eq!(get(&cache, "kept").await.as_deref(), Some("the first value"));
    assert_eq!((get(&cache, "torn").await, get(&cache, "behind").await), (None, None));
}

/// P7. The doubt about a file of which nothing is known is said once: the file is then marked as free.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_in_doubt_once() {
    let table = Table::new(3, 8);
    segments(&table, &["one", "two", "three", "four"]).await;
    for needle in ["the value of one", "the value of two", "the value of three"] {
        behead(&table, needle);
    }
    let cache = table.open().await;
    let report = cache.recovery_report();
    assert_eq!((report.dropped_damaged, report.dropped_doubtful, report.entries_kept), (3, 1, 0), "{report:?}");
    put(&cache, "after", "a", synced()).await;
    cache.close().await.unwrap();
    let cache = table.open().await;
    let report = cache.recovery_report();
    assert_eq!((report.dropped_damaged, report.dropped_doubtful), (0, 0), "{report:?}");
    assert_eq!(report.segments_free, 2, "{report:?}");
    assert_eq!(get(&cache, "after").await.as_deref(), Some("a"));
}

/// P2. A version that expired between two lives, and lies in the log of short-lived entries, goes first: it must leave a
/// marker for the one that it replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_expired_while_nobody_looked_uncovers_nothing_when_it_goes() {
    let mut table = Table::new(4, 12);
    let cache = table.open().await;
    put(&cache, "k", "v1", synced()).await;
    put(&cache, "witness", "w", synced()).await;
    put(&cache, "k", "v2", short_lived()).await;
    cache.close().await.unwrap();
    table.clock.advance(120_000);
    let cache = table.open().await;
    eventually("the expired segment is dropped", || async { cache.stats().counts.segments_expired > 0 }).await;
    table.assert_dead_for_ever(cache, "k", "witness").await;
}

/// P2. An id that only a free file remembers is not given out again.
#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_a_free_file_is_not_used_again() {
    let table = Table::new(5, 8);
    segments(&table, &["one"]).await;
    free_file(&table, 5, 1 << 50, SEGMENT_LEN_BYTES);
    segments(&table, &["two"]).await;
    let newest = headers(&table).iter().filter(|h| h.stream != FREE_STREAM).map(|h| h.id).max();
    assert!(newest > Some(SegmentId(1 << 50)), "{newest:?}");
}

/// P5, P7. A free file is used again; one that was never finished, or that the capacity no longer allows, goes.
#[tokio::test(flavor = "multi_thread")]
async fn free_files_are_kept_as_far_as_they_can_be_used() {
    let mut table = Table::new(6, 8);
    segments(&table, &["one"]).await;
    let whole = free_file(&table, 5, 1 << 20, SEGMENT_LEN_BYTES);
    let short = free_file(&table, 6, 1 << 21, SEGMENT_LEN_BYTES / 2);
    let cache = table.open().await;
    assert_eq!(cache.recovery_report().segments_free, 2);
    let files = table.segment_files();
    assert!(files.contains(&whole) && !files.contains(&short), "{files:?}");
    cache.close().await.unwrap();
    for slot in 10..20 {
        free_file(&table, slot, u64::from(slot) << 20, SEGMENT_LEN_BYTES);
    }
    table.config = Config { index_shards: 1, ..common::small(5) };
    let cache = table.open().await;
    assert_eq!(table.segment_files().len(), 5, "{:?}", table.segment_files());
    assert_eq!(get(&cache, "one").await.as_deref(), Some("the value of one"));
}

/// P7. An open that finds nothing wrong writes nothing to the manifest.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_without_doubt_leaves_the_manifest_alone() {
    let table = Table::new(7, 8);
    segments(&table, &["one"]).await;
    table.sim.set_faults(FaultPlan::default().fail_on("MANIFEST", OpKind::Write, When::Always, DiskError::Eio));
    let cache = table.open().await;
    assert_eq!(get(&cache, "one").await.as_deref(), Some("the value of one"));
}

/// P3, trap 6. What an open finishes is on the device before a footer says that it is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_at_an_open_leaves_no_footer() {
    let (table, path) = killed(9, written()).await;
    table.sim.set_faults(FaultPlan::default().fail_on("seg-", OpKind::Sync, When::Nth(1), DiskError::Eio));
    let builder = DiskCache::builder(DIR).config(table.config.clone());
    let error = builder.backend_with(Arc::new(table.sim.clone())).open().await.expect_err("the disk fails");
    assert!(error.to_string().contains("seg-0000"), "{error}");
    let bytes = table.sim.read_file(&path).unwrap();
    assert!(footer::decode_any_trailer(&bytes[bytes.len() - TRAILER_BYTES..], SEGMENT_LEN_BYTES).is_err());
    table.sim.clear_faults();
    assert_eq!(get(&table.open().await, "k").await.as_deref(), Some("the value of k"));
}

/// P7. A file that was cut short is named, and counts as damage.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_cut_short_is_named() {
    let (table, path) = killed(10, synced()).await;
    table.sim.truncate(&path, SEGMENT_LEN_BYTES / 2).unwrap();
    let cache = table.open().await;
    let report = cache.recovery_report();
    assert_eq!(report.dropped_damaged, 1, "{report:?}");
    assert!(report.notes.iter().any(|note| note.contains("seg-0000.esk is cut off at 32768 bytes")), "{report:?}");
}

/// P5, P7. A file of which no record is left to read, and of which nobody knows which there were, is used again.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_of_damage_alone_is_a_free_file_afterwards() {
    let table = Table::new(11, 8);
    segments(&table, &["k"]).await;
    let (path, at) = table.find_on_disk(b"the value of k");
    table.sim.flip_bit(&path, at - 20).unwrap();
    table.sim.flip_bit(&path, SEGMENT_LEN_BYTES - 10).unwrap();
    let cache = table.open().await;
    let report = cache.recovery_report();
    assert_eq!((report.entries_kept, report.dropped_damaged, cache.stats().segments_free), (0, 1, 1), "{report:?}");
    assert!(table.segment_files().contains(&path));
}

/// P5. What recovery found counts as live: no segment of it is taken for one that holds nothing any more.
#[tokio::test(flavor = "multi_thread")]
async fn recovered_entries_keep_their_segment_from_counting_as_dead() {
    let table = Table::new(12, 8);
    segments(&table, &["one", "two", "three", "four"]).await;
    let cache = table.open().await;
    fill_until(&cache, |cache| cache.stats().counts.segments_evicted >= 2).await;
    let counts = cache.stats().counts;
    assert_eq!((counts.segments_dead, counts.segments_by_policy), (0, counts.segments_evicted));
}

/// More records than one thread is given.
#[tokio::test(flavor = "multi_thread")]
async fn many_records_are_found_by_all_threads_together() {
    const KEYS: u32 = 20_000;
    let mut table = Table::new(13, 256);
    table.config.index_shards = 8;
    let cache = table.open().await;
    for n in 0..KEYS {
        assert!(cache.set(n.to_le_bytes(), n.to_le_bytes().to_vec()).await.unwrap().is_stored());
    }
    cache.close().await.unwrap();
    let cache = table.open().await;
    assert_eq!(cache.recovery_report().entries_kept, u64::from(KEYS));
    for n in (0..KEYS).step_by(97) {
        assert_eq!(cache.get(n.to_le_bytes()).await.unwrap().expect("it is there").value()[..], n.to_le_bytes());
    }
}
