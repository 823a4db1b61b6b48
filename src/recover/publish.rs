//! From the rows of all segments to the index.
//!
//! The newest record of a digest wins, whatever it is; what stands behind it is dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::format::length::class_bytes;
use crate::index::Index;
use crate::index::load::{Batch, Candidate, Claim, Judge};
use crate::sync::processors;
use crate::types::{SegmentId, Sequence};

/// Most threads that fill the index.
const MAX_THREADS: usize = 8;
/// Fewer records are not worth one more.
const RECORDS_A_THREAD: usize = 8_192;

/// Puts what was gathered into the index, shard by shard, on as many threads as there are processors.
pub(super) struct Publisher {
    /// What was gathered.
    pub(super) batches: Vec<Batch>,
    /// The segment in each slot.
    pub(super) ids: Vec<SegmentId>,
    /// Where it goes: it is empty.
    pub(super) index: Arc<Index>,
    /// Up to here a `clear` said so; from there to the floor, damage does.
    pub(super) cleared_up_to: Sequence,
    /// Nothing up to here is served.
    pub(super) floor: Sequence,
}

/// What became of the records.
#[derive(Default)]
pub(super) struct Tally {
    /// Newer records stand for their digests.
    pub(super) replaced: u64,
    /// A `clear` dropped them.
    pub(super) cleared: u64,
    /// They have expired.
    pub(super) expired: u64,
    /// Damage may hide what replaced them.
    pub(super) doubtful: u64,
    /// Bytes and entries that are served, by slot.
    pub(super) live: Vec<(u64, u64)>,
}

impl Publisher {
    /// Blocking.
    pub(super) fn run(&self) -> Tally {
        let next = AtomicUsize::new(0);
        let worker = || {
            let tally = Tally { live: vec![(0, 0); self.ids.len()], ..Tally::default() };
            let mut court = Court { publisher: self, tally };
            let mut loader = self.index.loader(&self.batches);
            loop {
                let shard = next.fetch_add(1, Ordering::Relaxed);
                if shard >= self.index.shards() {
                    return court.tally;
                }
                loader.load(shard, &mut court);
            }
        };
        let wanted = self.batches.iter().map(Batch::records).sum::<usize>() / RECORDS_A_THREAD;
        let others =
            if wanted == 0 { 0 } else { wanted.min(processors().min(MAX_THREADS).min(self.index.shards()) - 1) };
        std::thread::scope(|scope| {
            let others: Vec<_> = (0..others).map(|_| scope.spawn(worker)).collect();
            others.into_iter().fold(worker(), |sum, other| match other.join() {
                Ok(tally) => sum.and(&tally),
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }
}

/// One thread's judge.
struct Court<'a> {
    publisher: &'a Publisher,
    tally: Tally,
}

impl Judge for Court<'_> {
    fn accepts(&mut self, found: &Candidate) -> bool {
        let sequence = found.sequence();
        if sequence > self.publisher.floor {
            return true;
        }
        let is_cleared = sequence <= self.publisher.cleared_up_to;
        *(if is_cleared { &mut self.tally.cleared } else { &mut self.tally.doubtful }) += 1;
        false
    }

    /// A marker has the sequence of the record that it was left for; it wins, wherever it stands. A record that was
    /// moved has its twin's sequence; the later segment's is the copy.
    fn is_newer(&mut self, a: &Candidate, b: &Candidate) -> bool {
        self.tally.replaced += 1;
        let id = |c: &Candidate| self.publisher.ids[c.location().slot as usize];
        (a.rank(), id(a)) > (b.rank(), id(b))
    }

    fn enters(&mut self, newest: &Candidate, older: bool) -> bool {
        match newest.claim() {
            Claim::Cover => return false,
            // An expired entry with an older copy behind it stays, so that its eviction leaves a marker.
            Claim::Expired if !older => {
                self.tally.expired += 1;
                return false;
            }
            Claim::Expired | Claim::Serve => {}
        }
        let at = newest.location();
        let live = &mut self.tally.live[at.slot as usize];
        *live = (live.0 + class_bytes(at.class), live.1 + 1);
        true
    }
}

impl Tally {
    fn and(mut self, other: &Self) -> Self {
        self.replaced += other.replaced;
        self.cleared += other.cleared;
        self.expired += other.expired;
        self.doubtful += other.doubtful;
        self.live.iter_mut().zip(&other.live).for_each(|(a, b)| *a = (a.0 + b.0, a.1 + b.1));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_threads_counted_adds_up() {
        let one = Tally { replaced: 1, cleared: 2, expired: 3, doubtful: 4, live: vec![(5, 6), (7, 8)] };
        let other = Tally { replaced: 10, cleared: 20, expired: 30, doubtful: 40, live: vec![(50, 60), (0, 80)] };
        let sum = one.and(&other);
        assert_eq!((sum.replaced, sum.cleared, sum.expired, sum.doubtful), (11, 22, 33, 44));
        assert_eq!(sum.live, [(55, 66), (7, 88)]);
    }
}
