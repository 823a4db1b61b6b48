//! Namespaces: keys apart, a time to live, room and statistics of their own, and a purge that takes nothing else.

#[path = "common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{SEGMENT_LEN_BYTES, settled, small};
use esker::backend::sim::{DiskError, FaultPlan, OpKind, Sim, When};
use esker::clock::ManualClock;
use esker::inspect::Inspector;
use esker::{
    Cache, Config, DiskCache, Durability, Error, FetchOptions, Fetched, MAX_KEY_BYTES, Millis, Namespace,
    NamespaceConfig, SetOptions,
};

const DIR: &str = "/cache";
const START: Millis = Millis(1_700_000_000_000);
const MAGIC: &[u8] = b"\xffeskrns\xfe";

struct Place {
    sim: Sim,
    clock: Arc<ManualClock>,
    config: Config,
}

impl Place {
    fn new(seed: u64, segments: u64, namespaces: Vec<NamespaceConfig>) -> Self {
        let config = Config { namespaces, ..small(segments) };
        Self { sim: Sim::new(seed), clock: Arc::new(ManualClock::new(START)), config }
    }

    async fn open(&self) -> DiskCache {
        let builder = DiskCache::builder(DIR).config(self.config.clone()).clock(self.clock.clone());
        builder.backend_with(Arc::new(self.sim.clone())).open().await.unwrap()
    }

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
}

fn with(name: &str, share: u64, quota: Option<u64>) -> NamespaceConfig {
    NamespaceConfig {
        name: name.into(),
        share_bytes: share * SEGMENT_LEN_BYTES,
        quota_bytes: quota.map(|segments| segments * SEGMENT_LEN_BYTES),
        ..NamespaceConfig::default()
    }
}

fn used_bytes(namespace: &Namespace) -> u64 {
    namespace.stats().and_then(|stats| stats.used_bytes).unwrap()
}

async fn got(namespace: &Namespace, key: &str) -> Option<String> {
    let hit = namespace.get(key).await.unwrap();
    hit.map(|hit| String::from_utf8(hit.value().to_vec()).unwrap())
}

/// Sets entries of 4 KiB; how many segments' worth.
async fn fill(namespace: &Namespace, first: u32, segments: u32) {
    for n in first..first + segments * 15 {
        assert!(namespace.set(n.to_string(), vec![n as u8; 4_000]).await.unwrap().is_stored());
    }
}

