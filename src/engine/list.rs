//! What is in the cache, without the values.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use super::get::ATTEMPTS;
use super::{Engine, turn};
use crate::entry::EntryStats;
use crate::error::{Error, Result};
use crate::format::length::class_bytes;
use crate::index::{Found, Location, Name};
use crate::memory::Item;
use crate::read::{self, Head};
use crate::sync::task;
use crate::types::{Millis, RecordKind};

/// Entries whose places are known at a time: their shards are looked at one after the other until there are so many.
const PART_ENTRIES: usize = 1 << 16;
/// Tasks that read, and entries that each reads one after the other.
const READERS: usize = 16;
const READ_ENTRIES: usize = 16;

/// An entry of a list.
#[derive(Debug)]
pub struct Listed {
    /// Its key, as it stands on disk.
    pub key: Bytes,
    /// What is known of it.
    pub stats: EntryStats,
}

/// A walk through the index. An entry that is there all the time is met once, wherever eviction moves it.
pub struct Listing {
    engine: Arc<Engine>,
    /// What the keys begin with.
    prefix: Bytes,
    next_shard: usize,
    /// Of the shards before it: what is not asked for yet.
    places: Vec<(Name, Location)>,
    reading: VecDeque<task::JoinHandle<Vec<Listed>>>,
    ready: VecDeque<Listed>,
}

impl Engine {
    /// What is known of a key's entry.
    pub async fn entry_stats(&self, key: &[u8]) -> Result<Option<EntryStats>> {
        let digest = self.check_key(key)?;
        turn::give_way().await;
        // In this order: what is held goes to the disk, and never back.
        if let Some((item, _)) = self.log.held.get(digest, false) {
            return Ok(if item.key() == key { self.stats_of_held(&item) } else { None });
        }
        let listed = self.listed(|| self.index.lookup(digest)).await;
        Ok(listed.filter(|listed| listed.key == key).map(|listed| listed.stats))
    }

    /// All entries whose keys on disk begin with `prefix`.
    pub fn list(self: &Arc<Self>, prefix: Bytes) -> Listing {
        let (places, reading, ready) = (Vec::new(), VecDeque::new(), VecDeque::new());
        Listing { engine: self.clone(), prefix, next_shard: 0, places, reading, ready }
    }

    /// The entry that the index finds this way, wherever it moves meanwhile; `None` if it is not served, or cannot be read.
    async fn listed(&self, lookup: impl Fn() -> Option<Found>) -> Option<Listed> {
        for _ in 0..ATTEMPTS {
            let given_up = self.log.marks.given_up();
            let found = lookup()?;
            match read::fetch_head(&self.segments, found.location).await {
                // What kept it dead may be gone, with the file that it was read from.
                Ok(_) if self.log.marks.given_up() != given_up => {}
                Ok(head) if self.segments.holds(found.location.slot, head.segment) => match self.stats_of(&head, found)
                {
                    Some(stats) => return Some(Listed { key: Bytes::copy_from_slice(head.key()), stats }),
                    None if lookup().is_some_and(|now| now.location != found.location) => {}
                    None => return None,
                },
                Ok(_) => {}
                Err(_) if lookup().is_some_and(|now| now.location != found.location) => {}
                Err(_) => return None,
            }
        }
        None
    }

    fn stats_of(&self, head: &Head, found: Found) -> Option<EntryStats> {
        let (now, at) = (self.clock.now(), found.location);
        let header = &head.header;
        let is_purged = self.log.marks.cover(head.key(), head.tags(), header.sequence, header.created);
        if header.expires.is_some_and(|expires| expires <= now) || is_purged {
            return None;
        }
        let (value_bytes, chunks) = match header.kind {
            RecordKind::Put => (u64::from(header.value_len), Vec::new()),
            RecordKind::Head => {
                let object = self.objects.at(at)?;
                (object.len_bytes()?, object.chunks())
            }
            _ => return None,
        };
        Some(EntryStats {
            value_bytes,
            stored_bytes: class_bytes(at.class) + chunks.iter().map(|chunk| class_bytes(chunk.class)).sum::<u64>(),
            age: age(header.created, now),
            expires_at: header.expires.map(|at| UNIX_EPOCH + Duration::from_millis(at.0)),
            hits: found.hits,
            sequence: header.sequence,
            segment: Some(head.segment),
            chunks: chunks.len() as u64,
            is_pinned: self.log.pins.holds(at),
            is_dirty: self.log.dirty.at(at).is_some(),
        })
    }

    fn stats_of_held(&self, item: &Item) -> Option<EntryStats> {
        let now = self.clock.now();
        let is_purged = self.log.marks.cover(item.key(), item.tags(), item.sequence, item.created);
        (!item.is_expired(now) && !is_purged).then(|| EntryStats {
            value_bytes: item.value().len() as u64,
            stored_bytes: 0,
            age: age(item.created, now),
            expires_at: item.expires.map(|at| UNIX_EPOCH + Duration::from_millis(at.0)),
            hits: 0,
            sequence: item.sequence,
            segment: None,
            chunks: 0,
            is_pinned: false,
            is_dirty: false,
        })
    }
}

fn age(created: Millis, now: Millis) -> Duration {
    Duration::from_millis(now.0.saturating_sub(created.0))
}

impl Listing {
    /// The next entry. Cancel safe: nothing is left out.
    pub async fn next(&mut self) -> Result<Option<Listed>> {
        loop {
            if let Some(listed) = self.ready.pop_front() {
                return Ok(Some(listed));
            }
            self.engine.check_open()?;
            turn::give_way().await;
            self.read_on();
            let Some(reading) = self.reading.front_mut() else { return Ok(None) };
            let read = reading.await;
            self.reading.pop_front();
            self.ready.extend(read.map_err(|_| Error::Closed)?);
        }
    }

    /// Sees that enough is being read.
    fn read_on(&mut self) {
        while self.reading.len() < READERS {
            while self.places.is_empty() && self.next_shard < self.engine.index.shards() {
                self.look_up();
            }
            if self.places.is_empty() {
                return;
            }
            let some = self.places.split_off(self.places.len().saturating_sub(READ_ENTRIES));
            let (engine, prefix) = (self.engine.clone(), self.prefix.clone());
            self.reading.push_back(task::spawn(async move {
                let mut all = Vec::with_capacity(some.len());
                for (name, _) in some.into_iter().rev() {
                    let listed = engine.listed(|| engine.index.lookup_named(name)).await;
                    all.extend(listed.filter(|listed| listed.key.starts_with(&prefix)));
                }
                all
            }));
        }
    }

    /// Where the entries of the next shards are, the first of the segments last.
    fn look_up(&mut self) {
        while self.places.len() < PART_ENTRIES && self.next_shard < self.engine.index.shards() {
            let entries = self.engine.index.entries_of(self.next_shard);
            self.places.extend(entries.into_iter().map(|(name, found)| (name, found.location)));
            self.next_shard += 1;
        }
        self.places.sort_unstable_by_key(|(_, at)| std::cmp::Reverse((at.slot, at.offset_units)));
    }
}
