//! Replacing the open segment of a stream by a fresh one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Log;
use crate::backend::lock::lock_soon;
use crate::backend::{DiskFile, OpenMode};
use crate::entry::RefuseReason;
use crate::error::{Error, Result};
use crate::format::segment_header::{DATA_START, SegmentHeader};
use crate::segment::set::Taken;
use crate::segment::{Name, Segment, Stream, StreamId, Tail};
use crate::sync::atomic::Ordering;
use crate::sync::task;
use crate::sync::time::{self, Instant};

/// How long writes are refused after the disk failed, before it is tried again.
pub const RETRY_AFTER: Duration = Duration::from_millis(500);

/// An open segment is outlived when the whole cache was written this many times since it was begun.
const OUTLIVED_AFTER: u64 = 4;

/// Since when a writer has waited for room without a segment being freed.
struct Waiting {
    since: Instant,
    freed: u64,
}

/// What came of beginning a segment.
enum Begun {
    /// The stream has an open segment.
    Open,
    /// No segment, and no hope for one now.
    Refused(RefuseReason),
    /// The disk is full: to be tried again with what eviction frees.
    Again,
}

impl Log {
    /// Opens a fresh segment for a stream, unless another task just did. Waits for eviction to make room, if `wait`.
    pub(super) async fn rotate(
        self: &Arc<Self>,
        stream: StreamId,
        len_bytes: u64,
        wait: bool,
    ) -> Result<std::result::Result<(), RefuseReason>> {
        let log = self.stream(stream);
        let asked = Instant::now();
        let mut rotating = match log.rotating.clone().try_lock_owned() {
            Ok(guard) => guard,
            Err(_) if !wait => return Ok(Err(RefuseReason::Busy)),
            Err(_) => log.rotating.clone().lock_owned().await,
        };
        if log.active.lock().as_ref().is_some_and(|s| s.tail.lock().fits(len_bytes)) {
            return Ok(Ok(()));
        }
        if log.failed_until.lock().is_some_and(|until| Instant::now() < until) {
            return Ok(Err(RefuseReason::DiskFailed));
        }
        // Who came while another waited in vain does not wait as long again: many would, one after the other.
        if let Some((_, reason)) = rotating.filter(|(refused, _)| *refused > asked) {
            return Ok(Err(reason));
        }
        self.retire_active(stream);
        let mut waiting: Option<Waiting> = None;
        loop {
            let (taken, census) = match self.room(stream, wait, &mut waiting).await? {
                Ok(taken) => taken,
                Err(reason) => {
                    if wait {
                        *rotating = Some((Instant::now(), reason));
                    }
                    return Ok(Err(reason));
                }
            };
            // In a task of its own, with the lock: what has begun ends even if nobody waits for it any more.
            let this = self.clone();
            let begun = task::spawn(async move { (this.begin(stream, taken, census).await, rotating) });
            // Lost only with the runtime.
            let Ok((begun, guard)) = begun.await else { return Err(Error::Closed) };
            match begun {
                Begun::Open => return Ok(Ok(())),
                Begun::Refused(reason) => return Ok(Err(reason)),
                Begun::Again => rotating = guard,
            }
        }
    }

    /// Opens a segment in a slot and makes it the stream's, or gives the slot back.
    async fn begin(&self, stream: StreamId, taken: Taken, census: u64) -> Begun {
        let log = self.stream(stream);
        match self.open_segment(stream, taken).await {
            Ok(segment) => {
                self.segments.install(segment.clone());
                log.pending.lock().push_back(segment.clone());
                *log.active.lock() = Some(segment);
                Begun::Open
            }
            // A whole file needs no room: one that is refused all the same is not asked for again at once.
            Err(e) if is_full(&e) && census > 0 && !taken.is_whole => {
                self.stop_growth(taken, &e).await;
                Begun::Again
            }
            Err(e) => {
                tracing::warn!(path = %self.segments.path(taken.slot).display(), error = %e, "cannot open a segment");
                self.give_back(taken, &e).await;
                if is_full(&e) {
                    return Begun::Refused(RefuseReason::DiskFull);
                }
                *log.failed_until.lock() = Some(Instant::now() + RETRY_AFTER);
                Begun::Refused(RefuseReason::DiskFailed)
            }
        }
    }

