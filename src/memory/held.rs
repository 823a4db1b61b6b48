//! Entries that wait in memory for a second use before they are written to disk: a queue of bounded bytes, first in, first
//! out, and a ghost of what it dropped unused (the small queue of S3-FIFO in front of the disk; Yang et al., SOSP'23).
//!
//! An entry is here or in the index, not in both: whoever publishes a write of a digest, or takes an entry in here, does
//! both steps under the lock of the digest's index shard. So nothing here is older than what the index holds.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::ghost::{Ghost, Limit};
use super::{ITEM_OVERHEAD_BYTES, Item};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::{Digest, Sequence};

/// An entry takes at most this part of the queue.
const MAX_ITEM_PART: u64 = 8;
/// The ghost remembers no more entries than there are units of so many bytes in what it remembers.
const BYTES_AN_ENTRY: u64 = 128;

/// What was held too long without being used.
pub struct Dropped {
    /// Its digest.
    pub digest: Digest,
    /// The entry.
    pub item: Arc<Item>,
}

/// See the module's documentation.
pub struct Held {
    /// Entries; written under the lock, read without it.
    len: AtomicU64,
    state: Mutex<State>,
}

struct State {
    items: HashMap<u64, Waiting>,
    /// Oldest first; what is not in `items` with this sequence any more is passed over.
    order: VecDeque<(Digest, Sequence)>,
    used_bytes: u64,
    capacity_bytes: u64,
    ghost: Ghost,
}

struct Waiting {
    item: Arc<Item>,
    is_used: bool,
}

