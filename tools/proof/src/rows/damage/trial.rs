//! One case: a damaged copy is looked into, opened, asked, worked with, and opened again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use esker::backend::sim::Sim;
use esker::inspect::Inspector;
use esker::{DiskCache, Durability, SetOptions};

use super::directory::{DIR, Directory, open};
use super::expect::Expected;
use crate::common::{key, read_value, value};

/// Keys that were never stored, and one that will be.
const NEVER: u32 = 999;
const FRESH: u32 = 998;
/// A version newer than all.
const LATER: u32 = 1 << 30;
/// So large that nothing is evicted while it is judged.
const SEGMENTS: u64 = 16;

/// What a case came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Came {
    /// Keys that were served before and are not now.
    pub lost: u64,
    /// Keys that show an older version, where that is not promised yet.
    pub uncovered: u64,
    /// The directory was refused, and left alone.
    pub refused: u64,
}

type Answers = BTreeMap<u32, Option<u32>>;

/// Judges a directory with these files changed.
///
/// # Errors
/// What did not hold.
pub async fn judge(directory: &Directory, changed: &[(usize, Vec<u8>)]) -> Result<Came, String> {
    let mut sim = directory.sim.fork(1).reopen();
    for (file, bytes) in changed {
        sim.write_file(path(directory, *file), bytes.clone()).map_err(|e| e.to_string())?;
    }
    let expected = Expected::of(directory, changed);
    if expected.is_refused {
        return refused(directory, changed, &sim).await;
    }
    let entries = inspect(directory, &expected, &sim).await?;
    let cache = open(&sim, directory.now, SEGMENTS).await.map_err(|e| format!("cannot open: {e}"))?;
    if cache.stats().entries != entries {
        return Err(format!("the inspector counts {entries} entries, the cache {}", cache.stats().entries));
    }
    let answers = ask(&cache, directory).await?;
    let came = weigh(directory, &expected, &cache, &answers)?;
    let after = work(&cache, &answers).await?;
    let again = ask(&cache, directory).await?;
    same(&after, &again, "after some work")?;
    sim = sim.reopen();
    drop(cache);
    let cache = open(&sim, directory.now, SEGMENTS).await.map_err(|e| format!("cannot open again: {e}"))?;
    let again = ask(&cache, directory).await?;
    same(&after, &again, "when it is opened again")?;
    sim.crash_process();
    Ok(came)
}

fn path(directory: &Directory, file: usize) -> std::path::PathBuf {
    Path::new(DIR).join(&directory.files[file].0)
}

/// The manifest is damaged: nobody opens it, and nobody changes it.
async fn refused(directory: &Directory, changed: &[(usize, Vec<u8>)], sim: &Sim) -> Result<Came, String> {
    match open(sim, directory.now, SEGMENTS).await {
        Ok(_) => return Err("it opens with a damaged manifest".into()),
        Err(esker::Error::NotACache { .. } | esker::Error::NewerFormat { .. }) => {}
        Err(other) => return Err(format!("it is refused by another name: {other}")),
    }
    let looked = Inspector::new(Arc::new(sim.clone()), DIR, directory.now).verify(&mut |_| {}).await;
    match looked {
        Ok(report) if report.is_clean => return Err("verify finds nothing".into()),
        Ok(_) | Err(esker::Error::NewerFormat { .. }) => {}
        Err(other) => return Err(format!("verify fails: {other}")),
    }
    for (file, (_, old)) in directory.files.iter().enumerate() {
        let expected = changed.iter().find(|(n, _)| *n == file).map_or(old, |(_, new)| new);
        if sim.read_file(path(directory, file)).map_err(|e| e.to_string())? != *expected {
            return Err(format!("{} was changed by the refusal", directory.files[file].0));
        }
    }
    Ok(Came { refused: 1, ..Came::default() })
}

