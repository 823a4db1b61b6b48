//! Room ahead of need: the mechanism that empties a segment and frees its file.
//!
//! What must not happen is that dropping a segment uncovers an older record at recovery (trap 1). So:
//! - an entry that may have an older copy on disk leaves a marker behind when it is dropped, if a segment remains that
//!   could hold the copy; every entry may, while a segment whose entries are forgotten still has its file;
//! - deletes and markers are carried on as long as a segment remains that is not younger than they are (their value
//!   says which ids existed then; copies that were replaced never move, so no other segment can hold one);
//! - what replaced the records of this segment is synced before its file is freed, and so is every marker that is owed.
//!
//! So whenever the index forgets a record whose file still counts, a newer record of the digest is on disk, or is owed,
//! or nothing newer ever was; and until it is on disk no file goes that keeps something older dead.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use crate::backend::lock::lock_soon;
use crate::backend::{OpenMode, WriteBuf, exact};
use crate::error::{Error, Result};
use crate::format::footer::Row;
use crate::format::segment_header::{DATA_START, FREE_STREAM, SegmentHeader};
use crate::log::{Entry, Log, MARKERS, Order};
use crate::namespaces::Allotment;
use crate::segment::Segment;
use crate::segment::scan::{self, Scope};
use crate::sync::Mutex;
use crate::sync::task::JoinSet;
use crate::types::{BLOCK_BYTES, Digest, Durability, Group, SegmentId, Sequence};

mod empty;
mod listener;
pub mod policy;
mod retention;
mod split;
mod upkeep;

use empty::{Emptied, MARKER_BYTES};
pub use listener::{EvictReason, Evicted, Evictions, Listeners};
use policy::{Candidate, Choice, Part, Reason, Usage};
use retention::Retention;
pub use split::Split;

/// Empties segments.
pub struct Evictor {
    log: Arc<Log>,
    /// By group.
    splits: Arc<[Split]>,
    listeners: Arc<Listeners>,
    seed: [u8; 16],
    retention: Option<Retention>,
    /// Segments whose entries are forgotten, or soon will be, while their file still holds them.
    unfreed: Mutex<HashSet<SegmentId>>,
    /// Segments that could not be read; tried again after a while.
    unreadable: Mutex<HashSet<SegmentId>>,
}

impl Evictor {
    /// An evictor that rewrites through `log`, in a directory with this seed.
    pub fn new(log: Arc<Log>, splits: Arc<[Split]>, listeners: Arc<Listeners>, seed: [u8; 16]) -> Self {
        let (unfreed, unreadable) = (Mutex::default(), Mutex::default());
        // Where nothing is, nothing comes of age that has no time to live.
        let max_age_ms = log.config.retention_ms.filter(|_| !log.index.is_empty());
        let retention = max_age_ms.map(|max_age_ms| Retention::new(max_age_ms, log.clock.now()));
        Self { log, splits, listeners, seed, retention, unfreed, unreadable }
    }

    fn candidates(&self) -> Vec<Candidate> {
        let segments = self.log.segments.used();
        let sealed = segments.iter().filter(|s| s.is_sealed());
        sealed
            .map(|s| {
                let summary = s.summary();
                Candidate {
                    id: s.id,
                    slot: s.slot,
                    group: s.stream.group,
                    part: Part::of(s.stream.stream),
                    live_entries: self.log.segments.live_entries(s.slot),
                    live_bytes: self.log.segments.live_bytes_of(s.slot) + u64::from(summary.markers) * MARKER_BYTES,
                    last_expiry_s: summary.last_expiry_s,
                    markers: summary.markers,
                    is_void: summary.is_void,
                }
            })
            .collect()
    }

    /// Of all or of a group, those that do not go yet and can be read.
    fn candidates_but(&self, of: Option<Group>, going: &[(Arc<Segment>, Reason)]) -> Vec<Candidate> {
        let mut candidates = self.candidates();
        let is_its = |c: &Candidate| of.is_none_or(|group| c.group == group);
        let goes = |c: &Candidate| going.iter().any(|(v, _)| v.id == c.id);
        candidates.retain(|c| is_its(c) && !goes(c) && !self.unreadable.lock().contains(&c.id));
        if self.has_no_room_to_pay() && candidates.iter().any(|c| c.is_void) {
            candidates.retain(|c| c.is_void);
        }
        candidates
    }

