//! Row 1: the model test over the simulated disk (P1, P2, P4, P5), and its canary.

use esker_proof::life::{Kind, Tally, live};
use esker_proof::row::{Order, Outcome, Slice, Verdict};
use esker_proof::rows::crashes::run_points;

fn run(order: &Order, points: u64) -> Outcome {
    run_points(order, points).expect("it runs")
}

#[test]
fn a_few_hundred_crashes_of_each_kind_are_survived() {
    let outcome = run(&Order::new(Slice::Ci, 0), 800);
    assert_eq!(outcome.verdict, Verdict::Passed, "{:#?}", outcome.failures);
    for what in ["second crashes", "segments evicted", "entries reinserted", "segments scanned", "reopens", "hits"] {
        let count = outcome.counts.iter().find(|(name, _)| name == what).expect(what).1;
        assert!(count > 0, "{what}: the harness tries less than it says: {:?}", outcome.counts);
    }
}

#[test]
fn a_seed_lives_the_same_lives_twice() {
    for kind in Kind::ALL {
        let twice = [(); 2].map(|()| live(5, kind.plan(), &mut Tally::default()).expect("it holds"));
        let differs = twice[0].iter().zip(&twice[1]).find(|(a, b)| a != b);
        assert_eq!((differs, twice[0].len()), (None, twice[1].len()), "{}", kind.name());
    }
}

#[test]
fn canary_a_disk_that_lies_about_sync_is_caught() {
    let order = Order { canary: true, ..Order::new(Slice::Ci, 0) };
    let outcome = run(&order, 2_000);
    assert_eq!(outcome.verdict, Verdict::Failed, "the harness sees nothing");
    let case = outcome.failures[0].case.clone();
    let again = run(&Order { case: Some(case.clone()), ..order }, 1);
    assert_eq!(again.failures.first().map(|f| f.what.clone()), Some(outcome.failures[0].what.clone()), "{case}");
}
