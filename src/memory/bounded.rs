//! A map in memory that never holds more bytes than it was given, in shards.

use super::sieve::Sieve;
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::Digest;

/// A shard has at least this many bytes, as long as there is more than one.
const MIN_SHARD_BYTES: u64 = 8 << 20;
/// Most shards.
const MAX_SHARDS: u64 = 16;
/// An item takes at most this part of its shard, so that one item does not empty it.
const MAX_ITEM_PART: u64 = 8;

/// What shall become of an item that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<R> {
    /// Return this, which was made of it, and count the hit.
    Serve(R),
    /// Return nothing and leave it.
    Miss,
    /// Return nothing and drop it.
    Drop,
}

/// What became of an item that was put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// Whether it is in. If not, only a newer item of the digest may be.
    pub admitted: bool,
    /// How many others were evicted for it.
    pub evicted: u64,
}

/// Payloads by digest, bounded by the sum of their costs in bytes.
pub struct Bounded<P> {
    shards: Box<[Shard<P>]>,
    shard_bytes: u64,
}

struct Shard<P> {
    /// A hit only reads: tasks that find what they ask for do not wait for each other.
    sieve: RwLock<Sieve<P>>,
    /// As of the last change; written under the lock, read without it.
    used_bytes: AtomicU64,
    len: AtomicU64,
}

impl<P> Bounded<P> {
    /// Room for `capacity_bytes`, split evenly over 1 to 16 shards of 8 MiB at least; 0 admits nothing.
    pub fn new(capacity_bytes: u64) -> Self {
        let shards = (capacity_bytes / MIN_SHARD_BYTES).clamp(1, MAX_SHARDS);
        let shard =
            |_| Shard { sieve: RwLock::new(Sieve::new()), used_bytes: AtomicU64::new(0), len: AtomicU64::new(0) };
        Self { shards: (0..shards).map(shard).collect(), shard_bytes: capacity_bytes / shards }
    }

    /// The largest cost that is admitted, in bytes: an eighth of a shard.
    pub fn max_cost_bytes(&self) -> u64 {
        self.shard_bytes / MAX_ITEM_PART
    }

    fn shard(&self, d: Digest) -> &Shard<P> {
        let scaled = u128::from(d.0) * self.shards.len() as u128;
        &self.shards[(scaled >> u64::BITS) as usize]
    }

    /// Asks `judge`, under the shard's lock, what to do with the item of `d`, if there is one. One that is to be dropped is
    /// judged once more, since another may be there by then.
    pub fn get<R>(&self, d: Digest, mut judge: impl FnMut(&P) -> Verdict<R>) -> Option<R> {
        // The lock is free again before the verdict is carried out.
        let verdict = self.shard(d).sieve.read().visit(d, &mut judge)?;
        match verdict {
            Verdict::Serve(served) => Some(served),
            Verdict::Miss => None,
            Verdict::Drop => {
                drop(self.remove_if(d, |payload| matches!(judge(payload), Verdict::Drop)));
                None
            }
        }
    }

    /// Puts an item in, in place of one of `d` that it `replaces`, and evicts others until it fits. A cost above
    /// [`Bounded::max_cost_bytes`] is not admitted, and the older item goes nevertheless.
    pub fn put(&self, d: Digest, payload: P, cost_bytes: u64, replaces: impl FnOnce(&P) -> bool) -> Admission {
        let fits = cost_bytes <= self.max_cost_bytes() && self.shard_bytes > 0;
        let shard = self.shard(d);
        let mut admission = Admission { admitted: false, evicted: 0 };
        // What goes is freed once the lock is.
        let mut gone = Vec::new();
        let mut sieve = shard.sieve.write();
        if let Some(there) = sieve.get(d) {
            if !replaces(there) {
                return admission;
            }
            gone.extend(sieve.remove(d));
        }
        if fits {
            while sieve.used_bytes() + cost_bytes > self.shard_bytes
                && let Some(evicted) = sieve.evict()
            {
                gone.push(evicted);
                admission.evicted += 1;
            }
            admission.admitted = sieve.insert(d, payload, cost_bytes);
        }
        shard.follow(&sieve);
        drop(sieve);
        drop(gone);
        admission
    }

    /// Removes the item of `d` if `condition` holds for it.
    pub fn remove_if(&self, d: Digest, condition: impl FnOnce(&P) -> bool) -> Option<P> {
        let shard = self.shard(d);
        let mut sieve = shard.sieve.write();
        if !condition(sieve.get(d)?) {
            return None;
        }
        let removed = sieve.remove(d);
        shard.follow(&sieve);
        removed
    }

    /// Removes everything, shard by shard.
    pub fn clear(&self) {
        for shard in &self.shards {
            let mut sieve = shard.sieve.write();
            let old = std::mem::replace(&mut *sieve, Sieve::new());
            shard.follow(&sieve);
            drop(sieve);
            drop(old);
        }
    }

    /// The sum of the costs, in bytes. Takes no lock.
    pub fn used_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.used_bytes.load(Ordering::Relaxed)).sum()
    }

    /// Items. Takes no lock.
    pub fn len(&self) -> u64 {
        self.shards.iter().map(|shard| shard.len.load(Ordering::Relaxed)).sum()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<P> Shard<P> {
    fn follow(&self, sieve: &Sieve<P>) {
        self.used_bytes.store(sieve.used_bytes(), Ordering::Relaxed);
        self.len.store(sieve.len() as u64, Ordering::Relaxed);
    }
}

impl<P> std::fmt::Debug for Bounded<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (shards, shard_bytes) = (self.shards.len(), self.shard_bytes);
        f.debug_struct("Bounded").field("shards", &shards).field("shard_bytes", &shard_bytes).finish_non_exhaustive()
    }
}
