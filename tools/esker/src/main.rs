//! `esker`: replay traces, run the benchmarks, check the promises.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use esker_cli::{bench, check, policies, replay};

/// Tools around the Esker cache.
#[derive(Parser)]
#[command(name = "esker", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Replay request traces through a cache, then kill it, reopen it and verify every byte.
    Replay(replay::Args),
    /// Miss ratios and bytes written of the eviction policies on traces, through the real engine.
    Policies(policies::Args),
    /// Measure a cache, if asked beside one file per key.
    Bench(bench::Args),
    /// Check promises (bursts, kills, idling, restarts, memory, tails); exit code 1 if one fails.
    Check(check::Args),
    /// The process that a replay kills.
    #[command(hide = true)]
    ReplayChild(replay::child::Args),
    /// The process that `check kill` kills.
    #[command(hide = true)]
    WriterChild(check::kill::ChildArgs),
    /// The process that `check purge` kills.
    #[command(hide = true)]
    PurgeChild(check::purge::ChildArgs),
    /// A fresh process that opens a directory and says what it found.
    #[command(hide = true)]
    ProbeChild(check::probe::ChildArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Replay(args) => replay::main(&args),
        Command::Policies(args) => policies::main(&args),
        Command::Bench(args) => bench::main(&args),
        Command::Check(args) => check::main(&args),
        Command::ReplayChild(args) => replay::child::main(&args),
        Command::WriterChild(args) => check::kill::child_main(&args),
        Command::PurgeChild(args) => check::purge::child_main(&args),
        Command::ProbeChild(args) => check::probe::child_main(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("esker: {error:#}");
            ExitCode::from(2)
        }
    }
}
