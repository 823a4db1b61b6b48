//! One kill, and who comes after.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use esker::backend::probe;
use esker::{BackendKind, DiskCache, Durability, SetOptions};
use tokio::runtime::Builder;

use super::throttle::Throttle;
use super::unlocked::Unlocked;
use super::{WRITE_BYTES_A_SECOND, group};
use crate::child::Spawned;
use crate::common::{Dice, key, value};
use crate::crew::Broken;
use crate::row::Order;
use crate::rows::kill::answers;
use crate::writer::ledger::{Judged, Ledger};
use crate::writer::script::Script;
use crate::writer::{self, Errand};

/// How long the child works once it is ready.
const LEAST_WORK_MS: u64 = 200;
const MOST_WORK_MS: u64 = 1_200;
/// Who opens slower than this has waited for a dead writer.
const WAITED: Duration = Duration::from_millis(30);
/// More than all that can be in flight takes to land: the write buffer, at the disk's rate.
const LANDING: Duration = Duration::from_millis(1_000 * (WRITE_BUFFER_BYTES + (1 << 20)) / WRITE_BYTES_A_SECOND);
const WRITE_BUFFER_BYTES: u64 = 6 << 20;
/// A kill with nothing in flight shows nothing, and is made again, so often at most.
const TRIES: u64 = 12;
/// Versions of the successor are above all of the child's.
const SUCCESSOR: u32 = 1 << 30;

/// What was counted.
#[derive(Debug, Default)]
pub struct Tally {
    pub kills: u64,
    /// Successors that had to wait: there were writes in flight.
    pub waited: u64,
    acknowledged: u64,
    hits: u64,
    torn_bytes: u64,
    slowest_open_ms: u64,
}

impl Tally {
    /// Adds what another thread counted.
    pub fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.waited += other.waited;
        self.acknowledged += other.acknowledged;
        self.hits += other.hits;
        self.torn_bytes += other.torn_bytes;
        self.slowest_open_ms = self.slowest_open_ms.max(other.slowest_open_ms);
    }

    /// The counts by name.
    pub fn named(&self) -> Vec<(String, u64)> {
        let counts = [
            ("kills", self.kills),
            ("with writes in flight", self.waited),
            ("acknowledged", self.acknowledged),
            ("hits", self.hits),
            ("torn bytes", self.torn_bytes),
            ("slowest open, ms", self.slowest_open_ms),
        ];
        counts.map(|(name, count)| (name.to_owned(), count)).to_vec()
    }
}

/// Runs a case: kills until there were writes in flight.
pub fn run(order: &Order, number: u64, tally: &mut Tally) -> Result<(), Broken> {
    let mut diary = String::new();
    let waited = tally.waited;
    for attempt in 0..TRIES {
        one(order, (number, attempt), tally, &mut diary).map_err(|what| (what, std::mem::take(&mut diary)))?;
        if tally.waited > waited {
            break;
        }
    }
    Ok(())
}

fn errand(order: &Order, (number, attempt): (u64, u64), throttle: &Throttle) -> Errand {
    let mut config = Errand::config(BackendKind::Uring, 96, 1 << 20);
    config.write_buffer_bytes = WRITE_BUFFER_BYTES;
    Errand {
        dir: order.dir.join(format!("landing-{number}")),
        config,
        script: Script {
            seed: order.seed.wrapping_mul(1_000_003) ^ number ^ attempt << 32,
            keys: 16,
            batch: 16,
            min_value_bytes: 16_000,
            max_value_bytes: 100_000,
            deletes_one_in: 1 << 40,
        },
        first: Vec::new(),
        most_bytes: 4 << 20,
        is_roomy: true,
        group: Some(throttle.group().to_owned()),
        origin: None,
        tells_early: false,
    }
}

