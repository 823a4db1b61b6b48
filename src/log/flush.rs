//! The writer task of a stream: brings what is appended to the disk, a few writes in flight at a time, and seals segments
//! that are full. Writes count as written in their order; where a killed process left a hole between two of them, recovery
//! finds the torn end there, so that what survives is a prefix (P4).
//!
//! While a full segment waits for its last writes, its sync and its footer, writes of the next one go ahead, so that the
//! disk is never idle. All but the first: it holds the header, without which there is no segment. So nothing of a segment
//! survives unless all of the one before it did.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::rotate::RETRY_AFTER;
use super::{Log, WANT_NOTHING, WANT_SYNCED};
use crate::backend::{OpenMode, WriteBuf, exact};
use crate::format::footer::{self, Row};
use crate::index::Location;
use crate::object::{End, Object};
use crate::segment::tail::Queued;
use crate::segment::{Segment, StreamId, Summary, summarize};
use crate::sync::atomic::Ordering;
use crate::sync::task::{self, JoinHandle};
use crate::sync::time::{self, Instant};
use crate::types::RecordKind;

/// Writes of a stream in flight, of 1 MiB each: enough that the disk stays busy while a segment is sealed.
const WRITES_IN_FLIGHT: usize = 8;

/// A write in flight.
struct Writing {
    segment: Arc<Segment>,
    queued: Queued,
    task: JoinHandle<io::Result<()>>,
}

/// The writes in flight.
#[derive(Default)]
struct InFlight {
    /// Of the oldest segment with bytes to write, in their order.
    oldest: VecDeque<Writing>,
    /// Of the segment behind it, from its second buffer on.
    next: VecDeque<Writing>,
}

impl InFlight {
    fn len(&self) -> usize {
        self.oldest.len() + self.next.len()
    }

    /// The oldest segment is sealed: the one behind it takes its place, and its first buffer may go.
    fn advance(&mut self) {
        debug_assert!(self.oldest.is_empty(), "a segment is sealed while writes to it are in flight");
        std::mem::swap(&mut self.oldest, &mut self.next);
    }
}

/// What to do next.
enum Step {
    /// Write the oldest segment's next buffer,
    Write(Arc<Segment>, Queued),
    /// or its first one: those behind it are in flight already,
    WriteFirst(Arc<Segment>, Queued),
    /// or a buffer of the segment behind it.
    WriteAhead(Arc<Segment>, Queued),
    /// Wait for the oldest write in flight.
    Land,
    Sync(Arc<Segment>),
    Seal(Arc<Segment>),
    /// Nothing now; if dirty, a flush is due at the end of the interval.
    Rest {
        dirty: bool,
    },
}

/// Up to where a segment shall be synced.
struct Goal {
    segment: Arc<Segment>,
    end: u64,
}

impl Log {
    /// Runs until [`Log::stop`].
    pub async fn run_writer(self: Arc<Self>, stream: StreamId) {
        let log = self.stream(stream);
        let mut due: Option<Instant> = None;
        let mut goal: Option<Goal> = None;
        let mut writing = InFlight::default();
        while !self.is_stopping() {
            // One goal at a time: later writers wait for the next sync, so that none waits for ever.
            let want = if goal.is_some() { WANT_NOTHING } else { log.want.swap(WANT_NOTHING, Ordering::SeqCst) };
            if want > WANT_NOTHING || due.is_some_and(|at| Instant::now() >= at) {
                due = None;
                goal = goal.or(self.cut(stream).filter(|_| want == WANT_SYNCED));
            }
            let done = match self.next_step(stream, goal.as_ref(), &writing) {
                Step::Write(segment, queued) => {
                    writing.oldest.push_back(start_write(segment, queued));
                    continue;
                }
                Step::WriteFirst(segment, queued) => {
                    writing.oldest.push_front(start_write(segment, queued));
                    continue;
                }
                Step::WriteAhead(segment, queued) => {
                    writing.next.push_back(start_write(segment, queued));
                    continue;
                }
                Step::Land => match writing.oldest.pop_front() {
                    Some(first) => self.land(first).await,
                    None => continue,
                },
                Step::Sync(segment) => {
                    goal = None;
                    self.sync(&segment).await
                }
                Step::Seal(segment) => {
                    goal = goal.filter(|g| g.segment.id != segment.id);
                    let sealed = self.seal(stream, &segment).await;
                    if sealed.is_ok() {
                        writing.advance();
                    }
                    sealed
                }
                // Who waits for the buffer would wait for the end of the interval.
                Step::Rest { dirty: true } if self.starved.load(Ordering::SeqCst) > 0 => {
                    self.cut(stream);
                    continue;
                }
                Step::Rest { dirty } => {
                    goal = None;
                    due =
                        if dirty { due.or_else(|| Some(Instant::now() + self.config.flush_interval())) } else { None };
                    self.rest(stream, due).await;
                    continue;
                }
            };
            if let Err((segment, e)) = done {
                goal = None;
                self.give_up(stream, &segment, &e, &mut writing).await;
            }
            log.progress.notify_waiters();
        }
        log.progress.notify_waiters();
    }

