//! A chain of kills of a process that writes through a cache to an origin, which lives on.

use std::sync::Arc;

use esker::{BackendKind, DiskCache};
use tokio::runtime::{Builder, Runtime};

use super::chain::{self, Tally, answers_of, is_roomy, kill_one};
use crate::common::Dice;
use crate::crew::Broken;
use crate::row::Order;
use crate::writer::ledger::{Judged, Ledger};
use crate::writer::origin::{Fronted, Mode};
use crate::writer::{self, Errand};

/// Of write-back, by the number of the chain: at once, now and then, and as good as never.
const FLUSH_INTERVALS_MS: [u64; 3] = [1, 20, 60_000];

/// Runs a chain. `is_back`: the origin gets it later; else first.
pub fn run(
    order: &Order,
    backend: BackendKind,
    number: u64,
    is_back: bool,
    kills: u64,
    tally: &mut Tally,
) -> Result<(), Broken> {
    let seed = order.seed.wrapping_mul(1_000_003) ^ number << 8 ^ u64::from(is_back);
    let mode = match is_back {
        true => Mode::Back { flush_interval_ms: FLUSH_INTERVALS_MS[(number / 2 % 3) as usize] },
        false => Mode::Through,
    };
    let mut diary = format!("{} chain, {mode:?}, seed {seed}\n", if is_roomy(number) { "roomy" } else { "tight" });
    let plain = chain::errand(order, backend, number, seed);
    let name = format!("{}-{}", if is_back { "back" } else { "through" }, plain.dir.display());
    let dir = order.dir.join(name.replace('/', "-"));
    let origin = Fronted { dir: dir.join("origin"), mode, takes_late: order.canary };
    // Whatever is evicted, the origin has it.
    let errand =
        Errand { dir: dir.join("cache"), origin: Some(origin.clone()), is_roomy: true, tells_early: false, ..plain };
    lives(&errand, &origin, seed, kills, tally, &mut diary).map_err(|what| (what, diary))?;
    std::fs::remove_dir_all(dir).map_err(|e| (format!("cannot remove the directory: {e}"), String::new()))
}

fn lives(
    errand: &Errand,
    origin: &Fronted,
    seed: u64,
    kills: u64,
    tally: &mut Tally,
    diary: &mut String,
) -> Result<(), String> {
    std::fs::create_dir_all(&origin.dir).map_err(|e| format!("cannot make a directory: {e}"))?;
    let (mut dice, mut ledger) = (Dice::new(seed), Ledger::new(errand));
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|e| e.to_string())?;
    for life in 0..kills {
        let errand = Errand { first: ledger.next(), ..errand.clone() };
        let said = kill_one(&errand, &mut dice, tally, diary).map_err(|e| format!("life {life}: {e:#}"))?;
        tally.kills += 1;
        tally.fronted += 1;
        tally.acknowledged += said.len() as u64;
        ledger.killed(&said)?;
        if let Some(what) = origin.went_back() {
            return Err(format!("life {life}: the origin got an older value after a newer one: {what}"));
        }
        let (asks_first, is_closed) = (dice.one_in(2), dice.one_in(2));
        let reopened = reopen(&runtime, &errand, origin, &mut ledger, asks_first, tally);
        let cache = reopened.map_err(|e| format!("life {life}: {e}"))?;
        *diary += if is_closed { "closed\n" } else { "dropped\n" };
        if is_closed {
            runtime.block_on(cache.close()).map_err(|e| format!("life {life}: close: {e}"))?;
        }
    }
    Ok(())
}

/// Opens the directory, has everything brought to the origin, and judges what that has of every key, and what the cache
/// shows. `asks_first`: what is shown before the flush is judged too.
fn reopen(
    runtime: &Runtime,
    errand: &Errand,
    origin: &Fronted,
    ledger: &mut Ledger,
    asks_first: bool,
    tally: &mut Tally,
) -> Result<DiskCache, String> {
    let cache = runtime.block_on(writer::open(errand)).map_err(|e| format!("reopen: {e:#}"))?;
    tally.dirty += cache.stats().origin_dirty_entries;
    if origin.mode == Mode::Through {
        compare(runtime, &cache, origin, ledger, tally)?;
    }
    // What the origin should take is taken in time here, or the canary would be at work in this process too.
    let honest = Fronted { takes_late: false, ..origin.clone() };
    let over = runtime.block_on(honest.over(&cache)).map_err(|e| format!("a handle: {e}"))?;
    if asks_first {
        let over = over.clone();
        let ask = Arc::new(move |k| {
            let over = over.clone();
            async move { writer::version_over(&over, k).await }
        });
        for (key, answer) in runtime.block_on(answers_of(ledger, ask)) {
            judge(ledger, key, answer, tally).map_err(|what| format!("shown before the flush: {what}"))?;
        }
    }
    runtime.block_on(over.flush()).map_err(|e| format!("flush: {e}"))?;
    for key in ledger.all_keys() {
        judge(ledger, key, origin.version(key), tally).map_err(|what| format!("at the origin: {what}"))?;
    }
    compare(runtime, &cache, origin, ledger, tally)?;
    let stats = cache.stats();
    if stats.origin_dirty_entries + stats.counts.origin_lost > 0 {
        return Err(format!("after a flush something is dirty, or was lost: {stats:?}"));
    }
    Ok(cache)
}

fn judge(ledger: &mut Ledger, key: u32, answer: Result<Option<u32>, String>, tally: &mut Tally) -> Result<(), String> {
    tally.judged += 1;
    match ledger.judge(key, answer) {
        Judged::Hit => tally.hits += 1,
        Judged::Gone | Judged::Evicted => {}
        Judged::Wrong(what) => {
            tally.wrong += 1;
            return Err(what);
        }
        Judged::Lost(what) => {
            tally.lost += 1;
            return Err(what);
        }
    }
    Ok(())
}

/// What the cache itself has of a key is what the origin has.
fn compare(
    runtime: &Runtime,
    cache: &DiskCache,
    origin: &Fronted,
    ledger: &Ledger,
    tally: &mut Tally,
) -> Result<(), String> {
    for (key, answer) in runtime.block_on(chain::answers(cache, ledger)) {
        let (shown, has) = (answer?, origin.version(key)?);
        if shown.is_some() && shown != has {
            tally.wrong += 1;
            return Err(format!("key {key}: the cache shows {shown:?}, the origin has {has:?}"));
        }
    }
    Ok(())
}
