//! A chain of kills on one directory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use esker::{BackendKind, DiskCache};
use tokio::runtime::{Builder, Runtime};

use crate::child::Spawned;
use crate::common::Dice;
use crate::crew::Broken;
use crate::row::Order;
use crate::writer::ledger::{Judged, Ledger};
use crate::writer::script::Script;
use crate::writer::{self, Errand};

/// A child is killed so many milliseconds after its start at the most, or so many after it acknowledged as many deeds as
/// the dice say: by deeds, since a busy machine would be killed with nothing done.
const MOST_START_MS: u64 = 10;
const MOST_REST_MS: u64 = 5;
const MOST_DEEDS: u64 = 96;
/// Not waited for longer: a child may have written all that it is to write.
const PATIENCE: Duration = Duration::from_millis(500);

/// Gets at a time when all keys are judged.
const READERS: usize = 8;

/// What was counted.
#[derive(Debug, Default)]
pub struct Tally {
    /// Processes killed.
    pub kills: u64,
    /// Of these, while they started or recovered.
    pub kills_at_start: u64,
    /// Of these, of a cache in front of an origin.
    pub fronted: u64,
    /// Values that a killed process had not brought to its origin.
    pub dirty: u64,
    /// Deeds acknowledged as `Written`.
    pub acknowledged: u64,
    /// Keys judged after a reopen.
    pub judged: u64,
    /// Keys that were there.
    pub hits: u64,
    /// Keys that eviction had dropped.
    pub evicted: u64,
    /// Keys that showed what they must not.
    pub wrong: u64,
    /// Keys that were acknowledged and not there.
    pub lost: u64,
    /// The slowest reopen.
    pub slowest_open_ms: u64,
}

impl Tally {
    /// Adds what another thread counted.
    pub fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.kills_at_start += other.kills_at_start;
        self.fronted += other.fronted;
        self.dirty += other.dirty;
        self.acknowledged += other.acknowledged;
        self.judged += other.judged;
        self.hits += other.hits;
        self.evicted += other.evicted;
        self.wrong += other.wrong;
        self.lost += other.lost;
        self.slowest_open_ms = self.slowest_open_ms.max(other.slowest_open_ms);
    }

    /// The counts by name.
    pub fn named(&self) -> Vec<(String, u64)> {
        let counts = [
            ("kills", self.kills),
            ("kills while starting", self.kills_at_start),
            ("kills before an origin", self.fronted),
            ("values due to the origin", self.dirty),
            ("acknowledged", self.acknowledged),
            ("keys judged", self.judged),
            ("hits", self.hits),
            ("evicted", self.evicted),
            ("wrong", self.wrong),
            ("lost", self.lost),
            ("slowest reopen, ms", self.slowest_open_ms),
        ];
        counts.map(|(name, count)| (name.to_owned(), count)).to_vec()
    }
}

/// Runs a chain.
pub fn run(order: &Order, backend: BackendKind, number: u64, kills: u64, tally: &mut Tally) -> Result<(), Broken> {
    let seed = order.seed.wrapping_mul(1_000_003) ^ number;
    let mut diary = format!("{} chain, seed {seed}\n", if is_roomy(number) { "roomy" } else { "tight" });
    lives(order, backend, number, seed, kills, tally, &mut diary).map_err(|what| (what, diary))
}

pub(super) fn is_roomy(number: u64) -> bool {
    number.is_multiple_of(2)
}

pub(super) fn errand(order: &Order, backend: BackendKind, number: u64, seed: u64) -> Errand {
    let is_roomy = is_roomy(number);
    let (segments, segment_len_bytes) = if is_roomy { (256, 1 << 20) } else { (16, 64 << 10) };
    Errand {
        dir: order.dir.join(format!("kill-{backend}-{number}")),
        config: Errand::config(backend, segments, segment_len_bytes),
        script: Script { seed, keys: 48, batch: 1, min_value_bytes: 12, max_value_bytes: 24_000, deletes_one_in: 16 },
        first: Vec::new(),
        // In all lives of a chain less than a roomy cache holds, segments that a kill left half empty counted.
        most_bytes: 1 << 20,
        is_roomy,
        group: None,
        origin: None,
        tells_early: order.canary,
    }
}