    /// What each group takes, not counting those that go. `of`: only that one gives up any.
    fn usages(&self, of: Option<Group>, going: &[(Arc<Segment>, Reason)]) -> Vec<Usage> {
        let mut segments = self.log.segments.used();
        segments.retain(|s| going.iter().all(|(v, _)| v.id != s.id));
        let of_group = |(allotment, (group, split)): (&Allotment, (Group, &Split))| {
            let own = || segments.iter().filter(|s| s.stream.group == group);
            let count = |part| own().filter(|s| Part::of(s.stream.stream) == part).count() as u64;
            let all = own().count() as u64;
            let over = |most_new_bytes: u64| {
                let most_new = most_new_bytes / self.log.segments.segment_len_bytes();
                Part::over(count(Part::New), most_new, count(Part::ShortLived), all)
            };
            // What is kept free for all is at the expense of what the shares leave.
            let kept_free = if group == Group::COMMON { self.high_water() } else { 0 };
            Usage {
                segments: all,
                share: allotment.share.saturating_sub(kept_free),
                over: split.new_log_bytes().map(over),
                is_sealing: of.is_none_or(|of| of == group) && own().any(|s| s.is_sealing()),
            }
        };
        let groups = self.log.namespaces.groups().zip(self.splits.iter());
        self.log.namespaces.allotments().iter().zip(groups).map(of_group).collect()
    }

    fn split(&self, victim: &Segment) -> &Split {
        &self.splits[usize::from(victim.stream.group.0)]
    }

    /// Whether markers are owed and there is no segment to write them to.
    fn has_no_room_to_pay(&self) -> bool {
        self.log.owes() && self.log.segments.census().available == 0
    }

