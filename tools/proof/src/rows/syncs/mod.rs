//! Row 10: a sync fails on a real file system (P2, P3, P4).
//!
//! A case is a file system, a fault, and the number of the sync that meets it, in a script of sets, overwrites, deletes
//! and a clear. The block layer below the file system fails while that sync is under way: the flush of the device, or the
//! first write that the sync brings about, or every write from then on. The script goes on. Then the page cache is
//! dropped by mounting again, and every key is judged by what was acknowledged, before and after. Nothing may be written
//! to a file, nor may it be synced, behind its failed sync; and where the file system lives on, so must the cache.

mod fault;
mod saboteur;
mod script;

use anyhow::{Context, Result};

use crate::crew::{self, Broken};
use crate::machine::{self, FileSystem, Need};
use crate::row::{Order, Outcome, Row, Slice};

use fault::Fault;

const FILE_SYSTEMS: [FileSystem; 3] = [FileSystem::Ext4, FileSystem::Xfs, FileSystem::Btrfs];
/// The cases of the small slice.
const FEW: [(FileSystem, Fault, u64); 5] = [
    (FileSystem::Ext4, Fault::Write, 9),
    (FileSystem::Ext4, Fault::Flush, 20),
    (FileSystem::Xfs, Fault::Write, 14),
    (FileSystem::Xfs, Fault::Dead, 25),
    (FileSystem::Btrfs, Fault::Write, 11),
];

/// The row.
#[derive(Debug)]
pub struct Syncs;

/// A case.
#[derive(Debug, Clone, Copy)]
struct Kind {
    file_system: FileSystem,
    fault: Fault,
    nth: u64,
    seed: u64,
}

impl Kind {
    fn name(self) -> String {
        format!("{} {} {}", self.file_system.name(), self.fault.name(), self.nth)
    }

    fn named(name: &str, seed: u64) -> Result<Self> {
        let words = "a case is a file system, a fault and the number of a sync: `ext4 flush 7`";
        let mut parts = name.split(' ');
        let mut part = || parts.next().context(words);
        let file_system = FileSystem::named(part()?).context(words)?;
        let fault = part()?;
        let fault = Fault::ALL.into_iter().find(|f| f.name() == fault).context(words)?;
        Ok(Self { file_system, fault, nth: part()?.parse().context(words)?, seed })
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    runs: u64,
    failed_syncs: u64,
    went_on: u64,
    durable: u64,
}

impl Row for Syncs {
    fn number(&self) -> u32 {
        10
    }

    fn what(&self) -> &'static str {
        "syncs that fail"
    }

    fn target(&self, slice: Slice) -> String {
        let which = match slice {
            Slice::Ci => "5 syncs",
            Slice::Full => "each sync of a script on ext4, xfs and btrfs",
        };
        format!("{which}: 0 wrong, 0 lost, nothing behind a failed sync")
    }

    fn canary(&self) -> &'static str {
        "a failed sync is asked for again, and believed"
    }

    fn run(&self, order: &Order) -> Result<Outcome> {
        let mounts = FILE_SYSTEMS.map(Need::Mounted);
        if let Some(why) = machine::missing(&[mounts[0], mounts[1], mounts[2], Need::Daemon, Need::Ring]) {
            return Ok(Outcome::skipped(why));
        }
        let kinds = kinds(order)?;
        let run = |n: u64, tally: &mut Tally| -> Result<(), Broken> {
            let ended = script::run(kinds[n as usize], order);
            let ended = ended.map_err(|e| (format!("could not be carried out: {e:#}"), String::new()))?;
            tally.runs += 1;
            tally.failed_syncs += u64::from(ended.has_failed);
            tally.went_on += u64::from(ended.has_failed && ended.went_on);
            tally.durable += ended.durable;
            ended.broken.map_or(Ok(()), |what| Err((what, String::new())))
        };
        let begun = std::time::Instant::now();
        let name = |n: u64| kinds[n as usize].name();
        let haul = crew::share(order.threads, kinds.len() as u64, name, run, |_| false);
        let mut all = Tally::default();
        for tally in &haul.tallies {
            all.runs += tally.runs;
            all.failed_syncs += tally.failed_syncs;
            all.went_on += tally.went_on;
            all.durable += tally.durable;
        }
        let rate = all.runs as f64 / begun.elapsed().as_secs_f64();
        let figure = format!(
            "{} syncs struck, {} failed, {} file systems lived on, {} cases wrong or lost, {} panics; {rate:.1} cases/s",
            all.runs, all.failed_syncs, all.went_on, haul.failed, haul.panics
        );
        let counts = [
            ("runs", all.runs),
            ("failed syncs", all.failed_syncs),
            ("file systems that lived on", all.went_on),
            ("durable deeds", all.durable),
        ];
        let counts = counts.map(|(name, count)| (name.to_owned(), count)).to_vec();
        // A sync has at times nothing to bring to the device; most have.
        let is_reached = all.runs == kinds.len() as u64 && all.failed_syncs * 2 >= all.runs || order.case.is_some();
        Ok(Outcome::judged(figure, counts, haul.failures, is_reached))
    }
}

/// The cases: all of them are as many as a run asks for in which nothing fails.
fn kinds(order: &Order) -> Result<Vec<Kind>> {
    let seed = order.seed;
    if let Some(case) = &order.case {
        return Ok(vec![Kind::named(case, seed)?]);
    }
    let mut kinds = Vec::new();
    if order.slice == Slice::Ci {
        kinds.extend(FEW.map(|(file_system, fault, nth)| Kind { file_system, fault, nth, seed }));
        return Ok(kinds);
    }
    for (file_system, fault) in FILE_SYSTEMS.into_iter().flat_map(|fs| Fault::ALL.map(|fault| (fs, fault))) {
        let kind = |nth| Kind { file_system, fault, nth, seed };
        let calm = script::run(kind(0), &Order { canary: false, ..order.clone() })?;
        anyhow::ensure!(calm.broken.is_none(), "with no fault: {:?}", calm.broken);
        kinds.extend((1..=calm.syncs).map(kind));
    }
    Ok(kinds)
}
