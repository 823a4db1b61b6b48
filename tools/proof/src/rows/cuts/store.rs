//! A store and its lives.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use esker::backend::probe;
use esker::config::DIRECTORY_OVERHEAD_BYTES;
use esker::{BackendKind, Config, DiskCache, Durability};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::Kind;
use super::tally::Tally;
use crate::common::{Dice, small};
use crate::ledger::Ledger;
use crate::load::{self, KEYS_A_WRITER, Load};
use crate::machine::{self, FileSystem, Mount};
use crate::row::Order;
use crate::steered::{Liar, Steered};

const WRITERS: u32 = 4;
const TIGHT_SEGMENTS: u64 = 14;
/// So many that nothing is evicted in hundreds of lives.
const ROOMY_SEGMENTS: u64 = 3_000;
const ROOMY_SEGMENT_LEN_BYTES: u64 = 256 << 10;
const ROOMY_IMAGE_BYTES: u64 = 1 << 30;
/// Cut after at most this long.
const LONGEST_LIFE_MS: u64 = 40;
const LONGEST_OPENING_US: u64 = 3_000;
/// More than are done until then.
const DEEDS: u64 = 1 << 20;

/// Moments of the ledger: what is acknowledged after the power went is worth nothing. To shut a file system down takes it
/// a while, in which a sync may say Ok that will not be kept; with the power gone, nobody would have heard it.
const POWERED: u64 = 1;
const CUT: u64 = 2;

/// The store.
pub struct Store {
    kind: Kind,
    scratch: TempDir,
    runtime: Arc<Runtime>,
    ledger: Arc<Mutex<Ledger>>,
    dice: Dice,
    is_canary: bool,
    has_evicted: bool,
    story: String,
}

impl Kind {
    fn config(self) -> Config {
        if self.is_tight {
            return small(TIGHT_SEGMENTS);
        }
        // Few files, since each may need a descriptor.
        let capacity_bytes = ROOMY_SEGMENTS * ROOMY_SEGMENT_LEN_BYTES + DIRECTORY_OVERHEAD_BYTES;
        Config { capacity_bytes, segment_len_bytes: Some(ROOMY_SEGMENT_LEN_BYTES), ..small(TIGHT_SEGMENTS) }
    }
}

/// How the store is opened in a life.
struct Life {
    mounted: PathBuf,
    config: Config,
    backend: BackendKind,
    is_canary: bool,
}

impl Life {
    async fn open(&self) -> Result<DiskCache, String> {
        let mut backend = probe::choose(self.backend).map_err(|e| e.to_string())?;
        if self.is_canary {
            backend = Arc::new(Steered { inner: backend, hand: Arc::new(Liar) });
        }
        let opening = DiskCache::builder(self.mounted.join("cache")).config(self.config.clone());
        opening.backend_with(backend).open().await.map_err(|e| format!("lost: the cache does not open: {e}"))
    }

    /// The power goes, after a while.
    async fn cut_after(&self, wait: Duration, phase: &AtomicU64) -> Result<(), String> {
        tokio::time::sleep(wait).await;
        phase.store(CUT, Ordering::SeqCst);
        let mounted = self.mounted.clone();
        // Without a flag, the journal is not written.
        let shut =
            move || machine::run("xfs_io", ["-x".as_ref(), "-c".as_ref(), "shutdown".as_ref(), mounted.as_os_str()]);
        let ended = tokio::task::spawn_blocking(shut).await.map_err(|e| e.to_string())?;
        ended.map(drop).map_err(|e| format!("the file system is not shut down: {e:#}"))
    }
}

