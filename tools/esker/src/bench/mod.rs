//! `esker bench`: phases run against a cache, and if asked against one file per key, on the same disk in the same run.

pub mod load;
pub mod phases;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::store::{BackendArg, Kind, WorkDir};
use crate::table::{Table, number};
use phases::{Phase, Sizes};

/// Options of `esker bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Backends to measure, one after the other.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "auto")]
    pub backend: Vec<BackendArg>,
    /// Measure this as well; the table then has ratios.
    #[arg(long, value_parser = ["file-per-key"])]
    pub against: Option<String>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Work in this directory, which must be new or empty; default: a temporary one. The caches are removed either way.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// A tenth of the work.
    #[arg(long)]
    pub quick: bool,
}

/// What was measured of one cache.
#[derive(Debug, Clone, Serialize)]
pub struct Column {
    /// Which cache.
    pub cache: Kind,
    /// The backend that ran.
    pub backend: String,
    /// The phases, in order.
    pub phases: Vec<Phase>,
}

/// Runs the command.
///
/// # Errors
/// A cache that does not open, or fails.
pub fn main(args: &Args) -> Result<ExitCode> {
    let work = WorkDir::new(args.dir.as_deref())?;
    let sizes = if args.quick { Sizes::quick() } else { Sizes::full() };
    let mut columns = Vec::new();
    for &backend in &args.backend {
        columns.push(run_column(&work, Kind::Esker, backend, sizes)?);
    }
    if args.against.is_some() {
        columns.push(run_column(&work, Kind::FilePerKey, BackendArg::Auto, sizes)?);
    }
    let text = if args.json { serde_json::to_string_pretty(&columns)? + "\n" } else { render(&columns) };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn run_column(work: &WorkDir, kind: Kind, backend: BackendArg, sizes: Sizes) -> Result<Column> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(phases::run(work, kind, backend.into(), sizes))
}

fn render(columns: &[Column]) -> String {
    let baseline = columns.iter().find(|column| column.cache == Kind::FilePerKey);
    let mut titles = vec!["phase".to_owned()];
    for column in columns {
        titles.extend([column.backend.clone(), "CPU us/op".to_owned(), "p50 us".to_owned(), "p99 us".to_owned()]);
        if baseline.is_some() && column.cache == Kind::Esker {
            titles.push("times baseline".to_owned());
        }
    }
    let mut table = Table::new(titles);
    let count = columns.iter().map(|column| column.phases.len()).max().unwrap_or(0);
    for row in 0..count {
        let mut cells = Vec::new();
        for column in columns {
            let Some(phase) = column.phases.get(row) else { continue };
            if cells.is_empty() {
                cells.push(phase.name.clone());
            }
            cells.push(format!("{}/s", number(phase.ops_per_s)));
            cells.extend([phase.cpu_us_per_op, phase.p50_us, phase.p99_us].map(number));
            if let (Kind::Esker, Some(other)) = (column.cache, baseline.and_then(|column| column.phases.get(row))) {
                cells.push(format!("{}x", number(phase.ops_per_s / other.ops_per_s.max(1e-9))));
            }
        }
        table.row(cells);
    }
    table.render()
}
