//! Cases shared among threads. Each is judged by itself, so that it can be repeated by itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::panics;
use crate::row::Failure;

/// How many failures are kept: the first say it all.
const MOST_FAILURES: usize = 5;

/// A case that is the same at so many looks does not end.
const LOOKS: u32 = 300;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the threads brought home.
#[derive(Debug)]
pub struct Haul<T> {
    /// What each thread counted.
    pub tallies: Vec<T>,
    /// The first failures, by case.
    pub failures: Vec<Failure>,
    /// How many there were.
    pub failed: u64,
    /// Panics, in whatever thread.
    pub panics: u64,
}

/// Why a case failed: what did not hold, and what led to it.
pub type Broken = (String, String);

/// Runs cases 0, 1, … of `cases` until each was run, or `is_enough`. A case that panics has failed.
pub fn share<T: Default + Send>(
    threads: usize,
    cases: u64,
    name: impl Fn(u64) -> String + Sync,
    run: impl Fn(u64, &mut T) -> Result<(), Broken> + Sync,
    is_enough: impl Fn(&T) -> bool + Sync,
) -> Haul<T> {
    panics::watch();
    let before = panics::all();
    let (next, stop, failed) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
    let slots: Vec<Watch> = (0..threads.max(1)).map(|_| Watch::default()).collect();
    let work = |watch: &Watch| {
        let (mut tally, mut failures) = (T::default(), Vec::new());
        while !stop.load(Ordering::Relaxed) {
            let case = next.fetch_add(1, Ordering::Relaxed);
            if case >= cases {
                break;
            }
            watch.begins(case);
            if let Err((what, story)) = run_one(|| run(case, &mut tally)) {
                failures.push(Failure { case: name(case), what, story });
                if failed.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_FAILURES as u64 {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            if is_enough(&tally) {
                break;
            }
        }
        watch.ends();
        (tally, failures)
    };
    let mut haul = Haul { tallies: Vec::new(), failures: Vec::new(), failed: 0, panics: 0 };
    std::thread::scope(|scope| {
        let hands: Vec<_> = slots.iter().map(|watch| scope.spawn(|| work(watch))).collect();
        scope.spawn(|| watch_all(&slots, &name));
        for hand in hands {
            match hand.join() {
                Ok((tally, failures)) => {
                    haul.tallies.push(tally);
                    haul.failures.extend(failures);
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    haul.failed = failed.into_inner();
    haul.panics = panics::all() - before;
    if haul.panics > 0 && haul.failures.is_empty() {
        let what = format!("{} panics in threads of the engine's own; see above", haul.panics);
        haul.failures.push(Failure { case: "unknown".into(), what, story: String::new() });
    }
    haul
}

/// Which case a thread is at, and for how many looks it has been.
#[derive(Debug, Default)]
struct Watch {
    /// The case and one more; 0: none.
    case: AtomicU64,
    is_over: AtomicBool,
}

impl Watch {
    fn begins(&self, case: u64) {
        self.case.store(case + 1, Ordering::Relaxed);
    }

    fn ends(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Says which case does not end, which nobody would learn otherwise.
fn watch_all(slots: &[Watch], name: &impl Fn(u64) -> String) {
    let mut seen = vec![(0, 0); slots.len()];
    while !slots.iter().all(|slot| slot.is_over.load(Ordering::Relaxed)) {
        std::thread::sleep(LOOK_EVERY);
        for (slot, (last, looks)) in slots.iter().zip(&mut seen) {
            let case = slot.case.load(Ordering::Relaxed);
            *looks = if case == *last { *looks + 1 } else { 0 };
            *last = case;
            if case > 0 && *looks == LOOKS && !slot.is_over.load(Ordering::Relaxed) {
                eprintln!("the case `{}` does not end", name(case - 1));
            }
        }
    }
}

fn run_one(run: impl FnOnce() -> Result<(), Broken>) -> Result<(), Broken> {
    let before = panics::here();
    let ended = catch_unwind(AssertUnwindSafe(run));
    let panicked = panics::here() - before;
    match ended {
        Err(_) => Err(("it panicked; see above".into(), String::new())),
        Ok(Ok(())) if panicked > 0 => Err((format!("{panicked} panics in tasks; see above"), String::new())),
        Ok(ended) => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canary_a_case_that_fails_panics_or_swallows_a_panic_is_caught() {
        let run = |case: u64, ran: &mut u64| {
            *ran += 1;
            match case {
                3 => Err(("failed".into(), String::new())),
                5 => panic!("planted"),
                7 => {
                    let swallowed = catch_unwind(|| panic!("planted too"));
                    assert!(swallowed.is_err());
                    Ok(())
                }
                _ => Ok(()),
            }
        };
        let haul = share(2, 10, |case| case.to_string(), run, |_| false);
        let mut cases: Vec<_> = haul.failures.iter().map(|f| f.case.as_str()).collect();
        cases.sort_unstable();
        assert_eq!((cases, haul.tallies.iter().sum::<u64>()), (vec!["3", "5", "7"], 10));
    }
}
