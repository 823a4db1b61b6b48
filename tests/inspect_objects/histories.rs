//! Random histories: after each of their steps, and after each death, looking and opening come to the same.

use std::collections::BTreeMap;
use std::time::Duration;

use esker::inspect::{EntryState, Verdict};
use esker::{DiskCache, Durability, SetOptions};

use super::common::Dice;
use super::{CHUNK, Place, read, value, write};

const KEYS: u64 = 24;

/// What the histories came by.
#[derive(Debug, Default)]
struct Met {
    whole: u64,
    not_whole: u64,
    kept_dead: u64,
    chunks_dead: u64,
    evicted: u64,
    expired: u64,
    deleted: u64,
}

async fn step(cache: &DiskCache, place: &Place, dice: &mut Dice, n: u64) {
    let key = format!("key {}", dice.below(KEYS));
    let len = match dice.below(4) {
        0 => dice.below(2_000) as usize,
        1 => dice.below(3) as usize * CHUNK + 1,
        2 => CHUNK * 2,
        _ => dice.below(90_000) as usize,
    };
    match dice.below(20) {
        0..10 => drop(write(cache, &key, &value(n, len), SetOptions::new().metadata("meta")).await),
        10..12 => {
            let ttl = Duration::from_secs(1 + dice.below(40));
            write(cache, &key, &value(n, len), SetOptions::new().ttl(ttl)).await;
        }
        12..14 => drop(cache.delete(&key).await.unwrap()),
        14 => {
            // Given up: its chunks are of no head.
            let mut writer = cache.writer(&key, SetOptions::new()).await.unwrap();
            writer.write_bytes(value(n, len).into()).await.unwrap();
        }
        15 => drop(cache.set_metadata(&key, "other", Durability::Buffered).await.unwrap()),
        16..19 => drop(cache.get(&key).await.unwrap()),
        _ => {
            place.clock.advance(1_000 * dice.below(20));
        }
    }
}

/// Each key is found as it is served, and listed if it is counted.
async fn assert_same_answers(place: &Place, met: &mut Met, when: &str) {
    let inspector = place.inspector();
    let mut listed = BTreeMap::new();
    inspector.entries(&mut |entry| drop(listed.insert(entry.key.clone().unwrap(), entry))).await.unwrap();
    let cache = place.open_copy().await;
    for n in 0..KEYS {
        let key = format!("key {n}");
        let finding = inspector.get(key.as_bytes()).await.unwrap();
        let hit = cache.get(&key).await.unwrap();
        let shown = (finding.verdict == Verdict::Served).then_some(());
        assert_eq!(hit.as_ref().map(|_| ()), shown, "{when}: {key}: {finding:?}");
        let (bytes, fault) = read(&inspector, &finding).await;
        assert_eq!(fault, None, "{when}: {key}");
        let entry = listed.get(&key);
        if let Some(hit) = hit {
            assert!(bytes == hit.value()[..], "{when}: {key} is read as another value");
            assert_eq!((&finding.metadata, finding.len_bytes()), (hit.metadata(), hit.len_bytes()), "{when}: {key}");
            let entry = entry.unwrap_or_else(|| panic!("{when}: {key} is served and not listed"));
            assert_eq!((entry.state, entry.value_len), (EntryState::Served, hit.len_bytes()), "{when}: {key}");
            assert_eq!(entry.object.is_some(), hit.len_bytes() > CHUNK as u64, "{when}: {key}");
        } else {
            assert!(bytes.is_empty(), "{when}: {key} is not served");
            assert!(entry.is_none_or(|entry| entry.state != EntryState::Served), "{when}: {key}: {entry:?}");
            met.kept_dead += u64::from(entry.is_some_and(|entry| entry.state == EntryState::NotWhole));
        }
        met.expired += u64::from(finding.verdict == Verdict::Expired);
        met.deleted += u64::from(finding.verdict == Verdict::Deleted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_and_opening_agree_through_random_histories_with_eviction() {
    let mut met = Met::default();
    for seed in 0..8 {
        let mut dice = Dice::new(seed);
        let mut place = Place::new(seed, 16);
        for life in 0..4 {
            let cache = place.open().await;
            for n in 0..60 {
                step(&cache, &place, &mut dice, seed << 20 | life << 10 | n).await;
            }
            met.evicted += cache.stats().counts.entries_evicted;
            match dice.below(3) {
                0 => cache.close().await.unwrap(),
                1 => cache.sync().await.unwrap(),
                _ => {}
            }
            place.kill();
            let when = format!("seed {seed}, life {life}");
            let summary = place.assert_agrees(&when).await;
            met.whole += summary.objects;
            met.not_whole += summary.objects_not_whole;
            met.chunks_dead += summary.chunks_dead;
            assert_same_answers(&place, &mut met, &when).await;
        }
    }
    assert!(met.whole > 50 && met.chunks_dead > 100 && met.evicted > 100, "too little happened: {met:?}");
    assert!(met.expired > 5 && met.deleted > 5, "too little happened: {met:?}");
}

/// Segments vanish at random, as after an eviction that a kill met, or a disk that lost files: heads remain without chunks,
/// chunks without heads, and older versions behind newer ones that are not whole.
#[tokio::test(flavor = "multi_thread")]
async fn looking_and_opening_agree_when_segments_are_gone() {
    let mut met = Met::default();
    for seed in 100..116 {
        let mut dice = Dice::new(seed);
        let mut place = Place::new(seed, 40);
        let cache = place.open().await;
        for n in 0..70 {
            step(&cache, &place, &mut dice, seed << 20 | n).await;
        }
        cache.close().await.unwrap();
        place.kill();
        for path in super::segment_files(&place.sim) {
            if dice.one_in(3) {
                // A file of zeros is free, and nothing is in doubt.
                place.sim.write_file(&path, vec![0; super::SEGMENT_LEN_BYTES as usize]).unwrap();
            }
        }
        let when = format!("seed {seed}");
        let summary = place.assert_agrees(&when).await;
        met.whole += summary.objects;
        met.not_whole += summary.objects_not_whole;
        met.chunks_dead += summary.chunks_dead;
        assert_same_answers(&place, &mut met, &when).await;
    }
    assert!(met.whole > 10 && met.not_whole > 9 && met.kept_dead > 2 && met.chunks_dead > 50, "{met:?}");
}
