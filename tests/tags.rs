//! Tags: what has one goes at once with all others that have it, stays gone, and what is set afterwards stays.

#[path = "common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::small;
use esker::backend::sim::Sim;
use esker::clock::ManualClock;
use esker::inspect::{EntryState, Inspector, PurgedBy, Verdict};
use esker::{
    AdmissionPolicy, Config, DiskCache, Durability, Error, EvictReason, EvictionPolicy, FetchOptions, Fetched,
    MAX_METADATA_BYTES, MAX_TAG_BYTES, MAX_TAGS, Millis, PinOutcome, SetOptions, SetOutcome,
};

const DIR: &str = "/cache";
const START: Millis = Millis(1_700_000_000_000);

/// A disk, a clock, and the cache's settings.
struct Place {
    sim: Sim,
    clock: Arc<ManualClock>,
    config: Config,
}

impl Place {
    fn new(seed: u64, segments: u64) -> Self {
        Self { sim: Sim::new(seed), clock: Arc::new(ManualClock::new(START)), config: small(segments) }
    }

    async fn open(&self) -> DiskCache {
        let builder = DiskCache::builder(DIR).config(self.config.clone()).clock(self.clock.clone());
        builder.backend_with(Arc::new(self.sim.clone())).open().await.unwrap()
    }

    /// The process is killed, or the power goes.
    async fn reopen(&mut self, cache: DiskCache, is_power_lost: bool) -> DiskCache {
        if is_power_lost {
            self.sim.power_loss()
        } else {
            self.sim.crash_process()
        }
        drop(cache);
        self.sim = self.sim.reopen();
        self.open().await
    }

    fn inspector(&self) -> Inspector {
        Inspector::new(Arc::new(self.sim.clone()), DIR, START)
    }
}

fn tagged(tags: &[&str]) -> SetOptions {
    SetOptions::new().tags(tags).metadata("meta")
}

async fn set(cache: &DiskCache, key: &str, tags: &[&str]) {
    assert!(cache.set_with(key, format!("the value of {key}"), tagged(tags)).await.unwrap().is_stored());
}

/// Which of these are served, each with its own value and metadata.
async fn served<'a>(cache: &DiskCache, keys: &[&'a str]) -> Vec<&'a str> {
    let mut found = Vec::new();
    for key in keys {
        if let Some(hit) = cache.get(key).await.unwrap() {
            assert_eq!(
                (&hit.value()[..], &hit.metadata()[..]),
                (format!("the value of {key}").as_bytes(), &b"meta"[..])
            );
            found.push(*key);
        }
    }
    found
}

const KEYS: [&str; 5] = ["red", "red and blue", "blue", "none", "thirty-two"];

