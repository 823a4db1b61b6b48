//! `esker-proof`: runs the harnesses and prints the scoreboard.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use esker_proof::{heap, scoreboard, writer};

/// Row 14 bounds what a hostile file may take.
#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting;

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
    /// The process that is killed; its errand comes in on standard input.
    #[command(name = writer::COMMAND, hide = true)]
    Writer,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Scoreboard(args) => scoreboard::main(&args),
        Command::Writer => writer::main(),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("esker-proof: {error:#}");
            ExitCode::from(2)
        }
    }
}