impl Held {
    /// A queue of so many bytes, before a disk of so many: the ghost remembers as much as that holds.
    pub fn new(capacity_bytes: u64, disk_bytes: u64) -> Self {
        let limit = Limit { bytes: disk_bytes, entries: disk_bytes / BYTES_AN_ENTRY };
        let state = State {
            items: HashMap::new(),
            order: VecDeque::new(),
            used_bytes: 0,
            capacity_bytes,
            ghost: Ghost::new(limit),
        };
        Self { len: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// Whether an entry that took so many bytes was dropped unused a while ago: so this is its second use.
    pub fn recalls(&self, digest: Digest, len_bytes: u64) -> bool {
        self.state.lock().ghost.take(digest, len_bytes)
    }

    /// An entry of so many bytes is not taken, the first time.
    pub fn remember(&self, digest: Digest, len_bytes: u64) {
        self.state.lock().ghost.add(digest, len_bytes);
    }

    /// Whether an entry of so many bytes of key, metadata and value is held at all.
    pub fn takes(&self, payload_bytes: usize) -> bool {
        payload_bytes as u64 + ITEM_OVERHEAD_BYTES <= self.state.lock().capacity_bytes / MAX_ITEM_PART
    }

    /// Takes an entry in; what goes for it, oldest first. To be called under the lock of the digest's index shard.
    #[must_use]
    pub fn insert(&self, digest: Digest, item: Arc<Item>) -> Vec<Dropped> {
        let mut state = self.state.lock();
        // Another version of what has shown its use has shown it too.
        let is_used = state.remove(digest).is_some_and(|waiting| waiting.is_used);
        state.used_bytes += item.cost_bytes();
        state.order.push_back((digest, item.sequence));
        state.items.insert(digest.0, Waiting { item, is_used });
        let mut dropped = Vec::new();
        while state.used_bytes > state.capacity_bytes
            && let Some((oldest, sequence)) = state.order.pop_front()
        {
            if state.items.get(&oldest.0).is_some_and(|waiting| waiting.item.sequence == sequence)
                && let Some(Waiting { item, .. }) = state.remove(oldest)
            {
                state.ghost.add(oldest, item.cost_bytes());
                dropped.push(Dropped { digest: oldest, item });
            }
        }
        self.follow(&state);
        dropped
    }

    /// The entry of a digest; whether this is its first use. Counted only if `counts`.
    pub fn get(&self, digest: Digest, counts: bool) -> Option<(Arc<Item>, bool)> {
        if self.len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut state = self.state.lock();
        let waiting = state.items.get_mut(&digest.0)?;
        let is_first = counts && !waiting.is_used;
        waiting.is_used |= counts;
        Some((waiting.item.clone(), is_first))
    }

    /// Takes an entry out, or that only which has this sequence; whether it was there. To be called under the lock of the
    /// digest's index shard.
    pub fn remove(&self, digest: Digest, only: Option<Sequence>) -> bool {
        if self.len.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut state = self.state.lock();
        let is_it = |waiting: &Waiting| only.is_none_or(|sequence| waiting.item.sequence == sequence);
        let is_there = state.items.get(&digest.0).is_some_and(is_it);
        // The user's bytes are freed once the lock is.
        let removed = if is_there { state.remove(digest) } else { None };
        self.follow(&state);
        drop(state);
        removed.is_some()
    }

    /// Takes everything out. To be called while nothing can be appended.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        let items = std::mem::take(&mut state.items);
        state.order.clear();
        state.used_bytes = 0;
        self.follow(&state);
        drop(state);
        drop(items);
    }

    /// The sequence of the oldest; none if nothing is held.
    pub fn oldest(&self) -> Option<Sequence> {
        if self.len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let state = self.state.lock();
        let is_there = |(d, s): &&(Digest, Sequence)| state.items.get(&d.0).is_some_and(|w| w.item.sequence == *s);
        state.order.iter().find(is_there).map(|(_, sequence)| *sequence)
    }

    /// The first use of an entry did not get it to disk: the next counts as its first.
    pub fn unuse(&self, digest: Digest, sequence: Sequence) {
        let mut state = self.state.lock();
        if let Some(waiting) = state.items.get_mut(&digest.0).filter(|waiting| waiting.item.sequence == sequence) {
            waiting.is_used = false;
        }
    }

    /// How many bytes it may take from now on; what is too much goes with the next that comes.
    pub fn set_capacity_bytes(&self, bytes: u64) {
        self.state.lock().capacity_bytes = bytes;
    }

    /// Entries.
    pub fn entries(&self) -> u64 {
        self.len.load(Ordering::Relaxed)
    }

    /// Memory taken, in bytes: the entries, and the fingerprints of what was dropped.
    pub fn used_bytes(&self) -> u64 {
        let state = self.state.lock();
        state.used_bytes + state.ghost.allocated_bytes()
    }

    fn follow(&self, state: &State) {
        self.len.store(state.items.len() as u64, Ordering::Release);
    }
}

impl State {
    fn remove(&mut self, digest: Digest) -> Option<Waiting> {
        let removed = self.items.remove(&digest.0)?;
        self.used_bytes -= removed.item.cost_bytes();
        // What was removed leaves its place in the order: not more of these than of those that count.
        if self.order.len() > 2 * self.items.len() + 64 {
            let items = &self.items;
            self.order.retain(|(d, s)| items.get(&d.0).is_some_and(|waiting| waiting.item.sequence == *s));
        }
        Some(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Millis;

    fn item(sequence: u64, len: usize) -> Arc<Item> {
        Arc::new(Item::copy(b"k", &[], &vec![0; len], Millis(1), None).at(Sequence(sequence)))
    }

    #[test]
    fn the_oldest_go_and_are_remembered() {
        let each = 1_000 + 1 + ITEM_OVERHEAD_BYTES;
        let held = Held::new(10 * each, 1 << 20);
        for n in 0..10 {
            assert!(held.insert(Digest(n << 20), item(n, 1_000)).is_empty());
        }
        assert!(held.get(Digest(0), true).is_some_and(|(_, is_first)| is_first));
        assert!(held.get(Digest(0), true).is_some_and(|(_, is_first)| !is_first), "its first use was counted");
        let dropped = held.insert(Digest(10 << 20), item(10, 1_000));
        assert_eq!((dropped.len(), dropped[0].digest, held.entries()), (1, Digest(0), 10));
        assert!(
            held.recalls(Digest(0), each) && !held.recalls(Digest(0), each) && !held.recalls(Digest(1 << 20), each)
        );
        assert!(!held.takes(2_000) && held.takes(500));
    }

    #[test]
    fn a_newer_version_takes_the_place_and_the_use() {
        let held = Held::new(100_000, 1 << 20);
        assert!(held.insert(Digest(1), item(1, 10)).is_empty());
        assert!(held.get(Digest(1), false).is_some_and(|(_, is_first)| !is_first), "looked at, not used");
        assert!(held.get(Digest(1), true).is_some_and(|(_, is_first)| is_first));
        assert!(held.insert(Digest(1), item(2, 10)).is_empty());
        assert!(held.get(Digest(1), true).is_some_and(|(item, first)| item.sequence == Sequence(2) && !first));
        assert!(!held.remove(Digest(1), Some(Sequence(1))) && held.remove(Digest(1), Some(Sequence(2))));
        assert!(held.entries() == 0 && held.get(Digest(1), true).is_none() && !held.remove(Digest(1), None));
    }

    #[test]
    fn overwriting_one_key_leaves_nothing_behind() {
        let held = Held::new(100_000, 1 << 20);
        (0..10_000).for_each(|n| assert!(held.insert(Digest(1), item(n, 10)).is_empty()));
        let state = held.state.lock();
        assert!(state.order.len() <= 70 && state.used_bytes < 1_000, "{} {}", state.order.len(), state.used_bytes);
    }
}
