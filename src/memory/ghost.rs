//! What eviction dropped, by fingerprint: an entry that comes again soon after it was dropped went too early.
//!
//! A ghost holds what was dropped last, up to so many bytes of entries. It forgets by generations, an eighth of it at a
//! time, so that an entry costs its fingerprint's four bytes and its share of a hash table, about eight bytes together.

use std::collections::VecDeque;

use hashbrown::HashTable;

use crate::format::ghosts;
use crate::types::Digest;

/// Generations of a ghost.
const GENERATIONS: usize = 8;

/// How much a ghost remembers.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Bytes of entries that were dropped.
    pub bytes: u64,
    /// Entries, however short they are.
    pub entries: u64,
}

/// See the module's documentation. Two entries with the same 32 bits are one: of a million, one in 4,000.
pub struct Ghost {
    /// Newest first.
    generations: VecDeque<Generation>,
    limit: Limit,
}

#[derive(Default)]
struct Generation {
    prints: HashTable<u32>,
    bytes: u64,
}

impl Ghost {
    pub fn new(limit: Limit) -> Self {
        Self { generations: VecDeque::from([Generation::default()]), limit }
    }

    /// An entry of so many bytes was dropped.
    pub fn add(&mut self, digest: Digest, len_bytes: u64) {
        let share = GENERATIONS as u64;
        let is_full = |g: &Generation| {
            g.bytes >= self.limit.bytes / share || g.prints.len() as u64 >= (self.limit.entries / share).max(1)
        };
        if self.generations.front().is_none_or(is_full) {
            if let Some(full) = self.generations.front_mut() {
                full.prints.shrink_to_fit(rehash);
            }
            self.generations.truncate(GENERATIONS - 1);
            self.generations.push_front(Generation::default());
        }
        let print = print(digest);
        if let Some(newest) = self.generations.front_mut() {
            newest.prints.entry(rehash(&print), |other| *other == print, rehash).insert(print);
            newest.bytes += len_bytes;
        }
    }

    /// Whether it was dropped a while ago; it is then no ghost any more.
    pub fn take(&mut self, digest: Digest, len_bytes: u64) -> bool {
        let print = print(digest);
        self.generations.iter_mut().any(|generation| {
            let found = generation.prints.find_entry(rehash(&print), |other| *other == print);
            let Ok(entry) = found else { return false };
            entry.remove();
            generation.bytes = generation.bytes.saturating_sub(len_bytes);
            true
        })
    }

    /// Bytes of the entries that it remembers.
    pub fn bytes(&self) -> u64 {
        self.generations.iter().map(|g| g.bytes).sum()
    }

    /// What it remembers, the newest `most` entries at least as far as whole generations go.
    pub fn save(&self, most: usize) -> Vec<ghosts::Generation> {
        let mut left = most;
        let fits = |g: &&Generation| {
            let rest = left.checked_sub(g.prints.len());
            left = rest.unwrap_or(0);
            rest.is_some()
        };
        let saved = |g: &Generation| ghosts::Generation { bytes: g.bytes, prints: g.prints.iter().copied().collect() };
        self.generations.iter().take_while(fits).map(saved).collect()
    }

    /// Remembers what was saved, instead of what it remembers.
    pub fn load(&mut self, saved: Vec<ghosts::Generation>) {
        let generation = |g: ghosts::Generation| {
            let mut prints = HashTable::with_capacity(g.prints.len());
            for print in g.prints {
                prints.entry(rehash(&print), |other| *other == print, rehash).insert(print);
            }
            Generation { prints, bytes: g.bytes }
        };
        self.generations = saved.into_iter().take(GENERATIONS).map(generation).collect();
    }

    /// Memory taken, in bytes.
    pub fn allocated_bytes(&self) -> u64 {
        self.generations.iter().map(|g| g.prints.allocation_size() as u64).sum()
    }
}

/// The middle of the digest: its ends choose the shard and the place in the index, so that keys may agree in them.
fn print(digest: Digest) -> u32 {
    (digest.0 >> 16) as u32
}

/// Spread over 64 bits: hashbrown takes the bucket from the low bits and the tag from the top 7.
fn rehash(print: &u32) -> u64 {
    u64::from(*print).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u64) -> Digest {
        Digest(n.wrapping_mul(0x2545_f491_4f6c_dd1d).rotate_left(23))
    }

    #[test]
    fn remembers_what_was_dropped_last_up_to_its_bytes() {
        let mut ghost = Ghost::new(Limit { bytes: 8_000, entries: 1 << 20 });
        (0..1_000).for_each(|n| ghost.add(digest(n), 10));
        assert!((7_000..=8_000).contains(&ghost.bytes()), "{}", ghost.bytes());
        assert!(!ghost.take(digest(100), 10), "it is long ago");
        assert!(ghost.take(digest(999), 10) && ghost.take(digest(400), 10));
        assert!(!ghost.take(digest(999), 10), "taken once");
        assert!(!ghost.take(digest(5_000), 10), "never dropped");
    }

    #[test]
    fn what_is_saved_is_remembered_the_newest_first() {
        let ghost = || Ghost::new(Limit { bytes: 8_000, entries: 1 << 20 });
        let (mut full, mut whole, mut part) = (ghost(), ghost(), ghost());
        (0..1_000).for_each(|n| full.add(digest(n), 10));
        whole.load(full.save(usize::MAX));
        part.load(full.save(300));
        assert_eq!(whole.bytes(), full.bytes());
        assert!(whole.take(digest(999), 10) && whole.take(digest(400), 10) && !whole.take(digest(100), 10));
        assert!(part.take(digest(999), 10) && !part.take(digest(400), 10));
        (1_000..2_000).for_each(|n| part.add(digest(n), 10));
        assert!(part.take(digest(1_999), 10) && !part.take(digest(999), 10));
    }

    #[test]
    fn many_short_entries_take_no_more_memory_than_allowed() {
        let mut ghost = Ghost::new(Limit { bytes: u64::MAX, entries: 100_000 });
        (0..1_000_000).for_each(|n| ghost.add(digest(n), 1));
        let an_entry = ghost.allocated_bytes() as f64 / 100_000.0;
        assert!(an_entry < 12.0, "{an_entry} bytes an entry");
        assert!(ghost.take(digest(999_999), 1) && !ghost.take(digest(0), 1));
    }
}
