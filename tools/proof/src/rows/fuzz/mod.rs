//! Row 14: hostile bytes (P1, P7).
//!
//! A *target* is a function over bytes that fails by panic: a decoder, a scan, a whole directory, looked at and opened.
//! It asks for more than that nothing breaks: what decodes encodes to the same bytes, records do not overlap, a hit is
//! a record whose checksums are right, output steers no terminal. Inputs name structures whose checksums are then made
//! right, so that what is behind them is reached.
//!
//! The slice for CI replays the corpus in `fuzz/corpus`, and seeded mutations of it, in this process. The full run has
//! libFuzzer on each target for ten minutes besides (`scripts/fuzz.sh`). Either way an input may take 64 MiB.

#[path = "../../../../esker/tests/common/bomb.rs"]
mod bomb;
mod canary;
mod config;
mod corpus;
mod directory;
mod footer;
mod forge;
mod forged;
mod golden;
mod input;
mod mutate;
mod record;
mod replay;
mod reports;
mod segment;
mod structures;
mod trace;
mod truth;

use std::future::Future;
use std::path::Path;

use anyhow::{Context, Result};

use crate::heap;
use crate::row::{Order, Outcome, Row, Slice};
use crate::script::Script;

/// What an input may take.
pub const MEMORY_BYTES: i64 = 64 << 20;

/// Something that takes hostile bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in the corpus.
    pub name: &'static str,
    /// Panics if something does not hold.
    body: fn(&[u8]),
    /// What to begin with.
    seeds: fn() -> Vec<Vec<u8>>,
    /// Mutations in a slice for CI.
    mutations: u64,
}

impl Target {
    /// The target of this name.
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.into_iter().chain([CANARY]).find(|target| target.name == name)
    }

    /// Takes `data`.
    ///
    /// # Panics
    /// If something does not hold, or more memory was taken than an input may.
    pub fn take(&self, data: &[u8]) {
        let before = heap::live_bytes();
        heap::forget_peak();
        (self.body)(data);
        let taken = heap::peak_bytes() - before;
        assert!(taken <= MEMORY_BYTES, "{taken} bytes of memory were taken");
    }
}

/// All of them.
pub const TARGETS: [Target; 7] = [
    Target { name: "record", body: record::body, seeds: record::seeds, mutations: 100_000 },
    Target { name: "structures", body: structures::body, seeds: structures::seeds, mutations: 100_000 },
    Target { name: "footer", body: footer::body, seeds: footer::seeds, mutations: 20_000 },
    Target { name: "config", body: config::body, seeds: config::seeds, mutations: 50_000 },
    Target { name: "trace", body: trace::body, seeds: trace::seeds, mutations: 3_000 },
    Target { name: "segment", body: segment::body, seeds: segment::seeds, mutations: 5_000 },
    Target { name: "directory", body: directory::body, seeds: directory::seeds, mutations: 2_000 },
];

const CANARY: Target = Target { name: "canary", body: canary::body, seeds: record::seeds, mutations: 20_000 };

/// libFuzzer.
const CAMPAIGN: Script =
    Script { number: 14, what: "fuzzing", ci: "", full: "", canary: "a decoder that trusts a length", name: "fuzz.sh" };

/// The row.
#[derive(Debug)]
pub struct Fuzz;

impl Row for Fuzz {
    fn number(&self) -> u32 {
        CAMPAIGN.number
    }

    fn what(&self) -> &'static str {
        CAMPAIGN.what
    }

    fn target(&self, slice: Slice) -> String {
        let replay = "corpus and seeded mutations of it, 0 failures, at most 64 MiB";
        match slice {
            Slice::Ci => replay.into(),
            Slice::Full => format!("{replay}; libFuzzer 10 minutes a target, 0 crashes"),
        }
    }

    fn canary(&self) -> &'static str {
        CAMPAIGN.canary
    }

    fn run(&self, order: &Order) -> Result<Outcome> {
        let replayed = replay::run(order, if order.canary { &[CANARY] } else { &TARGETS })?;
        if order.slice == Slice::Ci || order.case.is_some() || !replayed.failures.is_empty() {
            return Ok(replayed);
        }
        let mut outcome = CAMPAIGN.run(order)?;
        outcome.figure = format!("{}; {}", replayed.figure, outcome.figure);
        outcome.counts.splice(0..0, replayed.counts);
        Ok(outcome)
    }
}

/// Runs on this thread; time passes when nothing else is left to do.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without drivers").block_on(future)
}

/// Writes what each target begins with, one folder a target.
///
/// # Errors
/// The disk's.
#[expect(clippy::disallowed_methods, reason = "these are files for libFuzzer, not for a cache")]
pub fn write_seeds(dir: &Path) -> Result<()> {
    for target in TARGETS.into_iter().chain([CANARY]) {
        let folder = dir.join(target.name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for (n, seed) in (target.seeds)().into_iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{n}")), seed)?;
        }
    }
    Ok(())
}
