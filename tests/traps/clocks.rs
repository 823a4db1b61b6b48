//! Traps 9, 10 and 11: lengths that lie, clocks that step back, paths without a parent, short I/O, dead options.

use std::sync::Arc;
use std::time::Duration;

use esker::backend::sim::FaultPlan;
use esker::format::checksum;
use esker::format::record::{self, Flags, HEADER_BYTES, Header};
use esker::format::segment_header::SegmentHeader;
use esker::{DiskCache, Millis, RecordKind, Sequence};

use crate::table::{SEGMENT_LEN_BYTES, START, Table, get, put, synced};

/// P1, P7. A record that is whole but claims four gigabytes: no allocation, no loop, and what stands before it is kept.
#[tokio::test(flavor = "multi_thread")]
async fn trap_09_a_record_that_claims_too_much_costs_only_itself() {
    let mut table = Table::new(1, 8);
    let cache = table.open().await;
    put(&cache, "k", "v", synced()).await;
    table.sim.crash_process();
    drop(cache);
    let (path, _) = table.find_on_disk(b"kv");
    let mut bytes = table.sim.read_file(&path).unwrap();
    let segment = SegmentHeader::decode(&bytes).unwrap().id;
    let header = Header {
        kind: RecordKind::Put,
        flags: Flags::NONE,
        key_len: 1,
        metadata_len: u16::MAX,
        value_len: u32::MAX,
        sequence: Sequence(2),
        created: START,
        expires: None,
        value_crc: 0,
    };
    let at = 8192;
    assert!(bytes[at..at + 64].iter().all(|b| *b == 0), "the first flush ends at the second block");
    bytes[at..at + HEADER_BYTES].copy_from_slice(&record::encode_head(&header, b"x", segment, at as u64));
    bytes[at + HEADER_BYTES] = b'x';
    table.sim = table.sim.reopen();
    table.sim.write_file(&path, bytes).unwrap();
    let cache = table.open().await;
    assert_eq!(get(&cache, "k").await.as_deref(), Some("v"));
    assert_eq!(get(&cache, "x").await, None);
    assert!(cache.recovery_report().bytes_read < 4 * SEGMENT_LEN_BYTES, "{:?}", cache.recovery_report());
}

/// P1, P7. A trailer that is whole but claims four billion rows: the segment is scanned instead.
#[tokio::test(flavor = "multi_thread")]
async fn trap_09_a_footer_that_claims_too_much_is_not_believed() {
    let table = Table::new(2, 8);
    let cache = table.open().await;
    put(&cache, "k", "v", synced()).await;
    cache.close().await.unwrap();
    let (path, _) = table.find_on_disk(b"kv");
    let mut bytes = table.sim.read_file(&path).unwrap();
    let trailer = bytes.len() - 64;
    bytes[trailer + 16..trailer + 20].copy_from_slice(&u32::MAX.to_le_bytes());
    let crc = checksum::crc(&[&bytes[trailer..trailer + 60]]);
    bytes[trailer + 60..].copy_from_slice(&crc.to_le_bytes());
    table.sim.write_file(&path, bytes).unwrap();
    let cache = table.open().await;
    assert_eq!(cache.recovery_report().segments_scanned, 1);
    assert_eq!(get(&cache, "k").await.as_deref(), Some("v"));
}

async fn expired(table: &Table) -> DiskCache {
    let cache = table.open().await;
    put(&cache, "k", "v", synced().ttl(Duration::from_secs(5))).await;
    assert_eq!(get(&cache, "k").await.as_deref(), Some("v"));
    table.clock.advance(20_000);
    assert_eq!(get(&cache, "k").await, None);
    cache
}

