//! A burst of sets, overwrites and deletes: nothing lost, nothing stale, nothing back from the dead.

use std::path::Path;

use anyhow::Result;
use esker::BackendKind;

use super::Figures;
use crate::bench::load;
use crate::store::{Outcome, Plan, Store};
use crate::value::Identity;

const SETS: u64 = 20_000;
const TASKS: u64 = 32;
const LEN_BYTES: u32 = 16 << 10;
const TOUCHED: u64 = 1_000;

/// Entries 0..1,000 are overwritten, 1,000..2,000 deleted, the others left.
fn expected(number: u64) -> Option<Identity> {
    match number {
        0..TOUCHED => Some(Identity { object: number, version: 2, len_bytes: LEN_BYTES / 2 }),
        TOUCHED..2_000 => None,
        _ => Some(Identity { object: number, version: 1, len_bytes: LEN_BYTES }),
    }
}

/// What reading everything found.
#[derive(Debug, Default)]
struct Seen {
    lost: u64,
    stale_or_wrong: u64,
    undead: u64,
}

/// Runs the check.
///
/// # Errors
/// If the cache fails.
pub async fn check(dir: &Path, backend: BackendKind) -> Result<Figures> {
    let plan = Plan::esker(dir, 1 << 30, backend);
    let mut figures = Figures::default();
    let store = Store::open(&plan, None).await?;
    let refused = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let (cache, count) = (store.clone(), refused.clone());
    let burst = load::run(TASKS, SETS, move |number| {
        let (cache, count) = (cache.clone(), count.clone());
        async move {
            let identity = Identity { object: number, version: 1, len_bytes: LEN_BYTES };
            if cache.set(&number.to_le_bytes(), identity.value(), None).await? != Outcome::Stored {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            Ok(())
        }
    });
    let burst = burst.await?;
    figures.tell("sets/s", burst.ops as f64 / burst.wall.as_secs_f64());
    figures.exactly("refused sets", refused.load(std::sync::atomic::Ordering::Relaxed), 0);
    let lost = lost_of_burst(&store).await?;
    figures.exactly("lost after the burst", lost, 0);
    for number in 0..TOUCHED {
        let newer = expected(number).map(Identity::value).unwrap_or_default();
        store.set(&number.to_le_bytes(), newer, None).await?;
    }
    let mut existed = 0;
    for number in TOUCHED..2 * TOUCHED {
        existed += u64::from(store.delete(&number.to_le_bytes()).await?);
    }
    figures.exactly("deletes that found their entry", existed, TOUCHED);
    tell(&mut figures, "before the reopen", &read_all(&store).await?);
    store.close().await?;
    for when in ["after the first reopen", "after the second reopen"] {
        let store = Store::open(&plan, None).await?;
        tell(&mut figures, when, &read_all(&store).await?);
        store.close().await?;
    }
    Ok(figures)
}

async fn lost_of_burst(store: &Store) -> Result<u64> {
    let mut lost = 0;
    for number in 0..SETS {
        let identity = Identity { object: number, version: 1, len_bytes: LEN_BYTES };
        let value = store.get(&number.to_le_bytes()).await?;
        lost += u64::from(!value.is_some_and(|value| identity.matches(&value)));
    }
    Ok(lost)
}

async fn read_all(store: &Store) -> Result<Seen> {
    let mut seen = Seen::default();
    for number in 0..SETS {
        match (store.get(&number.to_le_bytes()).await?, expected(number)) {
            (Some(value), Some(identity)) => seen.stale_or_wrong += u64::from(!identity.matches(&value)),
            (Some(_), None) => seen.undead += 1,
            (None, Some(_)) => seen.lost += 1,
            (None, None) => {}
        }
    }
    Ok(seen)
}

fn tell(figures: &mut Figures, when: &str, seen: &Seen) {
    figures.exactly(&format!("lost {when}"), seen.lost, 0);
    figures.exactly(&format!("stale or wrong {when}"), seen.stale_or_wrong, 0);
    figures.exactly(&format!("deleted but served {when}"), seen.undead, 0);
}
