//! The first steps: open a cache, set, get, delete, look at it, close it.
//!
//! `cargo run --example quick_start [DIR]`; without a directory the example uses a temporary one.

use std::path::PathBuf;
use std::time::Duration;

use esker::{Cache, DiskCache, Durability, SetOptions, SetOutcome};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let temporary = tempfile::tempdir()?;
    let dir = std::env::args_os().nth(1).map_or_else(|| temporary.path().join("cache"), PathBuf::from);

    let cache: DiskCache = DiskCache::builder(&dir)
        .capacity_bytes(10 << 30) // everything counted
        .segment_len_bytes(64 << 20) // the default at this capacity
        .memory_bytes(0) // hot tier; 0 = none
        .backend(esker::BackendKind::Auto) // Auto | Uring | TokioUring | TokioFs
        .open()
        .await?;

    let outcome: SetOutcome = cache.set(b"key", b"value".to_vec()).await?;
    assert!(outcome.is_stored());

    let (body, meta) = (b"<p>hello</p>".to_vec(), b"content-type: text/html".to_vec());
    let options = SetOptions::new().ttl(Duration::from_secs(60)).metadata(meta).durability(Durability::Synced);
    let outcome = cache.set_with(b"k2", body, options).await?;
    assert_eq!(outcome, SetOutcome::Stored { durability: Durability::Synced });

    if let Some(hit) = cache.get(b"key").await? {
        let bytes: &bytes::Bytes = hit.value();
        println!("key: {} bytes, set {:?} ago, found in {:?}", bytes.len(), hit.age(), hit.source());
        assert_eq!(&bytes[..], b"value");
    } else {
        return Err("a value that was just set is gone".into());
    }

    let existed: bool = cache.delete(b"key").await?;
    assert!(existed && !cache.contains(b"key").await?);

    // The same cache behind the trait, as a service would pass it around.
    let any: std::sync::Arc<dyn Cache> = std::sync::Arc::new(cache.clone());
    let hit = any.get(b"k2").await?.ok_or("a synced value is gone")?;
    println!("k2: {:?}, expires {:?}", String::from_utf8_lossy(hit.metadata()), hit.expires_at());

    cache.flush().await?; // everything accepted is now `Written`
    cache.sync().await?; // … and now `Synced`
    println!("{}", serde_json::to_string_pretty(&cache.stats())?);
    cache.close().await?;

    // A second life of the same directory.
    let cache = DiskCache::builder(&dir).capacity_bytes(10 << 30).open().await?;
    println!("{}", serde_json::to_string_pretty(&cache.recovery_report())?);
    assert!(cache.get(b"k2").await?.is_some(), "a synced value did not survive the restart");
    assert!(cache.get(b"key").await?.is_none(), "a deleted value came back");
    cache.clear().await?;
    cache.close().await?;
    Ok(())
}
