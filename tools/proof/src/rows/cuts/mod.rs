//! Row 5: real power cuts (P1, P2, P4).
//!
//! A case is a file system, a size and a seed: one store, which lives through all the cuts of the case. In each life it is
//! opened and every key judged; then writers work until, in the middle of it, the file system is shut down without writing
//! its journal: what was not synced is gone, as with the power. Some lives end so while the cache is being opened. The file
//! system is mounted again for the next life.

mod store;
mod tally;

use anyhow::{Context, Result};

use crate::crew::{self, Broken};
use crate::machine::{self, FileSystem, Need};
use crate::row::{Order, Outcome, Row, Slice};

use store::Store;
use tally::Tally;

const FILE_SYSTEMS: [FileSystem; 2] = [FileSystem::Ext4, FileSystem::Xfs];
/// Stores on each file system, that share its cuts: without eviction, and with.
const STORES: u64 = 2;

/// The row.
#[derive(Debug)]
pub struct Cuts;

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    file_system: FileSystem,
    is_tight: bool,
    seed: u64,
}

impl Kind {
    fn all(seed: u64) -> Vec<Self> {
        let pairs = FILE_SYSTEMS.into_iter().flat_map(|fs| [(fs, false), (fs, true)]);
        pairs.map(|(file_system, is_tight)| Self { file_system, is_tight, seed }).collect()
    }

    fn name(self) -> String {
        let size = if self.is_tight { "tight" } else { "roomy" };
        format!("{} {size} {}", self.file_system.name(), self.seed)
    }

    fn named(name: &str) -> Result<Self> {
        let words = "a case is a file system, a size and a seed: `ext4 tight 0`";
        let seed = name.rsplit(' ').next().and_then(|seed| seed.parse().ok()).context(words)?;
        Self::all(seed).into_iter().find(|kind| kind.name() == name).context(words)
    }
}

fn cuts(slice: Slice) -> u64 {
    match slice {
        Slice::Ci => 10,
        Slice::Full => 500,
    }
}

impl Row for Cuts {
    fn number(&self) -> u32 {
        5
    }

    fn what(&self) -> &'static str {
        "power cuts"
    }

    fn target(&self, slice: Slice) -> String {
        format!("{} cuts each on ext4 and xfs, 0 wrong, 0 lost", cuts(slice))
    }

    fn canary(&self) -> &'static str {
        "the backend says that it has synced, and has not"
    }

    fn run(&self, order: &Order) -> Result<Outcome> {
        let mounts = FILE_SYSTEMS.map(Need::Mounted);
        if let Some(why) = machine::missing(&[mounts[0], mounts[1], Need::Ring, Need::Shutdown]) {
            return Ok(Outcome::skipped(why));
        }
        let kinds = match &order.case {
            Some(case) => vec![Kind::named(case)?],
            None => Kind::all(order.seed),
        };
        let wanted = cuts(order.slice);
        let run = |n: u64, tally: &mut Tally| -> Result<(), Broken> {
            let survived = Store::new(kinds[n as usize], order)
                .and_then(|store| store.survive(wanted.div_ceil(STORES), tally))
                .unwrap_or_else(|error| Err(format!("could not be carried out: {error:#}")));
            survived.map_err(|what| (what, String::new()))
        };
        let name = |n: u64| kinds[n as usize].name();
        let begun = std::time::Instant::now();
        let haul = crew::share(order.threads, kinds.len() as u64, name, run, |_| false);
        let mut all = Tally::default();
        haul.tallies.iter().for_each(|tally| all.add(tally));
        let rate = (all.ext4 + all.xfs) as f64 / begun.elapsed().as_secs_f64();
        let figure = format!(
            "{} ext4 and {} xfs cuts, {} stores wrong or lost, {} panics; {rate:.0} cuts/s",
            all.ext4, all.xfs, haul.failed, haul.panics
        );
        let is_reached = all.ext4 >= wanted && all.xfs >= wanted || order.case.is_some();
        Ok(Outcome::judged(figure, all.named(), haul.failures, is_reached))
    }
}
