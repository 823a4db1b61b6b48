//! The only way in: records are appended to the open segment of a stream, in memory, and published in the index in the
//! same step; one writer task per stream brings them to the disk.
//!
//! One step means: under the stream's lock, then the index shard's, the sequence is taken, the place in the segment
//! fixed and the slot changed. So within a stream sequences ascend with offsets (trap 3), for one key the index always
//! ends at the highest sequence, and a reader that finds a slot finds its bytes.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Backend, BufferPool};
use crate::clock::SteadyClock;
use crate::config::Config;
use crate::dirty::Dirty;
use crate::entry::RefuseReason;
use crate::error::{Error, Result};
use crate::flight::Flights;
use crate::format::footer;
use crate::format::manifest::Manifest;
use crate::format::segment_header::DATA_START;
use crate::index::Index;
use crate::marks::Marks;
use crate::memory::Held;
use crate::namespaces::Namespaces;
use crate::object::Objects;
use crate::pins::Pins;
use crate::segment::{Segment, SegmentSet, Stream, StreamId};
use crate::stats::Counters;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use crate::sync::time::{self, Instant};
use crate::sync::{AsyncMutex, Mutex, Notify, Semaphore};
use crate::types::{Digest, Durability, Group, SegmentId, Sequence};

pub mod append;
mod flush;
mod manifest;
mod owed;
mod publish;
mod purge;
mod rotate;
mod wait;

pub use append::{Appended, Entry, Order, Placed};
pub use publish::Hold;
pub use wait::Ticket;

use owed::{Debt, Owed};

/// How often, and how long apart, `close` and `settle` try to pay the markers that are owed.
const PAY_ATTEMPTS: u32 = 50;
const PAY_AGAIN: Duration = Duration::from_millis(10);

/// Most bytes of buffers that are kept for later, whatever bursts take.
const MOST_IDLE_BYTES: usize = 32 << 20;

/// Where markers and purges go that eviction writes or carries on: a marker knows no key, and so no namespace, and what keeps
/// old records dead must not wait for the room of one.
pub const MARKERS: StreamId = StreamId { group: Group::COMMON, stream: Stream::Reinserted };

/// What the writer task of a stream is asked for.
const WANT_NOTHING: u8 = 0;
const WANT_WRITTEN: u8 = 1;
const WANT_SYNCED: u8 = 2;

/// One append stream. Without an open segment as long as nothing was appended.
#[derive(Default)]
struct StreamLog {
    active: Mutex<Option<Arc<Segment>>>,
    /// Held while the open segment is replaced. When that was last refused after waiting for room, and why.
    rotating: Arc<AsyncMutex<Option<(Instant, RefuseReason)>>>,
    /// Segments with bytes to write, oldest first; the last may be the open one.
    pending: Mutex<VecDeque<Arc<Segment>>>,
    /// Wakes the writer task.
    wake: Notify,
    /// Told whenever something was written, synced, sealed or lost.
    progress: Notify,
    want: AtomicU8,
    /// The disk failed; writes are refused until then.
    failed_until: Mutex<Option<Instant>>,
}

/// What all parts of the engine share to write.
pub struct Log {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) config: Config,
    pub(crate) index: Arc<Index>,
    pub(crate) objects: Arc<Objects>,
    pub(crate) marks: Arc<Marks>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) held: Arc<Held>,
    pub(crate) pins: Pins,
    pub(crate) dirty: Arc<Dirty>,
    pub(crate) segments: Arc<SegmentSet>,
    pub(crate) namespaces: Arc<Namespaces>,
    pub(crate) clock: Arc<SteadyClock>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) pool: BufferPool,
    pub(crate) directory_id: u64,
    seed: [u8; 16],
    budget: Arc<Semaphore>,
    /// Appends that wait for the budget.
    starved: AtomicUsize,
    sequence: AtomicU64,
    /// By group.
    streams: Vec<[StreamLog; Stream::COUNT]>,
    stopping: AtomicBool,
    /// No append begins any more.
    closing: AtomicBool,
    evicting: AtomicBool,
    /// Entries were lost, and [`Log::settle`] has not said so yet.
    has_lost: AtomicBool,
    manifest: AsyncMutex<Manifest>,
    /// What a `clear` has yet to say in the manifest.
    clearing: Mutex<Option<Sequence>>,
    owed: Owed,
    /// Wakes the upkeep: room is short, or a marker is owed.
    pub upkeep: Notify,
}

