//! Many entries: how quickly they are back after a restart, and what each costs.
//!
//! "Every entry answers" is taken at its word as far as time allows: `open` has returned, the index has every entry, and
//! a first get has answered from the disk; 1,000 further ones, spread over all, must answer as well, after the watch has
//! been read.

use std::path::Path;

use anyhow::{Result, ensure};
use esker::BackendKind;
use tokio::runtime::Runtime;

use super::Figures;
use super::probe::probe;
use crate::bench::load::Entries;
use crate::bench::phases::fill;
use crate::machine;
use crate::store::{Plan, Store};

const MILLION: u64 = 1_000_000;

/// Keys of which two share all that the index keeps of a digest: the newer one stands, the older is forgotten. Of ten
/// million, 0.18 pairs on average; so many are not met in the life of this check.
const MOST_THAT_MEET: u64 = 4;

/// Entries a second, and how many there are then.
fn fill_and_close(runtime: &Runtime, plan: &Plan, entries: Entries) -> Result<(f64, u64)> {
    runtime.block_on(async {
        let store = Store::open(plan, None).await?;
        let load = fill(&store, entries, 32).await?;
        let kept = store.figures()?.entries;
        ensure!(kept + MOST_THAT_MEET >= entries.count, "{kept} of {} entries are there", entries.count);
        store.close().await?;
        Ok((load.ops as f64 / load.wall.as_secs_f64(), kept))
    })
}

/// 1 million entries of 4 KiB, or 10 million of 100 bytes: cold restart.
///
/// # Errors
/// If the cache fails, or an entry is missing.
pub fn check_restart(runtime: &Runtime, dir: &Path, backend: BackendKind, tiny: bool, shrink: u64) -> Result<Figures> {
    let (entries, target_ms) = if tiny {
        (Entries { count: 10 * MILLION / shrink, len_bytes: 100 }, 3000.0)
    } else {
        (Entries { count: MILLION / shrink, len_bytes: 4096 }, 400.0)
    };
    let plan = Plan::esker(dir, 8 << 30, backend);
    let mut figures = Figures::default();
    figures.tell("entries", entries.count as f64);
    let (rate, kept) = fill_and_close(runtime, &plan, entries)?;
    figures.tell("fill, entries/s", rate);
    machine::drop_page_cache(&plan.dir)?;
    let answer = probe(&plan, entries, kept)?;
    figures.tell("open, ms", answer.open_ms);
    figures.at_most("open until an entry answered, ms", answer.first_answer_ms, target_ms);
    figures.tell("and 1,000 cold gets in a row, ms", answer.samples_ms);
    Ok(figures)
}

/// Memory and disk an entry, at 1 million and at 10 million entries of 100 bytes.
///
/// # Errors
/// If the cache fails, or an entry is missing.
pub fn check_tiny(runtime: &Runtime, dir: &Path, backend: BackendKind, shrink: u64) -> Result<Figures> {
    let mut figures = Figures::default();
    for (millions, index_limit) in [(1, 24.0), (10, 20.0)] {
        let entries = Entries { count: millions * MILLION / shrink, len_bytes: 100 };
        let plan = Plan::esker(dir.join(millions.to_string()), 8 << 30, backend);
        let (rate, kept) = fill_and_close(runtime, &plan, entries)?;
        let answer = probe(&plan, entries, kept)?;
        let each = |bytes: u64| bytes as f64 / entries.count as f64;
        figures.tell(&format!("{} entries: fill, entries/s", entries.count), rate);
        figures.at_most("  index, bytes an entry", each(answer.figures.index_bytes), index_limit);
        figures.tell("  open, ms", answer.open_ms);
        let beyond = answer.resident_bytes.saturating_sub(answer.figures.index_bytes) as f64 / 1e6;
        if millions == 1 {
            // Whole files of 64 MiB are counted, and three of them are more than a million entries need.
            figures.tell("  disk, bytes an entry", each(answer.figures.used_bytes));
            figures.at_most("  resident beyond the index, MB", beyond, 100.0);
        } else {
            figures.at_most("  disk, bytes an entry", each(answer.figures.used_bytes), 190.0);
            figures.tell("  resident beyond the index, MB", beyond);
        }
        std::fs::remove_dir_all(&plan.dir)?;
    }
    Ok(figures)
}
