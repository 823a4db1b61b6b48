//! The index against a model, its shares, its collisions, its comparisons, and many threads on it.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::load::{Candidate, Claim};
use super::*;
use crate::types::Sequence;

fn at(n: u32) -> Location {
    Location { slot: n as u16, offset_units: n & 0x3f_ffff, class: (n % 2048) as u16 }
}

/// Splitmix64: digests as even as those of SHA-256.
fn digest(n: u64) -> Digest {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Digest(z ^ (z >> 31))
}

/// Few enough digests that they meet again, and pairs that differ only in bits that routing drops.
fn few_digests() -> impl Strategy<Value = Digest> {
    (0u64..40, 0u64..3).prop_map(|(n, low)| Digest(digest(n).0 ^ low << HASH_BITS))
}

#[derive(Debug, Clone)]
enum Step {
    Lookup(Digest),
    Hit(Digest),
    Put(Digest, u32, bool),
    Keep(Digest),
    Remove(Digest),
    ReplaceIf(Digest, bool, u32, bool),
    RemoveIf(Digest, bool),
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let d = few_digests;
    let step = prop_oneof![
        2 => d().prop_map(Step::Lookup),
        4 => d().prop_map(Step::Hit),
        8 => (d(), any::<u32>(), any::<bool>()).prop_map(|(d, n, older)| Step::Put(d, n, older)),
        1 => d().prop_map(Step::Keep),
        3 => d().prop_map(Step::Remove),
        3 => (d(), any::<bool>(), any::<u32>(), any::<bool>()).prop_map(|(d, same, n, o)| Step::ReplaceIf(d, same, n, o)),
        3 => (d(), any::<bool>()).prop_map(|(d, same)| Step::RemoveIf(d, same)),
        1 => Just(Step::Clear),
    ];
    prop::collection::vec(step, 1..400)
}

fn other(location: Location) -> Location {
    Location { offset_units: location.offset_units ^ 1, ..location }
}

/// Does one step on both and compares what they answer.
fn run(step: &Step, index: &Index, model: &mut HashMap<Route, Found>) {
    match *step {
        Step::Lookup(d) => assert_eq!(index.lookup(d), model.get(&index.route(d)).copied()),
        Step::Hit(d) => {
            let entry = model.get_mut(&index.route(d));
            assert_eq!(index.lookup_hit(d), entry.as_deref().copied());
            if let Some(found) = entry {
                found.hits = 3.min(found.hits + 1);
            }
        }
        Step::Put(d, n, older) => {
            let before = index.update(d, |found| (Change::Put(at(n), older), found));
            let after = Found { location: at(n), hits: 0, older };
            assert_eq!(before, model.insert(index.route(d), after));
        }
        Step::Keep(d) => {
            let before = index.update(d, |found| (Change::Keep, found));
            assert_eq!(before, model.get(&index.route(d)).copied());
        }
        Step::Remove(d) => {
            let before = index.update(d, |found| (Change::Remove, found));
            assert_eq!(before, model.remove(&index.route(d)));
        }
        Step::ReplaceIf(d, same, n, older) => {
            let there = model.get_mut(&index.route(d));
            let seen = there.as_ref().map_or(at(n), |found| found.location);
            let seen = if same { seen } else { other(seen) };
            let replaced = index.replace_if(d, seen, at(n), older);
            assert_eq!(replaced, same && there.is_some());
            if let (true, Some(found)) = (replaced, there) {
                *found = Found { location: at(n), hits: 0, older };
            }
        }
        Step::RemoveIf(d, same) => {
            let there = model.get(&index.route(d)).copied();
            let seen = there.map_or(at(7), |found| found.location);
            let removed = index.remove_if(d, if same { seen } else { other(seen) });
            assert_eq!(removed, there.filter(|_| same));
            if same {
                model.remove(&index.route(d));
            }
        }
        Step::Clear => {
            index.retain(|_| false);
            model.clear();
        }
    }
}

proptest! {
    #[test]
    fn behaves_as_a_map_over_routes(shards in prop::sample::select(vec![1usize, 3, 32, 1024]), steps in steps()) {
        let index = Index::new(shards);
        let mut model = HashMap::new();
        for step in &steps {
            run(step, &index, &mut model);
            prop_assert_eq!(index.len(), model.len() as u64);
        }
        let mut all = Vec::new();
        index.for_each(|found| all.push(found));
        let key = |f: &Found| (f.location.slot, f.location.offset_units, f.location.class, f.hits, f.older);
        let mut expected: Vec<_> = model.into_values().collect();
        all.sort_by_key(key);
        expected.sort_by_key(key);
        prop_assert_eq!(all, expected);
    }

    #[test]
    fn every_digest_has_a_place(d in any::<u64>(), shards in 1usize..=1024) {
        let index = Index::new(shards);
        for d in [Digest(d), Digest(0), Digest(u64::MAX)] {
            index.update(d, |_| (Change::Put(at(5), true), ()));
            prop_assert_eq!(index.lookup(d), Some(Found { location: at(5), hits: 0, older: true }));
        }
    }
}