/// The parts a [`Log`] is made of.
pub struct LogParts {
    /// The way to the disk.
    pub backend: Arc<dyn Backend>,
    /// The settings.
    pub config: Config,
    /// Where records are published.
    pub index: Arc<Index>,
    /// Where chunks are.
    pub objects: Arc<Objects>,
    /// What is purged.
    pub marks: Arc<Marks>,
    /// The directory's secret seed.
    pub seed: [u8; 16],
    /// What is being fetched.
    pub flights: Arc<Flights>,
    /// What waits in memory for a second use.
    pub held: Arc<Held>,
    /// Where segments come from.
    pub segments: Arc<SegmentSet>,
    /// Whose they are.
    pub namespaces: Arc<Namespaces>,
    /// Time.
    pub clock: Arc<SteadyClock>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// What the origin does not have.
    pub dirty: Arc<Dirty>,
    /// The directory's manifest.
    pub manifest: Manifest,
    /// The highest sequence in use.
    pub last_sequence: Sequence,
}

impl Log {
    /// A log that appends behind what recovery found.
    pub fn new(parts: LogParts) -> Self {
        let budget = usize::try_from(parts.config.write_buffer_bytes).unwrap_or(usize::MAX);
        let budget = budget.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Self {
            pool: BufferPool::new(budget.min(MOST_IDLE_BYTES)),
            budget: Arc::new(Semaphore::new(budget)),
            backend: parts.backend,
            dirty: parts.dirty,
            pins: Pins::new(parts.config.pinned_bytes(parts.segments.segment_len_bytes())),
            config: parts.config,
            index: parts.index,
            objects: parts.objects,
            marks: parts.marks,
            seed: parts.seed,
            flights: parts.flights,
            held: parts.held,
            segments: parts.segments,
            streams: parts.namespaces.groups().map(|_| std::array::from_fn(|_| StreamLog::default())).collect(),
            namespaces: parts.namespaces,
            clock: parts.clock,
            counters: parts.counters,
            directory_id: parts.manifest.directory_id,
            starved: AtomicUsize::new(0),
            sequence: AtomicU64::new(parts.last_sequence.0),
            stopping: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            evicting: AtomicBool::new(false),
            has_lost: AtomicBool::new(false),
            manifest: AsyncMutex::new(parts.manifest),
            clearing: Mutex::default(),
            owed: Owed::default(),
            upkeep: Notify::new(),
        }
    }

    fn stream(&self, id: StreamId) -> &StreamLog {
        &self.streams[usize::from(id.group.0)][id.stream as usize]
    }

    /// All streams, of all groups.
    pub fn stream_ids(&self) -> impl Iterator<Item = StreamId> + use<> {
        self.namespaces.groups().flat_map(|group| Stream::ALL.map(|stream| stream.of(group)))
    }

    /// The highest sequence given out.
    pub fn last_sequence(&self) -> Sequence {
        Sequence(self.sequence.load(Ordering::SeqCst))
    }

    /// A sequence that no other record or object has.
    pub fn next_sequence(&self) -> Sequence {
        Sequence(self.sequence.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Bytes accepted that are not written yet.
    pub fn unwritten_bytes(&self) -> u64 {
        let unwritten = |s: &StreamLog| s.pending.lock().iter().map(|p| p.tail.lock().unwritten_bytes()).sum::<u64>();
        self.streams.iter().flatten().map(unwritten).sum()
    }

    /// Whether anything that was rewritten is not on the device.
    pub fn has_unsynced_rewrites(&self) -> bool {
        let is_unsynced = |s: &Arc<Segment>| {
            let (synced, end) = (s.synced(), s.tail.lock().end());
            end > DATA_START && synced < end
        };
        let mut groups = self.namespaces.groups();
        let of_stream = |id: StreamId| self.stream(id).pending.lock().iter().any(is_unsynced);
        groups.any(|group| of_stream(Stream::Reinserted.of(group)) || of_stream(Stream::Expiring.of(group)))
    }

    /// Runs `change` while nothing can be appended.
    pub fn while_still<R>(&self, change: impl FnOnce() -> R) -> R {
        let _still: Vec<_> = self.streams.iter().flatten().map(|stream| stream.active.lock()).collect();
        change()
    }

    /// The writer tasks end as soon as they are idle or have finished the write in flight.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        for stream in self.streams.iter().flatten() {
            stream.wake.notify_one();
            stream.progress.notify_waiters();
        }
        self.upkeep.notify_one();
        self.segments.room.notify_waiters();
    }

