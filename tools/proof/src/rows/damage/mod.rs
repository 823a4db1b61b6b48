//! Row 3: damage (P1, P2, P7).
//!
//! Two small directories that the cache itself made are damaged in one place each time, looked into,
//! opened, asked for every key, written to, and opened again. A get gives the newest version or a miss; a record that the
//! damage does not touch is a hit, unless docs/durability.md says that it is forgotten; what is lost is counted.
//!
//! What is exhaustive, for each file of a directory, the manifest and free files included:
//! - every bit of every byte that is not zero, and of the 16 bytes before and behind it. Within longer zeros nothing was
//!   written and no checksum covers it: there one bit of every 64 bytes, each time another of the 128 of a unit of 16 bytes,
//!   by which a reader goes;
//! - every length that the file can be cut to, chosen in the same way;
//! - every sector of 512 bytes that is not zero: zeroed; replaced by each different sector that any file of the directory
//!   holds or held in an older life; exchanged with each other one. Sectors of zeros: replaced by what the same place of
//!   the file ever held, and exchanged with those of the file that are not.
//!
//! `--slice full` takes more directories, and of the fullest segment of the first of each shape turns over every bit, those
//! within long zeros too.

mod directory;
mod expect;
mod forge;
mod harm;
mod layout;
mod trial;

use std::cell::OnceCell;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;

use crate::crew::{self, Broken};
use crate::row::{Order, Outcome, Row, Slice};

use directory::{Directory, Shape};
use harm::{Donor, Harm, Kind};

/// Directories of each shape in the full slice.
const FULL_SEEDS: u64 = 4;

/// The row.
#[derive(Debug)]
pub struct Damage;

impl Row for Damage {
    fn number(&self) -> u32 {
        3
    }

    fn what(&self) -> &'static str {
        "damage"
    }

    fn target(&self, _: Slice) -> String {
        "all of it: 0 wrong, 0 panics, only touched records lost, later ones found".into()
    }

    fn canary(&self) -> &'static str {
        "the checksums of what is damaged are put right, salt and all"
    }

    fn run(&self, order: &Order) -> Result<Outcome> {
        run_every(order, 1)
    }
}

/// A directory and all that is done to it.
struct Ground {
    shape: Shape,
    seed: u64,
    directory: Directory,
    donors: Vec<Donor>,
    harms: Vec<Harm>,
}

/// What a thread counts.
#[derive(Debug, Default)]
struct Tally {
    cases: [u64; Kind::ALL.len()],
    lost: u64,
    uncovered: u64,
    uncovered_cases: u64,
    refused: u64,
}

thread_local! {
    /// One for all cases of a thread. Its time stands still unless all sleep.
    static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
}

fn on_runtime<T>(act: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    RUNTIME.with(|cell| {
        if cell.get().is_none() {
            let made = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
            let _ = cell.set(made.map_err(|e| e.to_string())?);
        }
        cell.get().ok_or("no runtime".to_owned())?.block_on(act)
    })
}

/// Runs every `stride`-th case.
///
/// # Errors
/// There is no such case, or the directories cannot be made.
pub fn run_every(order: &Order, stride: usize) -> Result<Outcome> {
    let only = order.case.as_deref().map(parse).transpose()?;
    let grounds = match &only {
        Some((shape, seed, _)) => vec![Ground::new(*shape, *seed, false)?],
        None => {
            let is_full = order.slice == Slice::Full;
            let every = (0..if is_full { FULL_SEEDS } else { 1 }).flat_map(|n| Shape::ALL.map(|shape| (shape, n)));
            let new = |(shape, n)| Ground::new(shape, order.seed + n, is_full && n == 0);
            every.map(new).collect::<Result<Vec<_>>>()?
        }
    };
    let mut cases: Vec<(usize, Harm)> = Vec::new();
    match &only {
        Some((_, _, words)) => {
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            cases.push((0, Harm::parse(&words, &grounds[0].directory, &grounds[0].donors)?));
        }
        None => {
            let all =
                grounds.iter().enumerate().flat_map(|(n, ground)| ground.harms.iter().map(move |harm| (n, *harm)));
            cases.extend(all.step_by(stride));
        }
    }
    let run = |n: u64, tally: &mut Tally| -> Result<(), Broken> {
        let (ground, harm) = cases[n as usize];
        grounds[ground].run(harm, order.canary, tally).map_err(|what| (what, String::new()))
    };
    let name = |n: u64| {
        let (ground, harm) = cases[n as usize];
        grounds[ground].name(harm)
    };
    let haul = crew::share(order.threads, cases.len() as u64, name, run, |_| false);
    Ok(outcome(haul, cases.len(), grounds.len()))
}

fn outcome(haul: crew::Haul<Tally>, cases: usize, directories: usize) -> Outcome {
    let sum = |of: fn(&Tally) -> u64| haul.tallies.iter().map(of).sum::<u64>();
    let (lost, uncovered) = (sum(|t| t.lost), sum(|t| t.uncovered));
    let figure = format!(
        "{cases} cases in {directories} directories; {} failed, {} panics; {lost} touched or doubtful records lost, {uncovered} \
         older versions in {} cases that are not promised yet",
        haul.failed,
        haul.panics,
        sum(|t| t.uncovered_cases)
    );
    let mut counts: Vec<(String, u64)> = Kind::ALL
        .iter()
        .enumerate()
        .map(|(n, (_, name))| ((*name).to_owned(), haul.tallies.iter().map(|t| t.cases[n]).sum()))
        .collect();
    counts.push(("lost".into(), lost));
    counts.push(("uncovered".into(), uncovered));
    counts.push(("refused".into(), sum(|t| t.refused)));
    Outcome::judged(figure, counts, haul.failures, cases > 0)
}

impl Ground {
    /// `whole`: every bit of its fullest segment.
    fn new(shape: Shape, seed: u64, whole: bool) -> Result<Self> {
        let made = on_runtime(directory::make(shape, seed)).map_err(anyhow::Error::msg);
        let directory = made.with_context(|| format!("the directory {} {seed}", shape.name()))?;
        let donors = harm::donors(&directory);
        let harms = harm::all(&directory, &donors, whole);
        Ok(Self { shape, seed, directory, donors, harms })
    }

    fn name(&self, harm: Harm) -> String {
        format!("{} {} {}", self.shape.name(), self.seed, harm.name(&self.directory, &self.donors))
    }

    fn run(&self, harm: Harm, is_canary: bool, tally: &mut Tally) -> Result<(), String> {
        let mut changed = harm.apply(&self.directory, &self.donors);
        if is_canary {
            forge::fix_crcs(&self.directory, &mut changed);
        }
        let came = on_runtime(trial::judge(&self.directory, &changed))?;
        let kind = Kind::ALL.iter().position(|(kind, _)| *kind == harm.kind()).unwrap_or_default();
        tally.cases[kind] += 1;
        tally.lost += came.lost;
        tally.uncovered += came.uncovered;
        tally.uncovered_cases += u64::from(came.uncovered > 0);
        tally.refused += came.refused;
        Ok(())
    }
}

/// `worn 0 seg-0003.esk bit 4100.3`.
fn parse(text: &str) -> Result<(Shape, u64, Vec<String>)> {
    let mut words = text.split(' ').map(str::to_owned);
    let shape = words.next().unwrap_or_default();
    let shape = Shape::ALL.into_iter().find(|s| s.name() == shape).context("the shapes are roomy and worn")?;
    let seed = words.next().and_then(|seed| seed.parse().ok()).context("behind the shape stands the seed")?;
    Ok((shape, seed, words.collect()))
}
