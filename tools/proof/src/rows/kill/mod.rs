//! Row 6: `kill -9` of a process with eight writers, at a random moment; the directory is opened again and every key is
//! judged (P1, P2, P4). In some chains the process writes through the cache to an origin, back or through: then everything
//! acknowledged must be at the origin once the successor has flushed, and the cache shows what the origin has.
//!
//! A case is a backend and a number: a chain of kills on one directory. Even numbers are roomy (nothing is ever evicted,
//! so everything acknowledged must be there), odd ones tight. With an origin it is `back` or `through` between them. The dice repeat what is written and when the kill comes; how
//! far the writers are by then is the machine's.

mod chain;
mod fronted;

use anyhow::{Context, Result, bail};
use esker::BackendKind;

use crate::backends;
use crate::crew;
use crate::row::{Order, Outcome, Row, Slice};

pub use chain::{Tally, answers};

/// Kills of a chain.
const KILLS_A_CHAIN: u64 = 15;

/// The row.
#[derive(Debug)]
pub struct Kill;

impl Row for Kill {
    fn number(&self) -> u32 {
        6
    }

    fn what(&self) -> &'static str {
        "kill -9 under load"
    }

    fn target(&self, slice: Slice) -> String {
        let Counts { plain, back, through } = chains(slice);
        format!(
            "{} kills a backend, 0 wrong, 0 lost `Written`; {} more with write-back, {} with write-through: 0 ahead of the \
             origin, 0 behind",
            plain * KILLS_A_CHAIN,
            back * KILLS_A_CHAIN,
            through * KILLS_A_CHAIN
        )
    }

    fn canary(&self) -> &'static str {
        "the child tells of sets that are only `Buffered`; an origin says that it took a value before it did, so a flush does too"
    }

    fn run(&self, order: &Order) -> Result<Outcome> {
        let backends = backends::available();
        let counts = chains(order.slice);
        let only = order.case.as_deref().map(parse).transpose()?;
        let case = |n: u64| only.unwrap_or_else(|| counts.case(n, &backends));
        let cases = if only.is_some() { 1 } else { counts.all() * backends.len() as u64 };
        let begun = std::time::Instant::now();
        let run = |n: u64, tally: &mut Tally| match case(n) {
            (backend, Kind::Plain, number) => chain::run(order, backend, number, KILLS_A_CHAIN, tally),
            (backend, kind, number) => fronted::run(order, backend, number, kind == Kind::Back, KILLS_A_CHAIN, tally),
        };
        let name = |n: u64| {
            let (backend, kind, number) = case(n);
            format!("{backend} {}{number}", kind.word())
        };
        let haul = crew::share(order.threads, cases, name, run, |_| false);
        let mut all = Tally::default();
        haul.tallies.iter().for_each(|tally| all.add(tally));
        let rate = all.kills as f64 / begun.elapsed().as_secs_f64();
        let figure = format!(
            "{} kills on {} backends, {} of them before an origin, {} acknowledged, {} wrong, {} lost; {rate:.0} kills/s",
            all.kills,
            backends.len(),
            all.fronted,
            all.acknowledged,
            all.wrong,
            all.lost
        );
        let is_dirty = all.dirty > 0 || only.is_some();
        let is_reached = all.kills >= cases * KILLS_A_CHAIN && all.acknowledged > 0 && is_dirty;
        Ok(Outcome::judged(figure, all.named(), haul.failures, is_reached))
    }
}

/// What the children of a chain write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The cache.
    Plain,
    /// The cache; an origin gets it later.
    Back,
    /// An origin, then the cache.
    Through,
}

impl Kind {
    /// As a case names it.
    fn word(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Back => "back ",
            Self::Through => "through ",
        }
    }
}

/// Chains of a backend.
struct Counts {
    plain: u64,
    back: u64,
    through: u64,
}

impl Counts {
    fn all(&self) -> u64 {
        self.plain + self.back + self.through
    }

    /// Of all backends in turn.
    fn case(&self, n: u64, backends: &[BackendKind]) -> (BackendKind, Kind, u64) {
        let (backend, number) = (backends[n as usize % backends.len()], n / backends.len() as u64);
        match number.checked_sub(self.plain) {
            None => (backend, Kind::Plain, number),
            Some(number) if number < self.back => (backend, Kind::Back, number),
            Some(number) => (backend, Kind::Through, number - self.back),
        }
    }
}

fn chains(slice: Slice) -> Counts {
    match slice {
        Slice::Ci => Counts { plain: 2, back: 2, through: 2 },
        Slice::Full => Counts { plain: 67, back: 24, through: 8 },
    }
}

/// `uring 17`, `uring back 3`.
fn parse(case: &str) -> Result<(BackendKind, Kind, u64)> {
    let (backend, rest) = case.split_once(' ').context("a case is a backend and a number: `uring 17`")?;
    let Some(backend) = backends::named(backend) else {
        bail!("backend {backend} is not in this build, or cannot run")
    };
    let with_origin = [Kind::Back, Kind::Through].into_iter().find(|kind| rest.starts_with(kind.word()));
    let kind = with_origin.unwrap_or(Kind::Plain);
    let number = rest.strip_prefix(kind.word()).and_then(|number| number.parse().ok());
    Ok((backend, kind, number.context("the number of a chain is missing")?))
}
