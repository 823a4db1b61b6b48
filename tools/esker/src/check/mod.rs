//! `esker check`: promises tried out for real, each with its figures and a verdict.

pub mod burst;
pub mod expiry;
pub mod idle;
pub mod kill;
pub mod probe;
pub mod purge;
pub mod quota;
pub mod restart;
pub mod tail;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use esker::BackendKind;
use serde::Serialize;

use crate::store::{BackendArg, WorkDir};

/// Which check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// 20,000 sets of 16 KiB from 32 tasks; 1,000 overwritten and 1,000 deleted keys, before and after two reopens.
    Burst,
    /// kill -9 under 8 writers with `Written` durability: every acknowledged entry is there.
    Kill,
    /// 10 s of idling take under 1 % of a core.
    Idle,
    /// 1 million entries of 4 KiB (with --tiny: 10 million of 100 bytes): cold restart within 0.4 s (3 s).
    Restart,
    /// 10 million entries of 100 bytes: memory and disk an entry.
    Tiny,
    /// A purge by prefix of 1 million entries within 10 ms: none is served afterwards, also after kill -9.
    Purge,
    /// The same by a tag that all of them have, with 100,000 other tags purged before.
    PurgeTag,
    /// Two namespaces, one flooding: it takes its quota at most, the other one keeps its hit ratio within 1 point.
    Quota,
    /// A trace with times to live (half of the objects none, a quarter 60 s, a quarter 10 min) at a tenth of its bytes: under 5 %
    /// of the disk hold what has expired, and none of that is rewritten.
    Expiry,
    /// p999 of get with eviction going on all the time, against the same load without.
    Tail,
}

/// Options of `esker check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The checks to run; default: burst, kill, idle and tail (restart and tiny take minutes and gigabytes).
    #[arg(value_enum)]
    pub checks: Vec<Name>,
    /// Backends to check, one after the other; `all` stands for every one that this build has.
    #[arg(long, value_delimiter = ',', default_value = "auto", value_parser = parse_backend)]
    pub backend: Vec<BackendChoice>,
    /// Print JSON, one line a check.
    #[arg(long)]
    pub json: bool,
    /// Work in this directory, which must be new or empty; default: a temporary one. The caches are removed either way.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// `restart` with 10 million entries of 100 bytes.
    #[arg(long)]
    pub tiny: bool,
    /// Divide the number of entries of `restart`, `tiny` and the purges, and the requests of `quota`, by this, for a quick look;
    /// targets are then not met or missed in earnest.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub shrink: u64,
    /// The trace of `expiry`; default: a CDN-like workload.
    #[arg(long)]
    pub trace: Option<PathBuf>,
}

/// One backend, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendChoice {
    /// This one.
    One(BackendArg),
    /// All.
    All,
}

fn parse_backend(text: &str) -> Result<BackendChoice, String> {
    if text == "all" {
        return Ok(BackendChoice::All);
    }
    <BackendArg as clap::ValueEnum>::from_str(text, true).map(BackendChoice::One)
}

/// The outcome of a check.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Which check.
    pub check: Name,
    /// On which backend.
    pub backend: String,
    /// Whether every condition held.
    pub pass: bool,
    /// Figure by figure, in order: name, value, and what was demanded of it (empty: only told).
    pub figures: Vec<Figure>,
}

/// A figure of a check.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What it is, with its unit.
    pub name: String,
    /// The value.
    pub value: f64,
    /// What was demanded, as text; empty if nothing was.
    pub demanded: String,
    /// Whether it was met.
    pub met: bool,
}

/// Collects figures.
#[derive(Debug, Default)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// A figure that is only told.
    pub fn tell(&mut self, name: &str, value: f64) {
        self.0.push(Figure { name: name.to_owned(), value, demanded: String::new(), met: true });
    }

    /// A figure that must be at most `limit`.
    pub fn at_most(&mut self, name: &str, value: f64, limit: f64) {
        let demanded = format!("<= {limit}");
        self.0.push(Figure { name: name.to_owned(), value, demanded, met: value <= limit });
    }

    /// A figure that must be exactly `wanted`.
    pub fn exactly(&mut self, name: &str, value: u64, wanted: u64) {
        let demanded = format!("= {wanted}");
        self.0.push(Figure { name: name.to_owned(), value: value as f64, demanded, met: value == wanted });
    }
}

/// Runs the command. Exit code 1 if a check failed.
///
/// # Errors
/// A check that could not be carried out.
pub fn main(args: &Args) -> Result<ExitCode> {
    let work = WorkDir::new(args.dir.as_deref())?;
    let checks = match args.checks.as_slice() {
        [] => &[Name::Burst, Name::Kill, Name::Idle, Name::Tail],
        some => some,
    };
    let mut all_pass = true;
    for &check in checks {
        for backend in backends(&args.backend) {
            let dir = work.join(format!("{check:?}-{backend}"));
            let figures = run(check, args, &dir, backend).with_context(|| format!("check {check:?} on {backend}"))?;
            std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
            let pass = figures.0.iter().all(|figure| figure.met);
            all_pass &= pass;
            let verdict = Verdict { check, backend: backend.to_string(), pass, figures: figures.0 };
            let text = if args.json { serde_json::to_string(&verdict)? + "\n" } else { render(&verdict) };
            std::io::stdout().write_all(text.as_bytes())?;
        }
    }
    Ok(if all_pass { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn backends(chosen: &[BackendChoice]) -> Vec<BackendKind> {
    let mut all = vec![BackendKind::TokioFs, BackendKind::Uring];
    if cfg!(feature = "tokio-uring") {
        all.push(BackendKind::TokioUring);
    }
    chosen
        .iter()
        .flat_map(|choice| match choice {
            BackendChoice::One(backend) => vec![BackendKind::from(*backend)],
            BackendChoice::All => all.clone(),
        })
        .collect()
}

fn run(check: Name, args: &Args, dir: &std::path::Path, backend: BackendKind) -> Result<Figures> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let dir = dir.join("cache");
    match check {
        Name::Burst => runtime.block_on(burst::check(&dir, backend)),
        Name::Kill => kill::check(&dir, backend),
        Name::Idle => runtime.block_on(idle::check(&dir, backend)),
        Name::Restart => restart::check_restart(&runtime, &dir, backend, args.tiny, args.shrink),
        Name::Tiny => restart::check_tiny(&runtime, &dir, backend, args.shrink),
        Name::Purge => purge::check(&dir, backend, args.shrink, false),
        Name::PurgeTag => purge::check(&dir, backend, args.shrink, true),
        Name::Quota => runtime.block_on(quota::check(&dir, backend, args.shrink)),
        Name::Expiry => runtime.block_on(expiry::check(&dir, backend, args.trace.as_deref())),
        Name::Tail => runtime.block_on(tail::check(&dir, backend)),
    }
}

fn render(verdict: &Verdict) -> String {
    let word = if verdict.pass { "PASS" } else { "FAIL" };
    let mut out = format!("{word} {} on {}\n", format!("{:?}", verdict.check).to_lowercase(), verdict.backend);
    for figure in &verdict.figures {
        let mark = if figure.met { "" } else { "  NOT MET" };
        let demanded = if figure.demanded.is_empty() { String::new() } else { format!("  ({})", figure.demanded) };
        out += &format!("     {}: {}{demanded}{mark}\n", figure.name, crate::table::number(figure.value));
    }
    out
}
