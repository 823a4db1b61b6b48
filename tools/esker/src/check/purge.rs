//! A purge of a million entries, by prefix or by tag: constant time, none is served afterwards, also after kill -9, and the room
//! comes back.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use esker::{BackendKind, DiskCache, SetOptions};

use super::Figures;
use crate::child::Spawned;
use crate::store::Plan;

const ENTRIES: u64 = 1_000_000;
const VALUE_BYTES: usize = 100;
const CAPACITY_BYTES: u64 = 256 << 20;
/// Keys with another prefix, among the purged ones.
const OTHERS: u64 = 1_000;
/// The tag of the purged ones, and how many others are purged before it.
const TAG: &str = "purged";
const OTHER_TAGS: u64 = 100_000;
/// Purges at a time: they share a sync.
const AT_ONCE: u64 = 1_000;

/// Options of the hidden subcommand.
#[derive(Debug, clap::Args)]
pub struct ChildArgs {
    /// A file with the plan, as JSON.
    pub plan: PathBuf,
    /// How many entries.
    pub entries: u64,
    /// Whether they are purged by a tag.
    #[arg(long)]
    pub by_tag: bool,
}

fn purged(n: u64) -> String {
    format!("purged/{n}")
}

fn other(n: u64) -> String {
    format!("other/{n}")
}

async fn open(plan: &Plan) -> Result<DiskCache> {
    Ok(DiskCache::builder(&plan.dir).config(plan.config()).open().await?)
}

/// Runs the child: fills a cache, purges, says how long that took in microseconds, and waits to be killed.
///
/// # Errors
/// If the cache fails or refuses.
pub fn child_main(args: &ChildArgs) -> Result<ExitCode> {
    crate::child::end_with_parent();
    let plan: Plan = serde_json::from_reader(std::fs::File::open(&args.plan)?)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let cache = open(&plan).await?;
        let options = if args.by_tag { SetOptions::new().tags([TAG]) } else { SetOptions::new() };
        for n in 0..args.entries {
            let set = cache.set_with(purged(n), vec![1; VALUE_BYTES], options.clone()).await?;
            ensure!(set.is_stored(), "entry {n} was refused");
            if n % (args.entries / OTHERS).max(1) == 0 {
                ensure!(cache.set(other(n), vec![2; VALUE_BYTES]).await?.is_stored(), "entry {n} was refused");
            }
        }
        if args.by_tag {
            purge_others(&cache).await?;
        }
        cache.sync().await?;
        let began = Instant::now();
        if args.by_tag {
            cache.purge_tag(TAG).await?;
        } else {
            cache.purge_prefix("purged/").await?;
        }
        println!("{}", began.elapsed().as_micros());
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        bail!("the parent did not kill this process")
    })
}

async fn purge_others(cache: &DiskCache) -> Result<()> {
    for from in (0..OTHER_TAGS).step_by(AT_ONCE as usize) {
        let mut purges = tokio::task::JoinSet::new();
        for n in from..from + AT_ONCE {
            let cache = cache.clone();
            purges.spawn(async move { cache.purge_tag(format!("other {n}")).await });
        }
        purges.join_all().await.into_iter().collect::<esker::Result<()>>()?;
    }
    Ok(())
}

/// Runs the check, with fewer entries if `shrink` is more than 1.
///
/// # Errors
/// If the child ends early, or the cache does not open again.
pub fn check(dir: &Path, backend: BackendKind, shrink: u64, by_tag: bool) -> Result<Figures> {
    let entries = ENTRIES / shrink;
    let papers = tempfile::Builder::new().prefix("esker-purge-").tempdir().context("no temporary directory")?;
    let plan = Plan::esker(dir.to_owned(), CAPACITY_BYTES, backend);
    let plan_file = papers.path().join("plan.json");
    serde_json::to_writer(std::fs::File::create(&plan_file)?, &plan)?;
    let count = entries.to_string();
    let mut words: Vec<&OsStr> = vec!["purge-child".as_ref(), plan_file.as_os_str(), count.as_ref()];
    words.extend(by_tag.then_some(OsStr::new("--by-tag")));
    let mut child = Spawned::start(words)?;
    let purge_us: f64 = child.line()?.parse().context("the child told no time")?;
    child.kill()?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(verify(&plan, entries, purge_us))
}

async fn verify(plan: &Plan, entries: u64, purge_us: f64) -> Result<Figures> {
    let mut figures = Figures::default();
    figures.tell("entries purged", entries as f64);
    figures.at_most("purge, durable, ms", purge_us / 1000.0, 10.0);
    let cache = open(plan).await.context("reopen after the kill")?;
    figures.tell("purges remembered", cache.stats().purge_marks as f64);
    let began = Instant::now();
    let (mut served, mut lost) = (0, 0);
    for n in 0..entries {
        served += u64::from(cache.get(purged(n)).await?.is_some());
        if n % (entries / OTHERS).max(1) == 0 {
            lost += u64::from(cache.get(other(n)).await?.is_none());
        }
    }
    figures.tell("a get, us", began.elapsed().as_micros() as f64 / entries as f64);
    figures.exactly("purged entries served after the kill", served, 0);
    figures.exactly("other entries lost", lost, 0);
    // The gets made the index forget them; the next open finds them once more.
    cache.close().await?;
    let cache = open(plan).await?;
    figures.tell("purged entries that take room at first", cache.stats().entries as f64);
    let mut written = 0;
    while written < plan.capacity_bytes {
        ensure!(cache.set(format!("new/{written}"), vec![3; 8 << 10]).await?.is_stored(), "a new entry was refused");
        written += 8 << 10;
    }
    cache.sync().await?;
    for n in 0..entries {
        served += u64::from(cache.get(purged(n)).await?.is_some());
    }
    figures.exactly("of these after a turn of the log", cache.stats().counts.misses_purged, 0);
    figures.exactly("purged entries served after that", served, 0);
    cache.close().await?;
    Ok(figures)
}
