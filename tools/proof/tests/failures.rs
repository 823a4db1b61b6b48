//! Row 8: a part of it that a debug build takes seconds for, and its canary.

use esker_proof::row::{Order, Slice, Verdict};
use esker_proof::rows::failures::run_every;

#[test]
fn what_fails_now_and_then_loses_nothing_that_was_synced() {
    let outcome = run_every(&Order::new(Slice::Ci, 0), 29).expect("it runs");
    assert_eq!(outcome.verdict, Verdict::Passed, "{:#?}", outcome.failures);
}

#[test]
fn canary_a_backend_that_hides_failures_is_caught() {
    let order = Order { canary: true, ..Order::new(Slice::Ci, 0) };
    assert_eq!(run_every(&order, 7).expect("it runs").verdict, Verdict::Failed, "the harness sees nothing");
}
