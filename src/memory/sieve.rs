//! One shard: a table over a queue that is swept by SIEVE (Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024).
//!
//! New items enter at the young end; a hit only sets a mark. The hand walks from the old end towards the young one,
//! takes marks away, and evicts the first item without one. An item is never moved, so a hit writes one flag.

use hashbrown::HashTable;

use super::Verdict;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::types::Digest;

/// No node.
const NONE: u32 = u32::MAX;
/// Queues of this many nodes are not worth compacting.
const SMALL_NODES: usize = 64;

struct Node<P> {
    digest: Digest,
    /// `None` in a free node.
    payload: Option<P>,
    cost_bytes: u64,
    younger: u32,
    /// In a free node: the next free one.
    older: u32,
    visited: AtomicBool,
}

pub(super) struct Sieve<P> {
    nodes: Vec<Node<P>>,
    table: HashTable<u32>,
    youngest: u32,
    oldest: u32,
    hand: u32,
    free: u32,
    used_bytes: u64,
}

/// The shard is chosen by the top bits of the digest: let the table's tag, its top bits, be others.
fn spread(digest: Digest) -> u64 {
    digest.0.rotate_left(32)
}

impl<P> Sieve<P> {
    pub(super) fn new() -> Self {
        let (nodes, table) = (Vec::new(), HashTable::new());
        Self { nodes, table, youngest: NONE, oldest: NONE, hand: NONE, free: NONE, used_bytes: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    fn node(&self, at: u32) -> &Node<P> {
        &self.nodes[at as usize]
    }

    fn node_mut(&mut self, at: u32) -> &mut Node<P> {
        &mut self.nodes[at as usize]
    }

    fn position(&self, digest: Digest) -> Option<u32> {
        self.table.find(spread(digest), |at| self.node(*at).digest == digest).copied()
    }

    pub(super) fn get(&self, digest: Digest) -> Option<&P> {
        self.node(self.position(digest)?).payload.as_ref()
    }

    /// What `judge` says of the item. One that is served is marked, so that the hand passes it once.
    pub(super) fn visit<R>(&self, digest: Digest, judge: impl FnOnce(&P) -> Verdict<R>) -> Option<Verdict<R>> {
        let node = self.node(self.position(digest)?);
        let verdict = judge(node.payload.as_ref()?);
        // Written only if need be: who else reads the node keeps it in its processor's cache.
        if matches!(verdict, Verdict::Serve(_)) && !node.visited.load(Ordering::Relaxed) {
            node.visited.store(true, Ordering::Relaxed);
        }
        Some(verdict)
    }

    /// Removes the item of this digest.
    pub(super) fn remove(&mut self, digest: Digest) -> Option<P> {
        let payload = self.take(self.position(digest)?);
        self.compact_if_sparse();
        payload
    }

    /// Removes the item that SIEVE picks; `None` if there is none.
    pub(super) fn evict(&mut self) -> Option<P> {
        let mut at = if self.hand == NONE { self.oldest } else { self.hand };
        while at != NONE && self.node(at).visited.load(Ordering::Relaxed) {
            self.node(at).visited.store(false, Ordering::Relaxed);
            let next = self.node(at).younger;
            at = if next == NONE { self.oldest } else { next };
        }
        if at == NONE {
            return None;
        }
        self.hand = at;
        // Taking a node moves a hand that rests on it.
        let payload = self.take(at);
        self.compact_if_sparse();
        payload
    }

    /// Adds an item at the young end; whether there was a number left for it. Its digest is not in the queue.
    pub(super) fn insert(&mut self, digest: Digest, payload: P, cost_bytes: u64) -> bool {
        let (payload, younger, older, visited) = (Some(payload), NONE, self.youngest, AtomicBool::new(false));
        let node = Node { digest, payload, cost_bytes, younger, older, visited };
        let at = self.free;
        let at = if at != NONE {
            self.free = self.node(at).older;
            *self.node_mut(at) = node;
            at
        } else {
            let Some(at) = u32::try_from(self.nodes.len()).ok().filter(|at| *at != NONE) else { return false };
            if self.nodes.len() == self.nodes.capacity() {
                // An eighth, not the double: the slack is memory too.
                self.nodes.reserve_exact(self.nodes.len() / 8 + 8);
            }
            self.nodes.push(node);
            at
        };
        match self.youngest {
            NONE => self.oldest = at,
            youngest => self.node_mut(youngest).younger = at,
        }
        self.youngest = at;
        self.used_bytes += cost_bytes;
        let nodes = &self.nodes;
        self.table.insert_unique(spread(digest), at, |at| spread(nodes[*at as usize].digest));
        true
    }

    /// Takes a node out of queue and table.
    fn take(&mut self, at: u32) -> Option<P> {
        let node = &mut self.nodes[at as usize];
        let (digest, younger, older) = (node.digest, node.younger, node.older);
        let payload = node.payload.take();
        self.used_bytes -= node.cost_bytes;
        node.older = self.free;
        self.free = at;
        match younger {
            NONE => self.youngest = older,
            younger => self.node_mut(younger).older = older,
        }
        match older {
            NONE => self.oldest = younger,
            older => self.node_mut(older).younger = younger,
        }
        if self.hand == at {
            self.hand = younger;
        }
        if let Ok(entry) = self.table.find_entry(spread(digest), |there| *there == at) {
            entry.remove();
        }
        payload
    }

    /// Gives nodes and table back that a queue of fewer, larger items no longer needs.
    fn compact_if_sparse(&mut self) {
        if self.nodes.len() <= SMALL_NODES || self.table.len() * 2 > self.nodes.len() {
            return;
        }
        let old = std::mem::replace(self, Self::new());
        let mut nodes: Vec<Option<Node<P>>> = old.nodes.into_iter().map(Some).collect();
        let live = old.table.len();
        self.nodes.reserve_exact(live + live / 8);
        self.table.reserve(live, |_| 0);
        let mut at = old.oldest;
        while let Some(node) = nodes.get_mut(at as usize).and_then(Option::take) {
            let new = self.nodes.len() as u32;
            if let Some(payload) = node.payload {
                self.insert(node.digest, payload, node.cost_bytes);
                self.node_mut(new).visited = node.visited;
            }
            if at == old.hand {
                self.hand = new;
            }
            at = node.younger;
        }
    }
}
