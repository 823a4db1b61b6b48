//! Row 4: a real file system, block by block (P1, P2, P4).
//!
//! A case is a file system, a backend and a seed. A cache lives on the file system while every write and flush that
//! reaches the device is logged, and each acknowledgement is noted as the length that the log had then. Afterwards the
//! power goes at drawn points of the log: the disk is put together as it may be then, mounted, the cache in it opened, and
//! every key judged by what was acknowledged before the point.
//!
//! No two recordings are alike, the kernel's timing is in them. So a recording in which a point fails is kept, and its
//! points can be judged again.

mod log;
mod point;
mod recording;
mod tally;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use esker::backend::{Backend, probe};
use esker::{BackendKind, DiskCache};
use tokio::runtime::Runtime;

use crate::crew::{self, Broken};
use crate::load;
use crate::machine::{self, FileSystem, Mount, Need};
use crate::row::{Order, Outcome, Row, Slice};

use point::{Point, Replay, Way};
use recording::{Kind, Recording};
use tally::Tally;

/// Of these, one in so many is on xfs.
const ONE_IN_XFS: u64 = 6;
/// A point whose file system cannot be mounted, which torn sectors of its own superblock may bring about, is no evidence.
/// So many more are drawn in each case.
const SPARE_POINTS: u64 = 1;

/// The row.
#[derive(Debug)]
pub struct Blocks;

/// How much is run.
#[derive(Debug, Clone, Copy)]
struct Amount {
    ext4_points: u64,
    xfs_points: u64,
    points_a_case: u64,
}

fn amount(slice: Slice) -> Amount {
    match slice {
        Slice::Ci => Amount { ext4_points: 40, xfs_points: 10, points_a_case: 10 },
        Slice::Full => Amount { ext4_points: 5_000, xfs_points: 1_000, points_a_case: 50 },
    }
}

/// What `--case` says.
enum Case {
    Fresh(Kind),
    Kept(PathBuf, u64),
}

impl Row for Blocks {
    fn number(&self) -> u32 {
        4
    }

    fn what(&self) -> &'static str {
        "file systems, by blocks"
    }

    fn target(&self, slice: Slice) -> String {
        let Amount { ext4_points, xfs_points, .. } = amount(slice);
        format!("{ext4_points} ext4 and {xfs_points} xfs points, 0 wrong, 0 lost")
    }

    fn canary(&self) -> &'static str {
        "the backend says that it has synced, and has not"
    }

    fn run(&self, order: &Order) -> Result<Outcome> {
        let needs = [Need::Mounted(FileSystem::Ext4), Need::Mounted(FileSystem::Xfs), Need::Daemon, Need::Ring];
        if let Some(why) = machine::missing(&needs) {
            return Ok(Outcome::skipped(why));
        }
        let only = order.case.as_deref().map(parse).transpose()?;
        let amount = amount(order.slice);
        let cases = if only.is_some() { 1 } else { (amount.ext4_points + amount.xfs_points) / amount.points_a_case };
        let kind = |n: u64| kind(order.seed, n, amount);
        let run = |n: u64, tally: &mut Tally| -> Result<(), Broken> {
            let judged = match &only {
                Some(Case::Kept(dir, point)) => judge_kept(dir, *point, order, tally),
                Some(Case::Fresh(kind)) => judge_fresh(*kind, amount.points_a_case, order, tally),
                None => judge_fresh(kind(n), amount.points_a_case, order, tally),
            };
            judged.unwrap_or_else(|error| Err((format!("could not be carried out: {error:#}"), String::new())))
        };
        let name = |n: u64| order.case.clone().unwrap_or_else(|| kind(n).name());
        let begun = std::time::Instant::now();
        let haul = crew::share(order.threads, cases, name, run, |_| false);
        let mut all = Tally::default();
        haul.tallies.iter().for_each(|tally| all.add(tally));
        let points = all.ext4 + all.xfs;
        let rate = points as f64 / begun.elapsed().as_secs_f64();
        let figure = format!(
            "{} ext4 and {} xfs points, {} cases wrong or lost, {} panics; {rate:.0} points/s",
            all.ext4, all.xfs, haul.failed, haul.panics
        );
        let is_reached = all.ext4 >= amount.ext4_points && all.xfs >= amount.xfs_points || only.is_some();
        Ok(Outcome::judged(figure, all.named(), haul.failures, is_reached))
    }
}

/// The kind of the nth case: file systems in their proportion, backends in turn.
fn kind(seed: u64, n: u64, amount: Amount) -> Kind {
    let all = (amount.ext4_points + amount.xfs_points) / amount.xfs_points;
    debug_assert!(all <= ONE_IN_XFS, "xfs has its share");
    let file_system = if n % all == all - 1 { FileSystem::Xfs } else { FileSystem::Ext4 };
    let backend = if (n + n / all).is_multiple_of(2) { BackendKind::Uring } else { BackendKind::TokioFs };
    Kind { file_system, backend, seed: seed + n }
}

