//! A model test that works, crashes and reopens over the simulated disk (P1, P2, P4, P5). `ESKER_SIM_SEEDS=1000` makes
//! it a campaign; `ESKER_SIM_FIRST_SEED=17 ESKER_SIM_SEEDS=1` repeats one seed.

mod common;

use common::life::{Plan, live};
use common::seeds;

fn all(plan: Plan) -> Vec<String> {
    seeds(20).filter_map(|seed| live(seed, plan).err()).collect()
}

fn none_of(failures: &[String]) {
    let firsts: Vec<_> = failures.iter().filter_map(|text| text.lines().next()).collect();
    assert!(failures.is_empty(), "{} seeds fail: {firsts:#?}\n\nthe first:\n{}", failures.len(), failures[0]);
}

#[test]
fn a_roomy_cache_keeps_what_is_durable_and_each_log_is_a_prefix() {
    none_of(&all(Plan::roomy()));
}

#[test]
fn a_tight_cache_never_lies_and_keeps_within_its_capacity() {
    none_of(&all(Plan::tight()));
}

#[test]
fn a_tight_cache_with_a_hot_tier_never_lies() {
    none_of(&all(Plan { memory_bytes: 64 << 10, ..Plan::tight() }));
}

#[test]
fn a_tight_cache_on_a_disk_that_fails_fills_and_stalls_never_lies_and_recovers() {
    let plan = Plan { has_weather: true, ..Plan::tight() };
    none_of(&all(plan));
    // These found something once.
    none_of(
        &[95, 101, 749, 844, 1437, 1497, 1811, 2199, 2291, 2583, 9583, 10505]
            .into_iter()
            .filter_map(|seed| live(seed, plan).err())
            .collect::<Vec<_>>(),
    );
}

#[test]
fn canary_a_disk_that_lies_about_sync_is_caught() {
    let failures = all(Plan { lie_about_sync: true, ..Plan::roomy() });
    assert!(!failures.is_empty(), "the harness sees nothing");
}
