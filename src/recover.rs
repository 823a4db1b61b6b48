//! From a directory to an index: footers of sealed segments, a walk through those that were being written.
//!
//! The newest record of a digest wins, whatever it is; what stands behind it is dead. A record that says nothing to
//! serve (a delete, an expired entry, a damaged one) holds its place until all are in, then leaves the index.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::backend::{Backend, BufferPool, DiskFile, OpenMode, WriteBuf, exact};
use crate::catalog;
use crate::error::{Error, Result};
use crate::format::footer::{self, Row};
use crate::format::length::class_bytes;
use crate::format::manifest::Manifest;
use crate::format::segment_header::{FREE_STREAM, SegmentHeader};
use crate::index::{Change, Index, Location};
use crate::segment::{Extent, Segment, SegmentSet, Summary};
use crate::stats::RecoveryReport;
use crate::types::{Millis, RecordKind, SegmentId, Sequence};

mod examine;

use examine::{State, examine_all};

/// Ids left out at each open: more than a crash can have begun since the last segment whose header it kept.
const SPARE_IDS: u64 = 1 << 16;

/// How much is written again at a time, in bytes.
const REWRITE_BYTES: u64 = 1 << 20;

/// What recovery works on.
pub struct Recovery<'a> {
    /// The way to the disk.
    pub backend: &'a Arc<dyn Backend>,
    /// The directory.
    pub dir: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// Where entries go.
    pub index: &'a Arc<Index>,
    /// Where segments go.
    pub segments: &'a Arc<SegmentSet>,
    /// What has expired by now is dropped.
    pub now: Millis,
    /// How long to wait for a dead process's writes.
    pub lock_wait: Duration,
}

/// What recovery learned besides the report.
#[derive(Debug)]
pub struct Outcome {
    /// The highest sequence seen.
    pub last_sequence: Sequence,
    /// The newest creation time seen.
    pub newest: Millis,
    /// The manifest that holds now.
    pub manifest: Manifest,
}

/// Rebuilds the index from the files in `slots`.
///
/// # Errors
/// `NewerFormat`, `Locked`, `Io`. A damaged file is not an error.
pub async fn recover(r: &Recovery<'_>, slots: &[u16], report: &mut RecoveryReport) -> Result<Outcome> {
    let examined = examine_all(r, slots).await?;
    let mut outcome = Outcome { last_sequence: r.manifest.cleared, newest: Millis(0), manifest: r.manifest };
    let mut used = Vec::new();
    let (mut doubts, mut extents, mut free) = (Vec::new(), Vec::new(), Vec::new());
    for one in examined {
        merge_report(report, &one.report);
        doubts.extend(one.doubt);
        match one.state {
            State::Foreign(note) => {
                report.note(note);
                r.segments.retire(one.slot);
            }
            State::Free { id, is_whole } => {
                report.segments_free += 1;
                if let Some(id) = id {
                    r.segments.saw_id(id);
                }
                free.push((one.slot, is_whole, None));
            }
            State::Lost { is_whole } => free.push((one.slot, is_whole, Some(one.file))),
            State::Used { id, stream, rows, newest, unsealed } => {
                extents.extend(Extent::of(stream, id, &rows));
                r.segments.saw_id(id);
                outcome.newest = outcome.newest.max(newest);
                let last = rows.iter().map(|row| row.sequence).max().unwrap_or_default();
                outcome.last_sequence = outcome.last_sequence.max(last);
                used.push(Used { slot: one.slot, id, file: one.file, rows, newest, unsealed });
            }
        }
    }
    // Said in the manifest before any segment is sealed anew or freed, so that the doubt outlives this run.
    let floor = doubts.iter().map(|doubt| doubt.floor(&extents)).max().unwrap_or_default();
    if floor > outcome.manifest.cleared {
        outcome.manifest.cleared = floor;
        catalog::write_manifest(&**r.backend, &r.dir, &outcome.manifest)
            .await
            .map_err(Error::io("write the manifest of", &r.dir))?;
    }
    // Ids whose header did not get to the device are not given out again: their records may have.
    r.segments.saw_id(SegmentId(r.segments.newest_id().0 + SPARE_IDS));
    for (slot, is_whole, lost) in free {
        if let Some(file) = lost {
            mark_free(r, &*file).await.map_err(Error::io("free", r.segments.path(slot)))?;
        }
        free_slot(r, slot, is_whole).await?;
    }
    publish_all(r, used, outcome.manifest.cleared, report).await?;
    report.entries_kept = r.index.len();
    Ok(outcome)
}

