//! Fetches in progress: one a key, who waits for it, and whether what it gives may still be stored; and fetches that
//! failed, as long as that is to be remembered.
//!
//! Who wants a key that is not there takes a [`Seat`] in its flight. The first one leads: it fetches. The others wait, and
//! get what the leader got; if the leader goes away before that, one of them leads.
//!
//! A flight is outdated as soon as its key is set, deleted or cleared, or is covered by a purge, or may be: what it gives is older,
//! and must not be stored over that. A purge says so before its mark has its place: what is stored before that, the mark
//! covers. Who writes says so under the lock under which the write is published (the index shard's; for a clear all locks
//! under which anything is appended), and a fetched value is published under the same lock, if its flight is not outdated.
//! An outdated flight takes nobody in any more: who asks after the write must not get what was there before.
//!
//! Three orders make this whole. A flight is in the table before its leader looks the key up once more, and fetches only
//! after that: so a write that does not see the flight was published before the leader looked, and began before the fetch.
//! A write looks at the count of flights, without a lock, only under the lock of the index shard, which that look takes too.
//! And a failure is remembered in the step in which its flight leaves the table, so that no write falls between the two.

mod failures;
mod seat;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashTable;

use crate::entry::Hit;
use crate::error::SharedError;
use crate::stats::Counters;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, Notify};
use crate::types::{Digest, Millis};

pub use failures::Failures;
pub use seat::{Seat, Turn};

/// Parts of the table, each with a lock of its own.
const SHARDS: usize = 16;
/// A part whose flights are gone keeps room for so many.
const ROOM_KEPT: usize = 64;

/// What a flight gave: a value, or why there is none.
pub type Outcome = Result<Hit, SharedError>;

/// All flights of a cache.
pub struct Flights {
    shards: [Shard; SHARDS],
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Shard {
    table: Mutex<Table>,
    /// Flights and failures in the table; written under its lock, read without it.
    len: AtomicUsize,
}

#[derive(Default)]
struct Table {
    flights: HashTable<Arc<Flight>>,
    failures: Failures,
}

/// The fetch of a key.
pub struct Flight {
    digest: Digest,
    key: Bytes,
    is_outdated: AtomicBool,
    state: Mutex<State>,
    /// Told when it lands, and when it wants a leader.
    changed: Notify,
}

struct State {
    stage: Stage,
    seats: usize,
}

/// How far a flight is.
enum Stage {
    /// Its leader fetches.
    Flying,
    /// Its leader went away; one of the others takes its place.
    Vacant,
    /// It is there.
    Landed(Outcome),
}

/// What somebody gets who asks for a key.
pub enum Joined {
    /// A seat in the key's flight.
    Seat(Seat),
    /// A failure that is remembered.
    Failed(SharedError),
}

impl Flights {
    /// None.
    pub fn new(counters: Arc<Counters>) -> Self {
        Self { shards: Default::default(), counters }
    }

    fn shard(&self, digest: Digest) -> &Shard {
        &self.shards[(digest.0 >> 32) as usize % SHARDS]
    }

    /// Takes a seat in the flight of a key, or begins one.
    pub fn join(self: &Arc<Self>, digest: Digest, key: &[u8], now: Millis) -> Joined {
        let shard = self.shard(digest);
        let mut table = shard.table.lock();
        if let Some(flight) = table.find(digest, key) {
            if let Some(leads) = flight.take_in(now) {
                return Joined::Seat(Seat::new(self.clone(), flight, leads));
            }
            // It landed, and is stored so slowly that it expired meanwhile.
            table.remove(&flight);
            flight.is_outdated.store(true, Ordering::SeqCst);
        }
        if let Some(error) = table.failures.get(digest, key, now) {
            self.counters.fetches_spared.add_one();
            return Joined::Failed(error);
        }
        let flight = Arc::new(Flight::new(digest, key));
        table.flights.insert_unique(digest.0, flight.clone(), |flight| flight.digest.0);
        shard.count(&table);
        Joined::Seat(Seat::new(self.clone(), flight, true))
    }