    /// A slot for a segment, and how many segments eviction could still free.
    async fn room(
        &self,
        stream: StreamId,
        wait: bool,
        waiting: &mut Option<Waiting>,
    ) -> Result<std::result::Result<(Taken, u64), RefuseReason>> {
        loop {
            let for_pinned = self.free_for_pinned();
            let (reserve, own_reserve) = self.segments.reserves(stream, for_pinned);
            let room = self.segments.room.notified();
            self.check_running()?;
            let census = self.segments.census();
            if let Some(taken) = self.segments.take(stream, for_pinned) {
                let own_room = self.segments.group_room(stream.group);
                if census.available <= reserve + 2 || own_room <= own_reserve + 2 {
                    self.upkeep.notify_one();
                }
                return Ok(Ok((taken, census.sealed)));
            }
            self.upkeep.notify_one();
            let unsealed = self.stream_ids().any(|s| !self.stream(s).pending.lock().is_empty());
            let may_come = unsealed || census.sealed > 0 || self.evicting.load(Ordering::SeqCst);
            if stream.stream == Stream::Reinserted || !may_come {
                return Ok(Err(RefuseReason::DiskFull));
            }
            if !wait {
                return Ok(Err(RefuseReason::Busy));
            }
            if waiting.is_none() {
                self.counters.room_waits.add_one();
            }
            let freed = self.counters.segments_evicted.get();
            // Only a freed segment gives hope: slots that are given back because the disk is full come and go.
            let waiting = match waiting {
                Some(waiting) if waiting.freed == freed => waiting,
                _ => waiting.insert(Waiting { since: Instant::now(), freed }),
            };
            let is_full = self.segments.is_growth_stopped();
            let patience = if is_full { 2 * RETRY_AFTER } else { Duration::from_millis(self.config.io_timeout_ms) };
            let is_late = time::timeout_at(waiting.since + patience, room).await.is_err();
            if is_late && self.counters.segments_evicted.get() == freed {
                // A disk that lets nothing be freed does not hold up its writers for ever.
                let reason = if is_full { RefuseReason::DiskFull } else { RefuseReason::DiskFailed };
                return Ok(Err(reason));
            }
        }
    }

    /// Makes or reopens the slot's file, locked, with a fresh header waiting in its tail.
    async fn open_segment(&self, stream: StreamId, taken: Taken) -> io::Result<Arc<Segment>> {
        let path = self.segments.path(taken.slot);
        let segment_len_bytes = self.segments.segment_len_bytes();
        let file = self.open_writable(taken).await?;
        let id = self.segments.next_id();
        let created = self.clock.now();
        let header = SegmentHeader {
            id,
            segment_len_bytes,
            created,
            stream: stream.stream as u8,
            directory_id: self.directory_id,
            group: self.namespaces.tag(stream.group),
        };
        let mut tail = Tail::new(segment_len_bytes);
        let spare = tail.reserve(&self.pool, DATA_START)?;
        tail.push(&[&header.encode_block()], DATA_START, 0, spare);
        let name = Name { id, slot: taken.slot, stream, path };
        Ok(Arc::new(Segment::open(name, file, tail)))
    }

    async fn open_writable(&self, taken: Taken) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.segments.path(taken.slot);
        let direct = self.config.direct_io;
        let (old, new) = (OpenMode::ReadWrite { direct }, OpenMode::CreateNew { direct });
        let (expected, other) = if taken.exists { (old, new) } else { (new, old) };
        let mut is_whole = taken.is_whole;
        let file = match self.backend.open(&path, expected).await {
            // Half made before the disk failed and not removed, or removed although the disk said that it failed.
            Err(e) if matches!(e.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {
                is_whole = false;
                self.backend.open(&path, other).await?
            }
            opened => opened?,
        };
        // A killed predecessor's writes may still land here (trap 7).
        if !lock_soon(&*file).await? {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        if !is_whole {
            file.allocate(self.segments.segment_len_bytes()).await?;
            // So that a file which has a header and is short was cut: there were records that nobody knows.
            file.sync_data().await?;
            self.backend.sync_dir(self.segments.dir()).await?;
        }
        Ok(file)
    }

    /// The disk is full: room comes from eviction alone until the next retry.
    async fn stop_growth(&self, taken: Taken, why: &io::Error) {
        tracing::warn!(dir = %self.segments.dir().display(), "the disk is full: no new segment files for now");
        // First this, so that nobody is woken to try the same.
        self.segments.allow_growth(false);
        self.give_back(taken, why).await;
        self.upkeep.notify_one();
    }

    async fn give_back(&self, taken: Taken, why: &io::Error) {
        if taken.is_whole {
            return self.segments.set_free(taken.slot);
        }
        // What has timed out, now or before, is still on its way and holds the file: without its name it would go on taking
        // room, that nobody counts (P5).
        if taken.exists || matches!(why.kind(), io::ErrorKind::TimedOut | io::ErrorKind::ResourceBusy) {
            return self.segments.set_half_made(taken.slot);
        }
        // Else half-made files do not stay.
        match self.backend.remove(&self.segments.path(taken.slot)).await {
            Ok(()) => drop(self.backend.sync_dir(self.segments.dir()).await),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return self.segments.set_half_made(taken.slot),
        }
        self.segments.set_absent(taken.slot);
    }

    /// Seals the open segments of streams that are hardly used: those that all others have been replaced around many times.
    /// Else nothing in them would ever be evicted, and deletes and markers would live on for what they may hold.
    pub fn retire_outlived(&self) {
        let age = self.segments.newest_id().0.saturating_sub(OUTLIVED_AFTER * self.segments.limit());
        let is_outlived = |s: &Segment| s.id.0 < age && !s.tail.lock().rows.is_empty();
        self.stream_ids().for_each(|stream| self.retire_if(stream, is_outlived));
    }

    /// The open segment takes no more records; its writer seals it.
    pub(super) fn retire_active(&self, stream: StreamId) {
        self.retire_if(stream, |_| true);
    }

    fn retire_if(&self, stream: StreamId, condition: impl Fn(&Segment) -> bool) {
        let log = self.stream(stream);
        if let Some(segment) = log.active.lock().take_if(|segment| condition(segment)) {
            segment.tail.lock().close(segment.id, segment.synced());
            segment.set_horizon(self.segments.newest_id());
            log.wake.notify_one();
        }
    }
}

fn is_full(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
