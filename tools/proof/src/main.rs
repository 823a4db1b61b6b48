//! `esker-proof`: runs the harnesses and prints the scoreboard.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use esker_proof::scoreboard;

/// Proves the promises of the Esker cache, or shows where they fail.
#[derive(Parser)]
#[command(name = "esker-proof", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run rows of the scoreboard; exit code 1 if one fails.
    Scoreboard(scoreboard::Args),
}

fn main() -> ExitCode {
    let Command::Scoreboard(args) = Cli::parse().command;
    match scoreboard::main(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("esker-proof: {error:#}");
            ExitCode::from(2)
        }
    }
}