    /// Evicts up to `count` segments that the policy picks, of all or of a group, which share one sync; of those that have not
    /// expired only so many as are `missing`. How many there were.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn evict(&self, of: Option<Group>, count: usize, missing: usize) -> Result<usize> {
        self.log.set_evicting(true);
        let counters = &self.log.counters;
        // Nobody else evicts.
        let unfreed = || counters.evictions_tried.get() - counters.segments_evicted.get();
        let before = unfreed();
        let evicted = self.evict_and_free(of, count, missing).await;
        counters.evictions_failed.add(unfreed() - before);
        self.log.set_evicting(!self.unfreed.lock().is_empty());
        evicted
    }

    async fn evict_and_free(&self, of: Option<Group>, count: usize, missing: usize) -> Result<usize> {
        self.log.retire_outlived();
        let mut victims: Vec<(Arc<Segment>, Reason)> = Vec::new();
        let mut needs_sync = false;
        // What an earlier round forgot and could not free may be older than anything.
        let is_behind = !self.unfreed.lock().is_empty();
        while victims.len() < count {
            let candidates = self.candidates_but(of, &victims);
            let choice = Choice {
                policy: self.log.config.eviction,
                candidates: &candidates,
                now: self.log.clock.now(),
                segment_len_bytes: self.log.segments.segment_len_bytes(),
                usages: &self.usages(of, &victims),
            };
            let Some((victim, reason)) = choice.pick().and_then(|(c, r)| Some((self.log.segments.get(c.slot)?, r)))
            else {
                break;
            };
            // Where an expired one cannot be read, none that is served goes in its place.
            if reason != Reason::Expired && victims.len() >= missing {
                break;
            }
            self.log.counters.evictions_tried.add_one();
            if self.unfreed.lock().contains(&victim.id) {
                // An earlier round emptied it. What that one wrote is on its way, or owed again if it was lost: writing it
                // once more each round would be without an end.
                needs_sync = true;
                victims.push((victim, reason));
                continue;
            }
            match self.empty_one(&victim, is_behind, victims.is_empty()).await? {
                Emptied::Done { needs_sync: is_needed } => {
                    needs_sync |= is_needed;
                    victims.push((victim, reason));
                }
                Emptied::Later => break,
                Emptied::Stays => drop(self.unreadable.lock().insert(victim.id)),
            }
        }
        // What keeps the old records dead is on the device first; otherwise the victims stay, and are tried again.
        if self.log.owes() {
            self.log.pay_owed().await?;
            needs_sync = true;
        }
        // A `clear` that is not on disk hides what covers what: nothing is freed before it is.
        if self.log.is_history_hidden() {
            return Ok(0);
        }
        let is_synced = !needs_sync || self.log.settle_written(Durability::Synced).await.is_ok();
        if !is_synced {
            victims.retain(|(victim, _)| victim.summary().is_void);
        } else if self.log.owes() {
            // Asked again, since markers may have been lost meanwhile, or owed for writes that were refused.
            victims = self.harmless(victims).await;
        }
        // Only now, and all at once: none of them relied on another one being gone.
        let mut freeing = JoinSet::new();
        for (victim, reason) in victims {
            let log = self.log.clone();
            freeing.spawn(async move { free(log, victim.clone(), reason).await.then_some(victim.id) });
        }
        let mut freed = 0;
        while let Some(one) = freeing.join_next().await {
            if let Ok(Some(id)) = one {
                self.unfreed.lock().remove(&id);
                freed += 1;
            }
        }
        Ok(freed)
    }

    /// Empties a segment that was picked.
    async fn empty_one(&self, victim: &Segment, is_behind: bool, is_alone: bool) -> Result<Emptied> {
        let rows = match self.rows(victim).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!(path = %victim.path.display(), %error, "cannot evict a segment; it stays for now");
                return Ok(Emptied::Stays);
            }
        };
        self.unfreed.lock().insert(victim.id);
        let emptied = self.empty(victim, &rows, is_behind, is_alone).await?;
        if !matches!(emptied, Emptied::Done { .. }) {
            self.unfreed.lock().remove(&victim.id);
        }
        Ok(emptied)
    }

    /// Of segments that are to be freed though markers are owed: those that hold no record that keeps an older one dead
    /// as long as its marker is not written. Where there is none, and no room is left even for markers, only freeing
    /// makes some: for the one with the oldest record, the manifest then says that all is cleared up to the newest of its
    /// records that needs a marker. At the next open that forgets more than eviction would, but no old version comes back.
    async fn harmless(&self, mut victims: Vec<(Arc<Segment>, Reason)>) -> Vec<(Arc<Segment>, Reason)> {
        let owed = self.log.owed();
        let (mut harmless, mut needed) = (Vec::new(), Vec::new());
        victims.sort_by_key(|(victim, _)| victim.summary().min_sequence);
        for (victim, reason) in victims {
            match self.newest_needed(&victim, &owed).await {
                Some(Sequence(0)) => harmless.push((victim, reason)),
                Some(newest) => needed.push((victim, reason, newest)),
                None => {}
            }
        }
        if !harmless.is_empty() || !self.has_no_room_to_pay() || self.candidates().iter().any(|c| c.is_void) {
            return harmless;
        }
        if let Some((victim, reason, newest)) = needed.into_iter().next()
            && self.log.clear_up_to(newest).await
        {
            harmless.push((victim, reason));
        }
        harmless
    }

    /// The sequence of the newest record in a segment that keeps an older one dead as long as a marker is owed; 0 if there
    /// is none. `None` if its records cannot be read.
    async fn newest_needed(&self, victim: &Segment, owed: &HashSet<Digest>) -> Option<Sequence> {
        if victim.summary().is_void {
            return Some(Sequence(0));
        }
        let is_needed =
            |row: &&Row| owed.contains(&row.digest) && self.may_be_covered(victim.id, row, victim.horizon());
        let (lost, rows) = (lost_rows(victim), self.rows(victim).await.ok()?);
        let needed = lost.iter().chain(&rows).filter(is_needed).map(|row| row.sequence).max();
        Some(needed.unwrap_or(Sequence(0)))
    }

    /// The victim's rows: from memory where the disk failed, else from its footer, else by a walk.
    ///
    /// A segment whose keys cannot all be read is not evicted: what its records replaced would come back (P2).
    async fn rows(&self, victim: &Segment) -> io::Result<Vec<Row>> {
        if victim.is_lost(u64::MAX) {
            let rows = victim.tail.lock().rows.clone();
            return Ok(rows.into_iter().filter(|row| !is_lost(victim, row)).collect());
        }
        let file = victim.file();
        let end = self.log.segments.segment_len_bytes();
        if let Ok(footer) = scan::read_footer(&*file, victim.id, end).await? {
            return Ok(footer.rows().collect());
        }
        let scope = Scope { segment: victim.id, end, seed: &self.seed, resync: true };
        let scanned = scan::scan(&*file, scope).await?;
        if scanned.hidden_at.is_some() { Err(io::Error::other("damage hides keys")) } else { Ok(scanned.rows) }
    }

    /// Whether a segment remains that may hold an older record of this digest: one no younger than `horizon`.
    fn may_be_covered(&self, victim: SegmentId, row: &Row, horizon: SegmentId) -> bool {
        let holds_older = |s: &Arc<Segment>| {
            if s.is_sealed() { s.summary().min_sequence <= row.sequence.0 } else { !s.tail.lock().rows.is_empty() }
        };
        self.log.segments.used().iter().any(|s| s.id != victim && s.id <= horizon && holds_older(s))
    }

    async fn leave_marker(&self, row: &Row, horizon: SegmentId) -> Result<()> {
        let key = row.digest.0.to_le_bytes();
        let entry = Entry::marker(row.digest, &key, self.log.clock.now());
        let left = self.log.append(MARKERS, &entry, Order::Marker(row.sequence, horizon), true).await;
        match &left {
            Ok(Ok(_)) => self.log.counters.markers_written.add_one(),
            // The upkeep ends here, so the victim keeps its file, and what is in it still counts.
            Err(Error::Closed) => {}
            _ => self.log.owe_marker(row.digest, row.sequence, horizon),
        }
        left.map(drop)
    }
}

