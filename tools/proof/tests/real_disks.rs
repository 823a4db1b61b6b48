//! Rows 4, 5 and 10, on real file systems (P1, P2, P3, P4), and their canaries. Where the machine lacks what they need, the
//! tests pass and say what it is.
#![cfg(target_os = "linux")]

use esker_proof::row::{Order, Outcome, Row, Slice, Verdict};
use esker_proof::rows::{blocks::Blocks, cuts::Cuts, syncs::Syncs};

/// Runs a row; `None` if it cannot run here.
#[expect(clippy::print_stderr, reason = "a test that did not run says so")]
fn run(row: &dyn Row, order: &Order) -> Option<Outcome> {
    let outcome = row.run(order).expect("it runs");
    match &outcome.verdict {
        Verdict::Skipped(why) => {
            eprintln!("SKIPPED, row {}: {why}", row.number());
            None
        }
        _ => Some(outcome),
    }
}

fn passes(row: &dyn Row) {
    if let Some(outcome) = run(row, &Order::new(Slice::Ci, 0)) {
        assert_eq!(outcome.verdict, Verdict::Passed, "{}: {:#?}", outcome.figure, outcome.failures);
    }
}

/// The first failure with the row's fault planted. Time has a part in it, so there is more than one try.
fn caught(row: &dyn Row) -> Option<Outcome> {
    for seed in 0..5 {
        let outcome = run(row, &Order { canary: true, ..Order::new(Slice::Ci, seed) })?;
        if outcome.failures.iter().any(|f| f.what.contains("lost: ") || f.what.contains("wrong: ")) {
            return Some(outcome);
        }
    }
    panic!("row {} sees nothing", row.number());
}

#[test]
fn row_4_points_of_a_log_of_blocks_are_survived() {
    passes(&Blocks);
}

#[test]
fn row_5_power_cuts_are_survived() {
    passes(&Cuts);
}

#[test]
fn row_10_syncs_that_fail_are_survived() {
    passes(&Syncs);
}

#[test]
fn canary_row_4_a_backend_that_lies_about_sync_is_caught_and_caught_again_on_the_same_disk() {
    let Some(outcome) = caught(&Blocks) else { return };
    let kept = |story: &str| story.split('\'').nth(1).map(str::to_owned);
    let cases: Vec<_> = outcome.failures.iter().filter_map(|f| kept(&f.story)).collect();
    assert!(!cases.is_empty(), "{:#?}", outcome.failures);
    for case in &cases {
        let again = run(&Blocks, &Order { case: Some(case.clone()), ..Order::new(Slice::Ci, 0) }).expect("as before");
        assert_eq!(again.verdict, Verdict::Failed, "{case}");
        let dir = case.strip_prefix("kept ").and_then(|rest| rest.rsplit_once(' ')).expect("a directory").0;
        std::fs::remove_dir_all(dir).expect("it was kept");
    }
}

#[test]
fn canary_row_5_a_backend_that_lies_about_sync_is_caught() {
    let _ = caught(&Cuts);
}

#[test]
fn canary_row_10_a_failed_sync_that_is_retried_and_believed_is_caught() {
    let _ = caught(&Syncs);
}