/// What is said by looking: damage where something is lost. How many entries there shall be.
async fn inspect(directory: &Directory, expected: &Expected, sim: &Sim) -> Result<u64, String> {
    let inspector = Inspector::new(Arc::new(sim.clone()), DIR, directory.now);
    let report = inspector.verify(&mut |_| {}).await.map_err(|e| format!("verify: {e}"))?;
    if report.is_clean && expected.loses_something_served(directory) {
        return Err(format!("verify finds no damage, and {:?} are lost", expected.lost));
    }
    Ok(inspector.summary().await.map_err(|e| format!("summary: {e}"))?.entries)
}

async fn ask(cache: &DiskCache, directory: &Directory) -> Result<Answers, String> {
    let mut answers = Answers::new();
    for n in directory.truth.keys().copied().chain([NEVER, FRESH]) {
        let hit = cache.get(key(n)).await.map_err(|e| format!("get {n}: {e}"))?;
        let shown = match hit.map(|hit| read_value(hit.value())) {
            None => None,
            Some(Some((whose, version))) if whose == n => Some(version),
            Some(other) => return Err(format!("WRONG: key {n} shows bytes that are {other:?}")),
        };
        answers.insert(n, shown);
    }
    Ok(answers)
}

/// Compares the answers with what may be.
fn weigh(directory: &Directory, expected: &Expected, cache: &DiskCache, answers: &Answers) -> Result<Came, String> {
    let (report, stats) = (cache.recovery_report(), cache.stats());
    let told = || format!("{report:?}, {expected:?}");
    let mut came = Came::default();
    let mut is_silent = false;
    for (&n, &shown) in answers {
        if n == NEVER || n == FRESH {
            if shown.is_some() {
                return Err(format!("WRONG: key {n} was never stored, and shows {shown:?}"));
            }
            continue;
        }
        let may = expected.answer(directory, n);
        match shown {
            Some(_) if shown == may.newest => {}
            Some(_) if shown == may.older => came.uncovered += 1,
            Some(version) => return Err(format!("WRONG: key {n} shows {version}, may show {may:?}: {}", told())),
            None if may.must_hit => return Err(format!("LOST: key {n} is not touched ({may:?}): {}", told())),
            None if directory.served.contains(&n) => {
                came.lost += 1;
                is_silent |= may.older.is_none() && !expected.dropped.iter().any(|_| true);
            }
            None => {}
        }
    }
    let is_told =
        report.dropped_damaged + report.dropped_doubtful + report.torn_bytes + stats.counts.misses_damaged > 0;
    if is_silent && !is_told {
        return Err(format!("SILENT: something is lost and no counter says so: {}", told()));
    }
    Ok(came)
}

/// Writes, overwrites and deletes. What is to be answered from now on.
async fn work(cache: &DiskCache, answers: &Answers) -> Result<Answers, String> {
    let mut after = answers.clone();
    let mut shown = answers.iter().filter(|(_, shown)| shown.is_some()).map(|(n, _)| *n);
    let mut missed = answers.iter().filter(|(n, shown)| shown.is_none() && **n < FRESH).map(|(n, _)| *n);
    let (overwritten, deleted, revived) = (shown.next(), shown.next_back(), missed.next());
    for n in [Some(FRESH), overwritten, revived].into_iter().flatten() {
        let options = SetOptions::new().durability(Durability::Synced);
        let outcome = cache.set_with(key(n), value(n, LATER, 50), options).await.map_err(|e| format!("set: {e}"))?;
        if !outcome.is_stored() {
            return Err(format!("set {n}: {outcome:?}"));
        }
        after.insert(n, Some(LATER));
    }
    if let Some(n) = deleted {
        cache.delete(key(n)).await.map_err(|e| format!("delete: {e}"))?;
        after.insert(n, None);
    }
    Ok(after)
}

fn same(expected: &Answers, found: &Answers, when: &str) -> Result<(), String> {
    for (n, shown) in expected {
        if found[n] != *shown {
            return Err(format!("WRONG: key {n} shows {:?} {when}, and should show {shown:?}", found[n]));
        }
    }
    Ok(())
}
