//! Row 16's canary. It builds for another processor, which takes minutes the first time.

use esker_proof::row::{Order, Row, Slice, Verdict};
use esker_proof::rows::ports::ROW;

/// What is right on a little-endian machine and wrong on the other must be found, in what is written and what is read.
#[test]
fn canary_integers_in_the_machines_own_byte_order_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let order = Order { canary: true, dir: dir.path().to_owned(), ..Order::new(Slice::Ci, 0) };
    let outcome = ROW.run(&order).unwrap();
    if let Verdict::Skipped(why) = &outcome.verdict {
        eprintln!("skipped: {why}");
        return;
    }
    assert_eq!(outcome.verdict, Verdict::Failed, "{}", outcome.figure);
    let cases: Vec<_> = outcome.failures.iter().map(|failure| failure.case.as_str()).collect();
    assert!(cases.iter().all(|case| case.starts_with("s390x ")), "little-endian is right by luck: {cases:?}");
    for target in ["carried_directory", "format_golden", "golden_directory"] {
        assert!(cases.iter().any(|case| case.ends_with(target)), "{target} sees nothing: {cases:?}");
    }
}