    /// Whether [`Log::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Everything accepted before this call is at least this durable when it returns.
    ///
    /// # Errors
    /// `WriteFailed` if some of it was lost to a failing disk, now or since it was last asked; said once.
    pub async fn settle(self: &Arc<Self>, durability: Durability) -> Result<()> {
        // Eviction and refused writes go on, and owe more: that is not this call's.
        let owed = self.owed.last();
        if !self.closing.load(Ordering::SeqCst) {
            self.pay_owed_up_to(owed).await?;
        }
        self.settle_up_to(owed, durability).await
    }

    /// As [`Log::settle`], where nothing can be paid any more: for what was owed up to this one.
    async fn settle_up_to(&self, owed: owed::Number, durability: Durability) -> Result<()> {
        let is_paid = self.owed.is_paid(owed) && self.marks.are_written();
        let settled = self.settle_written(durability).await;
        let is_whole = !self.has_lost.swap(false, Ordering::SeqCst);
        // What was lost or refused stays dead only once its marker is as durable.
        if is_paid && is_whole { settled } else { settled.and(Err(Error::WriteFailed)) }
    }

    /// Every record appended before this call that was not lost yet is at least this durable when it returns.
    ///
    /// # Errors
    /// `WriteFailed` if some of it was lost meanwhile.
    pub async fn settle_written(&self, durability: Durability) -> Result<()> {
        let mut tickets = Vec::new();
        for stream in self.stream_ids() {
            for segment in self.stream(stream).pending.lock().iter() {
                let end = segment.tail.lock().end();
                // A header alone is not worth a write.
                if end <= DATA_START {
                    continue;
                }
                tickets.push(Ticket { segment: segment.clone(), end, stream });
            }
        }
        let mut outcome = Ok(());
        for ticket in tickets {
            if let Err(e) = self.wait(&ticket, durability).await {
                outcome = Err(e);
            }
        }
        outcome
    }

    /// Takes no more records and seals what is open.
    ///
    /// # Errors
    /// As [`Log::settle`].
    pub async fn close(self: &Arc<Self>) -> Result<()> {
        // Nothing is appended any more once a close has come further than this, even if it was dropped there.
        // Eviction that this interrupts may owe more. That needs no marker: what it emptied is not freed.
        let owed = self.owed.last();
        if !self.closing.load(Ordering::SeqCst) {
            self.pay_owed_up_to(owed).await?;
        }
        self.closing.store(true, Ordering::SeqCst);
        self.segments.room.notify_waiters();
        let settled = self.settle_up_to(owed, Durability::Synced).await;
        for stream in self.stream_ids() {
            let log = self.stream(stream);
            let _rotating = log.rotating.lock().await;
            self.retire_active(stream);
            loop {
                let sealed = log.progress.notified();
                if log.pending.lock().is_empty() || self.is_stopping() {
                    break;
                }
                sealed.await;
            }
        }
        // What is owed still of that would come back at the next open.
        let is_kept = self.owed.is_paid(owed) && self.marks.are_written() && !self.is_history_hidden();
        if is_kept { settled } else { settled.and(Err(Error::WriteFailed)) }
    }

    /// A marker that could not be written: it is tried again when the disk answers. What it covers stands in no segment
    /// younger than `horizon`.
    pub fn owe_marker(&self, digest: Digest, sequence: Sequence, horizon: SegmentId) {
        self.owed.add(digest, Debt { sequence, horizon });
        self.upkeep.notify_one();
    }

