//! Who writes a key: one at a time, in the order in which they came.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::sync::{AsyncMutex, Mutex};

/// The keys that are being written.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<Bytes, Arc<AsyncMutex<()>>>>);

/// Who has one, or waits for it, may write its key. The last to leave takes the key out.
struct Place {
    turns: Arc<Turns>,
    key: Bytes,
    lock: Arc<AsyncMutex<()>>,
}

impl Turns {
    /// Waits for the turn of writing a key, which ends when what is returned is dropped. Cancel safe.
    pub(super) async fn take(self: &Arc<Self>, key: &Bytes) -> impl Send + use<> {
        let lock = self.0.lock().entry(key.clone()).or_default().clone();
        let place = Place { turns: self.clone(), key: key.clone(), lock };
        let turn = place.lock.clone().lock_owned().await;
        // In this order: the turn ends, then the place is left.
        (turn, place)
    }

    /// Waits until whoever is writing a key now has done it. Cancel safe.
    pub(super) async fn passed(self: &Arc<Self>, key: &[u8]) {
        let Some(lock) = self.0.lock().get(key).cloned() else { return };
        let place = Place { turns: self.clone(), key: Bytes::copy_from_slice(key), lock };
        drop(place.lock.lock().await);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut keys = self.turns.0.lock();
        // The table's, and this one: nobody else is here, and nobody comes but by the table.
        if Arc::strong_count(&self.lock) == 2 {
            keys.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn one_writes_a_key_at_a_time_and_nothing_is_left_behind() {
        let turns = Arc::<Turns>::default();
        let (a, b) = (Bytes::from("a"), Bytes::from("b"));
        let soon = Duration::from_millis(20);
        turns.passed(b"a").await;
        let first = turns.take(&a).await;
        let _other = turns.take(&b).await;
        assert!(tokio::time::timeout(soon, turns.take(&a)).await.is_err(), "a second writer waits");
        assert!(tokio::time::timeout(soon, turns.passed(b"a")).await.is_err(), "so does who wants to pass");
        let second = tokio::spawn({
            let (turns, a) = (turns.clone(), a.clone());
            async move { drop(turns.take(&a).await) }
        });
        tokio::time::sleep(soon).await;
        drop(first);
        second.await.unwrap();
        turns.passed(b"a").await;
        assert_eq!(turns.0.lock().keys().collect::<Vec<_>>(), [&b]);
    }
}
