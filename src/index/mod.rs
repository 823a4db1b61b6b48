//! The index: where each key's newest record is, in eleven bytes an entry and hashbrown's byte of tag.
//!
//! The unit of the index is the digest, not the key: of the 64 bits of a [`Digest`] the choice of the shard, the choice
//! of the sub-table and the 36 bits in the slot tell entries apart, 43 bits and log2(shards) together (48 with 32
//! shards: of ten million keys hardly a pair meets). Two keys whose digests agree in all of these share one slot: the newer one wins and the older is forgotten,
//! a miss: with 32 shards and 50 million entries one in 10,000, with one shard three in 1,000. Who reads a record
//! compares its key (DESIGN.md, trap 14).
//!
//! A hash table that doubles swings between 13.7 and 27 bytes an entry. So a shard holds 128 sub-tables whose shares of
//! the hash range grow by the factor 2^(1/128): they double one after the other, and the index as a whole stays near 20
//! bytes an entry at every count.

pub mod load;
mod slot;
mod table;
#[cfg(test)]
mod tests;

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::types::Digest;
pub use crate::types::Location;
pub use slot::MAX_HITS;
use slot::{HASH_BITS, Slot};
use table::Table;

/// Sub-tables of a shard.
const TABLES: usize = 128;
/// Bits of the digest that choose shard and sub-table: those that the slot does not keep.
const ROUTE_BITS: u32 = u64::BITS - HASH_BITS;
/// Parts of a shard's range in the table that finds the sub-table.
const PARTS: usize = 256;
const PART_SHIFT: u32 = ROUTE_BITS - PARTS.ilog2();
/// Most shards; more would be overhead only.
const MAX_SHARDS: usize = 1024;

/// What the index knows of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Where the newest record is.
    pub location: Location,
    /// Hits counted since it was put there: 0 to 3, 3 meaning 3 or more.
    pub hits: u8,
    /// Whether an older record of the digest may still be on disk (DESIGN.md, trap 1).
    pub older: bool,
}

/// What [`Index::update`] shall do with a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Leave it as it is.
    Keep,
    /// Its newest record is here; the flag says whether an older one may still be on disk. Hits start at 0.
    Put(Location, bool),
    /// Its record was moved here, and it has so many hits.
    Move(Location, bool, u8),
    /// Forget it.
    Remove,
}

/// The index. Every operation on one digest is atomic; none blocks for longer than the resize of one sub-table.
pub struct Index {
    shards: Box<[Shard]>,
    /// Where each sub-table ends within a shard's range of 2^28.
    ends: [u32; TABLES],
    /// The sub-table that each of 256 equal parts of that range begins in. None is as narrow as such a part, so the one
    /// searched for is this or the next.
    first: [u8; PARTS],
}

struct Shard {
    tables: Mutex<[Table; TABLES]>,
    /// Entries; written under the lock, read without it.
    len: AtomicU64,
    /// Heap bytes of the sub-tables; likewise.
    heap_bytes: AtomicU64,
}

/// What tells an entry from all others, wherever it moves.
#[derive(Debug, Clone, Copy)]
pub struct Name(Route);

/// Where a digest belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Route {
    shard: usize,
    table: usize,
    hash: u64,
}

/// A locked sub-table, and the counts that must follow it.
struct Locked<'a> {
    shard: &'a Shard,
    tables: MutexGuard<'a, [Table; TABLES]>,
    table: usize,
    hash: u64,
}

impl Index {
    /// An empty index of `shards` shards, each with a lock of its own; 1 to 1,024 (what is outside counts as the
    /// nearest).
    pub fn new(shards: usize) -> Self {
        // The shares of the first i sub-tables sum to 2^(i/128) - 1.
        let end = |i: usize| ((2f64.powf((i + 1) as f64 / TABLES as f64) - 1.0) * (1u64 << ROUTE_BITS) as f64) as u32;
        let ends: [u32; TABLES] = std::array::from_fn(end);
        let first = |part: usize| ends.partition_point(|end| *end <= (part as u32) << PART_SHIFT) as u8;
        Self {
            shards: (0..shards.clamp(1, MAX_SHARDS)).map(|_| Shard::new()).collect(),
            ends,
            first: std::array::from_fn(first),
        }
    }

    /// What is known of `d`. Counts no hit.
    pub fn lookup(&self, d: Digest) -> Option<Found> {
        self.lock(d).found()
    }

    /// What is known of `d`, as it was before this call counted a hit.
    pub fn lookup_hit(&self, d: Digest) -> Option<Found> {
        let mut locked = self.lock(d);
        let hash = locked.hash;
        let slot = locked.table().find_mut(hash)?;
        let found = slot.found();
        slot.count_hit();
        Some(found)
    }

    /// Calls `change` under the shard's lock with what is known of `d`, and does as it says. Taking a sequence,
    /// appending the bytes and publishing them can so be one step (DESIGN.md, traps 3 and 4).
    ///
    /// `change` must not call the index, which would lock up, nor wait for the disk. If it panics, nothing changes.
    pub fn update<R>(&self, d: Digest, change: impl FnOnce(Option<Found>) -> (Change, R)) -> R {
        let mut locked = self.lock(d);
        let (change, result) = change(locked.found());
        match change {
            Change::Keep => {}
            Change::Put(location, older) => locked.put(location, older, 0),
            Change::Move(location, older, hits) => locked.put(location, older, hits),
            Change::Remove => drop(locked.remove_if(|_| true)),
        }
        result
    }