/// `ext4 uring 17`, or `kept DIR 3`.
fn parse(case: &str) -> Result<Case> {
    let words = "a case is a file system, a backend and a seed: `ext4 uring 17`; or `kept DIR POINT`";
    if let Some((dir, point)) = case.strip_prefix("kept ").and_then(|rest| rest.rsplit_once(' ')) {
        return Ok(Case::Kept(dir.into(), point.parse().context(words)?));
    }
    let mut parts = case.split(' ');
    let mut part = || parts.next().context(words);
    let file_system = FileSystem::named(part()?).context(words)?;
    let backend = match part()? {
        "uring" => BackendKind::Uring,
        "tokio_fs" => BackendKind::TokioFs,
        _ => anyhow::bail!(words),
    };
    Ok(Case::Fresh(Kind { file_system, backend, seed: part()?.parse().context(words)? }))
}

fn judge_fresh(kind: Kind, points: u64, order: &Order, tally: &mut Tally) -> Result<Result<(), Broken>> {
    let scratch = machine::scratch(&order.dir)?;
    let runtime = runtime()?;
    let recording = Recording::make(kind, scratch.path(), &runtime, order.canary).context("recording")?;
    tally.recordings += 1;
    tally.entries += recording.log.entries.len() as u64;
    tally.flushes += recording.log.flushes();
    tally.durable += recording.ledger.durable();
    let mut drawn: Vec<_> = (0..points + SPARE_POINTS).map(|n| Point::draw(kind.seed, n, &recording.log)).collect();
    drawn.sort_by_key(|point| point.entries);
    let Err((number, what)) = judge_points(&recording, &drawn, scratch.path(), &runtime, tally)? else {
        return Ok(Ok(()));
    };
    let kept = tempfile::Builder::new().prefix("esker-proof-kept-").tempdir()?.keep();
    recording.keep(&kept)?;
    Ok(Err((what, format!("the same disk again: --case 'kept {} {number}'", kept.display()))))
}

fn judge_kept(dir: &Path, number: u64, order: &Order, tally: &mut Tally) -> Result<Result<(), Broken>> {
    let (scratch, runtime, recording) = (machine::scratch(&order.dir)?, runtime()?, Recording::kept(dir)?);
    let point = Point::draw(recording.kind.seed, number, &recording.log);
    let judged = judge_points(&recording, &[point], scratch.path(), &runtime, tally)?;
    Ok(judged.map_err(|(_, what)| (what, String::new())))
}

/// Judges points, in the order of the log; the first that fails, by its number.
fn judge_points(
    recording: &Recording,
    points: &[Point],
    dir: &Path,
    runtime: &Runtime,
    tally: &mut Tally,
) -> Result<Result<(), (u64, String)>> {
    let mut replay = Replay::new(&recording.log, recording.before.clone());
    let backend = probe::choose(recording.kind.backend)?;
    let (image, mounted) = (dir.join("point"), dir.join("judged"));
    std::fs::create_dir_all(&mounted)?;
    for point in points {
        replay.build(point, &image)?;
        let mount = match Mount::at(&mounted, recording.kind.file_system, &image) {
            Ok(mount) => mount,
            Err(_) if point.way == Way::Torn => {
                tally.unmountable += 1;
                continue;
            }
            Err(error) => return Ok(Err((point.number, format!("the file system is lost: {error:#}")))),
        };
        let judged = runtime.block_on(judge(recording, point, &mounted.join("cache"), backend.clone(), tally));
        mount.unmount()?;
        match recording.kind.file_system {
            FileSystem::Xfs => tally.xfs += 1,
            _ => tally.ext4 += 1,
        }
        tally.way(point);
        if let Err(what) = judged {
            let Point { entries, way, .. } = point;
            let of = recording.log.entries.len();
            return Ok(Err((point.number, format!("{what}; {way:?} of {entries} entries of {of}"))));
        }
    }
    Ok(Ok(()))
}

async fn judge(
    recording: &Recording,
    point: &Point,
    dir: &Path,
    backend: Arc<dyn Backend>,
    tally: &mut Tally,
) -> Result<(), String> {
    let opened = DiskCache::builder(dir).config(recording.kind.config()).backend_with(backend).open().await;
    let cache = opened.map_err(|e| format!("lost: the cache does not open: {e}"))?;
    let moment = point.moment(&recording.log);
    let answers = load::judge(&cache, &recording.ledger, moment, recording.kind.is_tight()).await;
    let answers = answers.map_err(|what| format!("{what}; recovery: {:?}", cache.recovery_report()))?;
    tally.judged += answers.len() as u64;
    tally.hits += answers.iter().flatten().count() as u64;
    Ok(())
}

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