    /// Queues everything that is appended, the last block padded. Where the stream ends now.
    fn cut(&self, stream: StreamId) -> Option<Goal> {
        let pending = self.stream(stream).pending.lock();
        let segment = pending.back()?;
        let mut tail = segment.tail.lock();
        // A header alone is not worth a write.
        if !tail.rows.is_empty() {
            tail.queue_open(segment.id, segment.synced());
        }
        Some(Goal { segment: segment.clone(), end: tail.end() })
    }

    async fn rest(&self, stream: StreamId, due: Option<Instant>) {
        let woken = self.stream(stream).wake.notified();
        match due {
            Some(at) => {
                let _ = time::timeout_at(at, woken).await;
            }
            None => woken.await,
        }
    }

    fn next_step(&self, stream: StreamId, goal: Option<&Goal>, writing: &InFlight) -> Step {
        let pending = self.stream(stream).pending.lock();
        let Some(segment) = pending.front() else { return Step::Rest { dirty: false } };
        let at_goal = |g: &Goal| g.segment.id == segment.id && g.end <= segment.written() && g.end > segment.synced();
        if goal.is_some_and(at_goal) {
            return Step::Sync(segment.clone());
        }
        let tail = segment.tail.lock();
        let in_flight = writing.oldest.len();
        let first_is_missing = segment.written() == 0 && writing.oldest.front().is_some_and(|w| w.queued.start > 0);
        if let Some(first) = tail.queued(0).filter(|_| first_is_missing) {
            return Step::WriteFirst(segment.clone(), first);
        }
        let has_room = in_flight == 0 || writing.len() < WRITES_IN_FLIGHT;
        if let Some(queued) = tail.queued(in_flight).filter(|_| has_room) {
            return Step::Write(segment.clone(), queued);
        }
        if tail.is_closed()
            && writing.len() < WRITES_IN_FLIGHT
            && let Some(next) = pending.get(1)
            && let Some(queued) = next.tail.lock().queued(1 + writing.next.len())
        {
            return Step::WriteAhead(next.clone(), queued);
        }
        match in_flight {
            0 if tail.is_closed() => Step::Seal(segment.clone()),
            0 => Step::Rest { dirty: !tail.is_clean() && !tail.rows.is_empty() },
            _ => Step::Land,
        }
    }

    /// Waits for a write, and counts what it wrote as written.
    async fn land(&self, first: Writing) -> StepResult {
        let Writing { segment, queued, task } = first;
        let landed = task.await.unwrap_or_else(|e| Err(io::Error::other(e)));
        landed.map_err(|e| (segment.clone(), e))?;
        let len = queued.buf.len() as u64;
        self.counters.bytes_written.add(len);
        segment.set_written(queued.start + len);
        let mut tail = segment.tail.lock();
        tail.written();
        self.counters.bytes_padded.add(std::mem::take(&mut tail.padded_bytes));
        drop(tail);
        self.budget.add_permits(queued.debit as usize);
        Ok(())
    }

    async fn sync(&self, segment: &Arc<Segment>) -> StepResult {
        let written = segment.written();
        segment.file().sync_data().await.map_err(|e| (segment.clone(), e))?;
        segment.set_synced(written);
        Ok(())
    }

    /// Writes the footer, syncs, and gives the file's writing descriptor back.
    async fn seal(&self, stream: StreamId, segment: &Arc<Segment>) -> StepResult {
        let failed = |e: io::Error| (segment.clone(), e);
        let (rows, data_end, newest) = {
            let mut tail = segment.tail.lock();
            // The time of sealing, so that no later open takes the clock back behind it.
            (std::mem::take(&mut tail.rows), tail.end(), tail.newest.max(self.clock.now()))
        };
        if segment.written() > 0 {
            // The records are durable before a footer says that they are there.
            let rows_back = |rows: Vec<Row>| segment.tail.lock().rows = rows;
            if let Err(e) = segment.file().sync_data().await {
                rows_back(rows);
                return Err(failed(e));
            }
            segment.set_synced(data_end);
            let len_bytes = self.segments.segment_len_bytes();
            let (at, bytes) = footer::encode(&rows, segment.id, len_bytes, data_end, newest);
            if let Err(e) = self.write_footer(segment, at, &bytes).await {
                rows_back(rows);
                return Err(failed(e));
            }
            self.end_writing(segment).await;
        }
        self.sealed(stream, segment, summarize(rows));
        Ok(())
    }

    /// Gives the writing descriptor back, and with it the segment's lock.
    pub async fn end_writing(&self, segment: &Segment) {
        if let Ok(file) = self.backend.open(&segment.path, OpenMode::Read).await {
            segment.read_only(file);
        }
    }

