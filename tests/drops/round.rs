//! The life of one cache, of whose calls each is dropped at every point.

use esker::{DiskCache, Durability, SetOptions};

use super::model::{Model, key, value};
use super::place::Place;
use super::polls::dropped_after;
use super::traps::Traps;

const KEYS: u32 = 6;
/// No call waits at so many points; the engine's work in the background wakes it in vain at times.
const MOST_POLLS: u32 = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Set(Durability),
    TrySet,
    Get,
    Contains,
    Delete,
    Flush,
    Sync,
    Clear,
}

const CALLS: [Call; 10] = [
    Call::Set(Durability::Buffered),
    Call::Get,
    Call::Set(Durability::Written),
    Call::Flush,
    Call::Set(Durability::Synced),
    Call::Contains,
    Call::Delete,
    Call::Sync,
    Call::TrySet,
    Call::Clear,
];

struct Round<'a> {
    place: &'a Place,
    cache: DiskCache,
    model: Model,
    traps: Traps,
    version: u32,
    points: u64,
}

/// Lives, closes and opens again. At how many points calls were dropped.
pub async fn run(place: &Place, n: u32) -> u64 {
    let cache = opened(place, n, 0).await;
    let mut round = Round { place, cache, model: Model::default(), traps: Traps::default(), version: n, points: 0 };
    round.fill().await;
    for call in CALLS {
        round.drop_everywhere(call).await;
        round.fill().await;
    }
    round.close_and_open().await;
    let Round { cache, traps, points, .. } = round;
    cache.close().await.expect("close");
    assert!(traps.are_untouched(), "something was written into memory of others");
    points
}

/// Opens, after an open that was dropped.
async fn opened(place: &Place, n: u32, polls: u32) -> DiskCache {
    if let Some(cache) = dropped_after(polls, place.builder().open()).await {
        return cache.unwrap_or_else(|e| panic!("round {n}, open after {polls} polls: {e}"));
    }
    let again = place.builder().open().await;
    again.unwrap_or_else(|e| panic!("round {n}, open after one that was dropped at poll {polls}: {e}"))
}

impl Round<'_> {
    /// Every key has one version, which is on the device.
    async fn fill(&mut self) {
        for n in 0..KEYS {
            self.version += 1;
            let outcome = self.cache.set(key(n), value(n, self.version)).await.expect("set");
            assert!(outcome.is_stored(), "{outcome:?}");
            self.model.is(n, Some(self.version));
        }
        self.cache.sync().await.expect("sync");
        self.model.judge(&self.cache, "after a sync").await;
    }

    /// The call is dropped at its first point, at its second one, …, until it ends by itself.
    async fn drop_everywhere(&mut self, call: Call) {
        for polls in 0..=MOST_POLLS {
            let n = polls % KEYS;
            self.version += 1;
            self.place.chill();
            let has_ended = self.make(call, n, polls).await;
            self.traps.lay(value(n, self.version).len());
            self.traps.lay(64 << 10);
            self.model.judge(&self.cache, &format!("{call:?} dropped at poll {polls}")).await;
            if has_ended {
                return;
            }
            self.points += 1;
        }
        panic!("{call:?} does not end within {MOST_POLLS} polls");
    }

    /// Makes the call; whether it ended.
    async fn make(&mut self, call: Call, n: u32, polls: u32) -> bool {
        let (cache, version) = (&self.cache, self.version);
        let ended = |said: Option<Result<(), esker::Error>>| said.map(|said| said.expect("the disk is well")).is_some();
        match call {
            Call::Set(durability) => {
                let options = SetOptions::new().durability(durability);
                let said = dropped_after(polls, cache.set_with(key(n), value(n, version), options)).await;
                self.wrote(n, said)
            }
            Call::TrySet => {
                let said = dropped_after(polls, cache.try_set(key(n), value(n, version))).await;
                self.wrote(n, said)
            }
            Call::Get => ended(dropped_after(polls, cache.get(key(n))).await.map(|said| said.map(drop))),
            Call::Contains => ended(dropped_after(polls, cache.contains(key(n))).await.map(|said| said.map(drop))),
            Call::Flush => ended(dropped_after(polls, cache.flush()).await),
            Call::Sync => ended(dropped_after(polls, cache.sync()).await),
            Call::Delete => {
                let has_ended = ended(dropped_after(polls, cache.delete(key(n))).await.map(|said| said.map(drop)));
                if has_ended {
                    self.model.is(n, None)
                } else {
                    self.model.may_be(n, None)
                }
                has_ended
            }
            Call::Clear => {
                let has_ended = ended(dropped_after(polls, cache.clear()).await);
                self.model.all_may_be_gone();
                has_ended
            }
        }
    }

    /// A write that ended says what is there; of one that was dropped both may be so.
    fn wrote(&mut self, n: u32, said: Option<Result<esker::SetOutcome, esker::Error>>) -> bool {
        let outcome = said.map(|said| said.expect("the disk is well"));
        match &outcome {
            Some(outcome) if outcome.is_stored() => self.model.is(n, Some(self.version)),
            // What was refused leaves nothing behind.
            Some(_) => self.model.is(n, None),
            None => {
                self.model.may_be(n, Some(self.version));
                self.model.may_be(n, None);
            }
        }
        outcome.is_some()
    }

    /// `close` and `open` are dropped at every point too, and the next cache has what was synced.
    async fn close_and_open(&mut self) {
        let mut has_closed = false;
        let mut polls = 0;
        while !has_closed {
            assert!(polls <= MOST_POLLS, "close does not end within {MOST_POLLS} polls");
            has_closed = dropped_after(polls, self.cache.close()).await.map(|said| said.expect("close")).is_some();
            self.traps.lay(64 << 10);
            self.cache.close().await.expect("the close after one that was dropped");
            self.cache = opened(self.place, self.version, polls).await;
            self.model.judge(&self.cache, &format!("close and open dropped at poll {polls}")).await;
            self.points += 2 * u64::from(!has_closed);
            polls += 1;
        }
    }
}