async fn set_all(cache: &DiskCache) {
    set(cache, "red", &["red"]).await;
    set(cache, "red and blue", &["blue", "red", "blue"]).await;
    set(cache, "blue", &["blue"]).await;
    set(cache, "none", &[]).await;
    let many: Vec<String> = (0..31).map(|n| format!("tag {n}")).chain(["green".to_owned()]).collect();
    set(cache, "thirty-two", &many.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// A9, P2. Also after a kill and after a power loss: the purge was durable when it returned. From the disk and from memory.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_a_tag_goes_at_once_and_stays_gone() {
    for memory_bytes in [0, 1 << 20] {
        let mut place = Place::new(1, 8);
        place.config.memory_bytes = memory_bytes;
        let mut cache = place.open().await;
        set_all(&cache).await;
        cache.sync().await.unwrap();
        for _ in 0..2 {
            assert_eq!(served(&cache, &KEYS).await, KEYS);
        }
        cache.purge_tag("red").await.unwrap();
        cache.purge_tag("nobody has this one").await.unwrap();
        set(&cache, "red", &["red"]).await;
        cache.sync().await.unwrap();
        for is_power_lost in [false, true, true] {
            assert_eq!(cache.stats().purge_marks, 2);
            assert_eq!(served(&cache, &KEYS).await, ["red", "blue", "none", "thirty-two"]);
            let gone = "red and blue";
            assert!(!cache.contains(gone).await.unwrap() && cache.get_range(gone, 0..3).await.unwrap().is_none());
            assert!(cache.reader(gone).await.unwrap().is_none());
            assert_eq!(cache.set_metadata(gone, "new", Durability::Synced).await.unwrap(), None);
            cache = place.reopen(cache, is_power_lost).await;
        }
        cache.purge_tag("green").await.unwrap();
        cache.get("thirty-two").await.unwrap();
        assert_eq!((cache.stats().counts.misses_purged, cache.stats().counts.purges), (1, 1));
        assert_eq!(served(&cache, &KEYS).await, ["red", "blue", "none"]);
    }
}

/// Values in chunks, streamed ones, entries with a time to live, fetched ones, and metadata that are set anew.
#[tokio::test(flavor = "multi_thread")]
async fn however_an_entry_came_in_its_tags_count() {
    let mut place = Place::new(2, 16);
    let cache = place.open().await;
    for (key, len) in [("object", 50_000), ("streamed", 10)] {
        let mut writer = cache.writer(key, tagged(&["t"])).await.unwrap();
        writer.write_bytes(vec![7; len].into()).await.unwrap();
        assert!(writer.finish().await.unwrap().is_stored());
    }
    assert!(cache.set_with("in chunks", vec![1; 200_000], tagged(&["t"])).await.unwrap().is_stored());
    assert!(cache.set_with("short", "s", tagged(&["t"]).ttl(Duration::from_secs(30))).await.unwrap().is_stored());
    let fetch = || async { Ok::<_, std::io::Error>(Fetched::new("fetched").options(tagged(&["t"]))) };
    let fetched = cache.get_or_fetch("fetched", FetchOptions::new(), fetch).await.unwrap();
    assert_eq!(fetched.metadata(), "meta");
    set(&cache, "renewed", &["t"]).await;
    for (key, metadata) in [("renewed", "new"), ("object", "new"), ("renewed", ""), ("renewed", "newer")] {
        let renewed = cache.set_metadata(key, metadata, Durability::Synced).await.unwrap();
        assert_eq!(renewed, Some(SetOutcome::Stored { durability: Durability::Synced }), "{key}");
        assert_eq!(cache.get(key).await.unwrap().unwrap().metadata(), metadata, "{key}");
    }
    cache.sync().await.unwrap();
    let cache = place.reopen(cache, true).await;
    let keys = ["object", "streamed", "in chunks", "short", "fetched", "renewed"];
    for key in keys {
        let hit = cache.get(key).await.unwrap().unwrap();
        let metadata = cache.reader(key).await.unwrap().unwrap().metadata().clone();
        let expected = match key {
            "object" => "new",
            "renewed" => "newer",
            _ => "meta",
        };
        assert_eq!((&hit.metadata()[..], &metadata[..]), (expected.as_bytes(), expected.as_bytes()), "{key}");
    }
    let mut reader = cache.reader("object").await.unwrap().unwrap();
    cache.purge_tag("t").await.unwrap();
    for key in keys {
        assert!(cache.get(key).await.unwrap().is_none(), "{key}");
    }
    // Who was reading may go on, or is told.
    while let Ok(Some(_)) = reader.next_bytes().await {}
    let cache = place.reopen(cache, true).await;
    for key in keys {
        assert!(cache.get(key).await.unwrap().is_none(), "{key} after a power loss");
    }
}

/// What is being written has its place when it is finished: then it is newer than the purge.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_finishes_after_the_purge_is_newer() {
    let mut place = Place::new(3, 16);
    let cache = place.open().await;
    set(&cache, "k", &["t"]).await;
    let mut writer = cache.writer("k", tagged(&["t"])).await.unwrap();
    writer.write_bytes(vec![7; 50_000].into()).await.unwrap();
    cache.purge_tag("t").await.unwrap();
    assert!(cache.get("k").await.unwrap().is_none());
    let mut reader = cache.reader_attached("k").await.unwrap().unwrap();
    assert_eq!(reader.metadata(), "meta");
    assert!(reader.next_bytes().await.unwrap().is_some());
    assert!(writer.finish().await.unwrap().is_stored());
    cache.sync().await.unwrap();
    let is_there = async |cache: &DiskCache| {
        let hit = cache.get("k").await.unwrap().unwrap();
        assert_eq!((hit.value().len(), &hit.metadata()[..]), (50_000, &b"meta"[..]));
    };
    is_there(&cache).await;
    let cache = place.reopen(cache, true).await;
    is_there(&cache).await;
    cache.purge_tag("t").await.unwrap();
    assert!(cache.get("k").await.unwrap().is_none());
}