fn one(order: &Order, case: (u64, u64), tally: &mut Tally, diary: &mut String) -> Result<(), String> {
    let throttle = Throttle::new(&order.dir, &group(1 + case.0), WRITE_BYTES_A_SECOND).map_err(|e| format!("{e:#}"))?;
    let errand = errand(order, case, &throttle);
    let mut ledger = Ledger::new(&errand);
    let errand = Errand { first: ledger.next(), ..errand };
    let mut dice = Dice::new(errand.script.seed);
    let mut child = Spawned::start(writer::COMMAND, &errand).map_err(|e| format!("{e:#}"))?;
    child.wait_ready().map_err(|e| format!("{e:#}"))?;
    let work = Duration::from_millis(LEAST_WORK_MS + dice.below(MOST_WORK_MS - LEAST_WORK_MS));
    std::thread::sleep(work);
    let said = child.kill().map_err(|e| format!("{e:#}"))?;
    *diary += &format!("killed {work:?} after it was ready: {} acknowledged\n", said.len());
    tally.kills += 1;
    tally.acknowledged += said.len() as u64;
    ledger.killed(&said)?;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|e| e.to_string())?;
    let lived = runtime.block_on(succeed(&errand, &mut ledger, order.canary, tally, diary));
    runtime.shutdown_timeout(LANDING);
    let _ = std::fs::remove_dir_all(&errand.dir);
    lived
}

async fn open(errand: &Errand, ignores_locks: bool) -> Result<DiskCache, String> {
    let mut builder = DiskCache::builder(&errand.dir).config(errand.config.clone());
    if ignores_locks {
        let inner = probe::choose(errand.config.backend).map_err(|e| e.to_string())?;
        builder = builder.backend_with(Arc::new(Unlocked { inner }));
    }
    builder.open().await.map_err(|e| format!("open: {e}"))
}

async fn succeed(
    errand: &Errand,
    ledger: &mut Ledger,
    ignores_locks: bool,
    tally: &mut Tally,
    diary: &mut String,
) -> Result<(), String> {
    let began = Instant::now();
    let cache = open(errand, ignores_locks).await?;
    let opened = began.elapsed();
    let report = cache.recovery_report();
    *diary += &format!("opened in {opened:?}, {} kept, {} torn bytes\n", report.entries_kept, report.torn_bytes);
    tally.waited += u64::from(opened > WAITED);
    tally.torn_bytes += report.torn_bytes;
    tally.slowest_open_ms = tally.slowest_open_ms.max(opened.as_millis() as u64);
    let before = files(&errand.dir)?;
    judge(&cache, ledger, tally).await?;
    if opened <= WAITED && !ignores_locks {
        return cache.close().await.map_err(|e| format!("close: {e}"));
    }
    tokio::time::sleep(LANDING).await;
    let after = files(&errand.dir)?;
    if let Some((name, _)) = before.iter().find(|(name, hash)| after.get(*name) != Some(*hash)) {
        return Err(format!("{} changed after recovery had returned", name.to_string_lossy()));
    }
    judge(&cache, ledger, tally).await?;
    // What the successor writes stands, at the next open too.
    for k in ledger.all_keys() {
        let options = SetOptions::new().durability(Durability::Written);
        let stored =
            cache.set_with(key(k), value(k, SUCCESSOR, 500), options).await.map_err(|e| format!("set: {e}"))?;
        if !stored.is_stored() {
            return Err(format!("key {k}: refused: {stored:?}"));
        }
    }
    cache.close().await.map_err(|e| format!("close: {e}"))?;
    drop(cache);
    let cache = open(errand, ignores_locks).await?;
    for (k, answer) in answers(&cache, ledger).await {
        if answer != Ok(Some(SUCCESSOR)) {
            return Err(format!("key {k} shows {answer:?}, not what the successor wrote"));
        }
    }
    cache.close().await.map_err(|e| format!("close: {e}"))
}

async fn judge(cache: &DiskCache, ledger: &mut Ledger, tally: &mut Tally) -> Result<(), String> {
    for (key, answer) in answers(cache, ledger).await {
        match ledger.judge(key, answer) {
            Judged::Hit => tally.hits += 1,
            Judged::Gone | Judged::Evicted => {}
            Judged::Wrong(what) | Judged::Lost(what) => return Err(what),
        }
    }
    Ok(())
}

/// A hash of every segment file's contents.
fn files(dir: &Path) -> Result<BTreeMap<OsString, u64>, String> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(|e| e.to_string())? {
        let entry = entry.map_err(|e| e.to_string())?;
        let mut hasher = DefaultHasher::new();
        std::fs::read(entry.path()).map_err(|e| e.to_string())?.hash(&mut hasher);
        files.insert(entry.file_name(), hasher.finish());
    }
    Ok(files)
}
