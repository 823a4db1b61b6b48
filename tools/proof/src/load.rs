//! Writers that set, overwrite and remove, and enter into the ledger what was acknowledged; and the judge of what a cache
//! holds afterwards.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use esker::{DiskCache, Durability, SetOptions, SetOutcome};

use crate::common::{Dice, key, read_value, value};
use crate::ledger::{Answer, Ending, Ledger};
use crate::streamed;

/// Keys that one writer has to itself.
pub const KEYS_A_WRITER: u32 = 8;

/// What the moment is: whatever was acknowledged until then must survive a fault after it.
pub type Moment = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What writers share.
#[derive(Clone)]
pub struct Load {
    /// Where they write.
    pub cache: DiskCache,
    /// What they did.
    pub ledger: Arc<Mutex<Ledger>>,
    /// The moment.
    pub moment: Moment,
    /// Values are shorter.
    pub max_value_bytes: u64,
    /// Set: writers end after what they are at. Set too by one whose write failed.
    pub stop: Arc<AtomicBool>,
}

/// The ledger, whether or not a writer panicked over it.
pub fn open(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Load {
    /// Writers at work until each has done so many deeds, or they are stopped. Returns how many deeds were done.
    ///
    /// # Errors
    /// A writer panicked.
    pub async fn work(&self, dice: &mut Dice, writers: u32, deeds: u64) -> Result<u64, String> {
        let tasks: Vec<_> = (0..writers)
            .map(|writer| tokio::spawn(self.clone().write(writer, Dice::new(dice.next()), deeds)))
            .collect();
        let mut done = 0;
        for task in tasks {
            done += task.await.map_err(|e| format!("a writer: {e}"))?;
        }
        Ok(done)
    }

    async fn write(self, writer: u32, mut dice: Dice, deeds: u64) -> u64 {
        let mut done = 0;
        while done < deeds && !self.stop.load(Ordering::Relaxed) {
            let n = writer * KEYS_A_WRITER + dice.below(u64::from(KEYS_A_WRITER)) as u32;
            let went_well = match dice.below(8) {
                0 => self.delete(n).await,
                1 => self.set(n, Durability::Buffered, &mut dice).await,
                _ => self.set(n, Durability::Synced, &mut dice).await,
            };
            if !went_well {
                self.stop.store(true, Ordering::Relaxed);
            }
            done += 1;
        }
        done
    }

    /// Sets a key to a new version. Whether that went well.
    pub async fn set(&self, n: u32, durability: Durability, dice: &mut Dice) -> bool {
        let len = match dice.below(4) {
            0 => dice.below(200),
            _ => dice.below(self.max_value_bytes),
        };
        let version = open(&self.ledger).begin_set(n);
        let options = SetOptions::new().durability(durability);
        let outcome = streamed::put(&self.cache, &key(n), version, value(n, version, len as usize), options).await;
        let moment = (self.moment)();
        let ending = match outcome {
            Ok(SetOutcome::Stored { durability: Durability::Synced }) => Ending::Durable(moment),
            Ok(SetOutcome::Stored { .. } | SetOutcome::Held) => Ending::Open,
            Ok(SetOutcome::Refused { .. }) | Err(_) => Ending::Failed,
        };
        open(&self.ledger).end(n, ending);
        ending != Ending::Failed
    }

    /// Deletes a key. Whether that went well.
    pub async fn delete(&self, n: u32) -> bool {
        open(&self.ledger).begin_removal(n);
        let deleted = self.cache.delete(key(n)).await;
        let moment = (self.moment)();
        let ending = if deleted.is_ok() { Ending::Durable(moment) } else { Ending::Failed };
        open(&self.ledger).end(n, ending);
        deleted.is_ok()
    }

    /// Clears everything, while no writer is at work. Whether that went well.
    pub async fn clear(&self) -> bool {
        let keys = open(&self.ledger).keys();
        (0..keys).for_each(|n| open(&self.ledger).begin_removal(n));
        let cleared = self.cache.clear().await;
        let moment = (self.moment)();
        let ending = if cleared.is_ok() { Ending::Durable(moment) } else { Ending::Failed };
        (0..keys).for_each(|n| open(&self.ledger).end(n, ending));
        cleared.is_ok()
    }
}

/// What a cache holds under a key.
///
/// # Errors
/// `get` fails.
pub async fn look(cache: &DiskCache, n: u32) -> Result<Answer, String> {
    Ok(streamed::take(cache, n, &key(n)).await?.map(|(value, _)| read_value(&value)))
}

/// Judges every key. Returns the answers.
///
/// # Errors
/// The first that is wrong or lost.
pub async fn judge(cache: &DiskCache, ledger: &Ledger, moment: u64, may_forget: bool) -> Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    for n in 0..ledger.keys() {
        let answer = look(cache, n).await?;
        ledger.judge(n, answer, moment, may_forget)?;
        answers.push(answer);
    }
    Ok(answers)
}
