//! The command line.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use clap::Parser;
use esker::sync::time;
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use crate::chooser::Chooser;
use crate::scenarios::{ALL, Scenario};
use crate::tally::Cases;

/// A schedule of more steps does not end.
const MOST_STEPS: usize = 1_000_000;
/// Of a task; futures are large without optimisation.
const STACK_BYTES: usize = 512 << 10;

/// Runs scenarios in many orders of steps.
#[derive(Parser)]
#[command(name = "esker-schedules")]
struct Args {
    /// How many schedules, over all scenarios.
    #[arg(long, default_value_t = 10_000)]
    schedules: u64,
    /// Where the dice begin.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only this schedule, as a failure names it: `SCENARIO-SEED-NUMBER`; or only this scenario.
    #[arg(long)]
    case: Option<String>,
    /// Plant the fault: a disk that says too early that a write is done, a kernel that loses the bell.
    #[arg(long)]
    canary: bool,
    /// Threads that share the schedules.
    #[arg(long, default_value_t = 2)]
    threads: u64,
}

/// A scenario and the part of its schedules that is to be run.
struct Part {
    scenario: Scenario,
    cases: Cases,
    seed: u64,
}

/// Runs what the arguments ask for. 0 if all held, 1 if not, 2 for arguments that name nothing.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let parts = parts(&args);
    if parts.is_empty() {
        eprintln!("esker-schedules: there is no such case");
        return ExitCode::from(2);
    }
    let failures = Mutex::new(0u64);
    std::thread::scope(|scope| {
        for _ in 0..args.threads.max(1) {
            scope.spawn(|| parts.iter().for_each(|part| run(part, args.canary, &failures)));
        }
    });
    let mut all = 0;
    for Part { scenario, cases, .. } in &parts {
        println!("count: {} {}", scenario.name, cases.all_ended());
        println!("count: {}_steps {}", scenario.name, cases.all_steps());
        all += cases.all_ended();
    }
    let failed = failures.into_inner().unwrap_or_default();
    println!("figure: {all} schedules of {} scenarios, {failed} scenarios failed", parts.len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parts(args: &Args) -> Vec<Part> {
    let is_planted = |s: &&Scenario| !args.canary || s.has_canary;
    let Some(case) = &args.case else {
        let part = |scenario: &Scenario| {
            let count = args.schedules * scenario.percent / 100;
            Part { scenario: *scenario, cases: Cases::new(scenario.name, args.seed, 0, count), seed: args.seed }
        };
        return ALL.iter().filter(is_planted).map(part).collect();
    };
    let mut words = case.split('-');
    let name = words.next().unwrap_or_default();
    let Some(scenario) = ALL.iter().find(|s| s.name == name) else { return Vec::new() };
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
    let (seed, cases) = match (number(), number()) {
        (Some(seed), Some(number)) => (seed, Cases::new(name, seed, number, 1)),
        _ => (args.seed, Cases::new(name, args.seed, 0, args.schedules)),
    };
    vec![Part { scenario: *scenario, cases, seed }]
}

/// Runs schedules of one scenario until there are no more, or one fails.
fn run(part: &Part, is_planted: bool, failures: &Mutex<u64>) {
    let (cases, run) = (part.cases.for_another(), part.scenario.run);
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.max_steps = MaxSteps::FailAfter(MOST_STEPS);
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    let began = Instant::now();
    let runner = Runner::new(Chooser::new(cases.clone(), part.scenario.steps), config);
    let ended = cases.clone();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        runner.run(move || {
            shuttle::future::block_on(async move {
                time::begin();
                run(is_planted).await;
            });
            ended.ended();
        })
    }));
    let name = part.scenario.name;
    match outcome {
        Ok(count) => eprintln!("{name}: {count} schedules in {:.1} s on this thread", began.elapsed().as_secs_f64()),
        Err(panic) if cases.failed() => {
            *failures.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) += 1;
            let what = panic.downcast_ref::<String>().cloned();
            let what = what.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let what = what.unwrap_or_else(|| "it panicked".into()).replace('\n', " ");
            println!("failure: {name}-{}-{}: {what}", part.seed, cases.current());
        }
        Err(_) => {}
    }
}
