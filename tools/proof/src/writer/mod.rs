//! The process that is killed: writers that set, overwrite and delete, and tell what was acknowledged as `Written`: to a cache,
//! or to one in front of an origin.

pub mod ledger;
pub mod origin;
pub mod script;

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use esker::{BackendKind, Config, DiskCache, Durability, Error, OriginCache, SetOptions};
use serde::{Deserialize, Serialize};

use crate::child::{READY, Voice, errand};
use crate::common::{Dice, key, read_value, value};
use crate::streamed;
use origin::Fronted;
use script::{Deed, Script, TASKS};

/// The hidden subcommand.
pub const COMMAND: &str = "writer-child";

/// How long a child waits for a directory that the parent is about to let go of.
const OPEN_WITHIN: Duration = Duration::from_secs(5);
/// A child that nobody kills ends by itself.
const MOST_LIFE: Duration = Duration::from_secs(120);

/// What a child is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Errand {
    /// The cache.
    pub dir: PathBuf,
    /// Its settings.
    pub config: Config,
    /// What the writers do,
    pub script: Script,
    /// each from this deed on,
    pub first: Vec<u64>,
    /// and up to so many bytes.
    pub most_bytes: u64,
    /// Nothing is ever evicted, or there is an origin: what was set must be there.
    pub is_roomy: bool,
    /// What the cache stands in front of.
    pub origin: Option<Fronted>,
    /// The control group to enter: it slows the disk down for this process.
    pub group: Option<PathBuf>,
    /// The canary: tell what was only `Buffered`.
    pub tells_early: bool,
}

impl Errand {
    /// A cache of so many segments; eviction is at work if it is not roomy.
    pub fn config(backend: BackendKind, segments: u64, segment_len_bytes: u64) -> Config {
        Config {
            backend,
            capacity_bytes: segments * segment_len_bytes + esker::config::DIRECTORY_OVERHEAD_BYTES,
            segment_len_bytes: Some(segment_len_bytes),
            chunk_len_bytes: 4 << 10,
            ..Config::default()
        }
    }
}

/// Runs the child.
///
/// # Errors
/// If the cache fails, refuses or lies.
pub fn main() -> Result<ExitCode> {
    let errand: Errand = errand()?;
    if let Some(group) = &errand.group {
        let processes = std::fs::OpenOptions::new().write(true).open(group.join("cgroup.procs"));
        processes.and_then(|mut file| file.write_all(b"0")).context("cannot enter the control group")?;
    }
    let voice = Arc::new(Voice::new()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let cache = open(&errand).await?;
        let target = match &errand.origin {
            Some(origin) => Target::Fronted(origin.over(&cache).await?),
            None => Target::Plain(cache),
        };
        voice.say(READY)?;
        let errand = Arc::new(errand);
        let writers: Vec<_> =
            (0..TASKS).map(|task| tokio::spawn(write(target.clone(), errand.clone(), voice.clone(), task))).collect();
        for writer in writers {
            writer.await.context("a writer panicked")??;
        }
        tokio::time::sleep(MOST_LIFE).await;
        bail!("nobody killed this process")
    })
}

/// Opens the cache, waiting a while for whoever has it still.
///
/// # Errors
/// It does not open.
pub async fn open(errand: &Errand) -> Result<DiskCache> {
    let began = tokio::time::Instant::now();
    loop {
        match DiskCache::builder(&errand.dir).config(errand.config.clone()).open().await {
            Err(Error::Locked { .. }) if began.elapsed() < OPEN_WITHIN => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            opened => return opened.context("cannot open the cache"),
        }
    }
}

/// What the writers write to.
#[derive(Clone)]
enum Target {
    Plain(DiskCache),
    Fronted(OriginCache),
}

