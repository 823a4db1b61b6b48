//! Many keys at once: what stands together is read together, and what waits for the disk waits for it once.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::Engine;
use super::set::Begun;
use crate::entry::{Hit, SetOptions, SetOutcome};
use crate::error::{Error, Result};
use crate::index::Location;
use crate::read::{self, Fetched};
use crate::sync::{processors, task};
use crate::types::Digest;

/// Reads of one part of a batch that wait for the disk at a time.
const MAX_READS: usize = 64;
/// Keys that are worth a task of their own.
const LEAST_PART: usize = 32;

/// A key as it stands on disk.
pub type Key<'a> = Cow<'a, [u8]>;

/// A record that was read before it was asked for.
pub(super) struct Ahead {
    pub(super) location: Location,
    pub(super) record: Fetched,
}

impl Engine {
    /// The newest values of keys. Many are divided among the processors.
    pub async fn get_many(self: &Arc<Self>, mut keys: Vec<Result<Key<'_>>>) -> Result<Vec<Result<Option<Hit>>>> {
        self.check_open()?;
        let parts = processors().min(keys.len() / LEAST_PART).max(1);
        let len = keys.len().div_ceil(parts).max(1);
        let mut others = Vec::with_capacity(parts);
        while keys.len() > len {
            let part = keys.split_off((keys.len() - 1) / len * len);
            let part = part.into_iter().map(|key| key.map(|key| Key::Owned(key.into_owned()))).collect();
            let engine = self.clone();
            others.push(task::spawn(async move { engine.get_part(part).await }));
        }
        let mut hits = self.get_part(keys).await;
        for part in others.into_iter().rev() {
            // Aborted by a runtime that shuts down: with a part left out, hits would stand beside other keys than theirs.
            hits.extend(part.await.map_err(|_| Error::Closed)?);
        }
        Ok(hits)
    }

    async fn get_part(self: &Arc<Self>, keys: Vec<Result<Key<'_>>>) -> Vec<Result<Option<Hit>>> {
        let keys: Vec<_> = keys.into_iter().map(|key| key.and_then(|key| Ok((self.check_key(&key)?, key)))).collect();
        let mut ahead = self.read_ahead(&keys).await;
        let mut hits = Vec::with_capacity(keys.len());
        for (key, ahead) in keys.into_iter().zip(&mut ahead) {
            hits.push(match key {
                Ok((digest, key)) => self.hit(digest, &key, true, ahead.take()).await,
                Err(error) => Err(error),
            });
        }
        hits
    }

