//! Row 1: the model test over the simulated disk (P1, P2, P4, P5), and its canary.

use esker_proof::life::{Kind, Plan, Tally, live};
use esker_proof::row::{Order, Outcome, Slice, Verdict};
use esker_proof::rows::crashes::run_points;

fn run(order: &Order, points: u64) -> Outcome {
    run_points(order, points).expect("it runs")
}

#[test]
fn a_few_hundred_crashes_of_each_kind_are_survived() {
    let outcome = run(&Order::new(Slice::Ci, 0), 800);
    assert_eq!(outcome.verdict, Verdict::Passed, "{:#?}", outcome.failures);
    let tried = ["second crashes", "segments evicted", "entries reinserted", "segments scanned", "reopens", "hits"];
    for what in tried.into_iter().chain(["entries older than the retention"]) {
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

#[test]
fn canary_a_cache_that_keeps_what_is_too_old_is_caught() {
    for kind in [Kind::Roomy, Kind::Tight] {
        let plan = Plan { forgets_retention: true, ..kind.plan() };
        let failed = (0..20).find_map(|seed| live(seed, plan, &mut Tally::default()).err());
        let (what, _) = failed.expect("the harness sees nothing");
        assert!(what.contains("lets it be") || what.contains("has expired"), "{}: {what}", kind.name());
    }
}
