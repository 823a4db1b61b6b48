//! A place in a flight: of its leader, or of one who waits.

use std::sync::Arc;

use super::{Flight, Flights, Outcome, Stage};
use crate::error::SharedError;
use crate::sync::atomic::Ordering;
use crate::types::Millis;

/// See the module's documentation. Dropped, it is free for others: a leader's before it has landed passes to one of those
/// who wait.
pub struct Seat {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
    leads: bool,
    has_begun: bool,
}

/// What comes next for who has a seat.
pub enum Turn {
    /// To fetch.
    Lead,
    /// To take this.
    Landed(Outcome),
    /// To ask again: the flight is outdated, and has no leader any more.
    Again,
}

impl Seat {
    pub(super) fn new(flights: Arc<Flights>, flight: Arc<Flight>, leads: bool) -> Self {
        Self { flights, flight, leads, has_begun: false }
    }

    /// The flight.
    pub fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Whether it is the leader's.
    pub fn leads(&self) -> bool {
        self.leads
    }

    /// Waits until there is something to do. Cancel safe.
    pub async fn turn(&mut self) -> Turn {
        let flight = self.flight.clone();
        loop {
            let changed = flight.changed.notified();
            if let Some(turn) = self.turn_now() {
                return turn;
            }
            changed.await;
        }
    }

    fn turn_now(&mut self) -> Option<Turn> {
        if self.leads {
            return Some(Turn::Lead);
        }
        let mut state = self.flight.state.lock();
        match &state.stage {
            Stage::Flying => None,
            Stage::Landed(outcome) => {
                self.flights.counters.fetches_shared.add_one();
                Some(Turn::Landed(outcome.clone()))
            }
            Stage::Vacant if self.flight.is_outdated() => Some(Turn::Again),
            Stage::Vacant => {
                state.stage = Stage::Flying;
                self.leads = true;
                Some(Turn::Lead)
            }
        }
    }

    /// The leader begins to fetch.
    pub fn begin(&mut self) {
        self.has_begun = true;
        self.flights.counters.fetches.add_one();
    }

    /// The leader has it. The flight stays in the table until the seat is dropped: who comes while the value is stored gets
    /// it too.
    pub fn land(&self, outcome: Outcome) {
        self.flight.state.lock().stage = Stage::Landed(outcome);
        self.flight.changed.notify_waiters();
    }

    /// The leader failed. Who waits gets the error; who comes later only if it is remembered, until then, and nothing was
    /// written since the flight began.
    pub fn fail(&self, error: SharedError, now: Millis, until: Option<Millis>) {
        let shard = self.flights.shard(self.flight.digest);
        let mut table = shard.table.lock();
        let is_current = table.remove(&self.flight);
        let forgotten = match until.filter(|_| is_current) {
            Some(until) => table.failures.add(self.flight.digest, &self.flight.key, error.clone(), until, now),
            None => Vec::new(),
        };
        shard.count(&table);
        drop(table);
        // The user's errors, which may do anything when they are dropped.
        drop(forgotten);
        self.land(Err(error));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let shard = self.flights.shard(self.flight.digest);
        let mut table = shard.table.lock();
        let mut state = self.flight.state.lock();
        state.seats -= 1;
        let is_abandoned = self.leads && matches!(state.stage, Stage::Flying);
        if is_abandoned {
            state.stage = Stage::Vacant;
        }
        let is_vacant = matches!(state.stage, Stage::Vacant);
        let waiting = state.seats;
        if waiting == 0 || (self.leads && !is_vacant) {
            table.remove(&self.flight);
            shard.count(&table);
        }
        drop(state);
        drop(table);
        if is_abandoned && self.has_begun {
            self.flights.counters.fetches_abandoned.add_one();
        }
        // Also from one who waited, was told to lead, and goes away before it heard of it.
        if is_vacant && waiting > 0 {
            if self.flight.is_outdated.load(Ordering::SeqCst) {
                self.flight.changed.notify_waiters();
            } else {
                self.flight.changed.notify_one();
            }
        }
    }
}
