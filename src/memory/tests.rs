//! The queue against a model, and the promises of the tier.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::sieve::Sieve;
use super::*;
use crate::types::{Digest, MemoryFill, Millis, SegmentId, Sequence};

/// SIEVE as in the paper, over a plain list, oldest first.
#[derive(Default)]
struct Model {
    list: Vec<(u64, u64, bool)>,
    hand: Option<u64>,
}

impl Model {
    fn evict(&mut self) -> Option<u64> {
        if self.list.is_empty() {
            return None;
        }
        let mut at = self.hand.and_then(|hand| self.list.iter().position(|item| item.0 == hand)).unwrap_or(0);
        while self.list[at].2 {
            self.list[at].2 = false;
            at = (at + 1) % self.list.len();
        }
        self.hand = Some(self.list[at].0);
        self.remove(self.list[at].0)
    }

    fn remove(&mut self, n: u64) -> Option<u64> {
        let at = self.list.iter().position(|item| item.0 == n)?;
        if self.hand == Some(n) {
            self.hand = self.list.get(at + 1).map(|item| item.0);
        }
        self.list.remove(at);
        Some(n)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u64, u64),
    Visit(u64),
    Remove(u64),
    Evict(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0u64..400, 1u64..1000).prop_map(|(n, cost)| Step::Insert(n, cost)),
        4 => (0u64..400).prop_map(Step::Visit),
        3 => (0u64..400).prop_map(Step::Remove),
        1 => (1u8..80).prop_map(Step::Evict),
    ];
    prop::collection::vec(step, 1..1500)
}

proptest! {
    #[test]
    fn evicts_what_the_paper_says_and_counts_what_it_holds(steps in steps()) {
        let mut sieve = Sieve::new();
        let mut model = Model::default();
        let d = |n: u64| Digest(n << 32 | n);
        for step in steps {
            match step {
                Step::Insert(n, cost) => {
                    prop_assert_eq!(sieve.remove(d(n)), model.remove(n));
                    prop_assert!(sieve.insert(d(n), n, cost));
                    model.list.push((n, cost, false));
                }
                Step::Visit(n) => {
                    sieve.visit(d(n), |_| Verdict::Serve(()));
                    model.list.iter_mut().filter(|item| item.0 == n).for_each(|item| item.2 = true);
                }
                Step::Remove(n) => prop_assert_eq!(sieve.remove(d(n)), model.remove(n)),
                Step::Evict(times) => {
                    for _ in 0..times {
                        prop_assert_eq!(sieve.evict(), model.evict());
                    }
                }
            }
            prop_assert_eq!(sieve.len(), model.list.len());
            prop_assert_eq!(sieve.used_bytes(), model.list.iter().map(|item| item.1).sum::<u64>());
        }
        for (n, _, _) in model.list {
            prop_assert_eq!(sieve.get(d(n)), Some(&n));
        }
    }
}

fn tier_of(capacity_bytes: u64) -> HotTier {
    HotTier::new(capacity_bytes, None, MemoryFill::Both)
}

fn get(tier: &HotTier, d: Digest, tag: Tag, key: &[u8]) -> Option<Item> {
    tier.get(d, tag, key, |item| Some(item.clone()))
}

fn tag(segment: u64) -> Tag {
    Tag { segment: SegmentId(segment), offset_units: 3 }
}

fn item(key: &str, value_len: usize) -> Item {
    Item::copy(key.as_bytes(), b"meta", &vec![7; value_len], Millis(1), Some(Millis(9))).at(Sequence(7))
}

#[test]
fn an_item_comes_back_as_it_was() {
    let tier = tier_of(1 << 20);
    tier.admit(Digest(1), tag(1), item("a", 1000));
    assert_eq!(get(&tier, Digest(1), tag(1), b"a"), Some(item("a", 1000)));
    assert_eq!(tier.used_bytes(), 1005 + ITEM_OVERHEAD_BYTES);
}

#[test]
fn an_item_of_another_record_is_never_served_and_goes() {
    let tier = tier_of(1 << 20);
    for other in [tag(2), Tag { offset_units: 4, ..tag(1) }] {
        tier.admit(Digest(1), tag(1), item("a", 10));
        assert_eq!(get(&tier, Digest(1), other, b"a"), None);
        assert_eq!(tier.used_bytes(), 0, "the stale item was dropped");
        assert_eq!(get(&tier, Digest(1), tag(1), b"a"), None);
    }
}