/// A4, A9, P2.
#[tokio::test(flavor = "multi_thread")]
async fn equal_keys_in_two_namespaces_are_two_entries_and_a_purge_takes_one() {
    let mut place = Place::new(1, 20, vec![with("a", 5, None)]);
    let mut cache = place.open().await;
    let all = |cache: &DiskCache| ["a", "b"].map(|name| cache.namespace(name).unwrap());
    let [a, b] = all(&cache);
    cache.set("key", "plain").await.unwrap();
    a.set("key", "of a").await.unwrap();
    b.set("key", "of b").await.unwrap();
    cache.sync().await.unwrap();
    for is_power_lost in [false, true] {
        let [a, b] = all(&cache);
        assert_eq!(cache.get("key").await.unwrap().unwrap().value(), "plain");
        assert_eq!((got(&a, "key").await, got(&b, "key").await), (Some("of a".into()), Some("of b".into())));
        cache = place.reopen(cache, is_power_lost).await;
    }
    let [a, _] = all(&cache);
    a.purge().await.unwrap();
    a.set("later", "stays").await.unwrap();
    cache.sync().await.unwrap();
    cache = place.reopen(cache, true).await;
    let [a, b] = all(&cache);
    assert_eq!((got(&a, "key").await, got(&a, "later").await), (None, Some("stays".into())));
    assert_eq!((got(&b, "key").await, cache.contains("key").await.unwrap()), (Some("of b".into()), true));
    // As any cache: its clear is its own.
    let dynamic: Arc<dyn Cache> = Arc::new(b.clone());
    dynamic.set(b"more", "x".into()).await.unwrap();
    dynamic.clear().await.unwrap();
    assert!(dynamic.get(b"more").await.unwrap().is_none() && got(&b, "key").await.is_none());
    assert!(dynamic.delete(b"more").await.is_ok() && cache.contains("key").await.unwrap());
    assert_eq!(got(&a, "later").await, Some("stays".into()));
    cache.clear().await.unwrap();
    assert_eq!(got(&a, "later").await, None, "the cache's own takes everything");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_plain_key_gets_into_a_namespace() {
    let mut place = Place::new(2, 8, Vec::new());
    place.config.max_key_bytes = 100;
    let cache = place.open().await;
    let a = cache.namespace("a").unwrap();
    a.set("key", "of a").await.unwrap();
    let forged = [MAGIC, b"\x01akey"].concat();
    let is_refused = |e: &Error| matches!(e, Error::InvalidInput(text) if text.contains("namespace"));
    assert!(is_refused(&cache.get(&forged).await.unwrap_err()));
    assert!(is_refused(&cache.set(&forged, "x").await.unwrap_err()));
    assert!(is_refused(&cache.try_set(MAGIC, "x").await.unwrap_err()));
    assert!(is_refused(&cache.delete(&forged).await.unwrap_err()));
    assert!(is_refused(&cache.writer(&forged, SetOptions::new()).await.unwrap_err()));
    for prefix in [&forged[..], MAGIC, b"\xff"] {
        assert!(is_refused(&cache.purge_prefix(prefix).await.unwrap_err()), "{prefix:?}");
    }
    assert!(cache.set(&MAGIC[..7], "a plain key").await.unwrap().is_stored());
    assert_eq!(got(&a, "key").await, Some("of a".into()));
    for name in ["", &"n".repeat(65)] {
        assert!(is_refused(&cache.namespace(name).unwrap_err()));
    }
    // The limit is one for the user's key.
    assert!(a.set([b'k'; 100], "x").await.unwrap().is_stored());
    for key in [&b""[..], &[b'k'; 101]] {
        assert!(matches!(a.set(key, "x").await, Err(Error::InvalidInput(_))));
    }
    assert!(matches!(a.purge_prefix("").await, Err(Error::InvalidInput(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_key_makes_room_for_the_name() {
    let place = Place {
        config: Config { segment_len_bytes: Some(256 << 10), ..Config::default() },
        ..Place::new(3, 8, Vec::new())
    };
    let cache = place.open().await;
    let name = "n".repeat(64);
    let namespace = cache.namespace(&name).unwrap();
    let longest = vec![b'k'; MAX_KEY_BYTES - 73];
    assert!(namespace.set(&longest, "x").await.unwrap().is_stored());
    assert!(namespace.contains(&longest).await.unwrap());
    let longer = [&longest[..], b"k"].concat();
    assert!(matches!(namespace.set(longer, "x").await, Err(Error::InvalidInput(_))));
    assert!(cache.set(vec![b'k'; MAX_KEY_BYTES], "x").await.unwrap().is_stored());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_has_its_own_time_to_live() {
    let brief = NamespaceConfig { default_ttl_ms: Some(1_000), ..with("brief", 0, None) };
    let mut place = Place::new(4, 8, vec![brief, with("plain", 0, None)]);
    place.config.default_ttl_ms = Some(5_000);
    let cache = place.open().await;
    let [brief, plain, unknown] = ["brief", "plain", "unknown"].map(|name| cache.namespace(name).unwrap());
    for namespace in [&brief, &plain, &unknown] {
        namespace.set("key", "x").await.unwrap();
        namespace.set_with("own", "x", SetOptions::new().ttl(Duration::from_millis(10_000))).await.unwrap();
    }
    let is_until = |hit: Option<esker::Hit>, ttl_ms: u64| {
        let until = std::time::UNIX_EPOCH + Duration::from_millis(START.0 + ttl_ms);
        hit.is_some_and(|hit| hit.expires_at() == Some(until))
    };
    for (namespace, ttl_ms) in [(&brief, 1_000), (&plain, 5_000), (&unknown, 5_000)] {
        assert!(is_until(namespace.get("key").await.unwrap(), ttl_ms), "{namespace:?}");
        assert!(is_until(namespace.get("own").await.unwrap(), 10_000), "{namespace:?}");
    }
    place.clock.advance(1_000);
    assert_eq!((got(&brief, "key").await, got(&plain, "key").await), (None, Some("x".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_and_out_knows_the_namespace() {
    let place = Place::new(5, 20, vec![with("a", 5, Some(8))]);
    let cache = place.open().await;
    let a = cache.namespace("a").unwrap();
    let mut writer = a.writer("object", SetOptions::new()).await.unwrap();
    writer.write_bytes(vec![7; 20_000].into()).await.unwrap();
    assert!(writer.finish().await.unwrap().is_stored());
    assert_eq!(a.get_range("object", 10..20).await.unwrap().unwrap().value().len(), 10);
    assert_eq!(a.reader("object").await.unwrap().unwrap().len_bytes(), Some(20_000));
    let fetch = || async { Ok::<_, std::io::Error>(Fetched::new("fetched")) };
    for _ in 0..2 {
        assert_eq!(a.get_or_fetch("fetch", FetchOptions::new(), fetch).await.unwrap().value(), "fetched");
        let refreshed = a.get_or_refresh("refresh", Duration::from_secs(1), FetchOptions::new(), fetch).await;
        assert_eq!(refreshed.unwrap().value(), "fetched");
    }
    assert!(a.try_set("try", "x").await.unwrap().is_stored());
    let renewed = a.set_metadata("try", "meta", Durability::Written).await.unwrap();
    assert!(renewed.is_some_and(|outcome| outcome.is_stored()));
    assert_eq!(a.get("try").await.unwrap().unwrap().metadata(), "meta");
    for key in ["object", "fetch", "refresh", "try"] {
        assert!(a.contains(key).await.unwrap() && !cache.contains(key).await.unwrap(), "{key}");
    }
    assert!(a.delete("try").await.unwrap() && !a.delete("try").await.unwrap());
    a.purge_prefix("f").await.unwrap();
    assert_eq!((got(&a, "fetch").await, got(&a, "refresh").await), (None, Some("fetched".into())));
    let stats = a.stats().unwrap();
    // Gets of the object as a range and by its reader, twice of what was fetched, of `try`, and the two at the end.
    assert_eq!((stats.hits, stats.misses, stats.sets), (2 + 2 + 1 + 1, 2 + 1, 4), "{stats:?}");
    assert!(stats.live_bytes.unwrap() > 20_000 && cache.namespace("b").unwrap().stats().is_none());
    assert_eq!(cache.stats().namespaces, [a.stats().unwrap()]);
}

#[test]
fn settings_that_do_not_fit_are_refused_by_name() {
    let check = |namespaces| Config { namespaces, ..small(20) }.validate();
    let refused = |namespaces| match check(namespaces) {
        Err(Error::InvalidConfig(text)) => text,
        other => panic!("{other:?}"),
    };
    assert!(check(vec![with("a", 5, Some(5)), with("b", 0, Some(5)), with("c", 5, None), with("d", 0, None)]).is_ok());
    let cases = [
        (vec![with("", 0, None)], "name has 0 bytes"),
        (vec![with("a", 0, None), with("a", 5, None)], "configured twice"),
        (vec![with("a", 4, None)], "share_bytes of the namespace \"a\""),
        (vec![with("a", 0, Some(4))], "quota_bytes of the namespace \"a\""),
        (vec![with("a", 8, Some(7))], "quota_bytes of the namespace \"a\""),
        (vec![with("a", 16, None)], "the capacity has"),
        (vec![with("a", 5, None), with("b", 0, Some(9)), with("c", 6, None)], "the capacity has"),
        ((0..65).map(|n| with(&n.to_string(), 0, None)).collect(), "at most 64"),
    ];
    for (namespaces, text) in cases {
        let said = refused(namespaces);
        assert!(said.contains(text), "{said}");
    }
    let text = serde_json::to_string(&Config { namespaces: vec![with("a", 5, Some(8))], ..Config::default() }).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&text).unwrap().namespaces, [with("a", 5, Some(8))]);
}

/// V4.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_takes_no_more_than_its_quota() {
    let mut place = Place::new(6, 40, vec![with("flood", 0, Some(8)), with("calm", 5, None)]);
    let mut cache = place.open().await;
    assert_eq!(cache.stats().segments, 0, "who writes nothing has no segment");
    let [flood, calm] = ["flood", "calm"].map(|name| cache.namespace(name).unwrap());
    fill(&calm, 0, 6).await;
    for n in 0..100 {
        cache.set(n.to_string(), vec![1; 1_000]).await.unwrap();
    }
    let quota = flood.stats().unwrap().quota_bytes.unwrap();
    let mut peak = 0;
    for n in 0..1_500_u32 {
        let ttl = Duration::from_secs(if n % 3 == 0 { 10 } else { 100_000 });
        flood.set_with(n.to_string(), vec![1; 4_000], SetOptions::new().ttl(ttl)).await.unwrap();
        if n % 2 == 0 {
            flood.get((n / 2).to_string()).await.unwrap();
        }
        peak = peak.max(used_bytes(&flood));
    }
    assert!(peak <= quota && peak >= quota / 2, "{peak} of {quota}");
    settled(&cache).await;
    cache = place.reopen(cache, true).await;
    let [flood, calm] = ["flood", "calm"].map(|name| cache.namespace(name).unwrap());
    assert!((1..=quota).contains(&used_bytes(&flood)) && used_bytes(&calm) >= 5 * SEGMENT_LEN_BYTES);
    for n in 0..90 {
        assert!(calm.contains(n.to_string()).await.unwrap(), "{n} of the calm one");
    }
    for n in 0..100 {
        assert!(cache.contains(n.to_string()).await.unwrap(), "{n} of the cache");
    }
}

/// V4.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_share_keeps_is_not_evicted_for_others() {
    let place = Place::new(7, 40, vec![with("kept", 12, None), with("other", 0, Some(30))]);
    let cache = place.open().await;
    let [kept, other] = ["kept", "other"].map(|name| cache.namespace(name).unwrap());
    fill(&kept, 0, 10).await;
    for n in 0..1_200_u32 {
        cache.set(format!("plain {n}"), vec![1; 4_000]).await.unwrap();
        other.set(n.to_string(), vec![1; 4_000]).await.unwrap();
    }
    settled(&cache).await;
    for n in 0..10 * 15 {
        assert!(kept.contains(n.to_string()).await.unwrap(), "{n}");
    }
}

/// V4.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_above_a_share_is_given_back_first() {
    let place = Place::new(12, 40, vec![with("kept", 12, None)]);
    let cache = place.open().await;
    let kept = cache.namespace("kept").unwrap();
    fill(&kept, 0, 20).await;
    assert!(used_bytes(&kept) > 12 * SEGMENT_LEN_BYTES, "{:?}", kept.stats());
    for n in 0..1_200_u32 {
        cache.set(format!("plain {n}"), vec![1; 4_000]).await.unwrap();
    }
    settled(&cache).await;
    // Its open segments may just be being sealed.
    for _ in 0..100 {
        if used_bytes(&kept) == 12 * SEGMENT_LEN_BYTES {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(used_bytes(&kept), 12 * SEGMENT_LEN_BYTES, "{:?}", cache.stats().namespaces);
}

/// P6. Whoever is at its quota, while nothing can be evicted, holds up nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_below_a_quota_waits_alone() {
    let mut place = Place::new(8, 40, vec![with("full", 0, Some(6)), with("other", 5, None)]);
    place.config.write_buffer_bytes = 1 << 20;
    let cache = place.open().await;
    let [full, other] = ["full", "other"].map(|name| cache.namespace(name).unwrap());
    // A segment that cannot be read is not evicted.
    place.sim.set_faults(FaultPlan::default().fail(OpKind::Read, When::Always, DiskError::Eio));
    let mut n = 0;
    while full.try_set(n.to_string(), vec![1; 4_000]).await.unwrap().is_stored() {
        n += 1;
        assert!(n < 6 * 16, "no end at the quota");
    }
    assert!(n > 4 * 15, "{n}");
    // More than the buffer takes: they must not wait with a share of it.
    let wait = |n: u32| {
        let full = full.clone();
        tokio::spawn(async move { full.set(format!("waits {n}"), vec![1; 4_000]).await })
    };
    let waiting: Vec<_> = (0..400).map(wait).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    for n in 0..100 {
        let done = tokio::time::timeout(Duration::from_secs(20), async {
            assert!(other.set(n.to_string(), vec![1; 4_000]).await.unwrap().is_stored());
            assert!(cache.set(n.to_string(), vec![1; 4_000]).await.unwrap().is_stored());
        });
        done.await.expect("nobody else waits");
    }
    assert!(waiting.iter().all(|one| !one.is_finished()));
    place.sim.set_faults(FaultPlan::default());
    for one in waiting {
        assert!(one.await.unwrap().unwrap().is_stored());
    }
}

/// V4, P2. Another configuration at the next open: entries stay, age where they lie, and nothing old comes back.
#[tokio::test(flavor = "multi_thread")]
async fn namespaces_may_be_configured_anew() {
    let mut place = Place::new(9, 40, vec![with("a", 10, Some(20))]);
    let mut cache = place.open().await;
    let a = cache.namespace("a").unwrap();
    fill(&a, 0, 15).await;
    cache.close().await.unwrap();
    let settings = [
        vec![],
        vec![with("b", 0, Some(6)), with("a", 0, Some(6))],
        vec![with("a", 0, None)],
        vec![with("a", 9, None)],
    ];
    for (n, namespaces) in settings.into_iter().enumerate() {
        let quota = namespaces.iter().find(|one| one.name == "a").and_then(|one| one.quota_bytes);
        place.config.namespaces = namespaces;
        place.sim = place.sim.reopen();
        cache = place.open().await;
        let a = cache.namespace("a").unwrap();
        if let Some(quota) = quota {
            assert!(used_bytes(&a) <= quota, "{:?}", a.stats());
        }
        if n == 0 {
            for n in 0..15 * 15 {
                assert!(a.contains(n.to_string()).await.unwrap(), "{n}");
            }
        }
        for k in 0..40 {
            a.set(k.to_string(), format!("{n}")).await.unwrap();
        }
        for k in 40..50 {
            a.delete(k.to_string()).await.unwrap();
        }
        for k in 0..700 {
            cache.set(k.to_string(), vec![1; 4_000]).await.unwrap();
        }
        cache.sync().await.unwrap();
        cache = place.reopen(cache, true).await;
        let a = cache.namespace("a").unwrap();
        for k in 0..50 {
            let found = got(&a, &k.to_string()).await;
            let is_fine = found.as_ref().is_none_or(|value| k < 40 && *value == n.to_string());
            assert!(is_fine, "{k}: {found:?} at {n}");
        }
        cache.close().await.unwrap();
    }
}

/// V4.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_was_made_smaller_holds_at_once() {
    let mut place = Place::new(11, 40, vec![with("a", 0, Some(20))]);
    let cache = place.open().await;
    fill(&cache.namespace("a").unwrap(), 0, 15).await;
    assert!(used_bytes(&cache.namespace("a").unwrap()) > 12 * SEGMENT_LEN_BYTES);
    cache.close().await.unwrap();
    place.config.namespaces = vec![with("a", 0, Some(6))];
    place.sim = place.sim.reopen();
    let cache = place.open().await;
    let a = cache.namespace("a").unwrap();
    let used = used_bytes(&a);
    assert!((3 * SEGMENT_LEN_BYTES..=6 * SEGMENT_LEN_BYTES).contains(&used), "{used}");
    assert!(a.contains((15 * 15 - 1).to_string()).await.unwrap() && !a.contains("0").await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_looks_sees_namespace_and_key() {
    let place = Place::new(10, 20, vec![with("tenant", 0, Some(5))]);
    let cache = place.open().await;
    let tenant = cache.namespace("tenant").unwrap();
    let mut evictions = cache.evictions().await.unwrap();
    fill(&tenant, 0, 8).await;
    settled(&cache).await;
    let evicted = evictions.next().await.unwrap();
    assert_eq!((evicted.namespace.as_deref(), &evicted.key[..]), (Some("tenant"), &b"0"[..]));
    cache.set("plain", "x").await.unwrap();
    cache.sync().await.unwrap();
    let inspector = Inspector::new(Arc::new(place.sim.clone()), DIR, START);
    let mut shown = Vec::new();
    inspector.entries(&mut |entry| shown.push((entry.namespace, entry.key.unwrap()))).await.unwrap();
    assert!(shown.contains(&(Some("tenant".into()), "119".into())) && shown.contains(&(None, "plain".into())));
    let groups = inspector.segments().await.unwrap().into_iter().filter(|one| one.group.is_some()).count();
    assert!((1..=5).contains(&groups), "{groups}");
}
