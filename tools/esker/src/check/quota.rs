//! Two tenants, one of which floods the cache: it takes its quota at most, and the other one hits as often as if it were alone
//! in a cache of its share.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use esker::config::DIRECTORY_OVERHEAD_BYTES;
use esker::{BackendKind, Cache, Config, DiskCache, Namespace, NamespaceConfig};

use super::Figures;
use crate::trace::synthetic::Zipf;
use crate::value::{Identity, SplitMix};

const SEGMENT_LEN_BYTES: u64 = 1 << 20;
/// What is kept for the tenant, and the most that the flood takes, in segments. Beside both there is room for little else: so
/// the tenant has no more than its share.
const SHARE: u64 = 64;
const QUOTA: u64 = 128;
const CAPACITY: u64 = SHARE + QUOTA + 8;
/// The tenant's workload: half of it to warm up.
const REQUESTS: u64 = 400_000;
const OBJECTS: usize = 60_000;
const ZIPF_EXPONENT: f64 = 0.9;
const VALUE_BYTES: u32 = 4_000;
/// Most points of hit ratio that the flood may cost.
const MOST_POINTS: f64 = 1.0;
/// The flood looks at what it takes each time that it has set so many.
const SETS_A_SAMPLE: u64 = 256;

/// Of the flood.
#[derive(Debug, Default)]
struct Flood {
    is_over: AtomicBool,
    sets: AtomicU64,
    peak_bytes: AtomicU64,
}

fn config(backend: BackendKind, segments: u64, namespaces: Vec<NamespaceConfig>) -> Config {
    Config {
        capacity_bytes: segments * SEGMENT_LEN_BYTES + DIRECTORY_OVERHEAD_BYTES,
        segment_len_bytes: Some(SEGMENT_LEN_BYTES),
        backend,
        namespaces,
        ..Config::default()
    }
}

/// Runs the check, with fewer requests if `shrink` is more than 1.
///
/// # Errors
/// If a cache fails, refuses, or serves a wrong value.
pub async fn check(dir: &Path, backend: BackendKind, shrink: u64) -> Result<Figures> {
    let requests = REQUESTS / shrink;
    let alone = DiskCache::builder(dir).config(config(backend, SHARE, Vec::new())).open().await?;
    let ratio_alone = replay(&alone, requests).await?;
    alone.close().await?;
    std::fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;

    let tenant =
        NamespaceConfig { name: "tenant".into(), share_bytes: SHARE * SEGMENT_LEN_BYTES, ..NamespaceConfig::default() };
    let flood = NamespaceConfig {
        name: "flood".into(),
        quota_bytes: Some(QUOTA * SEGMENT_LEN_BYTES),
        ..NamespaceConfig::default()
    };
    let cache = DiskCache::builder(dir).config(config(backend, CAPACITY, vec![tenant, flood])).open().await?;
    let told = Arc::new(Flood::default());
    let flooding = tokio::spawn(pour(cache.namespace("flood")?, told.clone()));
    let tenant = cache.namespace("tenant")?;
    let ratio_beside = replay(&tenant, requests).await;
    told.is_over.store(true, Ordering::Relaxed);
    flooding.await??;
    let ratio_beside = ratio_beside?;

    let mut figures = Figures::default();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    figures.tell("hit ratio alone, in a cache of its share, %", 100.0 * ratio_alone);
    figures.tell("hit ratio beside the flood, %", 100.0 * ratio_beside);
    figures.at_most("points lost to the flood", 100.0 * (ratio_alone - ratio_beside), MOST_POINTS);
    let used = tenant.stats().and_then(|stats| stats.used_bytes).context("the tenant has no room of its own")?;
    figures.tell("the tenant's bytes at the end, MiB", mib(used));
    figures.tell("entries of the flood", told.sets.load(Ordering::Relaxed) as f64);
    figures.at_most("the flood's bytes at their peak, MiB", mib(told.peak_bytes.load(Ordering::Relaxed)), QUOTA as f64);
    cache.close().await?;
    Ok(figures)
}

/// Asks for objects as by Zipf's law, and sets what is not there. Of the second half: hits of all gets.
async fn replay(cache: &dyn Cache, requests: u64) -> Result<f64> {
    let (zipf, mut dice) = (Zipf::new(OBJECTS, ZIPF_EXPONENT), SplitMix::new(7));
    let mut hits = 0;
    for n in 0..requests {
        let object = zipf.sample(&mut dice) as u64;
        let (key, identity) = (object.to_le_bytes(), Identity { object, version: 0, len_bytes: VALUE_BYTES });
        match cache.get(&key).await? {
            Some(hit) => {
                ensure!(identity.matches(hit.value()), "object {object} has another's bytes");
                hits += u64::from(n >= requests / 2);
            }
            None => ensure!(cache.set(&key, identity.value()).await?.is_stored(), "object {object} was refused"),
        }
    }
    Ok(hits as f64 / (requests - requests / 2) as f64)
}

/// Sets new keys as fast as the cache takes them.
async fn pour(namespace: Namespace, told: Arc<Flood>) -> Result<()> {
    let value = Identity { object: 0, version: 0, len_bytes: VALUE_BYTES }.value();
    while !told.is_over.load(Ordering::Relaxed) {
        let n = told.sets.fetch_add(1, Ordering::Relaxed);
        ensure!(namespace.set(n.to_le_bytes(), value.clone()).await?.is_stored(), "the flood was refused");
        if n.is_multiple_of(SETS_A_SAMPLE) {
            let used = namespace.stats().and_then(|stats| stats.used_bytes).unwrap_or(u64::MAX);
            told.peak_bytes.fetch_max(used, Ordering::Relaxed);
        }
    }
    Ok(())
}
