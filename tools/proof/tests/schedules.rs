//! Row 12: a part of it, and its canary. Needs a build of its own (`scripts/schedules.sh`), which takes minutes at first.

use esker_proof::row::{Order, Row, Slice, Verdict};
use esker_proof::rows::schedules::ROW;

#[test]
fn one_schedule_is_repeated_by_its_name() {
    let order = Order { case: Some("publish-3-7".into()), ..Order::new(Slice::Ci, 0) };
    let outcome = ROW.run(&order).expect("it runs");
    assert_eq!(outcome.verdict, Verdict::Passed, "{:#?}", outcome.failures);
    assert!(outcome.figure.starts_with("1 schedules"), "{}", outcome.figure);
}

#[test]
fn canary_what_is_said_to_be_done_too_early_or_is_left_out_is_caught() {
    let order = Order { canary: true, ..Order::new(Slice::Ci, 0) };
    let outcome = ROW.run(&order).expect("it runs");
    let caught = |name: &str| outcome.failures.iter().any(|f| f.case.starts_with(name));
    let are_caught = ["publish-", "ring-", "origin-", "tags-"].into_iter().all(caught);
    assert!(outcome.verdict == Verdict::Failed && are_caught, "{:#?}", outcome.failures);
}
