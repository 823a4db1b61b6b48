//! The hand that lets one sync fail for real: it arms the block layer before the sync, and disarms it after.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use esker::backend::IoFuture;

use super::fault::Fault;
use crate::machine::Daemon;
use crate::steered::{Hand, Sync};

/// What happened.
#[derive(Debug, Default)]
struct Seen {
    syncs: u64,
    /// What the chosen sync said, if it failed.
    failure: Option<String>,
    /// Openings of files whose sync failed. Kept, so that no other opening gets the same address.
    failed: HashMap<usize, Arc<PathBuf>>,
    /// Writes and syncs of such a file: what must not happen.
    touched: Vec<String>,
}

/// What is shared with the syncs in flight.
struct State {
    daemon: Mutex<Daemon>,
    fault: Fault,
    nth: u64,
    retries: bool,
    seen: Mutex<Seen>,
}

/// The hand.
#[derive(Clone)]
pub struct Saboteur(Arc<State>);

fn enter<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Saboteur {
    /// Lets the nth sync fail, counted from 1; 0 is none. The canary: a failed sync is asked for again, and what it says
    /// then is believed.
    pub fn new(daemon: Daemon, fault: Fault, nth: u64, retries: bool) -> Self {
        Self(Arc::new(State { daemon: Mutex::new(daemon), fault, nth, retries, seen: Mutex::default() }))
    }

    /// How many syncs were asked for.
    pub fn syncs(&self) -> u64 {
        enter(&self.0.seen).syncs
    }

    /// What the chosen sync said, if it failed.
    pub fn failure(&self) -> Option<String> {
        enter(&self.0.seen).failure.clone()
    }

    /// What was done to a file behind its failed sync, in the same opening.
    pub fn touched(&self) -> Vec<String> {
        enter(&self.0.seen).touched.clone()
    }

    /// The disk is well again.
    ///
    /// # Errors
    /// The block layer does not do as it is told.
    pub fn heal(&self) -> anyhow::Result<()> {
        let mut daemon = enter(&self.0.daemon);
        // A flush comes first, which a fault that has not struck yet lets fail.
        daemon.heal().or_else(|_| daemon.heal())
    }

    fn watch(&self, what: &Arc<PathBuf>, verb: &str) {
        let mut seen = enter(&self.0.seen);
        if seen.failed.contains_key(&(Arc::as_ptr(what) as usize)) {
            seen.touched.push(format!("{verb} {}", what.display()));
        }
    }

    async fn sync_chosen(self, really: &Sync) -> std::io::Result<()> {
        let arming = self.clone();
        let armed = tokio::task::spawn_blocking(move || enter(&arming.0.daemon).fail(&arming.0.fault.rules())).await;
        armed.map_err(std::io::Error::other)?.map_err(std::io::Error::other)?;
        let synced = really().await;
        if let Err(error) = &synced {
            enter(&self.0.seen).failure = Some(error.to_string());
        }
        if !self.0.fault.lasts() {
            let healing = self.clone();
            let healed = tokio::task::spawn_blocking(move || healing.heal()).await;
            healed.map_err(std::io::Error::other)?.map_err(std::io::Error::other)?;
        }
        if synced.is_err() && self.0.retries { really().await } else { synced }
    }
}

impl Hand for Saboteur {
    fn sync(&self, what: &Arc<PathBuf>, really: Sync) -> IoFuture<()> {
        self.watch(what, "sync of");
        let is_chosen = {
            let mut seen = enter(&self.0.seen);
            seen.syncs += 1;
            seen.syncs == self.0.nth
        };
        let (this, what) = (self.clone(), what.clone());
        Box::pin(async move {
            let synced = if is_chosen { this.clone().sync_chosen(&really).await } else { really().await };
            if synced.is_err() {
                enter(&this.0.seen).failed.insert(Arc::as_ptr(&what) as usize, what);
            }
            synced
        })
    }

    fn writes(&self, what: &Arc<PathBuf>) {
        self.watch(what, "write to");
    }
}
