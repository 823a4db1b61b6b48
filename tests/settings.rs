//! Settings do what docs/configuration.md says, each at its limit and one beyond. Those of the disk's failures are in
//! `bad_luck.rs` and `traps/`.

mod common;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::forward::forward_names;
use common::small;
use esker::backend::sim::Sim;
use esker::backend::{Backend, DiskFile, IoFuture, OpenMode};
use esker::clock::ManualClock;
use esker::config::{DIRECTORY_OVERHEAD_BYTES, MAX_SEGMENT_LEN_BYTES, MIN_SEGMENT_LEN_BYTES, MIN_SEGMENTS};
use esker::{BackendKind, Config, DiskCache, Error, EvictionPolicy, Millis, RefuseReason, SetOptions, SetOutcome};

const START: Millis = Millis(1_700_000_000_000);

fn config() -> Config {
    small(8)
}

async fn open_on(backend: impl Backend, clock: &Arc<ManualClock>, config: Config) -> DiskCache {
    let builder = DiskCache::builder("/cache").config(config).clock(clock.clone());
    builder.backend_with(Arc::new(backend)).open().await.expect("open")
}

async fn open(config: Config) -> DiskCache {
    open_on(Sim::new(1), &Arc::new(ManualClock::new(START)), config).await
}

async fn is_there(cache: &DiskCache, key: &str) -> bool {
    cache.get(key).await.expect("get").is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn max_value_bytes_is_the_longest_value() {
    let cache = open(Config { max_value_bytes: Some(100), ..config() }).await;
    assert!(cache.set("k", vec![1; 100]).await.unwrap().is_stored());
    let refused = SetOutcome::Refused { reason: RefuseReason::TooLarge };
    assert_eq!(cache.set("k", vec![2; 101]).await.unwrap(), refused);
    assert!(!is_there(&cache, "k").await, "the update took the older value along");
    assert!(cache.set_with("m", "v", SetOptions::new().metadata(vec![3; 200])).await.unwrap().is_stored());
    let unlimited = open(config()).await;
    assert!(unlimited.set("k", vec![2; 50_000]).await.unwrap().is_stored());
}

#[tokio::test(flavor = "multi_thread")]
async fn max_key_bytes_is_the_longest_key() {
    let cache = open(Config { max_key_bytes: 10, ..config() }).await;
    assert!(cache.set([7; 10], "v").await.unwrap().is_stored());
    assert!(cache.get([7; 10]).await.unwrap().is_some());
    for refused in [
        cache.set([7; 11], "v").await.err(),
        cache.get([7; 11]).await.err(),
        cache.contains([7; 11]).await.err(),
        cache.delete([7; 11]).await.err(),
    ] {
        let Some(Error::InvalidInput(text)) = refused else { panic!("{refused:?}") };
        assert!(text.contains("11 bytes") && text.contains("at most 10"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn default_ttl_ms_is_for_entries_without_one_of_their_own() {
    let clock = Arc::new(ManualClock::new(START));
    let cache = open_on(Sim::new(1), &clock, Config { default_ttl_ms: Some(5_000), ..config() }).await;
    let ttl = |seconds| SetOptions::new().ttl(Duration::from_secs(seconds));
    cache.set("default", "v").await.unwrap();
    cache.set_with("shorter", "v", ttl(2)).await.unwrap();
    cache.set_with("longer", "v", ttl(100)).await.unwrap();
    for (at_ms, expected) in [(1_999, [true; 3]), (4_999, [true, false, true]), (5_000, [false, false, true])] {
        clock.set(Millis(START.0 + at_ms));
        let there =
            [is_there(&cache, "default").await, is_there(&cache, "shorter").await, is_there(&cache, "longer").await];
        assert_eq!(there, expected, "default, shorter, longer after {at_ms} ms");
    }
    let without = open(config()).await;
    without.set("k", "v").await.unwrap();
    assert_eq!(without.get("k").await.unwrap().unwrap().expires_at(), None);
}

/// What is read all the time is rewritten by eviction, unless nothing may be.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_is_kept_unless_nothing_may_be_rewritten() {
    let adaptive = EvictionPolicy::Adaptive;
    for (rewrite_share_percent, eviction, is_kept) in
        [(0, adaptive, false), (25, adaptive, true), (25, EvictionPolicy::Fifo, false)]
    {
        let cache = open(Config { rewrite_share_percent, eviction, ..config() }).await;
        cache.set("hot", "v").await.unwrap();
        let mut n = 0;
        while cache.stats().counts.segments_evicted < 20 {
            assert!(cache.set(format!("filler {n}"), vec![0; 7_000]).await.unwrap().is_stored());
            cache.get("hot").await.unwrap();
            n += 1;
        }
        let counts = cache.stats().counts;
        assert_eq!(is_there(&cache, "hot").await, is_kept, "{rewrite_share_percent} %: {counts:?}");
        assert_eq!(counts.entries_reinserted > 0, is_kept, "{rewrite_share_percent} %: {counts:?}");
    }
}

/// A backend that refuses to open segment files to write in the other way than expected.
struct Only {
    sim: Sim,
    direct: bool,
}

impl Backend for Only {
    fn kind(&self) -> BackendKind {
        BackendKind::Sim
    }
    fn open(&self, path: &Path, mode: OpenMode) -> IoFuture<Arc<dyn DiskFile>> {
        let is_segment = path.extension().is_some_and(|e| e == "esk");
        match mode {
            OpenMode::ReadWrite { direct } | OpenMode::CreateNew { direct } if is_segment && direct != self.direct => {
                Box::pin(std::future::ready(Err(io::Error::other("opened in the wrong way"))))
            }
            _ => self.sim.open(path, mode),
        }
    }

    forward_names!(sim);
}

/// Creation, reuse and freeing of segment files, all in the way that is configured.
#[tokio::test(flavor = "multi_thread")]
async fn direct_io_is_how_segment_files_are_written() {
    for direct_io in [true, false] {
        let only = Only { sim: Sim::new(1), direct: direct_io };
        let clock = Arc::new(ManualClock::new(START));
        let cache = open_on(only, &clock, Config { direct_io, ..config() }).await;
        let mut n = 0;
        while cache.stats().counts.segments_evicted < 10 {
            assert!(cache.set(format!("k{n}"), vec![0; 7_000]).await.unwrap().is_stored());
            n += 1;
        }
        cache.sync().await.unwrap();
        assert_eq!(cache.stats().counts.failures_open, 0, "direct_io {direct_io}");
        assert!(is_there(&cache, &format!("k{}", n - 1)).await);
    }
}

/// P4. A `Buffered` write survives a kill once the interval has passed, and not because of anything else.
#[tokio::test(flavor = "multi_thread")]
async fn flush_interval_ms_bounds_what_a_kill_can_take() {
    for (flush_interval_ms, survives) in [(50, true), (3_600_000, false)] {
        let (sim, clock) = (Sim::new(1), Arc::new(ManualClock::new(START)));
        let cache = open_on(sim.clone(), &clock, Config { flush_interval_ms, ..config() }).await;
        assert!(cache.set("k", "v").await.unwrap().is_stored());
        assert!(cache.stats().dirty_bytes > 0);
        // Ten times the interval, for a machine that is busy.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(cache.stats().dirty_bytes == 0, survives, "after {flush_interval_ms} ms");
        sim.crash_process();
        drop(cache);
        let cache = open_on(sim.reopen(), &clock, config()).await;
        assert_eq!(is_there(&cache, "k").await, survives, "with an interval of {flush_interval_ms} ms");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_write_buffer_does_not_wait_for_the_flush_interval() {
    let config = Config {
        capacity_bytes: 8 * (4 << 20) + DIRECTORY_OVERHEAD_BYTES,
        segment_len_bytes: Some(4 << 20),
        write_buffer_bytes: 1 << 20,
        flush_interval_ms: 3_600_000,
        ..Config::default()
    };
    let cache = open(config).await;
    for n in 0..20 {
        // Each takes more than half of the buffer, and ends in the middle of a write.
        let set = cache.set(format!("k{n}"), vec![n; 700_000]);
        let outcome = tokio::time::timeout(Duration::from_secs(30), set).await.expect("within the interval");
        assert!(outcome.unwrap().is_stored());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn segment_len_bytes_is_chosen_from_the_capacity() {
    let chosen = |capacity_bytes| Config { capacity_bytes, ..Config::default() }.chosen_segment_len_bytes();
    for (capacity_bytes, expected) in [
        (0, MIN_SEGMENT_LEN_BYTES),
        (MIN_SEGMENTS * MIN_SEGMENT_LEN_BYTES + DIRECTORY_OVERHEAD_BYTES, MIN_SEGMENT_LEN_BYTES),
        (8 << 20, 128 << 10),
        (9 << 20, 128 << 10),
        (16 << 20, 256 << 10),
        (1 << 30, 16 << 20),
        ((4 << 30) - 1, 32 << 20),
        (4 << 30, 64 << 20),
        (1 << 40, MAX_SEGMENT_LEN_BYTES),
    ] {
        assert_eq!(chosen(capacity_bytes), expected, "of {capacity_bytes} bytes");
        let config = Config { capacity_bytes, segment_len_bytes: Some(expected), ..Config::default() };
        assert_eq!(config.validate().is_ok(), capacity_bytes > 0, "{capacity_bytes} bytes: it must work");
    }
    let asked = Config { segment_len_bytes: Some(128 << 10), ..Config::default() };
    assert_eq!(asked.chosen_segment_len_bytes(), 128 << 10);

    let sim = Sim::new(1);
    let roomy = Config { capacity_bytes: 16 << 20, segment_len_bytes: None, ..config() };
    let clock = Arc::new(ManualClock::new(START));
    let cache = open_on(sim.clone(), &clock, roomy).await;
    cache.set("k", "v").await.unwrap();
    cache.close().await.unwrap();
    let file = sim.read_file("/cache/seg-0000.esk").unwrap();
    assert_eq!(file.len(), 256 << 10);
    // A directory keeps what it was made with.
    let larger = Config { capacity_bytes: 1 << 30, segment_len_bytes: None, ..config() };
    let cache = open_on(sim.clone(), &clock, larger).await;
    assert!(is_there(&cache, "k").await);
    cache.close().await.unwrap();
}