impl Store {
    /// A new one, in a new file system.
    pub fn new(kind: Kind, order: &Order) -> Result<Self> {
        let scratch = machine::scratch(&order.dir)?;
        let least = if kind.is_tight { 0 } else { ROOMY_IMAGE_BYTES };
        kind.file_system.make_at_least(&scratch.path().join("image"), least)?;
        std::fs::create_dir(scratch.path().join("mounted"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Self {
            kind,
            scratch,
            runtime: Arc::new(runtime),
            ledger: Arc::new(Mutex::new(Ledger::new(WRITERS * KEYS_A_WRITER))),
            dice: Dice::new(kind.seed),
            is_canary: order.canary,
            has_evicted: kind.is_tight,
            story: String::new(),
        })
    }

    /// Lives until it was cut so many times, and is judged once more.
    ///
    /// # Errors
    /// Outside, that a life could not be led; inside, what was wrong or lost.
    pub fn survive(mut self, cuts: u64, tally: &mut Tally) -> Result<Result<(), String>> {
        let (image, mounted) = (self.scratch.path().join("image"), self.scratch.path().join("mounted"));
        for n in 0..=cuts {
            let mount = Mount::at(&mounted, self.kind.file_system, &image).context("mounting after a cut")?;
            let life = Life {
                mounted: mounted.clone(),
                config: Config { direct_io: !self.dice.one_in(3), ..self.kind.config() },
                backend: [BackendKind::Uring, BackendKind::TokioFs][self.dice.below(2) as usize],
                is_canary: self.is_canary,
            };
            let runtime = self.runtime.clone();
            let lived = runtime.block_on(self.live(&life, n < cuts, tally));
            mount.unmount()?;
            if let Err(what) = lived {
                let Life { backend, config, .. } = life;
                return Ok(Err(format!(
                    "after cut {n} ({backend}, direct_io {}): {what} [{}]",
                    config.direct_io, self.story
                )));
            }
            match self.kind.file_system {
                _ if n == cuts => {}
                FileSystem::Xfs => tally.xfs += 1,
                _ => tally.ext4 += 1,
            }
        }
        Ok(Ok(()))
    }

    /// Opens, judges, works, and is cut.
    async fn live(&mut self, life: &Life, is_cut: bool, tally: &mut Tally) -> Result<(), String> {
        if is_cut && self.dice.one_in(6) {
            tally.opening += 1;
            self.story += " opening";
            let wait = Duration::from_micros(self.dice.below(LONGEST_OPENING_US));
            let unwatched = AtomicU64::new(POWERED);
            // It opens or fails: what matters is how it opens the next time.
            let (cut, _opened) = tokio::join!(life.cut_after(wait, &unwatched), life.open());
            return cut;
        }
        let cache = life.open().await?;
        self.judge(&cache, tally).await?;
        if is_cut {
            self.work(life, cache, tally).await?;
        }
        Ok(())
    }

    async fn judge(&self, cache: &DiskCache, tally: &mut Tally) -> Result<(), String> {
        let ledger = load::open(&self.ledger).clone();
        let report = cache.recovery_report();
        let answers = load::judge(cache, &ledger, POWERED, self.has_evicted).await;
        let answers = answers.map_err(|what| format!("{what}; recovery: {report:?}"))?;
        tally.judged += answers.len() as u64;
        tally.hits += answers.iter().flatten().count() as u64;
        tally.scanned += report.segments_scanned;
        tally.torn_bytes += report.torn_bytes;
        // What came back stays, what did not stays away.
        (0..).zip(answers).for_each(|(n, answer)| load::open(&self.ledger).settle(n, answer));
        Ok(())
    }

    async fn work(&mut self, life: &Life, cache: DiskCache, tally: &mut Tally) -> Result<(), String> {
        let phase = Arc::new(AtomicU64::new(POWERED));
        let is_cutting = phase.clone();
        let load = Load {
            cache,
            ledger: self.ledger.clone(),
            moment: Arc::new(move || phase.load(Ordering::SeqCst)),
            max_value_bytes: 3_000,
            stop: Arc::new(AtomicBool::new(false)),
        };
        let wait = Duration::from_micros(self.dice.below(LONGEST_LIFE_MS * 1_000));
        let stop = load.stop.clone();
        let cut = async {
            life.cut_after(wait, &is_cutting).await?;
            stop.store(true, Ordering::Relaxed);
            Ok::<_, String>(())
        };
        let is_clearing = self.dice.one_in(8);
        self.story += if is_clearing { " clearing" } else { " working" };
        let mut dice = Dice::new(self.dice.next());
        let deeds = async {
            if is_clearing {
                Ok(clear_and_set(&load, &mut dice).await)
            } else {
                load.work(&mut dice, WRITERS, DEEDS).await
            }
        };
        let (cut, done) = tokio::join!(cut, deeds);
        cut?;
        tally.deeds += done?;
        tally.interrupted += u64::from(load::open(&self.ledger).has_failed());
        let evicted = load.cache.stats().counts.segments_evicted;
        tally.evicted += evicted;
        self.has_evicted |= evicted > 0;
        Ok(())
    }
}

/// Clears, sets a few keys, and so on until something fails or it is stopped.
async fn clear_and_set(load: &Load, dice: &mut Dice) -> u64 {
    let mut done = 0;
    while !load.stop.load(Ordering::Relaxed) {
        let mut went_well = load.clear().await;
        for n in 0..3 {
            went_well = went_well && load.set(n, Durability::Synced, dice).await;
        }
        done += 4;
        if !went_well {
            break;
        }
    }
    done
}