/// Whether the disk failed before this record was on the device.
fn is_lost(victim: &Segment, row: &Row) -> bool {
    victim.is_lost(row.offset() + row.len_bytes())
}

/// What the disk failed to take, and may have taken all the same: a landed record keeps older ones dead until its marker,
/// which is owed, is written.
fn lost_rows(victim: &Segment) -> Vec<Row> {
    victim.tail.lock().rows.iter().filter(|row| is_lost(victim, row)).copied().collect()
}

/// Gives the victim's file back: free, or removed if there are more files than the capacity holds. Whether it could.
async fn free(log: Arc<Log>, victim: Arc<Segment>, reason: Reason) -> bool {
    if let Err(error) = mark_free(&log, &victim).await {
        tracing::error!(path = %victim.path.display(), %error, "cannot free a segment file; it is tried again");
        return false;
    }
    log.segments.retire(victim.slot);
    log.counters.segments_evicted.add_one();
    match reason {
        Reason::Expired => log.counters.segments_expired.add_one(),
        Reason::Dead => log.counters.segments_dead.add_one(),
        Reason::Policy => log.counters.segments_by_policy.add_one(),
    }
    if log.segments.is_over_limit() && log.backend.remove(&victim.path).await.is_ok() {
        let _ = log.backend.sync_dir(log.segments.dir()).await;
        log.segments.set_absent(victim.slot);
    } else {
        log.segments.set_free(victim.slot);
    }
    true
}

/// Says on disk that the file holds nothing, so that nothing in it comes back.
async fn mark_free(log: &Log, victim: &Segment) -> io::Result<()> {
    let header = SegmentHeader {
        id: victim.id,
        segment_len_bytes: log.segments.segment_len_bytes(),
        created: log.clock.now(),
        stream: FREE_STREAM,
        directory_id: log.directory_id,
        group: 0,
    };
    let len = DATA_START as usize;
    let mut buf = log.pool.take(len)?;
    buf[..len].copy_from_slice(&header.encode_block());
    let direct = log.config.direct_io;
    let file = log.backend.open(&victim.path, OpenMode::ReadWrite { direct }).await?;
    // A write that timed out, of the victim's or this one at an earlier try, may still land. Who writes holds the lock
    // until it has, so that none lands in the file's next life (trap 7).
    if !lock_soon(&*file).await? {
        // Or the lock is the victim's own: its descriptor could not be given back when it was sealed.
        log.end_writing(victim).await;
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    // The trailer goes too: it stands in for a header that is damaged.
    let mut zeros = log.pool.take(len)?;
    zeros[..len].fill(0);
    let last_block = header.segment_len_bytes - BLOCK_BYTES;
    exact::write_all_at(&*file, last_block, WriteBuf::new(Arc::new(zeros), len)).await?;
    exact::write_all_at(&*file, 0, WriteBuf::new(Arc::new(buf), len)).await?;
    log.counters.bytes_written.add(DATA_START + BLOCK_BYTES);
    file.sync_data().await
}