fn lives(
    order: &Order,
    backend: BackendKind,
    number: u64,
    seed: u64,
    kills: u64,
    tally: &mut Tally,
    diary: &mut String,
) -> Result<(), String> {
    let errand = errand(order, backend, number, seed);
    let (mut dice, mut ledger) = (Dice::new(seed), Ledger::new(&errand));
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|e| e.to_string())?;
    for life in 0..kills {
        let errand = Errand { first: ledger.next(), ..errand.clone() };
        let said = kill_one(&errand, &mut dice, tally, diary).map_err(|e| format!("life {life}: {e:#}"))?;
        tally.kills += 1;
        tally.acknowledged += said.len() as u64;
        ledger.killed(&said)?;
        let is_closed = dice.one_in(2);
        reopen(&runtime, &errand, &mut ledger, is_closed, tally, diary).map_err(|e| format!("life {life}: {e}"))?;
    }
    std::fs::remove_dir_all(&errand.dir).map_err(|e| format!("cannot remove the directory: {e}"))
}

/// Starts a child, kills it at a drawn moment, and returns what it said.
pub(super) fn kill_one(
    errand: &Errand,
    dice: &mut Dice,
    tally: &mut Tally,
    diary: &mut String,
) -> anyhow::Result<Vec<u64>> {
    let mut child = Spawned::start(writer::COMMAND, errand)?;
    let (is_early, draw) = (dice.one_in(6), dice.next() >> 16);
    let most_ms = if is_early { MOST_START_MS } else { MOST_REST_MS };
    let deeds = dice.below(MOST_DEEDS) as usize;
    if is_early {
        tally.kills_at_start += 1;
    } else {
        child.wait_ready()?;
        child.hear(deeds, PATIENCE)?;
    }
    let delay = Duration::from_micros(draw % (most_ms * 1000));
    std::thread::sleep(delay);
    let said = child.kill()?;
    let since = if is_early { "its start".into() } else { format!("{deeds} deeds") };
    *diary += &format!("killed {delay:?} after {since}: {} acknowledged\n", said.len());
    Ok(said)
}

/// Opens the directory and judges every key.
fn reopen(
    runtime: &Runtime,
    errand: &Errand,
    ledger: &mut Ledger,
    is_closed: bool,
    tally: &mut Tally,
    diary: &mut String,
) -> Result<(), String> {
    let began = Instant::now();
    let opening = DiskCache::builder(&errand.dir).config(errand.config.clone()).open();
    let cache = runtime.block_on(opening).map_err(|e| format!("reopen: {e}"))?;
    let opened = began.elapsed();
    tally.slowest_open_ms = tally.slowest_open_ms.max(opened.as_millis() as u64);
    let report = cache.recovery_report();
    *diary += &format!("opened in {opened:?}, {} kept, {} torn bytes\n", report.entries_kept, report.torn_bytes);
    let mut broken = None;
    for (key, answer) in runtime.block_on(answers(&cache, ledger)) {
        tally.judged += 1;
        match ledger.judge(key, answer) {
            Judged::Hit => tally.hits += 1,
            Judged::Gone => {}
            Judged::Evicted => tally.evicted += 1,
            Judged::Wrong(what) => {
                tally.wrong += 1;
                broken = broken.or(Some(what));
            }
            Judged::Lost(what) => {
                tally.lost += 1;
                broken = broken.or(Some(what));
            }
        }
    }
    *diary += if is_closed { "closed\n" } else { "dropped\n" };
    if is_closed {
        runtime.block_on(cache.close()).map_err(|e| format!("close: {e}"))?;
    }
    broken.map_or(Ok(()), Err)
}

/// What every key shows.
pub async fn answers(cache: &DiskCache, ledger: &Ledger) -> Vec<(u32, Result<Option<u32>, String>)> {
    let cache = cache.clone();
    let ask = move |key| {
        let cache = cache.clone();
        async move { writer::version(&cache, key).await }
    };
    answers_of(ledger, Arc::new(ask)).await
}

/// What is answered of every key.
pub(super) async fn answers_of<F>(
    ledger: &Ledger,
    ask: Arc<impl Fn(u32) -> F + Send + Sync + 'static>,
) -> Vec<(u32, Result<Option<u32>, String>)>
where
    F: Future<Output = Result<Option<u32>, String>> + Send,
{
    let keys: Vec<_> = ledger.all_keys().collect();
    let readers = keys.chunks(keys.len().div_ceil(READERS)).map(|keys| {
        let (ask, keys) = (ask.clone(), keys.to_vec());
        tokio::spawn(async move {
            let mut answers = Vec::new();
            for key in keys {
                answers.push((key, ask(key).await));
            }
            answers
        })
    });
    let mut all = Vec::new();
    for reader in readers.collect::<Vec<_>>() {
        match reader.await {
            Ok(answers) => all.extend(answers),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    all
}
