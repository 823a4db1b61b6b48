//! Row 2: the shortest scripts, and its canary.

use esker_proof::row::{Order, Slice, Verdict};
use esker_proof::rows::scripts::run_up_to;

#[test]
fn scripts_of_one_and_two_verbs_survive_every_crash_point() {
    let outcome = run_up_to(&Order::new(Slice::Ci, 0), 2).expect("it runs");
    assert_eq!(outcome.verdict, Verdict::Passed, "{:#?}", outcome.failures);
}

#[test]
fn canary_a_disk_that_lies_about_sync_is_caught() {
    let order = Order { canary: true, ..Order::new(Slice::Ci, 0) };
    assert_eq!(run_up_to(&order, 2).expect("it runs").verdict, Verdict::Failed, "the harness sees nothing");
}
