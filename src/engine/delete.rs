//! Removing one key.

use super::Engine;
use crate::error::{Error, Result};
use crate::log::{Appended, Entry, Order, Ticket};
use crate::segment::Stream;
use crate::types::Durability;

/// A key that is being removed.
pub(super) struct Deleting {
    /// `None`: it was nowhere; earlier deletes of it may not be durable yet.
    ticket: Option<Ticket>,
    was_there: bool,
}

impl Engine {
    /// Removes a key, durably. Whether there was an entry.
    pub async fn delete(&self, key: &[u8]) -> Result<bool> {
        let deleting = self.begin_delete(key).await?;
        self.end_delete(&deleting).await
    }

    /// Removes a key: it is not served any more.
    pub(super) async fn begin_delete(&self, key: &[u8]) -> Result<Deleting> {
        let digest = self.check_key(key)?;
        // What the index does not know is nowhere on disk uncovered, once the deletes before this one are durable.
        let (is_known, was_held) = self.log.is_known_or_outdate(digest);
        if was_held {
            self.counters.deletes.add_one();
        }
        if !is_known && !self.log.is_history_uncovered() {
            return Ok(Deleting { ticket: None, was_there: was_held });
        }
        let entry = Entry::delete(digest, key, self.clock.now());
        let stream = Stream::New.of(self.namespaces.group_of_key(key));
        match self.append(stream, &entry, Order::Newest, true).await? {
            Ok(Appended::Done(placed)) => {
                if placed.before.is_some() {
                    self.counters.deletes.add_one();
                }
                Ok(Deleting { was_there: was_held || placed.before.is_some(), ticket: Some(placed.ticket) })
            }
            Ok(Appended::Stale) => Ok(Deleting { ticket: None, was_there: was_held }),
            Err(_) => {
                self.forget_refused(digest);
                Err(Error::WriteFailed)
            }
        }
    }

    /// Makes it durable.
    pub(super) async fn end_delete(&self, deleting: &Deleting) -> Result<bool> {
        match &deleting.ticket {
            Some(ticket) => self.log.wait(ticket, Durability::Synced).await?,
            None => self.log.settle_written(Durability::Synced).await?,
        }
        Ok(deleting.was_there)
    }
}
