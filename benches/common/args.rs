//! The arguments of the bench programs.

use std::path::PathBuf;

use clap::Parser;

/// Compares this cache with what is beside it, in one run.
#[derive(Debug, Clone, Parser)]
pub struct Args {
    /// A small run, to see that it works: its figures mean nothing.
    #[arg(long)]
    pub quick: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Where the files go (a directory is made in there, and removed). Default: cargo's temporary directory.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Entries of 4 KiB.
    #[arg(long, visible_alias = "entries")]
    pub keys: Option<u64>,
    /// Repetitions of each measurement.
    #[arg(long)]
    pub rounds: Option<usize>,
    /// Only measurements whose group contains this word.
    #[arg(long)]
    pub only: Option<String>,
    /// Tasks that fill the cache in the comparison with raw writes.
    #[arg(long, default_value_t = 4)]
    pub writers: usize,
    /// Cargo passes this; it means nothing.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    /// `full`, or `quick` with `--quick`.
    pub fn sized(&self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }

    /// Entries of 4 KiB.
    pub fn entries(&self, full: u64) -> u64 {
        self.keys.unwrap_or(self.sized(full, 8_192))
    }

    /// Repetitions.
    pub fn rounds(&self, full: usize) -> usize {
        self.rounds.unwrap_or(if self.quick { 2 } else { full }).max(1)
    }

    /// Whether a group of measurements is asked for.
    pub fn wants(&self, group: &str) -> bool {
        self.only.as_ref().is_none_or(|word| group.contains(word.as_str()))
    }

    /// A fresh directory, removed when dropped.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn temp_dir(&self) -> std::io::Result<tempfile::TempDir> {
        let base = self.dir.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
        std::fs::create_dir_all(&base)?;
        tempfile::Builder::new().prefix("esker-bench-").tempdir_in(base)
    }
}