struct Used {
    slot: u16,
    id: SegmentId,
    file: Arc<dyn DiskFile>,
    rows: Vec<Row>,
    newest: Millis,
    unsealed: Option<u64>,
}

fn merge_report(into: &mut RecoveryReport, one: &RecoveryReport) {
    into.segments_by_footer += one.segments_by_footer;
    into.segments_scanned += one.segments_scanned;
    into.bytes_read += one.bytes_read;
    into.records += one.records;
    into.dropped_damaged += one.dropped_damaged;
    into.torn_bytes += one.torn_bytes;
    for note in &one.notes {
        into.note(note.clone());
    }
}

/// Says that a file holds nothing which lost what said what it holds, or the next open would be in doubt again.
async fn mark_free(r: &Recovery<'_>, file: &dyn DiskFile) -> io::Result<()> {
    let header = SegmentHeader {
        id: r.segments.next_id(),
        segment_len_bytes: r.manifest.segment_len_bytes,
        created: r.now,
        stream: FREE_STREAM,
        directory_id: r.manifest.directory_id,
    };
    write_all(file, 0, &header.encode()).await?;
    file.sync_data().await
}

async fn free_slot(r: &Recovery<'_>, slot: u16, is_whole: bool) -> Result<()> {
    let path = r.segments.path(slot);
    // A file of another length was never finished, or belongs to a larger cache than this one.
    if is_whole && !r.segments.is_over_limit() {
        r.segments.set_free(slot);
    } else {
        r.backend.remove(&path).await.map_err(Error::io("remove", &path))?;
        r.segments.set_absent(slot);
    }
    Ok(())
}

/// Publishes all rows, then takes out what is not to be served, then seals what was scanned.
async fn publish_all(r: &Recovery<'_>, used: Vec<Used>, floor: Sequence, report: &mut RecoveryReport) -> Result<()> {
    let used = Arc::new(used);
    let publisher = Publisher {
        by_slot: index_by_slot(&used),
        used: used.clone(),
        index: r.index.clone(),
        segments: r.segments.clone(),
        cleared_up_to: r.manifest.cleared,
        floor,
        now: r.now,
        replaced: AtomicU64::new(0),
        cleared: AtomicU64::new(0),
        expired: AtomicU64::new(0),
        doubtful: AtomicU64::new(0),
    };
    let publisher = tokio::task::spawn_blocking(move || {
        publisher.run();
        publisher
    })
    .await
    .map_err(|e| Error::io("recover from", &r.dir)(io::Error::other(e)))?;
    report.dropped_replaced += publisher.replaced.into_inner();
    report.dropped_cleared += publisher.cleared.into_inner();
    report.dropped_expired += publisher.expired.into_inner();
    report.dropped_doubtful += publisher.doubtful.into_inner();
    drop((publisher.used, publisher.by_slot));
    for one in Arc::try_unwrap(used).unwrap_or_default() {
        install(r, one).await?;
    }
    Ok(())
}

async fn install(r: &Recovery<'_>, one: Used) -> Result<()> {
    let path = r.segments.path(one.slot);
    let mut file = one.file.clone();
    if let Some(synced) = one.unsealed {
        seal(&*file, &one, r.manifest.segment_len_bytes, synced).await.map_err(Error::io("seal", &path))?;
        file = r.backend.open(&path, OpenMode::Read).await.map_err(Error::io("open", &path))?;
    }
    let summary: Summary = crate::segment::summarize(&one.rows);
    let segment = Segment::sealed(one.id, one.slot, path, file, summary);
    segment.set_horizon(r.segments.newest_id());
    r.segments.install(Arc::new(segment));
    Ok(())
}

async fn seal(file: &dyn DiskFile, one: &Used, len_bytes: u64, synced: u64) -> io::Result<()> {
    let data_end = one.rows.last().map_or(0, |row| row.offset() + row.len_bytes());
    // Where a sync failed, what the page cache shows may never reach the device, and no later sync says so (trap 6):
    // it is written again.
    let mut at = synced;
    while at < data_end {
        let bytes = exact::read_exact_at(file, at, REWRITE_BYTES.min(data_end - at) as usize).await?;
        write_all(file, at, &bytes).await?;
        at += bytes.len() as u64;
    }
    if synced < data_end {
        // The records are durable before a footer says that they are there.
        file.sync_data().await?;
    }
    let (at, bytes) = footer::encode(&one.rows, one.id, len_bytes, data_end, one.newest);
    write_all(file, at, &bytes).await?;
    file.sync_data().await
}

