//! Trap 13: damage to a newer record does not uncover an older one.

use std::path::Path;
use std::time::Duration;

use esker::DiskCache;
use esker::backend::sim::{DiskError, FaultPlan, OpKind, When};
use esker::format::segment_header::{FREE_STREAM, SegmentHeader, TWIN_AT};

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

/// Damages the header of the segment that holds `needle`, and if `both` its twin and the trailer too.
fn behead(table: &Table, needle: &str, both: bool) {
    let (path, _) = table.find_on_disk(needle.as_bytes());
    rot(table, &path, 20, 1);
    if both {
        rot(table, &path, TWIN_AT + 20, 1);
        let len = table.sim.read_file(&path).unwrap().len() as u64;
        rot(table, &path, len - 10, 1);
    }
}

/// One segment an open: the old value, the new one, and one that has nothing to do with them.
async fn three_segments(table: &Table) {
    for (key, value) in [("k", OLD), ("k", NEW), ("newer", "something else")] {
        let cache = table.open().await;
        put(&cache, key, value, synced()).await;
        cache.close().await.unwrap();
    }
}

/// P1, P2, P7. A damaged header costs nothing while the footer says which segment it is.
#[tokio::test(flavor = "multi_thread")]
async fn trap_13_a_damaged_header_costs_nothing_while_the_footer_is_there() {
    let table = Table::new(5, 8);
    three_segments(&table).await;
    behead(&table, NEW, false);
    for _ in 0..2 {
        let cache = table.open().await;
        let report = cache.recovery_report();
        assert_eq!(get(&cache, "k").await.as_deref(), Some(NEW), "{report:?}");
        assert_eq!(get(&cache, "newer").await.as_deref(), Some("something else"));
        assert_eq!((report.dropped_damaged, report.dropped_doubtful), (0, 0), "{report:?}");
        assert!(report.notes.iter().any(|note| note.contains("checksum")), "{report:?}");
        cache.close().await.unwrap();
    }
}

/// P2, P7. Header, twin and trailer are damaged: whatever may have been replaced there is forgotten and counted, once.
#[tokio::test(flavor = "multi_thread")]
async fn trap_13_a_segment_that_nothing_is_known_of_puts_everything_older_in_doubt() {
    let table = Table::new(6, 8);
    three_segments(&table).await;
    behead(&table, NEW, true);
    let cache = table.open().await;
    assert_eq!(get(&cache, "k").await, None);
    let report = cache.recovery_report();
    assert_eq!((report.dropped_damaged, report.dropped_doubtful), (1, 2), "{report:?}");
    put(&cache, "after", "a", synced()).await;
    cache.close().await.unwrap();
    let cache = table.open().await;
    assert_eq!((get(&cache, "k").await, cache.recovery_report().dropped_doubtful), (None, 0));
    assert_eq!(get(&cache, "after").await.as_deref(), Some("a"), "the doubt is about the past");
}

/// P2. The same damage to a file that was freed brings nothing back.
#[tokio::test(flavor = "multi_thread")]
async fn trap_13_a_freed_segment_whose_header_is_damaged_stays_freed() {
    let table = Table::new(7, 8);
    let cache = table.open().await;
    put(&cache, "k", OLD, synced()).await;
    let (path, _) = table.find_on_disk(OLD.as_bytes());
    fill_until(&cache, |cache| cache.stats().counts.segments_evicted >= 1).await;
    assert_eq!(get(&cache, "k").await, None);
    cache.close().await.unwrap();
    rot(&table, &path, 20, 1);
    assert_eq!(get(&table.open().await, "k").await, None);
}

/// P2. The hidden record is the newest of its segment: what is older than the next segment may have been replaced.
#[tokio::test(flavor = "multi_thread")]
async fn trap_13_a_hidden_record_that_is_the_newest_of_its_segment_uncovers_nothing() {
    let table = Table::new(8, 8);
    three_segments(&table).await;
    let (path, at) = table.find_on_disk(NEW.as_bytes());
    rot(&table, &path, at - 20, 1);
    let len = table.sim.read_file(&path).unwrap().len() as u64;
    rot(&table, &path, len - 10, 1);
    for reopened in 0..2 {
        let cache = table.open().await;
        assert_eq!(get(&cache, "k").await, None, "reopened {reopened} times: {:?}", cache.recovery_report());
        assert_eq!(get(&cache, "newer").await.as_deref(), Some("something else"));
        cache.close().await.unwrap();
    }
}

/// A segment that was being written, with both versions, whose header is then damaged by `harm`. What came of the reopen.
async fn unsealed(seed: u64, harm: impl Fn(&Table, &Path)) -> (Table, DiskCache) {
    let mut table = Table::new(seed, 8);
    let cache = table.open().await;
    put(&cache, "k", OLD, synced()).await;
    cache.close().await.unwrap();
    let cache = table.open().await;
    put(&cache, "k", NEW, synced()).await;
    let (path, _) = table.find_on_disk(NEW.as_bytes());
    table.sim = table.sim.reopen();
    drop(cache);
    harm(&table, &path);
    let cache = table.open().await;
    (table, cache)
}

