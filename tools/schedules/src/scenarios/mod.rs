//! The scenarios, one hand-off each.

use std::future::Future;
use std::pin::Pin;

mod background;
mod cancel;
mod commit;
mod drain;
mod fetch;
mod lost;
mod markers;
mod origin;
mod publish;
mod replace;
mod ring;
mod rotate;
mod stream;
mod tags;

/// One scenario.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name, as in a case.
    pub name: &'static str,
    /// How many of a hundred schedules are its own.
    pub percent: u64,
    /// About how many steps one takes.
    pub steps: u64,
    /// Whether the planted fault shows in it.
    pub has_canary: bool,
    /// Runs it once, with or without the fault.
    pub run: fn(bool) -> Pin<Box<dyn Future<Output = ()>>>,
}

/// All of them.
pub const ALL: [Scenario; 14] = [
    Scenario { name: "publish", percent: 10, steps: 1000, has_canary: true, run: |p| Box::pin(publish::run(p)) },
    Scenario { name: "rotate", percent: 10, steps: 2500, has_canary: true, run: |p| Box::pin(rotate::run(p)) },
    Scenario { name: "commit", percent: 5, steps: 2500, has_canary: true, run: |p| Box::pin(commit::run(p)) },
    Scenario { name: "drain", percent: 5, steps: 5000, has_canary: false, run: |p| Box::pin(drain::run(p)) },
    Scenario { name: "markers", percent: 10, steps: 8000, has_canary: false, run: |p| Box::pin(markers::run(p)) },
    Scenario { name: "replace", percent: 5, steps: 3000, has_canary: false, run: |p| Box::pin(replace::run(p)) },
    Scenario { name: "stream", percent: 5, steps: 4000, has_canary: false, run: |p| Box::pin(stream::run(p)) },
    Scenario { name: "lost", percent: 5, steps: 4000, has_canary: false, run: |p| Box::pin(lost::run(p)) },
    Scenario { name: "cancel", percent: 10, steps: 2500, has_canary: false, run: |p| Box::pin(cancel::run(p)) },
    Scenario { name: "fetch", percent: 10, steps: 3000, has_canary: true, run: |p| Box::pin(fetch::run(p)) },
    Scenario { name: "origin", percent: 5, steps: 12000, has_canary: true, run: |p| Box::pin(origin::run(p)) },
    Scenario { name: "tags", percent: 10, steps: 6000, has_canary: true, run: |p| Box::pin(tags::run(p)) },
    Scenario { name: "background", percent: 5, steps: 2500, has_canary: false, run: |p| Box::pin(background::run(p)) },
    Scenario { name: "ring", percent: 5, steps: 500, has_canary: true, run: |p| Box::pin(ring::run(p)) },
];