/// P2. What has expired stays expired when the clock steps back.
#[tokio::test(flavor = "multi_thread")]
async fn trap_10_what_has_expired_stays_so_when_the_clock_steps_back() {
    let table = Table::new(3, 8);
    let cache = expired(&table).await;
    table.clock.set(START);
    assert_eq!(get(&cache, "k").await, None);
    put(&cache, "new", "n", synced().ttl(Duration::from_secs(5))).await;
    assert_eq!(get(&cache, "new").await.as_deref(), Some("n"));
    table.clock.set(Millis(0));
    assert_eq!(get(&cache, "k").await, None);
    assert_eq!(get(&cache, "new").await.as_deref(), Some("n"));
}

/// P2. The same across a restart, when something was written after the entry expired.
#[tokio::test(flavor = "multi_thread")]
async fn trap_10_the_clock_does_not_step_back_over_a_restart_behind_a_later_write() {
    let mut table = Table::new(4, 8);
    let cache = expired(&table).await;
    put(&cache, "later", "l", synced()).await;
    table.clock.set(START);
    let cache = table.kill(cache).await;
    assert_eq!(get(&cache, "later").await.as_deref(), Some("l"));
    assert_eq!(get(&cache, "k").await, None);
}

/// P2. The same across a clean close after which nothing was written.
#[tokio::test(flavor = "multi_thread")]
async fn trap_10_the_clock_does_not_step_back_over_a_clean_close() {
    let table = Table::new(5, 8);
    let cache = table.open().await;
    // Longer than what counts as short-lived, so that the witness keeps the segment from being dropped as a whole.
    put(&cache, "k", "v", synced().ttl(Duration::from_secs(120))).await;
    put(&cache, "witness", "w", synced()).await;
    table.clock.advance(200_000);
    assert_eq!(get(&cache, "k").await, None);
    cache.close().await.unwrap();
    table.clock.set(START);
    let cache = table.open().await;
    assert_eq!(get(&cache, "witness").await.as_deref(), Some("w"));
    assert_eq!(get(&cache, "k").await, None, "an expired entry that was seen as a miss is served again");
}

/// P7. A relative path of one part has an empty parent; it works, and stays the same directory.
#[tokio::test(flavor = "multi_thread")]
async fn trap_10_a_relative_path_without_a_parent_works() {
    let table = Table::new(6, 8);
    let open = || {
        let builder = DiskCache::builder("cache-of-trap-10").config(table.config.clone());
        builder.backend_with(Arc::new(table.sim.clone())).open()
    };
    let cache = open().await.expect("open a relative path");
    put(&cache, "k", "v", synced()).await;
    cache.close().await.unwrap();
    let cache = open().await.expect("open it again");
    assert_eq!(get(&cache, "k").await.as_deref(), Some("v"));
    let here = std::path::absolute("cache-of-trap-10").unwrap();
    assert!(!table.sim.list_files(here).unwrap().is_empty());
}

/// P1, P8. Every second read and write is short: nothing is lost, nothing is damaged.
#[tokio::test(flavor = "multi_thread")]
async fn trap_10_short_reads_and_writes_are_made_whole() {
    let mut table = Table::new(7, 64);
    table.sim.set_faults(FaultPlan { short_read: 0.5, short_write: 0.5, ..FaultPlan::default() });
    let mut cache = table.open().await;
    for n in 0..60 {
        put(&cache, &format!("k{n}"), &format!("{n} ").repeat(3000), synced()).await;
    }
    for restarted in 0..2 {
        for n in 0..60 {
            assert_eq!(get(&cache, &format!("k{n}")).await, Some(format!("{n} ").repeat(3000)), "{restarted}");
        }
        cache = table.kill(cache).await;
    }
    assert_eq!(cache.recovery_report().dropped_damaged, 0, "{:?}", cache.recovery_report());
}

/// Trap 11 is held over the sources by `tests/architecture.rs`: here, that its rules on settings still run.
#[test]
fn trap_11_the_rules_against_dead_settings_are_applied() {
    let rules = include_str!("../architecture.rs");
    for rule in ["settings::unread_fields(", "settings::undocumented_fields("] {
        let line = rules.lines().find(|line| line.contains(rule)).expect(rule);
        assert!(line.trim_start().starts_with("assert_none("), "{rule} is not asserted: {line}");
    }
}
