//! A life of a cache on a real file system, with every block that the file system wrote and every flush.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow, bail};
use esker::backend::{Backend, probe};
use esker::{BackendKind, Config, DiskCache};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use super::log::Log;
use crate::common::{Dice, small};
use crate::ledger::Ledger;
use crate::load::{self, KEYS_A_WRITER, Load};
use crate::machine::{Daemon, FileSystem, Image, LoopDevice, Mount};
use crate::steered::{Liar, Steered};

const WRITERS: u32 = 4;
const ROUNDS: u64 = 12;
const DEEDS_A_ROUND: u64 = 6;
const ROOMY_SEGMENTS: u64 = 400;
const TIGHT_SEGMENTS: u64 = 14;
/// Names within a directory of a recording.
const IMAGE: &str = "image";
const LOG: &str = "log";
const ABOUT: &str = "about.json";

/// What kind of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// On which file system.
    pub file_system: FileSystem,
    /// By which backend.
    pub backend: BackendKind,
    /// Of the dice.
    pub seed: u64,
}

/// What is known of a life besides its blocks.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    file_system: String,
    backend: BackendKind,
    seed: u64,
    ledger: Ledger,
}

/// The life.
#[derive(Debug)]
pub struct Recording {
    /// Of this kind.
    pub kind: Kind,
    /// The disk before it.
    pub before: Image,
    /// What was written.
    pub log: Log,
    /// What was done; a moment is a length of the log.
    pub ledger: Ledger,
}

impl Kind {
    /// Whether eviction is at work. Entries may then be missing.
    pub fn is_tight(self) -> bool {
        self.seed.is_multiple_of(2)
    }

    /// The cache's settings.
    pub fn config(self) -> Config {
        let segments = if self.is_tight() { TIGHT_SEGMENTS } else { ROOMY_SEGMENTS };
        Config { direct_io: !self.seed.is_multiple_of(3), ..small(segments) }
    }

    /// As a case names it.
    pub fn name(self) -> String {
        format!("{} {} {}", self.file_system.name(), self.backend, self.seed)
    }
}

impl Recording {
    /// Leads a life in a directory for its files. The liar is the canary.
    ///
    /// # Errors
    /// The machine does not play along, or the cache fails with nothing wrong.
    pub fn make(kind: Kind, dir: &Path, runtime: &Runtime, is_canary: bool) -> Result<Self> {
        let (image, log, mounted) = (dir.join(IMAGE), dir.join(LOG), dir.join("recorded"));
        kind.file_system.make(&image)?;
        let before = Image::load(&image)?;
        std::fs::create_dir_all(&mounted)?;
        let daemon = Daemon::logging(dir, &image, &log)?;
        let device = LoopDevice::over(daemon.export())?;
        let mount = Mount::at(&mounted, kind.file_system, device.path())?;
        let mut backend = probe::choose(kind.backend)?;
        if is_canary {
            backend = Arc::new(Steered { inner: backend, hand: Arc::new(Liar) });
        }
        // What was logged until now has a shorter log behind it: a moment of the ledger.
        let watched = File::open(&log)?;
        let moment = move || watched.metadata().map_or(u64::MAX, |m| m.len());
        let ledger = Arc::new(Mutex::new(Ledger::new(WRITERS * KEYS_A_WRITER)));
        let lived = runtime.block_on(live(kind, &mounted.join("cache"), backend, &ledger, Arc::new(moment)));
        mount.unmount()?;
        drop((device, daemon));
        lived?;
        let log = Log::decode(std::fs::read(&log)?)?;
        if !is_canary && log.flushes() == 0 {
            bail!("no flush reached the log: the devices between do not pass them on");
        }
        let ledger = load::open(&ledger).clone();
        Ok(Self { kind, before, log, ledger })
    }

    /// Writes it down, to be judged again.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn keep(&self, dir: &Path) -> Result<()> {
        let Kind { file_system, backend, seed } = self.kind;
        let about = About { file_system: file_system.name().into(), backend, seed, ledger: self.ledger.clone() };
        serde_json::to_writer(File::create(dir.join(ABOUT))?, &about)?;
        self.before.save(&dir.join(IMAGE))?;
        std::io::Write::write_all(&mut File::create(dir.join(LOG))?, self.log.bytes()).context("the log")
    }

    /// One that was kept.
    ///
    /// # Errors
    /// There is none.
    pub fn kept(dir: &Path) -> Result<Self> {
        let about: About =
            serde_json::from_reader(File::open(dir.join(ABOUT)).context("no recording was kept there")?)?;
        let file_system = FileSystem::named(&about.file_system).context("an unknown file system")?;
        let kind = Kind { file_system, backend: about.backend, seed: about.seed };
        let log = Log::decode(std::fs::read(dir.join(LOG))?)?;
        Ok(Self { kind, before: Image::load(&dir.join(IMAGE))?, log, ledger: about.ledger })
    }
}

async fn live(
    kind: Kind,
    dir: &Path,
    backend: Arc<dyn Backend>,
    ledger: &Arc<Mutex<Ledger>>,
    moment: load::Moment,
) -> Result<()> {
    let opened = || DiskCache::builder(dir).config(kind.config()).backend_with(backend.clone()).open();
    let mut dice = Dice::new(kind.seed);
    let mut load = Load {
        cache: opened().await?,
        ledger: ledger.clone(),
        moment,
        max_value_bytes: 6_000,
        stop: Arc::new(AtomicBool::new(false)),
    };
    for _ in 0..ROUNDS {
        load.work(&mut dice, WRITERS, DEEDS_A_ROUND).await.map_err(|e| anyhow!(e))?;
        if load.stop.load(std::sync::atomic::Ordering::Relaxed) {
            bail!("a write failed, or was refused, and nothing was wrong with the disk");
        }
        match dice.below(8) {
            0 => drop(load.clear().await),
            1 => {
                load.cache.close().await?;
                load.cache = opened().await?;
            }
            _ => {}
        }
    }
    Ok(())
}