/// P2, P7. The sector of the header reads as zeros, as in a file that was never begun: its twin says what it is. Found by
/// the scoreboard's row 3.
#[tokio::test(flavor = "multi_thread")]
async fn trap_13_an_unsealed_segment_whose_header_is_zero_is_known_by_the_twin() {
    let (_, cache) = unsealed(9, |table, path| table.sim.zero(path, 0..512).unwrap()).await;
    assert_eq!(get(&cache, "k").await.as_deref(), Some(NEW), "{:?}", cache.recovery_report());
    assert_eq!(cache.recovery_report().dropped_doubtful, 0, "{:?}", cache.recovery_report());
}

/// P2, P7. A bit of the header of a segment that has no footer yet cost the whole cache.
#[tokio::test(flavor = "multi_thread")]
async fn trap_13_an_unsealed_segment_whose_header_is_damaged_costs_nothing() {
    let (_, cache) = unsealed(10, |table, path| rot(table, path, 20, 1)).await;
    assert_eq!(get(&cache, "k").await.as_deref(), Some(NEW), "{:?}", cache.recovery_report());
    let report = cache.recovery_report();
    assert_eq!((report.dropped_damaged, report.dropped_doubtful), (0, 0), "{report:?}");
    assert!(report.notes.iter().any(|note| note.contains("checksum")), "{report:?}");
}

/// Replaces the first sector of a file.
fn replace_header(table: &Table, path: &Path, sector: &[u8]) {
    let mut bytes = table.sim.read_file(path).unwrap();
    bytes[..512].copy_from_slice(&sector[..512]);
    table.sim.write_file(path, bytes).unwrap();
}

/// P2, P7. A header that landed in the wrong file, of a sealed segment or of a free one, is not believed: the file looked
/// free, and what its records replaced came back. Found by the scoreboard's row 3.
#[tokio::test(flavor = "multi_thread")]
async fn trap_13_a_header_of_another_file_is_not_believed() {
    for is_free in [false, true] {
        let table = Table::new(11, 8);
        three_segments(&table).await;
        let (other, _) = table.find_on_disk(b"something else");
        let mut sector = table.sim.read_file(other).unwrap();
        if is_free {
            let header = SegmentHeader { stream: FREE_STREAM, ..SegmentHeader::decode(&sector).unwrap() };
            sector[..64].copy_from_slice(&header.encode());
        }
        replace_header(&table, &table.find_on_disk(NEW.as_bytes()).0, &sector);
        for _ in 0..2 {
            let cache = table.open().await;
            assert_eq!(get(&cache, "k").await.as_deref(), Some(NEW), "{:?}", cache.recovery_report());
            assert_eq!(get(&cache, "newer").await.as_deref(), Some("something else"));
            let report = cache.recovery_report();
            assert_eq!((report.dropped_damaged, report.dropped_doubtful), (0, 0), "{report:?}");
            assert!(report.notes.iter().any(|note| note.contains("another file")), "{report:?}");
            cache.close().await.unwrap();
        }
    }
}

/// P2. A freed file to which the header of its last life came back stays freed. Found by the scoreboard's row 3.
#[tokio::test(flavor = "multi_thread")]
async fn trap_13_a_freed_file_whose_old_header_came_back_stays_freed() {
    let mut proven = 0;
    for seed in 12..20 {
        let table = Table::new(seed, 8);
        let cache = table.open().await;
        put(&cache, "k", OLD, synced()).await;
        let (path, _) = table.find_on_disk(OLD.as_bytes());
        let before = table.sim.read_file(&path).unwrap();
        fill_until(&cache, |cache| cache.stats().counts.segments_evicted >= 1).await;
        cache.close().await.unwrap();
        // Another segment may stand in it already.
        let now = SegmentHeader::decode(&table.sim.read_file(&path).unwrap()).unwrap();
        proven += u32::from(now.stream == FREE_STREAM);
        replace_header(&table, &path, &before);
        let cache = table.open().await;
        assert_eq!(get(&cache, "k").await, None, "{:?}", cache.recovery_report());
    }
    assert!(proven > 0, "no file was free when its header came back: nothing was tried");
}

/// P2. The damage is met while the disk takes no marker: it is owed, and written once it can be.
#[tokio::test(start_paused = true)]
async fn trap_13_a_damaged_version_met_on_a_failing_disk_uncovers_nothing() {
    let mut table = Table::new(9, 8);
    two_versions(&table).await.close().await.unwrap();
    let (path, at) = table.find_on_disk(NEW.as_bytes());
    rot(&table, &path, at + 3, 1);
    let cache = table.open().await;
    let entries = cache.stats().entries;
    table.sim.set_faults(FaultPlan::default().fail_on("seg-", OpKind::Open, When::Always, DiskError::Eio));
    assert_eq!(get(&cache, "k").await, None);
    assert_eq!((cache.stats().counts.markers_written, cache.stats().entries), (0, entries - 1));
    cache.flush().await.expect_err("a marker is owed, and cannot be written");
    table.sim.clear_faults();
    tokio::time::sleep(Duration::from_secs(2)).await;
    cache.sync().await.unwrap();
    assert_eq!(cache.stats().counts.markers_written, 1);
    table.assert_dead_for_ever(cache, "k", "witness").await;
}
