//! V7. The hot tier: what enters it and when, and that overwrite, delete, purge and expiry reach it first (P1, P2).

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::small;
use esker::backend::sim::{DiskError, FaultPlan, OpKind, Sim, When};
use esker::clock::ManualClock;
use esker::{Config, DiskCache, Durability, Error, MemoryFill, Millis, SetOptions, Source};

const START: Millis = Millis(1_700_000_000_000);

struct Place {
    sim: Sim,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new(seed: u64) -> Self {
        Self { sim: Sim::new(seed), clock: Arc::new(ManualClock::new(START)) }
    }

    async fn open(&self, config: Config) -> DiskCache {
        let builder = DiskCache::builder("/cache").config(config).clock(self.clock.clone());
        builder.backend_with(Arc::new(self.sim.clone())).open().await.expect("open")
    }
}

fn config(memory_fill: MemoryFill) -> Config {
    Config { memory_bytes: 1 << 20, memory_fill, ..small(16) }
}

async fn set(cache: &DiskCache, key: &str, value: &str) {
    assert!(cache.set(key, value.to_owned()).await.expect("set").is_stored());
}

/// The value, and where it was found.
async fn get(cache: &DiskCache, key: &str) -> Option<(String, Source)> {
    let hit = cache.get(key).await.expect("get")?;
    Some((String::from_utf8(hit.value().to_vec()).expect("text"), hit.source()))
}

fn is_memory(source: &Source) -> bool {
    *source == Source::Memory
}