    /// A write of this digest is published: what is being fetched, and what failed, is older. To be called under the lock
    /// of the digest's index shard.
    pub fn outdate(&self, digest: Digest) {
        let shard = self.shard(digest);
        if shard.len.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut table = shard.table.lock();
        while let Ok(flight) = table.flights.find_entry(digest.0, |flight| flight.digest == digest) {
            // Never the last hold of it: its seats have theirs.
            flight.remove().0.is_outdated.store(true, Ordering::SeqCst);
        }
        table.failures.forget(digest);
        shard.count(&table);
    }

    /// What is being fetched for keys that begin so is older than what is done now; without a prefix, for every key.
    pub fn outdate_prefix(&self, prefix: &[u8]) {
        for shard in self.shards.iter().filter(|shard| shard.len.load(Ordering::SeqCst) > 0) {
            let mut table = shard.table.lock();
            table.flights.retain(|flight| {
                let is_older = flight.key.starts_with(prefix);
                if is_older {
                    flight.is_outdated.store(true, Ordering::SeqCst);
                }
                !is_older
            });
            table.failures.forget_prefix(prefix);
            shard.count(&table);
        }
    }

    /// What is being fetched, of every key, may be of what is purged now. Failures are not: they have no tags.
    pub fn outdate_flights(&self) {
        for shard in self.shards.iter().filter(|shard| shard.len.load(Ordering::SeqCst) > 0) {
            let mut table = shard.table.lock();
            for flight in table.flights.drain() {
                flight.is_outdated.store(true, Ordering::SeqCst);
            }
            shard.count(&table);
        }
    }

    /// Everything is removed, and what is being fetched, or failed, is older. To be called while nothing can be appended.
    /// What was remembered: a user's errors, which are not to be dropped under a lock.
    #[must_use]
    pub fn outdate_all(&self) -> Vec<Failures> {
        let outdate = |shard: &Shard| {
            let mut table = shard.table.lock();
            for flight in table.flights.drain() {
                flight.is_outdated.store(true, Ordering::SeqCst);
            }
            let failures = std::mem::take(&mut table.failures);
            shard.count(&table);
            failures
        };
        self.shards.iter().map(outdate).collect()
    }
}

impl Shard {
    fn count(&self, table: &Table) {
        self.len.store(table.flights.len() + table.failures.len(), Ordering::SeqCst);
    }
}

impl Table {
    fn find(&self, digest: Digest, key: &[u8]) -> Option<Arc<Flight>> {
        self.flights.find(digest.0, |flight| flight.digest == digest && flight.key == key).cloned()
    }

    /// Takes a flight out; whether it was there.
    fn remove(&mut self, flight: &Arc<Flight>) -> bool {
        let Ok(found) = self.flights.find_entry(flight.digest.0, |other| Arc::ptr_eq(other, flight)) else {
            return false;
        };
        drop(found.remove());
        let len = self.flights.len();
        if self.flights.capacity() > ROOM_KEPT.max(8 * len) {
            self.flights.shrink_to(ROOM_KEPT.max(2 * len), |flight| flight.digest.0);
        }
        true
    }
}

impl Flight {
    fn new(digest: Digest, key: &[u8]) -> Self {
        Self {
            digest,
            key: Bytes::copy_from_slice(key),
            is_outdated: AtomicBool::new(false),
            state: Mutex::new(State { stage: Stage::Flying, seats: 1 }),
            changed: Notify::new(),
        }
    }

    /// Whether its key was written since it began, so that what it gives must not be stored. Certain under the lock under
    /// which that would be published; elsewhere it may be outdated a moment later.
    pub fn is_outdated(&self) -> bool {
        self.is_outdated.load(Ordering::SeqCst)
    }

    /// Takes one more in, if what it gave has not expired; whether that one leads.
    fn take_in(&self, now: Millis) -> Option<bool> {
        let mut state = self.state.lock();
        if matches!(&state.stage, Stage::Landed(Ok(hit)) if hit.expires.is_some_and(|at| at <= now)) {
            return None;
        }
        state.seats += 1;
        let leads = matches!(state.stage, Stage::Vacant);
        if leads {
            state.stage = Stage::Flying;
        }
        Some(leads)
    }
}

impl std::fmt::Debug for Flight {
    /// Not the key: it is the user's, and does not belong into a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flight").field("is_outdated", &self.is_outdated()).finish_non_exhaustive()
    }
}