    /// Points `d` to `new` if it still points to `seen`; whether it did. Hits start at 0 again.
    pub fn replace_if(&self, d: Digest, seen: Location, new: Location, older: bool) -> bool {
        let mut locked = self.lock(d);
        let same = locked.found().is_some_and(|found| found.location == seen);
        if same {
            locked.put(new, older, 0);
        }
        same
    }

    /// Forgets `d` if it still points to `seen`; what was forgotten.
    pub fn remove_if(&self, d: Digest, seen: Location) -> Option<Found> {
        self.lock(d).remove_if(|slot| slot.location() == seen)
    }

    /// Keeps the entries for which `keep` holds, shard by shard and under the shard's lock.
    pub fn retain(&self, mut keep: impl FnMut(Found) -> bool) {
        for shard in &self.shards {
            let mut tables = shard.tables.lock();
            tables.iter_mut().for_each(|table| table.retain(&mut keep));
            shard.recount(&tables);
        }
    }

    /// Entries. Takes no lock.
    pub fn len(&self) -> u64 {
        self.shards.iter().map(|shard| shard.len.load(Ordering::Relaxed)).sum()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory taken, in bytes: the tables and the index itself. Takes no lock.
    pub fn allocated_bytes(&self) -> u64 {
        let heap_bytes: u64 = self.shards.iter().map(|shard| shard.heap_bytes.load(Ordering::Relaxed)).sum();
        heap_bytes + (size_of::<Self>() + size_of_val(&*self.shards)) as u64
    }

    /// Calls `f` with every entry, shard by shard and under the shard's lock: for checks of the accounting.
    pub fn for_each(&self, mut f: impl FnMut(Found)) {
        for shard in &self.shards {
            let tables = shard.tables.lock();
            tables.iter().flat_map(Table::iter).for_each(|slot| f(slot.found()));
        }
    }

    /// The entries of a shard as they are at one moment, under its lock.
    pub fn entries_of(&self, shard: usize) -> Vec<(Name, Found)> {
        let Some(tables) = self.shards.get(shard).map(|shard| shard.tables.lock()) else { return Vec::new() };
        let named = |table: usize, slot: &Slot| (Name(Route { shard, table, hash: slot.hash() }), slot.found());
        tables.iter().enumerate().flat_map(|(n, table)| table.iter().map(move |slot| named(n, slot))).collect()
    }

    /// What is known of a named entry now. Counts no hit.
    pub fn lookup_named(&self, Name(Route { shard, table, hash }): Name) -> Option<Found> {
        let shard = &self.shards[shard];
        Locked { shard, tables: shard.tables.lock(), table, hash }.found()
    }

    /// The shard from the top bits of the digest, scaled to the number of shards; the sub-table from what the scaling
    /// leaves; the hash from the low bits, which neither of them sees.
    fn route(&self, d: Digest) -> Route {
        let scaled = (d.0 >> HASH_BITS) * self.shards.len() as u64;
        let rest = (scaled & ((1 << ROUTE_BITS) - 1)) as u32;
        let table = usize::from(self.first[(rest >> PART_SHIFT) as usize]);
        Route {
            shard: (scaled >> ROUTE_BITS) as usize,
            table: table + usize::from(self.ends[table] <= rest),
            hash: d.0 & ((1 << HASH_BITS) - 1),
        }
    }

    fn lock(&self, d: Digest) -> Locked<'_> {
        let Route { shard, table, hash } = self.route(d);
        let shard = &self.shards[shard];
        Locked { shard, tables: shard.tables.lock(), table, hash }
    }
}

impl Shard {
    fn new() -> Self {
        Self {
            tables: Mutex::new(std::array::from_fn(|_| Table::default())),
            len: AtomicU64::new(0),
            heap_bytes: AtomicU64::new(0),
        }
    }

    /// Brings the counts up to date after a change of all tables.
    fn recount(&self, tables: &[Table; TABLES]) {
        let len: usize = tables.iter().map(Table::len).sum();
        let heap_bytes: usize = tables.iter().map(Table::heap_bytes).sum();
        self.len.store(len as u64, Ordering::Relaxed);
        self.heap_bytes.store(heap_bytes as u64, Ordering::Relaxed);
    }
}

impl Locked<'_> {
    fn table(&mut self) -> &mut Table {
        &mut self.tables[self.table]
    }

    fn found(&self) -> Option<Found> {
        self.tables[self.table].find(self.hash).map(Slot::found)
    }

    fn put(&mut self, location: Location, older: bool, hits: u8) {
        let slot = Slot::new(self.hash, location, older, hits);
        let hash = self.hash;
        match self.table().find_mut(hash) {
            Some(there) => *there = slot,
            None => self.counted(|table| table.insert_new(slot)),
        }
    }

    fn remove_if(&mut self, condition: impl FnOnce(&Slot) -> bool) -> Option<Found> {
        let hash = self.hash;
        self.counted(|table| table.remove_if(hash, condition)).map(|slot| slot.found())
    }

    /// Changes the table and brings the shard's counts up to date.
    fn counted<R>(&mut self, change: impl FnOnce(&mut Table) -> R) -> R {
        let shard = self.shard;
        let table = self.table();
        let (len, heap_bytes) = (table.len(), table.heap_bytes());
        let result = change(table);
        // Only the holder of the lock writes, so that load and store need not be one operation.
        let follow = |count: &AtomicU64, before: usize, after: usize| {
            if before != after {
                count.store(count.load(Ordering::Relaxed) - before as u64 + after as u64, Ordering::Relaxed);
            }
        };
        follow(&shard.len, len, table.len());
        follow(&shard.heap_bytes, heap_bytes, table.heap_bytes());
        result
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("shards", &self.shards.len()).field("len", &self.len()).finish_non_exhaustive()
    }
}
