//! Row 9: a disk that is full before the cache is, and has room again later (P1, P3, P5).
//!
//! A case is a file system, a backend and a number: a small file system of its own, on which other files leave so much
//! room that the cache gets all, some or none of its segments. The cache is configured for more. It is filled, read, and
//! given the room; then it must go on without a restart. The room is stepped from nothing to more than the capacity.

mod step;

use anyhow::{Context, Result, bail};
use esker::BackendKind;

use crate::backends;
use crate::crew;
use crate::machine::{Kind, SmallDisk};
use crate::row::{Order, Outcome, Row, Slice};

use step::{Case, Tally};

/// Cases that run side by side on each processor: most of the time one waits until the cache asks the disk again.
const CASES_A_THREAD: usize = 4;

/// The row.
#[derive(Debug)]
pub struct Full;

impl Row for Full {
    fn number(&self) -> u32 {
        9
    }

    fn what(&self) -> &'static str {
        "disk full, then space again"
    }

    fn target(&self, slice: Slice) -> String {
        let sizes = sizes(slice);
        format!("{sizes} sizes: reads go on, writes are refused and resume, use never above capacity")
    }

    fn canary(&self) -> &'static str {
        "the disk stays full for the cache; every other one: a file that nobody counts"
    }

    fn run(&self, order: &Order) -> Result<Outcome> {
        if let Err(error) = SmallDisk::new(Kind::Tmpfs, &order.dir.join("probe"), 1 << 20) {
            return Ok(Outcome::skipped(format!("no file system can be mounted here (root is needed): {error:#}")));
        }
        let kinds: Vec<_> = [Kind::Ext4, Kind::Tmpfs].into_iter().filter(|kind| can_mount(order, *kind)).collect();
        let backends = backends::available();
        let sizes = sizes(order.slice);
        let only = order.case.as_deref().map(parse).transpose()?;
        let case = |n: u64| {
            only.unwrap_or_else(|| Case {
                kind: kinds[n as usize % kinds.len()],
                backend: backends[n as usize / kinds.len() % backends.len()],
                number: n,
            })
        };
        let name = |n: u64| case(n).name();
        let run = |n: u64, tally: &mut Tally| case(n).run(order, sizes, tally);
        let begun = std::time::Instant::now();
        let cases = if only.is_some() { 1 } else { sizes };
        let haul = crew::share(CASES_A_THREAD * order.threads, cases, name, run, |_| false);
        let mut all = Tally::default();
        haul.tallies.iter().for_each(|tally| all.add(tally));
        let rate = all.sizes as f64 / begun.elapsed().as_secs_f64();
        let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
        let figure = format!(
            "{} sizes on {}, {} writes refused, {} cases failed; {rate:.1} sizes/s",
            all.sizes,
            names.join(" and "),
            all.refused,
            haul.failed
        );
        let is_reached = all.sizes >= cases && (only.is_some() || all.refused > 0 && all.evicted > 0);
        Ok(Outcome::judged(figure, all.named(), haul.failures, is_reached))
    }
}

fn sizes(slice: Slice) -> u64 {
    match slice {
        Slice::Ci => 25,
        Slice::Full => 500,
    }
}

fn can_mount(order: &Order, kind: Kind) -> bool {
    SmallDisk::new(kind, &order.dir.join(format!("probe-{}", kind.name())), 8 << 20).is_ok()
}

/// `ext4 uring 17`.
fn parse(case: &str) -> Result<Case> {
    let mut words = case.split(' ');
    let mut word = || words.next().context("a case is a file system, a backend and a number: `ext4 uring 17`");
    let (kind, backend, number) = (word()?, word()?, word()?);
    let kind = [Kind::Ext4, Kind::Tmpfs].into_iter().find(|k| k.name() == kind).context("ext4 or tmpfs")?;
    let Some(backend): Option<BackendKind> = backends::named(backend) else { bail!("there is no backend {backend}") };
    Ok(Case { kind, backend, number: number.parse().context("the number of a size is missing")? })
}
