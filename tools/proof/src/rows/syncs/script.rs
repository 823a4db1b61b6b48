//! The script, and how the cache is judged after it.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use esker::backend::{Backend, probe};
use esker::{BackendKind, Config, DiskCache, Durability};

use super::Kind;
use super::saboteur::Saboteur;
use crate::common::{Dice, small};
use crate::ledger::Ledger;
use crate::load::{self, KEYS_A_WRITER, Load};
use crate::machine::{self, Daemon, LoopDevice, Mount};
use crate::row::Order;
use crate::steered::Steered;

const DEEDS: u32 = 36;
const CLEARED_AT: u32 = 20;
const SEGMENTS: u64 = 60;
/// So long after a failure the cache tries the disk again.
const PAUSE: Duration = Duration::from_millis(600);
/// A disk that is well must be written to again within so many pauses.
const MOST_PAUSES: u32 = 5;

/// What came of a run.
#[derive(Debug)]
pub struct Ended {
    /// Syncs that the script asked for.
    pub syncs: u64,
    /// Whether the chosen one failed.
    pub has_failed: bool,
    /// Whether the file system took writes after that.
    pub went_on: bool,
    /// What was durable.
    pub durable: u64,
    /// What did not hold.
    pub broken: Option<String>,
}

/// Runs the script with its nth sync failing (0: none), mounts again, and judges.
///
/// # Errors
/// The machine does not play along.
pub fn run(kind: Kind, order: &Order) -> Result<Ended> {
    let scratch = machine::scratch(&order.dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (image, mounted) = (scratch.path().join("image"), scratch.path().join("mounted"));
    std::fs::create_dir(&mounted)?;
    kind.file_system.make(&image)?;
    let daemon = Daemon::failing(scratch.path(), &image)?;
    let device = LoopDevice::over(daemon.export())?;
    let saboteur = Saboteur::new(daemon, kind.fault, kind.nth, order.canary);
    let ledger = Arc::new(Mutex::new(Ledger::new(KEYS_A_WRITER)));
    let config = Config { direct_io: kind.fault.is_direct(), ..small(SEGMENTS) };
    let backend = probe::choose(kind.backend())?;
    let dir = mounted.join("cache");

    let mount = Mount::at(&mounted, kind.file_system, device.path())?;
    let steered = Arc::new(Steered { inner: backend.clone(), hand: Arc::new(saboteur.clone()) });
    let first = runtime.block_on(live(kind, &dir, &config, steered, &ledger));
    saboteur.heal().context("healing")?;
    mount.unmount()?;
    let mount = Mount::at(&mounted, kind.file_system, device.path()).context("mounting once the disk is well")?;
    let ledger = load::open(&ledger).clone();
    let second = runtime.block_on(judge(&dir, &config, backend, &ledger));
    mount.unmount()?;

    let touched = saboteur.touched();
    let behind = (!touched.is_empty()).then(|| format!("behind a failed sync: {touched:?}"));
    let broken = first.as_ref().err().cloned().or(second.err()).or(behind);
    Ok(Ended {
        syncs: saboteur.syncs(),
        has_failed: saboteur.failure().is_some(),
        went_on: first.unwrap_or(false),
        durable: ledger.durable(),
        broken,
    })
}

impl Kind {
    /// Both backends take their turns.
    fn backend(self) -> BackendKind {
        if self.nth.is_multiple_of(2) { BackendKind::Uring } else { BackendKind::TokioFs }
    }
}

async fn open(dir: &Path, config: &Config, backend: Arc<dyn Backend>) -> esker::Result<DiskCache> {
    DiskCache::builder(dir).config(config.clone()).backend_with(backend).open().await
}

/// Does the deeds of the script. Whether the cache took writes at its end.
async fn live(
    kind: Kind,
    dir: &Path,
    config: &Config,
    backend: Arc<dyn Backend>,
    ledger: &Arc<Mutex<Ledger>>,
) -> Result<bool, String> {
    // The sync that fails may be one of those that make the directory. Then there is no cache yet.
    let Ok(cache) = open(dir, config, backend).await else { return Ok(false) };
    let stop = Arc::new(AtomicBool::new(false));
    let load = Load { cache, ledger: ledger.clone(), moment: Arc::new(|| 0), max_value_bytes: 12_000, stop };
    let mut dice = Dice::new(kind.seed);
    let mut went_well = true;
    for deed in 0..DEEDS {
        let n = dice.below(u64::from(KEYS_A_WRITER)) as u32;
        went_well = match dice.below(6) {
            _ if deed == CLEARED_AT => load.clear().await,
            0 => load.delete(n).await,
            _ => load.set(n, Durability::Synced, &mut dice).await,
        };
        if went_well {
            continue;
        }
        if deed != CLEARED_AT && load::look(&load.cache, n).await?.is_some() {
            return Err(format!("wrong: key {n} is served after a write to it failed"));
        }
        // What the file system does not take after some time, it will not.
        for _ in 0..if kind.fault.lasts() { 1 } else { MOST_PAUSES } {
            tokio::time::sleep(PAUSE).await;
            went_well = load.set(n, Durability::Synced, &mut dice).await;
            if went_well || kind.is_read_only(dir) {
                break;
            }
        }
        if !went_well {
            break;
        }
    }
    if !went_well && !kind.fault.lasts() && !kind.is_read_only(dir) {
        return Err("the disk is well and the file system takes writes, but the cache does not".into());
    }
    Ok(went_well)
}

impl Kind {
    /// Whether the file system gave up with its journal.
    fn is_read_only(self, dir: &Path) -> bool {
        let probe = dir.with_file_name("probe");
        let written = std::fs::File::create(probe).and_then(|mut file| {
            std::io::Write::write_all(&mut file, b"probe")?;
            file.sync_all()
        });
        written.is_err()
    }
}

async fn judge(dir: &Path, config: &Config, backend: Arc<dyn Backend>, ledger: &Ledger) -> Result<(), String> {
    let cache = open(dir, config, backend).await.map_err(|e| format!("lost: the cache does not open again: {e}"))?;
    let judged = load::judge(&cache, ledger, u64::MAX, false).await;
    judged.map(drop).map_err(|what| format!("{what}; recovery: {:?}", cache.recovery_report()))
}