    /// The records of those that memory does not have, where one read gives several, or the disk has to be waited for.
    async fn read_ahead(&self, keys: &[Result<(Digest, Key<'_>)>]) -> Vec<Option<Ahead>> {
        let now = self.clock.now();
        let mut wanted: Vec<(Location, usize)> = Vec::with_capacity(keys.len());
        for (n, key) in keys.iter().enumerate() {
            let Ok((digest, key)) = key else { continue };
            let Some(found) = self.index.lookup(*digest) else { continue };
            if self.in_memory(*digest, found.location, key, now).is_none() {
                wanted.push((found.location, n));
            }
        }
        wanted.sort_unstable_by_key(|(at, _)| (at.slot, at.offset_units));
        let places: Vec<Location> = wanted.iter().map(|(at, _)| *at).collect();
        let mut records: Vec<Option<Fetched>> = Vec::with_capacity(places.len());
        let mut waiting: VecDeque<(usize, Reading)> = VecDeque::new();
        for run in read::runs(&places) {
            let first = records.len();
            if let Some(read) = read::fetch_run(&self.segments, run, false).await {
                records.extend(read);
                continue;
            }
            records.extend(run.iter().map(|_| None));
            if waiting.len() == MAX_READS {
                take(&mut waiting, &mut records).await;
            }
            let (segments, run) = (self.segments.clone(), run.to_vec());
            let reading = task::spawn(async move { read::fetch_run(&segments, &run, true).await });
            waiting.push_back((first, reading));
        }
        while !waiting.is_empty() {
            take(&mut waiting, &mut records).await;
        }
        let mut ahead: Vec<Option<Ahead>> = keys.iter().map(|_| None).collect();
        for ((location, n), record) in wanted.into_iter().zip(records) {
            ahead[n] = record.map(|record| Ahead { location, record });
        }
        ahead
    }

    /// Stores values, in their order, and waits for all of them together.
    pub async fn set_many(
        self: &Arc<Self>,
        items: Vec<(Result<Key<'_>>, Bytes)>,
        options: &SetOptions,
    ) -> Result<Vec<Result<SetOutcome>>> {
        self.check_open()?;
        let mut begun = Vec::with_capacity(items.len());
        for (key, value) in items {
            begun.push(match key {
                Ok(key) => match self.put_of(&key, value, options, true) {
                    Ok(put) => self.begin_set(put).await,
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            });
        }
        let mut outcomes = Vec::with_capacity(begun.len());
        for begun in begun {
            outcomes.push(match begun {
                Ok(Begun::Accepted(ticket)) => self.end_set(&ticket, options.durability).await,
                Ok(Begun::Over(outcome)) => Ok(outcome),
                Err(error) => Err(error),
            });
        }
        Ok(outcomes)
    }

    /// Removes keys, durably together. Whether there were entries.
    pub async fn delete_many(&self, keys: Vec<Result<Key<'_>>>) -> Result<Vec<Result<bool>>> {
        self.check_open()?;
        let mut begun = Vec::with_capacity(keys.len());
        for key in keys {
            begun.push(match key {
                Ok(key) => self.begin_delete(&key).await,
                Err(error) => Err(error),
            });
        }
        let mut deleted = Vec::with_capacity(begun.len());
        for deleting in begun {
            deleted.push(match deleting {
                Ok(deleting) => self.end_delete(&deleting).await,
                Err(error) => Err(error),
            });
        }
        Ok(deleted)
    }
}

type Reading = task::JoinHandle<Option<Vec<Option<Fetched>>>>;

/// Waits for the read that has waited longest; its records take their places.
async fn take(waiting: &mut VecDeque<(usize, Reading)>, records: &mut [Option<Fetched>]) {
    let Some((first, reading)) = waiting.pop_front() else { return };
    let read = reading.await.ok().flatten().unwrap_or_default();
    for (place, record) in records[first..].iter_mut().zip(read) {
        *place = record;
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::backend::sim::Sim;
    use crate::clock::ManualClock;
    use crate::config::{Config, DIRECTORY_OVERHEAD_BYTES};
    use crate::engine::{Parts, Starting};
    use crate::types::{Durability, Millis};
    use std::path::Path;

    /// The log has gone round, and the key's newest record stands at just the place of the one that was read (P2).
    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_read_ahead_is_not_served_once_another_stands_at_its_place() {
        let capacity_bytes = 8 * (64 << 10) + DIRECTORY_OVERHEAD_BYTES;
        let config = Config { capacity_bytes, segment_len_bytes: Some(64 << 10), ..Config::default() };
        let backend = Some(Arc::new(Sim::new(1)) as _);
        let parts = Parts { clock: Arc::new(ManualClock::new(Millis(1))), backend, seed: None };
        let starting = Starting::open(Path::new("/cache"), config, parts).await.expect("open");
        let engine = starting.wait().await.expect("open");
        let digest = engine.check_key(b"key").expect("a key");
        let set = |version: u32| {
            let mut value = vec![7; 3_900];
            value[..4].copy_from_slice(&version.to_le_bytes());
            // A block each, so that places come again.
            engine.set(b"key", value.into(), SetOptions::new().durability(Durability::Synced), true)
        };
        set(0).await.expect("set");
        let place = || engine.index.lookup(digest).expect("it is there").location;
        let location = place();
        let record = read::fetch(&engine.segments, location).await.ok().expect("it is there");
        let mut version = 0;
        while version == 0 || place() != location {
            version += 1;
            assert!(version < 10_000, "the place never came again");
            set(version).await.expect("set");
        }
        let ahead = Some(Ahead { location, record });
        let hit = engine.hit(digest, b"key", true, ahead).await.expect("get").expect("it is there");
        assert_eq!(hit.value()[..4], version.to_le_bytes());
    }
}
