//! `esker-schedules`: the library under shuttle's scheduler. Each scenario is a few tasks that meet at one hand-off, over
//! the simulated disk or a ring whose kernel is simulated, with what the promises say of it as assertions; it is run in
//! very many orders of steps, each drawn from dice of its own, so that it can be run again by its name.
//!
//! A run in which all tasks wait for each other has failed, and so has one that does not end.

#[cfg(shuttle)]
mod chooser;
#[cfg(shuttle)]
mod cli;
#[cfg(shuttle)]
mod early;
#[cfg(shuttle)]
mod history;
#[cfg(shuttle)]
mod scenarios;
#[cfg(shuttle)]
mod tally;
#[cfg(shuttle)]
#[path = "../../../tests/common/values.rs"]
mod values;
#[cfg(shuttle)]
mod world;

#[cfg(shuttle)]
fn main() -> std::process::ExitCode {
    cli::main()
}

#[cfg(not(shuttle))]
fn main() -> std::process::ExitCode {
    eprintln!("esker-schedules: built without `--cfg shuttle`; see tools/proof/scripts/schedules.sh");
    std::process::ExitCode::from(2)
}