    /// For a record that was lost, maybe a marker that was taken for paid: as [`Log::owe_marker`], but whoever settles waits
    /// for it.
    fn owe_again(&self, digest: Digest, sequence: Sequence, horizon: SegmentId) {
        self.owed.add_again(digest, Debt { sequence, horizon });
        self.upkeep.notify_one();
    }

    /// Whether so many markers are owed that only those for known entries are added.
    pub fn owes_too_much(&self) -> bool {
        self.owed.is_full()
    }

    /// Whether a record of so many bytes fits what is open of a stream.
    pub fn fits_open(&self, stream: StreamId, len_bytes: u64) -> bool {
        self.stream(stream).active.lock().as_ref().is_some_and(|segment| segment.tail.lock().fits(len_bytes))
    }

    /// Bytes of a group's entries that eviction can rewrite before it has freed anything, and beside so many bytes of markers.
    pub fn room_for_rewrites(&self, group: Group, markers_bytes: u64) -> u64 {
        let left = |group| {
            let open = self.stream(Stream::Reinserted.of(group)).active.lock();
            open.as_ref().map_or(0, |segment| segment.tail.lock().room_bytes())
        };
        let segment = self.segments.segment_len_bytes() - footer::footer_bytes(1) - DATA_START;
        let available = self.segments.census().available;
        if group == MARKERS.group {
            return (left(group) + available * segment).saturating_sub(markers_bytes);
        }
        let for_markers = markers_bytes.saturating_sub(left(MARKERS.group)).div_ceil(segment);
        let (reserve, _) = self.segments.reserves(Stream::Reinserted.of(group), 0);
        let fresh = available.saturating_sub(for_markers.max(reserve)).min(self.segments.group_room(group));
        left(group) + fresh * segment
    }

    /// Segments that stay free for what is pinned or dirty, besides the one that is kept for whatever eviction rewrites: a
    /// segment full of it may take more than one, for the padding between.
    pub fn free_for_pinned(&self) -> u64 {
        u64::from(!self.pins.is_empty() || !self.dirty.is_empty())
    }

    /// Whether markers are owed.
    pub fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// The digests that markers are owed for.
    pub fn owed(&self) -> HashSet<Digest> {
        self.owed.digests()
    }

    /// Pays the markers that were owed up to this one, and writes the marks that are not. The upkeep may be about to make the
    /// room for them; where the disk fails, it is not waited for longer.
    async fn pay_owed_up_to(self: &Arc<Self>, last: owed::Number) -> Result<()> {
        for _ in 0..PAY_ATTEMPTS {
            self.write_marks().await?;
            self.pay_owed().await?;
            if self.owed.is_paid(last) && self.marks.are_written() {
                break;
            }
            time::sleep(PAY_AGAIN).await;
        }
        Ok(())
    }

    /// Pays the markers that are owed, up to the first that cannot be written. They go the way of what eviction
    /// rewrites: writers that wait for room hold up the other streams, and eviction waits for the markers.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn pay_owed(self: &Arc<Self>) -> Result<()> {
        loop {
            let Some((digest, debt, stamp)) = self.owed.first() else { return Ok(()) };
            let key = digest.0.to_le_bytes();
            let entry = Entry::marker(digest, &key, self.clock.now());
            let order = Order::Marker(debt.sequence, debt.horizon);
            if self.append(MARKERS, &entry, order, false).await?.is_err() {
                return Ok(());
            }
            self.counters.markers_written.add_one();
            // Only now: until then a delete must see that it is owed.
            self.owed.paid(digest, stamp);
        }
    }

    /// Whether the disk holds records that the index has forgotten and nothing on disk covers yet: a delete must then
    /// be written even for a key that is not known.
    pub fn is_history_uncovered(&self) -> bool {
        self.evicting.load(Ordering::SeqCst) || self.owes() || self.is_history_hidden()
    }

    /// Says that eviction is between forgetting entries and freeing their file.
    pub fn set_evicting(&self, evicting: bool) {
        self.evicting.store(evicting, Ordering::SeqCst);
    }

    fn check_running(&self) -> Result<()> {
        if self.is_stopping() || self.closing.load(Ordering::SeqCst) { Err(Error::Closed) } else { Ok(()) }
    }
}