#[test]
fn shards_and_sub_tables_get_their_shares() {
    for shards in [1, 3, 8, 32, 64, 128, 1024] {
        let index = Index::new(shards);
        let each = 64_000 / shards.min(128) as u64;
        let mut per_shard = vec![0u64; shards];
        let mut per_table = [0u64; TABLES];
        let total = each * shards as u64;
        for n in 0..total {
            let route = index.route(digest(n));
            per_shard[route.shard] += 1;
            per_table[route.table] += 1;
        }
        // Six standard deviations of a fair draw.
        let slack = |expected: f64| 6.0 * expected.sqrt();
        for count in per_shard {
            assert!((count as f64 - each as f64).abs() < slack(each as f64), "{count} of {each}, {shards} shards");
        }
        for (i, count) in per_table.into_iter().enumerate() {
            let share = 2f64.powf((i + 1) as f64 / TABLES as f64) - 2f64.powf(i as f64 / TABLES as f64);
            let expected = share * total as f64;
            assert!((count as f64 - expected).abs() < slack(expected), "table {i}: {count} of {expected}");
        }
    }
}

#[test]
fn bits_that_choose_the_place_are_not_those_in_the_slot() {
    let index = Index::new(32);
    let routes: HashSet<Route> = (0..1000).map(|low| index.route(Digest(digest(1).0 ^ low))).collect();
    assert_eq!(routes.len(), 1000, "each low bit counts in the hash");
    assert_eq!(routes.iter().map(|r| (r.shard, r.table)).collect::<HashSet<_>>().len(), 1, "and nowhere else");
    let places: HashSet<_> = (0..1u64 << 16).map(|top| index.route(Digest(top << 48))).collect();
    assert_eq!(places.len(), 32 * TABLES, "the high bits reach every sub-table, and no more");
}

#[test]
fn two_digests_that_agree_in_every_kept_bit_share_a_slot_and_the_newer_wins() {
    let index = Index::new(32);
    let old = digest(1);
    let new = Digest(old.0 ^ 1 << HASH_BITS);
    assert_eq!(index.route(old), index.route(new));
    index.update(old, |_| (Change::Put(at(1), false), ()));
    index.lookup_hit(old);
    let seen = index.update(new, |found| (Change::Put(at(2), true), found));
    assert_eq!(seen, Some(Found { location: at(1), hits: 1, older: false }));
    assert_eq!(index.lookup(old), Some(Found { location: at(2), hits: 0, older: true }));
    assert_eq!(index.len(), 1);
    assert_eq!(index.remove_if(old, at(1)), None, "the older one cannot remove the newer");
    assert!(!index.replace_if(old, at(1), at(3), false));
    assert_eq!(index.lookup(new).map(|found| found.location), Some(at(2)));
}

#[test]
fn a_comparison_sees_every_part_of_the_location() {
    let index = Index::new(4);
    let (d, here) = (digest(9), at(100));
    index.update(d, |_| (Change::Put(here, false), ()));
    let others = [
        Location { slot: here.slot + 1, ..here },
        Location { offset_units: here.offset_units + 1, ..here },
        Location { class: here.class + 1, ..here },
    ];
    for wrong in others {
        assert!(!index.replace_if(d, wrong, at(3), true));
        assert_eq!(index.remove_if(d, wrong), None);
    }
    assert!(index.replace_if(d, here, at(3), true));
    assert_eq!(index.remove_if(d, at(3)), Some(Found { location: at(3), hits: 0, older: true }));
    assert!(!index.replace_if(d, at(3), at(4), true), "what is gone is not brought back");
    assert!(index.is_empty());
}

#[test]
fn a_panic_in_an_update_changes_nothing_and_frees_the_lock() {
    let index = Index::new(1);
    index.update(digest(1), |_| (Change::Put(at(1), false), ()));
    let update = || index.update(digest(1), |_| -> (Change, ()) { std::panic::resume_unwind(Box::new("on purpose")) });
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(update)).is_err());
    assert_eq!(index.lookup(digest(1)).map(|found| found.location), Some(at(1)));
}

#[test]
fn it_says_what_it_holds_and_takes() {
    let index = Index::new(3);
    let own_bytes = size_of::<Index>() + size_of_val(&*index.shards);
    assert!(index.is_empty() && index.allocated_bytes() == own_bytes as u64);
    assert_eq!(format!("{index:?}"), "Index { shards: 3, len: 0, .. }");
    index.update(digest(1), |_| (Change::Put(at(1), false), ()));
    let heap_bytes: u64 = index.shards.iter().map(|shard| shard.heap_bytes.load(Ordering::Relaxed)).sum();
    assert!(!index.is_empty() && heap_bytes > 0);
    assert_eq!(index.allocated_bytes(), own_bytes as u64 + heap_bytes);
    let found = (0..5).map(|n| Candidate::new(digest(n), Sequence(n), Claim::Serve, at(n as u32)));
    assert_eq!(index.batch(found.clone(), found).records(), 5);
}

