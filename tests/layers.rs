//! A2. Layers from configuration: the right cache behind `Arc<dyn Cache>`, and combinations that cannot be are refused with
//! what to do instead.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker::{Cache, CacheConfig, Config, Error, Layer, Source, open};

fn config(dir: Option<&Path>, text: &str) -> CacheConfig {
    let config = serde_json::from_str(text).expect("a configuration");
    CacheConfig { dir: dir.map(Path::to_owned), ..config }
}

async fn source_of_second_get(cache: &Arc<dyn Cache>) -> Source {
    assert!(cache.set(b"k", Bytes::from_static(b"v")).await.unwrap().is_stored());
    assert!(cache.get(b"k").await.unwrap().is_some());
    let hit = cache.get(b"k").await.unwrap().expect("a hit");
    assert_eq!(&hit.value()[..], b"v");
    hit.source()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_combination_opens_what_it_says() {
    for (layers, memory_bytes, source) in [
        (r#"["memory", "disk"]"#, 1 << 20, Some(Source::Memory)),
        (r#"["memory"]"#, 1 << 20, Some(Source::Memory)),
        (r#"["disk"]"#, 0, None),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let has_disk = layers.contains("disk");
        let text = format!(
            r#"{{"layers": {layers}, "settings": {{"capacity_bytes": 2097152, "memory_bytes": {memory_bytes}}}}}"#
        );
        let config = config(has_disk.then_some(dir.path()), &text);
        let cache = open(config.clone()).await.unwrap();
        let found = source_of_second_get(&cache).await;
        assert!(source.map_or(found != Source::Memory, |source| found == source), "{layers}: {found:?}");
        assert_eq!(cache.stats().backend.is_some(), has_disk, "{layers}");
        assert_eq!(cache.stats().capacity_bytes, if has_disk { 2 << 20 } else { memory_bytes });
        cache.close().await.unwrap();
        // A disk keeps what it was given; memory alone has nothing to close.
        assert_eq!(matches!(cache.get(b"k").await, Err(Error::Closed)), has_disk, "{layers}");
        drop(cache);
        let again = open(config).await.unwrap();
        assert_eq!(again.get(b"k").await.unwrap().is_some(), has_disk, "{layers}");
        again.close().await.unwrap();
    }
}

#[tokio::test]
async fn combinations_that_cannot_be_are_refused_with_what_to_do() {
    let dir = Path::new("/nowhere");
    for (dir, text, remedy) in [
        (None, r#"{"layers": ["memory"]}"#, "set it to the memory that the cache may take"),
        (Some(dir), r#"{"layers": ["memory"], "settings": {"memory_bytes": 1000000}}"#, "leave dir out"),
        (None, r#"{"layers": ["disk"]}"#, "set it to the directory"),
        (None, r#"{"layers": ["memory", "disk"], "settings": {"memory_bytes": 1000000}}"#, "set it to the directory"),
        (Some(dir), r#"{"layers": ["memory", "disk"]}"#, "set it to the memory of the hot tier"),
        (Some(dir), r#"{"layers": ["disk"], "settings": {"memory_bytes": 1}}"#, "make layers [memory, disk]"),
        (Some(dir), r#"{"layers": ["disk", "memory"], "settings": {"memory_bytes": 1}}"#, "memory is asked before"),
        (Some(dir), r#"{"layers": ["disk", "disk"]}"#, "each once"),
        (Some(dir), r#"{"layers": []}"#, "layers must be"),
        (Some(dir), r#"{"layers": ["disk"], "settings": {"retention_ms": 0}}"#, "retention_ms is 0"),
        (Some(dir), r#"{"layers": ["disk"], "settings": {"memory_max_item_bytes": 9}}"#, "give memory_bytes"),
    ] {
        let refused = open(config(dir, text)).await.err();
        let Some(Error::InvalidConfig(why)) = refused else { panic!("{text}: {refused:?}") };
        assert!(why.contains(remedy), "{text}: {why}");
    }
    assert!(!dir.exists(), "nothing was made");
}

#[test]
fn names_that_do_not_exist_are_an_error_that_names_them() {
    for (text, name) in [
        (r#"{"layers": ["memory", "tape"]}"#, "tape"),
        (r#"{"layer": ["disk"]}"#, "layer"),
        (r#"{"settings": {"memory_size": 1}}"#, "memory_size"),
        (r#"{"settings": {"memory_fill": "never"}}"#, "never"),
    ] {
        let error = serde_json::from_str::<CacheConfig>(text).expect_err(text).to_string();
        assert!(error.contains(name), "{error}");
    }
    let all: CacheConfig = serde_json::from_str("{}").unwrap();
    assert_eq!(all, CacheConfig { layers: vec![Layer::Disk], dir: None, settings: Config::default() });
    assert_eq!(serde_json::from_str::<CacheConfig>(&serde_json::to_string(&all).unwrap()).unwrap(), all);
}

/// What is not about a disk holds in memory alone too.
#[tokio::test]
async fn a_cache_in_memory_alone_keeps_to_its_settings() {
    let text = r#"{"layers": ["memory"], "settings": {"memory_bytes": 1048576, "memory_max_item_bytes": 100,
        "max_value_bytes": 50, "max_key_bytes": 8, "default_ttl_ms": 40, "retention_ms": 30}}"#;
    let cache = open(config(None, text)).await.unwrap();
    let set = async |key: &'static [u8], len: usize| cache.set(key, vec![7; len].into()).await;
    assert!(set(b"k", 50).await.unwrap().is_stored());
    assert!(!set(b"k", 51).await.unwrap().is_stored(), "max_value_bytes");
    assert!(cache.get(b"k").await.unwrap().is_none(), "an update took the older value along");
    assert!(matches!(set(b"too long!", 1).await, Err(Error::InvalidInput(_))), "max_key_bytes");
    assert!(set(b"k", 10).await.unwrap().is_stored());
    let hit = cache.get(b"k").await.unwrap().expect("a hit");
    let lives = hit.expires_at().expect("a time to live").duration_since(std::time::UNIX_EPOCH).unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(cache.get(b"k").await.unwrap().is_none(), "expired at {lives:?}");
    let large = r#"{"layers": ["memory"], "settings": {"memory_bytes": 1048576, "memory_max_item_bytes": 100}}"#;
    let cache = open(config(None, large)).await.unwrap();
    assert!(cache.set(b"k", vec![7; 99].into()).await.unwrap().is_stored());
    assert!(!cache.set(b"k", vec![7; 100].into()).await.unwrap().is_stored(), "memory_max_item_bytes");
}