#[test]
fn another_key_with_the_same_digest_is_a_miss() {
    let tier = tier_of(1 << 20);
    tier.admit(Digest(1), tag(1), item("a", 10));
    assert_eq!(get(&tier, Digest(1), tag(1), b"b"), None);
    assert!(get(&tier, Digest(1), tag(1), b"a").is_some(), "the item of the right key stays");
}

#[test]
fn an_item_over_an_eighth_of_its_shard_is_not_admitted_and_the_older_one_goes() {
    let tier = tier_of(80_000);
    let fits = 10_000 - ITEM_OVERHEAD_BYTES as usize - 5;
    tier.admit(Digest(1), tag(1), item("a", fits));
    assert!(get(&tier, Digest(1), tag(1), b"a").is_some());
    tier.admit(Digest(1), tag(2), item("a", fits + 1));
    assert_eq!(tier.used_bytes(), 0);
    let none = tier_of(0);
    none.admit(Digest(1), tag(1), item("a", 0));
    assert_eq!((none.used_bytes(), get(&none, Digest(1), tag(1), b"a")), (0, None));
}

#[test]
fn removing_and_clearing_forget() {
    let tier = tier_of(64 << 20);
    let d = |n: u64| Digest(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (0..100).for_each(|n| tier.admit(d(n), tag(n), item("a", 100)));
    let each = 105 + ITEM_OVERHEAD_BYTES;
    assert_eq!(tier.used_bytes(), 100 * each);
    tier.remove(d(5));
    assert_eq!((tier.used_bytes(), get(&tier, d(5), tag(5), b"a")), (99 * each, None));
    tier.clear();
    assert_eq!((tier.used_bytes(), get(&tier, d(6), tag(6), b"a")), (0, None));
}

#[test]
fn what_is_hit_stays_while_a_scan_passes() {
    let tier = tier_of(200_000);
    let d = |n: u64| Digest(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (0..20).for_each(|n| tier.admit(d(n), tag(1), item("hot", 1000)));
    for n in 100..2000 {
        tier.admit(d(n), tag(1), item("cold", 1000));
        for hot in 0..20 {
            assert!(get(&tier, d(hot), tag(1), b"hot").is_some(), "item {hot} after {n}");
        }
    }
}

/// P5 and P1 under threads: never above the capacity, and every answer is of the tag that was asked for.
#[test]
fn threads_never_see_another_tag_nor_more_bytes_than_the_capacity() {
    const CAPACITY_BYTES: u64 = 16 << 20;
    let tier = Arc::new(tier_of(CAPACITY_BYTES));
    let d = |n: u64| Digest(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let served: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4u64)
            .map(|thread| {
                let tier = Arc::clone(&tier);
                scope.spawn(move || {
                    let mut served = 0;
                    for n in 0..6000u64 {
                        let (key, version) = (n * 31 % 997, n % 3 + thread);
                        let mut item = item("key", (n * 97 % 20_000) as usize);
                        item.created = Millis(version);
                        tier.admit(d(key), tag(version), item);
                        if let Some(found) = get(&tier, d(key), tag(version), b"key") {
                            assert_eq!(found.created, Millis(version));
                            served += 1;
                        }
                        assert!(tier.used_bytes() <= CAPACITY_BYTES);
                    }
                    served
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().map_or(0, |served| served)).sum()
    });
    assert!(served > 10_000, "{served} of 24000: the test must have met hits");
}

#[test]
fn the_bounded_map_evicts_only_as_much_as_it_must() {
    let map = Bounded::<u64>::new(1000);
    let mut held = HashMap::new();
    for n in 0..100u64 {
        let admission = map.put(Digest(n << 40 | n), n, 100, |_| true);
        assert_eq!(admission, Admission { admitted: true, evicted: u64::from(n >= 10) });
        held.insert(n, ());
        assert_eq!(map.used_bytes(), 1000.min((n + 1) * 100));
    }
    assert_eq!(map.len(), 10);
}