#[test]
fn clearing_gives_all_memory_back() {
    let index = Index::new(8);
    let empty = index.allocated_bytes();
    (0..50_000).for_each(|n| index.update(digest(n), |_| (Change::Put(at(n as u32), false), ())));
    assert!(index.allocated_bytes() > empty + 500_000);
    index.retain(|_| false);
    assert_eq!((index.len(), index.allocated_bytes()), (0, empty));
}

/// Threads add to a count that lives in the location: a lost update or a comparison that is not atomic would show.
#[test]
fn concurrent_updates_and_comparisons_lose_nothing() {
    const KEYS: u64 = 50;
    const ROUNDS: u32 = 4000;
    let index = Index::new(8);
    let count = |n: u32| Location { slot: 0, offset_units: n, class: 0 };
    (0..KEYS).for_each(|n| index.update(digest(n), |_| (Change::Put(count(0), false), ())));
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let index = &index;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let d = digest((u64::from(round) * 7 + thread) % KEYS);
                    if thread % 2 == 0 {
                        index.update(d, |found| {
                            let n = found.map_or(0, |found| found.location.offset_units);
                            (Change::Put(count(n + 1), false), ())
                        });
                    } else {
                        while !index.lookup(d).is_some_and(|found| {
                            index.replace_if(d, found.location, count(found.location.offset_units + 1), false)
                        }) {}
                    }
                    // Entries of this thread alone, so that tables grow and shrink under the others' feet.
                    let own = digest(1000 + u64::from(round) * 4 + thread);
                    index.update(own, |found| (Change::Put(at(round), false), assert!(found.is_none())));
                    if round % 3 != 0 {
                        assert_eq!(index.remove_if(own, at(round)).map(|found| found.location), Some(at(round)));
                    }
                }
            });
        }
    });
    let total: u32 = (0..KEYS).filter_map(|n| index.lookup(digest(n))).map(|found| found.location.offset_units).sum();
    assert_eq!(total, 4 * ROUNDS);
    let mut seen = 0;
    index.for_each(|_| seen += 1);
    assert_eq!(seen, index.len());
    assert_eq!(seen, KEYS + 4 * u64::from(ROUNDS.div_ceil(3)));
}

/// A judge with a floor, which lets in what can be served.
struct All;

impl load::Judge for All {
    fn accepts(&mut self, found: &Candidate) -> bool {
        found.sequence() > Sequence(3)
    }

    fn is_newer(&mut self, a: &Candidate, b: &Candidate) -> bool {
        a.rank() > b.rank()
    }

    fn enters(&mut self, newest: &Candidate, _older: bool) -> bool {
        newest.claim() == Claim::Serve
    }
}

proptest! {
    #[test]
    fn loading_gives_what_the_newest_records_say(
        shards in prop::sample::select(vec![1usize, 3, 32]),
        found in prop::collection::vec((few_digests(), 0u64..1 << 40, any::<bool>()), 0..300),
        parts in 1usize..4,
    ) {
        let index = Index::new(shards);
        let candidate = |&(d, n, covers): &(Digest, u64, bool)| {
            let claim = if covers { Claim::Cover } else { Claim::Serve };
            Candidate::new(d, Sequence(n), claim, at(n as u32))
        };
        let found: Vec<_> = found.into_iter().map(|(d, n, covers)| (d, n % 64, covers)).collect();
        let batches: Vec<_> =
            found.chunks(found.len() / parts + 1).map(|some| index.batch(some.iter().map(candidate), some.iter().map(candidate))).collect();
        let mut loader = index.loader(&batches);
        (0..shards).for_each(|shard| loader.load(shard, &mut All));

        let mut model: HashMap<Route, Vec<(u64, bool)>> = HashMap::new();
        for &(d, n, covers) in found.iter().filter(|(_, n, _)| *n > 3) {
            model.entry(index.route(d)).or_default().push((n, covers));
        }
        let mut entries = 0;
        for (d, ..) in &found {
            let expected = model.get(&index.route(*d)).and_then(|all| {
                let (n, covers) = all.iter().max()?;
                let location = at(*n as u32);
                (!covers).then_some(Found { location, hits: 0, older: all.len() > 1 })
            });
            prop_assert_eq!(index.lookup(*d), expected);
        }
        for all in model.values() {
            entries += u64::from(!all.iter().max().unwrap().1);
        }
        prop_assert_eq!(index.len(), entries);
    }
}
