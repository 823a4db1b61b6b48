//! Removing one key.

use super::Engine;
use crate::error::{Error, Result};
use crate::log::{Appended, Entry, Order};
use crate::segment::Stream;
use crate::types::Durability;

impl Engine {
    /// Removes a key, durably. Whether there was an entry.
    pub async fn delete(&self, key: &[u8]) -> Result<bool> {
        let digest = self.check_key(key)?;
        // What the index does not know is nowhere on disk uncovered, once the deletes before this one are durable.
        let (is_known, was_held) = self.log.is_known_or_outdate(digest);
        if was_held {
            self.counters.deletes.add_one();
        }
        if !is_known && !self.log.is_history_uncovered() {
            self.log.settle_written(Durability::Synced).await?;
            return Ok(was_held);
        }
        let entry = Entry::delete(digest, key, self.clock.now());
        let stream = Stream::New.of(self.namespaces.group_of_key(key));
        match self.append(stream, &entry, Order::Newest, true).await? {
            Ok(Appended::Done(placed)) => {
                if placed.before.is_some() {
                    self.counters.deletes.add_one();
                }
                self.log.wait(&placed.ticket, Durability::Synced).await?;
                Ok(was_held || placed.before.is_some())
            }
            Ok(Appended::Stale) => Ok(was_held),
            Err(_) => {
                self.forget_refused(digest);
                Err(Error::WriteFailed)
            }
        }
    }
}
