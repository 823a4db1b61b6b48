//! Row 3: a part of it that a debug build takes seconds for, and its canary.

use esker_proof::row::{Order, Slice, Verdict};
use esker_proof::rows::damage::run_every;

#[test]
fn damage_here_and_there_costs_what_it_touches() {
    let outcome = run_every(&Order::new(Slice::Ci, 0), 97).expect("it runs");
    assert_eq!(outcome.verdict, Verdict::Passed, "{:#?}", outcome.failures);
}

#[test]
fn canary_damage_whose_checksums_fit_is_caught() {
    let order = Order { canary: true, ..Order::new(Slice::Ci, 0) };
    assert_eq!(run_every(&order, 97).expect("it runs").verdict, Verdict::Failed, "the harness sees nothing");
}
