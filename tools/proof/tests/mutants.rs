//! Row 17's canary: mutants that no test meets must be found alive.

use esker_proof::row::{Order, Row, Slice, Verdict};
use esker_proof::rows::mutants::ROW;

#[test]
fn canary_mutants_that_no_test_meets_are_caught() {
    let dir = tempfile::tempdir().unwrap();
    let order = Order { canary: true, dir: dir.path().to_owned(), ..Order::new(Slice::Ci, 0) };
    let outcome = ROW.run(&order).expect("it runs");
    let is_named = |what: &str| what.contains("no test reaches it");
    let is_caught = outcome.failures.iter().any(|failure| is_named(&failure.what));
    assert!(matches!(outcome.verdict, Verdict::Skipped(_)) || is_caught, "{}: {:?}", outcome.figure, outcome.failures);
}
