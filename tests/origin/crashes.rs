//! A process that dies around a write to its origin, or at any other time, while the origin lives on: what the next process
//! serves is what the origin has (P2 towards the origin).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use esker::backend::sim::Sim;
use esker::{Config, DiskCache, Durability, FetchOptions, OriginCache, SetOptions, WriteMode};

use super::Mock;
use super::common::{Dice, small};

const KEYS: u64 = 6;

/// Kills the process before or after a write to its origin, the `left`th of these moments.
struct Doom {
    sim: Sim,
    left: AtomicU64,
    is_power_loss: bool,
}

impl Doom {
    fn pass(&self) {
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) == Ok(1) {
            if self.is_power_loss { self.sim.power_loss() } else { self.sim.crash_process() }
        }
    }
}

/// The origin, watched.
struct Dying {
    origin: Arc<Mock>,
    doom: Arc<Doom>,
}

impl esker::Origin for Dying {
    fn load<'a>(&'a self, key: &'a [u8]) -> esker::BoxFuture<'a, Result<Option<esker::Fetched>, esker::BoxError>> {
        self.origin.load(key)
    }

    fn store<'a>(
        &'a self,
        key: &'a [u8],
        value: bytes::Bytes,
        metadata: bytes::Bytes,
    ) -> esker::BoxFuture<'a, Result<(), esker::BoxError>> {
        Box::pin(async move {
            self.doom.pass();
            let stored = self.origin.store(key, value, metadata).await;
            self.doom.pass();
            stored
        })
    }

    fn remove<'a>(&'a self, key: &'a [u8]) -> esker::BoxFuture<'a, Result<(), esker::BoxError>> {
        Box::pin(async move {
            self.doom.pass();
            let removed = self.origin.remove(key).await;
            self.doom.pass();
            removed
        })
    }
}

async fn open(sim: &Sim) -> DiskCache {
    // Who waits for room on a disk that is gone does not wait long.
    let config = Config { io_timeout_ms: 1_000, ..small(8) };
    DiskCache::builder("/cache").config(config).backend_with(Arc::new(sim.clone())).open().await.unwrap()
}

/// Reads and writes until the cache is dead, or for a while.
async fn work(cache: &OriginCache, dice: &mut Dice, version: &mut u64) {
    for _ in 0..120 {
        let key = format!("key {}", dice.below(KEYS));
        *version += 1;
        let durability = [Durability::Buffered, Durability::Written, Durability::Synced][dice.below(3) as usize];
        let done = match dice.below(8) {
            0..4 => {
                let mut value = format!("{version} ").into_bytes();
                value.resize(20 + dice.below(12_000) as usize, b'.');
                cache.set_with(&key, value, SetOptions::new().durability(durability)).await.map(drop)
            }
            4 => cache.delete(&key).await,
            5 => cache.cache().sync().await,
            _ => cache.get(&key).await.map(drop),
        };
        if done.is_err() {
            return;
        }
    }
}

async fn live_and_die(seed: u64, mode: WriteMode) -> u64 {
    let mut dice = Dice::new(seed);
    let (origin, mut sim, mut version, mut served) = (Mock::new(), Sim::new(seed), 0, 0);
    for _ in 0..6 {
        let cache = open(&sim).await;
        for n in 0..KEYS {
            let key = format!("key {n}");
            let hit = cache.get(&key).await.unwrap();
            served += u64::from(hit.is_some());
            if let Some(hit) = hit {
                let (shown, has) = (hit.value().clone(), origin.has(&key));
                let brief = |value: &[u8]| String::from_utf8_lossy(&value[..value.len().min(10)]).into_owned();
                assert_eq!(
                    Some(&shown),
                    has.as_ref(),
                    "{seed} {mode:?} {key}: {} {:?}",
                    brief(&shown),
                    has.as_deref().map(brief)
                );
            }
        }
        let doom = Doom { sim: sim.clone(), left: AtomicU64::new(1 + dice.below(60)), is_power_loss: dice.one_in(2) };
        let doom = Arc::new(doom);
        let dying = Dying { origin: origin.clone(), doom: doom.clone() };
        let over = cache.with_origin(Arc::new(dying), mode, FetchOptions::new());
        // Or in the middle of anything.
        let most_life =
            if dice.one_in(2) { Duration::from_micros(dice.below(20_000)) } else { Duration::from_secs(600) };
        let _ = tokio::time::timeout(most_life, work(&over, &mut dice, &mut version)).await;
        if doom.left.swap(0, Ordering::SeqCst) > 0 {
            sim.crash_process();
        }
        drop((over, cache));
        // A write that was on its way to the origin arrives.
        while Arc::strong_count(&origin) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sim = sim.reopen();
    }
    served
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_after_a_crash_is_what_the_origin_has() {
    let mut served = 0;
    for seed in 0..30 {
        for mode in [WriteMode::Around, WriteMode::Through] {
            served += live_and_die(seed, mode).await;
        }
    }
    assert!(served > 150, "{served} of what was asked for was there: it proves little");
}