async fn write_all(file: &dyn DiskFile, at: u64, bytes: &[u8]) -> io::Result<()> {
    let mut buf = BufferPool::new(0).take(bytes.len())?;
    buf[..bytes.len()].copy_from_slice(bytes);
    exact::write_all_at(file, at, WriteBuf::new(Arc::new(buf), bytes.len())).await
}

fn index_by_slot(used: &[Used]) -> Vec<Option<usize>> {
    let len = used.iter().map(|u| u.slot as usize + 1).max().unwrap_or(0);
    let mut by_slot = vec![None; len];
    for (i, u) in used.iter().enumerate() {
        by_slot[u.slot as usize] = Some(i);
    }
    by_slot
}

/// Puts rows into the index, on two threads.
struct Publisher {
    used: Arc<Vec<Used>>,
    by_slot: Vec<Option<usize>>,
    index: Arc<Index>,
    segments: Arc<SegmentSet>,
    /// Up to here a `clear` said so; from there to the floor, damage does.
    cleared_up_to: Sequence,
    floor: Sequence,
    now: Millis,
    replaced: AtomicU64,
    cleared: AtomicU64,
    expired: AtomicU64,
    doubtful: AtomicU64,
}

type Rank = (Sequence, bool, SegmentId);

impl Publisher {
    fn run(&self) {
        let next = AtomicU64::new(0);
        let each = |work: &(dyn Fn(&Used) + Sync)| {
            next.store(0, Ordering::SeqCst);
            let worker = || {
                while let Some(one) = self.used.get(next.fetch_add(1, Ordering::SeqCst) as usize) {
                    work(one);
                }
            };
            std::thread::scope(|scope| {
                scope.spawn(worker);
                worker();
            });
        };
        each(&|one| one.rows.iter().for_each(|row| self.publish(one, row)));
        each(&|one| one.rows.iter().for_each(|row| self.withdraw(one, row)));
    }

    fn location(one: &Used, row: &Row) -> Location {
        Location { slot: one.slot, offset_units: row.offset_units, class: row.class.bits() }
    }

    /// The order of two records of one digest. A marker has the sequence of the record that it was left for; it wins,
    /// wherever it stands. A record that was moved has its twin's sequence; the later segment's is the copy.
    fn rank(one: &Used, row: &Row) -> Rank {
        (row.sequence, row.kind != RecordKind::Put, one.id)
    }

    fn rank_at(&self, at: Location) -> Rank {
        let one = self.by_slot.get(at.slot as usize).copied().flatten().and_then(|i| self.used.get(i));
        let row = one.and_then(|one| {
            let i = one.rows.binary_search_by_key(&at.offset_units, |row| row.offset_units).ok()?;
            Some(Self::rank(one, &one.rows[i]))
        });
        row.unwrap_or((Sequence(0), false, SegmentId(0)))
    }

    fn publish(&self, one: &Used, row: &Row) {
        if row.sequence <= self.floor {
            let is_cleared = row.sequence <= self.cleared_up_to;
            let count = if is_cleared { &self.cleared } else { &self.doubtful };
            count.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let at = Self::location(one, row);
        self.index.update(row.digest, |found| {
            let Some(found) = found else {
                self.segments.add_live(at.slot, row.len_bytes());
                return (Change::Put(at, false), ());
            };
            self.replaced.fetch_add(1, Ordering::Relaxed);
            let (winner, loser) = if self.rank_at(found.location) > Self::rank(one, row) {
                (found.location, at)
            } else {
                self.segments.sub_live(found.location.slot, class_bytes(found.location.class));
                self.segments.add_live(at.slot, row.len_bytes());
                (at, found.location)
            };
            debug_assert_ne!(winner, loser, "one record met twice");
            (Change::Put(winner, true), ())
        });
    }

    /// Takes a row out of the index again if it holds nothing to serve.
    fn withdraw(&self, one: &Used, row: &Row) {
        let is_put = row.kind == RecordKind::Put;
        let is_expired = is_put && row.is_expired(self.now);
        if is_put && !is_expired {
            return;
        }
        let at = Self::location(one, row);
        // An expired entry with an older copy behind it stays, so that its eviction leaves a marker.
        let stays = |older: bool| is_expired && older;
        let removed = self.index.update(row.digest, |found| match found {
            Some(f) if f.location == at && !stays(f.older) => (Change::Remove, true),
            _ => (Change::Keep, false),
        });
        if removed {
            self.segments.sub_live(at.slot, row.len_bytes());
            if is_expired {
                self.expired.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