async fn sources(cache: &DiskCache, key: &str, gets: usize) -> Vec<Source> {
    let mut sources = Vec::new();
    for _ in 0..gets {
        sources.push(get(cache, key).await.expect("a hit").1);
    }
    sources
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_filled_on_read_on_write_or_on_both() {
    let from_memory = async |cache: &DiskCache| sources(cache, "k", 2).await.iter().map(is_memory).collect::<Vec<_>>();
    for (fill, after_set, after_reopen) in [
        (MemoryFill::Read, [false, true], [false, true]),
        (MemoryFill::Write, [true, true], [false, false]),
        (MemoryFill::Both, [true, true], [false, true]),
    ] {
        let place = Place::new(1);
        let cache = place.open(config(fill)).await;
        let synced = SetOptions::new().durability(Durability::Synced).metadata("about");
        assert!(cache.set_with("k", "v", synced).await.unwrap().is_stored());
        assert_eq!(from_memory(&cache).await, after_set, "{fill:?}");
        cache.close().await.unwrap();
        let cache = place.open(config(fill)).await;
        assert_eq!(from_memory(&cache).await, after_reopen, "{fill:?}: memory does not outlive the process");
        let hit = cache.get("k").await.unwrap().unwrap();
        assert_eq!((&hit.value()[..], &hit.metadata()[..]), (&b"v"[..], &b"about"[..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_above_the_limit_do_not_enter() {
    for fill in MemoryFill::ALL {
        let cache = Place::new(2).open(Config { memory_max_item_bytes: Some(100), ..config(fill) }).await;
        let with = |len: usize| (vec![7; len], SetOptions::new().metadata("meta").durability(Durability::Synced));
        for (key, len, enters) in [("a", 95, true), ("b", 96, false), ("c", 5_000, false)] {
            let (value, options) = with(len);
            assert!(cache.set_with(key, value, options).await.unwrap().is_stored());
            let last = sources(&cache, key, 2).await[1];
            assert_eq!(last == Source::Memory, enters, "{fill:?}: {len} bytes of value");
        }
    }
}

/// P1, P2. What is in memory goes with what it stands for, and gives its room back.
#[tokio::test(flavor = "multi_thread")]
async fn overwrite_delete_purge_and_expiry_reach_it_first() {
    for fill in MemoryFill::ALL {
        let place = Place::new(3);
        let cache =
            place.open(Config { memory_max_item_bytes: Some(200), max_value_bytes: Some(20_000), ..config(fill) });
        let cache = cache.await;
        let held = |cache: &DiskCache| cache.stats().memory_bytes;
        let warm = async |key: &str, options: SetOptions| {
            assert!(cache.set_with(key, "old", options).await.unwrap().is_stored());
            assert_eq!(sources(&cache, key, 2).await[1], Source::Memory, "{fill:?}");
            assert!(held(&cache) > 0);
        };
        warm("k", SetOptions::new()).await;
        set(&cache, "k", "new").await;
        assert_eq!(get(&cache, "k").await.unwrap().0, "new", "{fill:?}");
        // Larger than what enters.
        warm("k", SetOptions::new()).await;
        set(&cache, "k", &"x".repeat(300)).await;
        assert_eq!((held(&cache), get(&cache, "k").await.unwrap().0.len()), (0, 300), "{fill:?}");
        // In chunks.
        warm("k", SetOptions::new()).await;
        let mut writer = cache.writer("k", SetOptions::new()).await.unwrap();
        writer.write_bytes(vec![b'y'; 9_000].into()).await.unwrap();
        assert!(writer.finish().await.unwrap().is_stored());
        assert_eq!((held(&cache), get(&cache, "k").await.unwrap().0.len()), (0, 9_000), "{fill:?}");
        // Refused: the older value is not served either.
        warm("k", SetOptions::new()).await;
        assert!(!cache.set("k", vec![0; 30_000]).await.unwrap().is_stored());
        assert_eq!((held(&cache), get(&cache, "k").await), (0, None), "{fill:?}");
        warm("k", SetOptions::new()).await;
        assert!(cache.delete("k").await.unwrap());
        assert_eq!((held(&cache), get(&cache, "k").await), (0, None), "{fill:?}");
        warm("k", SetOptions::new()).await;
        cache.purge_prefix("k").await.unwrap();
        assert_eq!((get(&cache, "k").await, held(&cache)), (None, 0), "{fill:?}");
        warm("k", SetOptions::new()).await;
        cache.clear().await.unwrap();
        assert_eq!((held(&cache), get(&cache, "k").await), (0, None), "{fill:?}");
        warm("k", SetOptions::new().ttl(Duration::from_secs(10))).await;
        place.clock.advance(10_000);
        assert_eq!((get(&cache, "k").await, held(&cache)), (None, 0), "{fill:?}");
        place.clock.set(START);
        assert_eq!(get(&cache, "k").await, None, "{fill:?}: the clock stepped back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_metadata_is_seen_at_once() {
    for fill in MemoryFill::ALL {
        let cache = Place::new(4).open(config(fill)).await;
        set(&cache, "k", "v").await;
        sources(&cache, "k", 2).await;
        for round in ["one", "two"] {
            cache.set_metadata("k", round, Durability::Buffered).await.unwrap().expect("an entry");
            for _ in 0..3 {
                let hit = cache.get("k").await.unwrap().unwrap();
                assert_eq!((&hit.value()[..], hit.metadata()), (&b"v"[..], &bytes::Bytes::from(round)), "{fill:?}");
            }
        }
    }
}

/// P2. A write that memory took and the disk then lost is not served, and neither is what it replaced.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_disk_lost_is_not_served_from_memory() {
    let place = Place::new(5);
    let cache = place.open(config(MemoryFill::Both)).await;
    let synced = SetOptions::new().durability(Durability::Synced);
    assert!(cache.set_with("k", "old", synced.clone()).await.unwrap().is_stored());
    place.sim.set_faults(FaultPlan::default().fail(OpKind::Write, When::Always, DiskError::Eio));
    let lost = cache.set_with("k", "new", synced).await;
    assert!(matches!(lost, Err(Error::WriteFailed)), "{lost:?}");
    assert_eq!(get(&cache, "k").await, None);
    assert!(!cache.contains("k").await.unwrap());
}

/// What is never asked for does not push out what is, whichever way memory is filled.
#[tokio::test(flavor = "multi_thread")]
async fn a_scan_of_writes_leaves_what_is_asked_for() {
    for fill in MemoryFill::ALL {
        let cache = Place::new(6).open(Config { memory_bytes: 64 << 10, ..config(fill) }).await;
        for n in 0..10 {
            set(&cache, &format!("hot {n}"), "v").await;
        }
        for n in 0..500 {
            set(&cache, &format!("cold {n}"), &"c".repeat(500)).await;
            get(&cache, &format!("hot {}", n % 10)).await.expect("a hit");
        }
        assert!(cache.stats().memory_bytes <= 64 << 10);
        let before = cache.stats().counts.hits_memory;
        for n in 0..10 {
            assert_eq!(get(&cache, &format!("hot {n}")).await.unwrap().1, Source::Memory, "{fill:?}: hot {n}");
        }
        assert_eq!(cache.stats().counts.hits_memory, before + 10);
    }
}
