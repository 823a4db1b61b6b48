//! Every mutant meets the tests that reach it, the quickest first, until one fails.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Result;

use crate::crew::share;
use crate::list::Mutant;
use crate::suite::{Ending, Test};

/// What became of a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A test failed.
    Caught,
    /// A test did not end.
    Late,
    /// It does not compile.
    Unviable,
    /// Every test that reaches it passed.
    Survived,
    /// No test reaches it.
    Unreached,
}

/// Which test caught how many mutants of a file: it is asked first for the next one.
type Record = Mutex<HashMap<(String, usize), u32>>;

/// What becomes of these mutants, each on where its number is given.
pub fn hunt(mutants: &[Mutant], tests: &[Test], dir: &Path, threads: usize) -> Result<Vec<Fate>> {
    let record = Record::default();
    share(mutants, threads, |mutant| {
        let fate = meet(mutant, tests, |test| test.reaches.contains(&mutant.id), dir, &record)?;
        eprintln!("{fate:?}: {}", mutant.name);
        Ok(fate)
    })
    .into_iter()
    .collect()
}

/// What becomes of a mutant that is in the code by itself.
pub fn meet_all(mutant: &Mutant, tests: &[Test], dir: &Path) -> Result<Fate> {
    meet(mutant, tests, |_| true, dir, &Record::default())
}

fn meet(mutant: &Mutant, tests: &[Test], reaches: impl Fn(&Test) -> bool, dir: &Path, record: &Record) -> Result<Fate> {
    let mut those: Vec<usize> = (0..tests.len()).filter(|i| reaches(&tests[*i])).collect();
    if those.is_empty() {
        return Ok(Fate::Unreached);
    }
    let caught = |i: usize| {
        let record = record.lock().ok();
        record.and_then(|record| record.get(&(mutant.file.clone(), i)).copied()).unwrap_or(0)
    };
    those.sort_by_cached_key(|i| tests[*i].took / (1 + 2 * caught(*i)));
    let id = mutant.id.to_string();
    for i in those {
        let run = || tests[i].run(dir, "MUTANT", &id, tests[i].limit());
        let ending = run()?;
        // A test that failed by chance does not count. None is late by chance: the limit is wide.
        if ending == Ending::Passed || (ending == Ending::Failed && run()? == Ending::Passed) {
            continue;
        }
        if let Ok(mut record) = record.lock() {
            *record.entry((mutant.file.clone(), i)).or_default() += 1;
        }
        return Ok(if ending == Ending::Late { Fate::Late } else { Fate::Caught });
    }
    Ok(Fate::Survived)
}
