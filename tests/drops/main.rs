//! P8 on every backend: each call is dropped at every point at which it waits, on files that the page cache holds and on
//! files that it does not. Afterwards the cache still tells the truth, memory and descriptors are as before, and nothing
//! was written into memory that was somebody else's by then. `tools/proof/scripts/memory.sh` runs this under
//! AddressSanitizer too.

#![cfg(target_os = "linux")]

#[cfg(has_uring)]
mod hasty;
#[allow(dead_code, reason = "peaks are for others")]
#[path = "../common/heap.rs"]
mod heap;
mod model;
mod place;
mod polls;
mod round;
mod traps;

use std::sync::{Mutex, MutexGuard, PoisonError};

use esker::BackendKind;
use esker::backend::probe;

use place::Place;

#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting;

/// Descriptors and memory belong to the process: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two rounds: what the first one leaves behind may be of the process, what the second one adds has leaked.
fn every_call_dropped_everywhere(place: impl Fn() -> Place) {
    let _alone = alone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut left = None;
    for n in 0..3 {
        let points = runtime.block_on(round::run(&place(), n));
        let now = runtime.block_on(place::settled(left));
        println!("round {n}: dropped at {points} points; {now:?}");
        left = Some(now);
    }
}

fn on_disk(kind: BackendKind, is_cold: bool) {
    if let Err(why) = probe::choose(kind) {
        println!("not run: {why}");
        return;
    }
    every_call_dropped_everywhere(|| Place::on_disk(kind, is_cold));
}

#[test]
fn on_the_ring_cold() {
    on_disk(BackendKind::Uring, true);
}

#[test]
fn on_the_ring_warm() {
    on_disk(BackendKind::Uring, false);
}

#[test]
fn on_tokio_uring_cold() {
    on_disk(BackendKind::TokioUring, true);
}

#[test]
fn on_tokio_uring_warm() {
    on_disk(BackendKind::TokioUring, false);
}

#[test]
fn on_tokio_fs_cold() {
    on_disk(BackendKind::TokioFs, true);
}

#[test]
fn on_tokio_fs_warm() {
    on_disk(BackendKind::TokioFs, false);
}

#[test]
fn on_the_simulated_disk() {
    every_call_dropped_everywhere(Place::simulated);
}

/// The fault that the traps must catch.
#[test]
#[cfg(has_uring)]
fn canary_a_buffer_given_back_before_the_kernel_has_answered_is_caught() {
    let _alone = alone();
    match hasty::read_into_memory_of_others() {
        Ok(is_caught) => assert!(is_caught, "the kernel wrote into memory of others, and no trap saw it"),
        Err(why) => println!("not run: {why}"),
    }
}

/// The same fault, as a failure: `memory.sh` plants it.
#[test]
#[ignore = "fails, since a fault is planted"]
#[cfg(has_uring)]
fn planted_buffer_given_back_too_early() {
    let _alone = alone();
    assert!(!hasty::read_into_memory_of_others().expect("a ring"), "something was written into memory of others");
}

/// What AddressSanitizer must report: `memory.sh` plants it.
#[test]
#[ignore = "fails under a sanitizer, since a fault is planted"]
#[cfg(has_uring)]
fn planted_use_after_free() {
    println!("{} bytes were read from freed memory", hasty::read_freed_memory());
}