/// F5. What eviction rewrites keeps its tags; with the last of what it covers a mark goes.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_rewritten_keeps_its_tags_and_a_mark_goes_with_what_it_covers() {
    let mut place = Place::new(4, 14);
    (place.config.eviction, place.config.pinned_bytes) = (EvictionPolicy::Clock, Some(20_000));
    let mut cache = place.open().await;
    let fill = async |cache: &DiskCache, turn: u64, count: u64| {
        for n in 0..count {
            cache.set(format!("b/{turn}/{n}"), vec![0; 7_000]).await.unwrap();
        }
        cache.sync().await.unwrap();
    };
    for n in 0..8 {
        cache.set_with(format!("a/{n}"), vec![0; 1_000], tagged(&["t", "u"])).await.unwrap();
        // What is only read may find no room where eviction falls behind.
        assert_eq!(cache.pin(format!("a/{n}")).await.unwrap(), PinOutcome::Pinned);
    }
    fill(&cache, 0, 210).await;
    let stats = cache.stats().counts;
    assert!(stats.entries_reinserted >= 8 && stats.segments_evicted > 8, "{stats:?}");
    cache = place.reopen(cache, true).await;
    assert_eq!(cache.get("a/1").await.unwrap().map(|hit| hit.metadata().clone()), Some("meta".into()));
    cache.purge_tag("u").await.unwrap();
    for turn in 1..4 {
        for n in 0..8 {
            assert!(!cache.contains(format!("a/{n}")).await.unwrap(), "a/{n} in turn {turn}");
        }
        fill(&cache, turn, 120).await;
        cache = place.reopen(cache, turn == 1).await;
    }
    assert_eq!(cache.stats().purge_marks, 0, "{:?}", cache.stats());
    // Who listens hears why.
    let mut heard = cache.evictions().await.unwrap();
    cache.set_with("listened", "v", tagged(&["t"])).await.unwrap();
    cache.purge_tag("t").await.unwrap();
    fill(&cache, 9, 180).await;
    let reason = loop {
        let evicted = heard.next().await.expect("it is evicted");
        if evicted.key == "listened" {
            break evicted.reason;
        }
    };
    assert_eq!(reason, EvictReason::Purged);
}