    fn sealed(&self, stream: StreamId, segment: &Arc<Segment>, summary: Summary) {
        segment.seal(summary);
        self.stream(stream).pending.lock().retain(|s| s.id != segment.id);
        self.upkeep.notify_one();
    }

    async fn write_footer(&self, segment: &Segment, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut buf = self.pool.take(bytes.len())?;
        buf[..bytes.len()].copy_from_slice(bytes);
        let file = segment.file();
        exact::write_all_at(&*file, at, WriteBuf::new(Arc::new(buf), bytes.len())).await?;
        self.counters.bytes_written.add(bytes.len() as u64);
        file.sync_data().await
    }

    /// Writing to a segment failed.
    async fn give_up(&self, stream: StreamId, segment: &Arc<Segment>, error: &io::Error, writing: &mut InFlight) {
        // Whatever is in flight behind the failed write is lost with it, but must not land later.
        for other in writing.oldest.drain(..) {
            let _ = other.task.await;
        }
        self.fail(stream, segment, error);
        self.end_writing(segment).await;
        // What went ahead is written again, in turn, unless that failed too.
        let mut failed = None;
        for other in writing.next.drain(..) {
            let landed = other.task.await.unwrap_or_else(|e| Err(io::Error::other(e)));
            failed = failed.or(landed.err().map(|e| (other.segment, e)));
        }
        if let Some((next, error)) = failed {
            self.fail(stream, &next, &error);
            self.end_writing(&next).await;
        }
    }

    /// The disk failed (trap 6): nothing is retried, nothing appended behind. What is not synced is dropped from the
    /// index, older copies of it stay dead, and writes are refused for a while.
    fn fail(&self, stream: StreamId, segment: &Arc<Segment>, error: &io::Error) {
        tracing::error!(path = %segment.path.display(), %error, "writing failed; entries that were not synced are dropped");
        let log = self.stream(stream);
        *log.failed_until.lock() = Some(Instant::now() + RETRY_AFTER);
        let mut active = log.active.lock();
        if active.as_ref().is_some_and(|s| s.id == segment.id) {
            segment.set_horizon(self.segments.newest_id());
            *active = None;
        }
        let kept = {
            let mut tail = segment.tail.lock();
            let from = segment.set_lost();
            self.budget.add_permits(tail.abandon() as usize);
            // What is lost may have landed: it still counts for the markers that cover it.
            let min_sequence = summarize(tail.rows.iter().copied()).min_sequence;
            let kept = tail.rows.partition_point(|r| r.offset() + r.len_bytes() <= from);
            tail.rows[kept..].iter().for_each(|row| self.lose(segment.slot, row));
            // The rows stay in memory: there is no footer on disk to read them from. The lost ones too: as long as their
            // markers are only owed, what landed keeps older records dead, and the file must not go.
            let is_void = stream.stream.is_moved() && kept == 0;
            Summary { min_sequence, is_void, ..summarize(tail.rows[..kept].iter().copied()) }
        };
        drop(active);
        self.sealed(stream, segment, kept);
    }

    /// A record was lost.
    fn lose(&self, slot: u16, row: &Row) {
        let location = Location { slot, offset_units: row.offset_units, class: row.class.bits() };
        if row.kind == RecordKind::Chunk {
            return self.lose_chunk(location);
        }
        if row.kind == RecordKind::Purge {
            if self.marks.lost(row.sequence) {
                self.upkeep.notify_one();
            }
            return;
        }
        let is_dirty = self.dirty.at(location).is_some();
        let is_lost = self.forget(row.digest, location).is_some();
        if is_lost && is_dirty {
            self.counters.origin_lost.add_one();
        }
        if is_lost {
            self.count_lost();
        }
        // The bytes may have landed all the same, and an older copy may be on disk: both stay dead.
        if is_lost || matches!(row.kind, RecordKind::Delete | RecordKind::Marker) {
            self.owe_again(row.digest, row.sequence, self.segments.newest_id());
        }
    }

    /// Its object is lost with it. The head stays in the index as long as it is on disk: what is older stays dead.
    fn lose_chunk(&self, at: Location) {
        let has_lost = |object: &Arc<Object>| object.chunks().contains(&at);
        for object in self.objects.in_slot(at.slot).into_iter().filter(has_lost) {
            if object.head().is_some() {
                self.count_lost();
            }
            self.end_object(&object, End::Lost);
        }
    }

    fn count_lost(&self) {
        self.counters.entries_lost.add_one();
        self.has_lost.store(true, Ordering::SeqCst);
    }
}

/// Gives a buffer to the backend; the write goes on whether or not anyone waits for it.
fn start_write(segment: Arc<Segment>, queued: Queued) -> Writing {
    let (file, start, buf) = (segment.file(), queued.start, queued.buf.clone());
    let task = task::spawn(async move { exact::write_all_at(&*file, start, buf).await });
    Writing { segment, queued, task }
}

type StepResult = Result<(), (Arc<Segment>, io::Error)>;