impl Target {
    async fn set(&self, k: u32, n: u64, len: usize, durability: Durability) -> Result<()> {
        let (bytes, options) = (value(k, n as u32, len), SetOptions::new().durability(durability));
        match self {
            Self::Plain(cache) => {
                let outcome = streamed::put(cache, &key(k), n as u32, bytes, options).await?;
                ensure!(outcome.is_stored(), "key {k}: set {n} was refused: {outcome:?}");
            }
            // Whatever the cache made of it: the origin has it, or will.
            Self::Fronted(cache) => drop(cache.set_with(key(k), bytes, options).await?),
        }
        Ok(())
    }

    async fn delete(&self, k: u32) -> Result<()> {
        match self {
            Self::Plain(cache) => drop(cache.delete(key(k)).await?),
            Self::Fronted(cache) => cache.delete(key(k)).await?,
        }
        Ok(())
    }

    async fn version(&self, k: u32) -> Result<Option<u32>, String> {
        match self {
            Self::Plain(cache) => version(cache, k).await,
            Self::Fronted(cache) => version_over(cache, k).await,
        }
    }
}

async fn write(target: Target, errand: Arc<Errand>, voice: Arc<Voice>, task: u32) -> Result<()> {
    let script = &errand.script;
    let first = errand.first.get(task as usize).copied().context("no first deed")?;
    let mut dice = Dice::new(first << 8 | u64::from(task));
    // What this process wrote last: of each key all gets must show it, since nobody else writes it.
    let mut known: HashMap<u32, Option<u64>> = HashMap::new();
    let mut written = 0;
    for n in first.. {
        let (k, deed) = script.deed(task, n);
        match deed {
            Deed::Set { len } => {
                let is_waited_for = script.is_told(n) && !errand.tells_early;
                let durability = if is_waited_for { Durability::Written } else { Durability::Buffered };
                target.set(k, n, len, durability).await?;
                known.insert(k, Some(n));
                written += cost(len);
            }
            Deed::Delete => {
                target.delete(k).await?;
                known.insert(k, None);
                written += cost(0);
            }
        }
        if script.is_told(n) {
            voice.say(u64::from(task) << 48 | n)?;
        }
        if dice.one_in(2) {
            let k = task * script.keys + dice.below(u64::from(script.keys)) as u32;
            check(&target, k, known.get(&k).copied(), errand.is_roomy).await?;
        }
        if written > errand.most_bytes {
            break;
        }
    }
    Ok(())
}

/// What a value takes, at most: a flush pads it to a block, and a chunk of 4 KiB has a frame of 52 bytes.
pub fn cost(len: usize) -> u64 {
    (len + len / 64) as u64 + 4096 + 256
}

/// In the living process: a get shows what was written last, or nothing.
async fn check(target: &Target, k: u32, known: Option<Option<u64>>, is_roomy: bool) -> Result<()> {
    let shown = target.version(k).await.map_err(anyhow::Error::msg)?.map(u64::from);
    match (shown, known) {
        (None, Some(Some(n))) if is_roomy => bail!("key {k}: {n} was forgotten by the process that wrote it"),
        (Some(shown), Some(last)) if last != Some(shown) => bail!("key {k}: it shows {shown} after {last:?}"),
        _ => Ok(()),
    }
}

/// The version that a cache has of a key, if any.
///
/// # Errors
/// The bytes were never stored under this key, or the get failed.
pub async fn version(cache: &DiskCache, k: u32) -> Result<Option<u32>, String> {
    let found = streamed::take(cache, k, &key(k)).await.map_err(|e| format!("key {k}: {e}"))?;
    found.map(|(bytes, _)| version_in(k, &bytes)).transpose()
}

/// The version that a cache has of a key, or its origin.
///
/// # Errors
/// The bytes were never stored under this key, or the get failed.
pub async fn version_over(cache: &OriginCache, k: u32) -> Result<Option<u32>, String> {
    let hit = cache.get(key(k)).await.map_err(|e| format!("key {k}: {e}"))?;
    hit.map(|hit| version_in(k, hit.value())).transpose()
}

fn version_in(k: u32, bytes: &[u8]) -> Result<u32, String> {
    match read_value(bytes) {
        Some((of, version)) if of == k => Ok(version),
        other => Err(format!("key {k}: bytes that were never stored under it: {other:?}")),
    }
}