/// What waits in memory for its second use keeps its tags on the way to the disk.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_held_has_its_tags_on_disk() {
    let mut place = Place::new(5, 16);
    place.config.admission = AdmissionPolicy::SecondUse { held_bytes: Some(64 << 10) };
    let cache = place.open().await;
    for key in ["a", "b"] {
        assert_eq!(cache.set_with(key, "v", tagged(&[key])).await.unwrap(), SetOutcome::Held);
    }
    assert_eq!(cache.get("a").await.unwrap().unwrap().metadata(), "meta");
    cache.sync().await.unwrap();
    let cache = place.reopen(cache, true).await;
    assert_eq!(cache.get("a").await.unwrap().map(|hit| hit.metadata().clone()), Some("meta".into()));
    cache.purge_tag("a").await.unwrap();
    assert!(cache.get("a").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_have_limits() {
    let cache = Place::new(6, 16).open().await;
    let refused = |options: SetOptions| {
        let cache = cache.clone();
        async move {
            let set = cache.set_with("k", "v", options.clone()).await;
            let writer = cache.writer("k", options).await.err();
            match (set, writer) {
                (Err(Error::InvalidInput(one)), Some(Error::InvalidInput(other))) if one == other => one,
                other => panic!("{other:?}"),
            }
        }
    };
    let (long, longest) = ("x".repeat(MAX_TAG_BYTES + 1), "x".repeat(MAX_TAG_BYTES));
    for tag in ["", &long] {
        assert!(refused(tagged(&["fine", tag])).await.contains("a tag has"));
        assert!(matches!(cache.purge_tag(tag).await, Err(Error::InvalidInput(_))));
    }
    let most: Vec<String> = (0..MAX_TAGS).map(|n| format!("{n}")).collect();
    let more = most.iter().chain([&longest]);
    assert!(refused(SetOptions::new().tags(more)).await.contains("33 tags"));
    let room = MAX_METADATA_BYTES - 1 - 8 * MAX_TAGS;
    let full = SetOptions::new().tags(&most);
    assert!(refused(full.clone().metadata(vec![0; room + 1])).await.contains("beside 32 tags"));
    // A segment of this cache holds less.
    let len = 30_000;
    assert!(cache.set_with("k", "v", full.metadata(vec![0; len])).await.unwrap().is_stored());
    let renewed = cache.set_metadata("k", vec![0; room + 1], Durability::Buffered).await;
    assert!(matches!(renewed, Err(Error::InvalidInput(_))), "{renewed:?}");
    assert_eq!(cache.get("k").await.unwrap().unwrap().metadata().len(), len, "it stays as it was");
    assert!(cache.set_with("long", "v", SetOptions::new().tags([&longest])).await.unwrap().is_stored());
    cache.purge_tag(&longest).await.unwrap();
    assert!(cache.get("long").await.unwrap().is_none() && cache.get("k").await.unwrap().is_some());
    let debug = format!("{:?}", SetOptions::new().tags(["SECRET"]));
    assert!(debug.contains("tags: 1") && !debug.contains("SECRET"), "{debug}");
    // None in the end: each call takes the place of those before.
    cache.set_with("k", "v", SetOptions::new().tags(["t"]).tags([] as [&str; 0])).await.unwrap();
    cache.purge_tag("t").await.unwrap();
    assert!(cache.get("k").await.unwrap().is_some());
    cache.close().await.unwrap();
    assert!(matches!(cache.purge_tag("x").await, Err(Error::Closed)));
}

/// O5. Whoever looks at a directory sees what is purged, and by what.
#[tokio::test(flavor = "multi_thread")]
async fn an_inspector_knows_what_is_purged_by_tag() {
    let place = Place::new(7, 16);
    let cache = place.open().await;
    set_all(&cache).await;
    let mut writer = cache.writer("object", tagged(&["red", "other"])).await.unwrap();
    writer.write_bytes(vec![7; 50_000].into()).await.unwrap();
    assert!(writer.finish().await.unwrap().is_stored());
    cache.purge_tag("red").await.unwrap();
    cache.purge_prefix("thirty").await.unwrap();
    cache.sync().await.unwrap();
    let inspector = place.inspector();
    let expected = [
        ("red", Verdict::Purged, Some(PurgedBy::Tag), 1),
        ("red and blue", Verdict::Purged, Some(PurgedBy::Tag), 2),
        ("blue", Verdict::Served, None, 1),
        ("none", Verdict::Served, None, 0),
        ("thirty-two", Verdict::Purged, Some(PurgedBy::Prefix), 32),
        ("object", Verdict::Purged, Some(PurgedBy::Tag), 2),
    ];
    for (key, verdict, by, tags) in expected {
        let found = inspector.get(key.as_bytes()).await.unwrap();
        assert_eq!((found.verdict, found.purged_by, found.tags), (verdict, by, tags), "{key}");
        assert_eq!(found.metadata, if verdict == Verdict::Served { "meta" } else { "" }, "{key}");
        let explained = inspector.explain(key.as_bytes()).await.unwrap();
        assert_eq!((explained.finding.verdict, explained.finding.purged_by), (verdict, by), "{key}");
    }
    let mut seen = Vec::new();
    let mut look = |entry: esker::inspect::EntryInfo| {
        assert_eq!(entry.metadata_len, 4);
        seen.push((entry.key.unwrap(), entry.state == EntryState::Purged, entry.tags));
    };
    inspector.entries(&mut look).await.unwrap();
    seen.sort();
    let mut all = expected.map(|(key, verdict, _, tags)| (key.to_owned(), verdict == Verdict::Purged, tags));
    all.sort();
    assert_eq!(seen, all);
    let report = inspector.verify(&mut |_| {}).await.unwrap();
    assert!(report.is_clean, "{report:#?}");
}

/// P5. Many marks (`esker check purge-tag` has more): what a purge costs then, a get of an entry with many tags, and one without.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_tags_stay_cheap() {
    const MARKS: usize = 20_000;
    let mut place = Place::new(8, 512);
    let cache = place.open().await;
    let many: Vec<String> = (0..MAX_TAGS).map(|n| format!("kept {n}")).collect();
    assert!(cache.set_with("many", "v", SetOptions::new().tags(&many)).await.unwrap().is_stored());
    set(&cache, "none", &[]).await;
    set(&cache, "last", &[&format!("tag {}", MARKS - 1)]).await;
    let began = Instant::now();
    for from in (0..MARKS).step_by(1_000) {
        let mut purges = tokio::task::JoinSet::new();
        for n in from..from + 1_000 {
            let cache = cache.clone();
            purges.spawn(async move { cache.purge_tag(format!("tag {n}")).await.unwrap() });
        }
        purges.join_all().await;
    }
    let a_purge = began.elapsed() / MARKS as u32;
    assert_eq!(cache.stats().purge_marks, MARKS as u64);
    let began = Instant::now();
    let cache = place.reopen(cache, true).await;
    let reopen = began.elapsed();
    assert_eq!(cache.stats().purge_marks, MARKS as u64);
    assert_eq!(cache.get("last").await.unwrap().map(|hit| hit.into_value()), None);
    let mut a_get = [Duration::ZERO; 2];
    for (took, key) in a_get.iter_mut().zip(["many", "none"]) {
        let began = Instant::now();
        for _ in 0..10_000 {
            assert!(cache.get(key).await.unwrap().is_some());
        }
        *took = began.elapsed() / 10_000;
    }
    println!("with {MARKS} marks: purge {a_purge:?}, reopen {reopen:?}, get with 32 tags and with none {a_get:?}");
    // Far above what it takes, far below what going through the marks would.
    assert!(a_purge < Duration::from_millis(5) && a_get[0] < Duration::from_millis(1), "{a_purge:?}, {a_get:?}");
}

/// P2. The purge is durable, so what it purged must be too: else the power cut takes it, and with it what kept the entry before it
/// dead, which has no such tag.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_by_tag_does_not_bring_back_what_its_entries_replaced() {
    let mut shown = Vec::new();
    for seed in 0..20 {
        let mut place = Place::new(seed, 16);
        place.config.flush_interval_ms = 60_000;
        let cache = place.open().await;
        assert!(
            cache.set_with("key", "old", SetOptions::new().durability(Durability::Synced)).await.unwrap().is_stored()
        );
        // Short-lived: in a stream of its own, which the purge's record does not bring along.
        let options = tagged(&["red"]).ttl(Duration::from_secs(60));
        assert!(cache.set_with("key", "new", options).await.unwrap().is_stored());
        cache.purge_tag("red").await.unwrap();
        let cache = place.reopen(cache, true).await;
        shown.extend(cache.get("key").await.unwrap().map(|hit| (seed, hit.value().clone())));
    }
    assert_eq!(shown, []);
}

/// Trap 1. What is pinned moves from segment to segment, longer than the mark of a purge lasts: it must not move any more once it
/// is purged, though nobody asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_pinned_and_purged_does_not_outlive_the_mark() {
    let place = Place::new(9, 16);
    let cache = place.open().await;
    for key in ["plain", "red"] {
        set(&cache, key, if key == "red" { &["red"] } else { &[] }).await;
        assert_eq!(cache.pin(key).await.unwrap(), PinOutcome::Pinned);
    }
    cache.purge_tag("red").await.unwrap();
    let remembered = cache.stats().purge_marks;
    for n in 0..2_000 {
        assert!(cache.set(format!("churn {n}"), vec![7; 4_000]).await.unwrap().is_stored());
    }
    assert!(cache.stats().purge_marks < remembered, "the mark is there still, which proves nothing");
    assert!(cache.contains("plain").await.unwrap() && !cache.contains("red").await.unwrap());
}
