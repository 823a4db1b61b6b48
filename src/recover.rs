//! From a directory to an index: footers of sealed segments, a walk through those that were being written.
//!
//! The newest record of a digest wins, whatever it is; what stands behind it is dead. A record that says nothing to
//! serve (a delete, an expired entry, a damaged one) holds its place until all are in, then leaves the index.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::backend::{Backend, BufferPool, DiskFile, OpenMode, WriteBuf, exact};
use crate::catalog;
use crate::error::{Error, Result};
use crate::format::file_name::segment_name;
use crate::format::footer::{self, FooterDefect, Row};
use crate::format::length::class_bytes;
use crate::format::manifest::Manifest;
use crate::format::segment_header::{FREE_STREAM, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::index::{Change, Index, Location};
use crate::segment::scan::{self, Scope};
use crate::segment::{Segment, SegmentSet, Summary};
use crate::stats::RecoveryReport;
use crate::types::{Millis, RecordKind, SegmentId, Sequence};

/// Ids left out at each open: more than a crash can have begun since the last segment whose header it kept.
const SPARE_IDS: u64 = 1 << 16;

/// How much is written again at a time, in bytes.
const REWRITE_BYTES: u64 = 1 << 20;

/// Segments looked at side by side.
const PARALLEL: usize = 8;

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

/// What a file turned out to be.
enum State {
    /// It holds nothing. Its last id, if known; whether it has its full length.
    Free { id: Option<SegmentId>, is_whole: bool },
    /// Not of this directory: left alone.
    Foreign(String),
    /// It holds records. If it has no footer: up to where it is known to be on the device.
    Used { id: SegmentId, rows: Vec<Row>, newest: Millis, unsealed: Option<u64> },
}

struct Examined {
    slot: u16,
    file: Arc<dyn DiskFile>,
    state: State,
    report: RecoveryReport,
    /// Keys are hidden by damage: older entries may have been replaced there.
    doubt_below: Sequence,
}

/// Rebuilds the index from the files in `slots`.
///
/// # Errors
/// `NewerFormat`, `Locked`, `Io`. A damaged file is not an error.
pub async fn recover(r: &Recovery<'_>, slots: &[u16], report: &mut RecoveryReport) -> Result<Outcome> {
    let examined = examine_all(r, slots).await?;
    let mut outcome = Outcome { last_sequence: r.manifest.cleared, newest: Millis(0), manifest: r.manifest };
    let mut used = Vec::new();
    let mut doubt_below = Sequence(0);
    for one in examined {
        merge_report(report, &one.report);
        doubt_below = doubt_below.max(one.doubt_below);
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
                free_slot(r, one.slot, is_whole).await?;
            }
            State::Used { id, rows, newest, unsealed } => {
                r.segments.saw_id(id);
                outcome.newest = outcome.newest.max(newest);
                let last = rows.iter().map(|row| row.sequence).max().unwrap_or_default();
                outcome.last_sequence = outcome.last_sequence.max(last);
                used.push(Used { slot: one.slot, id, file: one.file, rows, newest, unsealed });
            }
        }
    }
    // Said in the manifest before any segment is sealed anew, so that the doubt outlives this run.
    if doubt_below > outcome.manifest.cleared {
        outcome.manifest.cleared = Sequence(doubt_below.0 - 1);
        catalog::write_manifest(&**r.backend, &r.dir, &outcome.manifest)
            .await
            .map_err(Error::io("write the manifest of", &r.dir))?;
    }
    // Ids whose header did not get to the device are not given out again: their records may have.
    r.segments.saw_id(SegmentId(r.segments.newest_id().0 + SPARE_IDS));
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

async fn examine_all(r: &Recovery<'_>, slots: &[u16]) -> Result<Vec<Examined>> {
    let mut tasks = JoinSet::new();
    let mut examined = Vec::with_capacity(slots.len());
    for &slot in slots {
        if tasks.len() >= PARALLEL {
            examined.extend(joined(&mut tasks).await?);
        }
        let (backend, manifest, dir) = (r.backend.clone(), r.manifest, r.dir.clone());
        let lock_wait = r.lock_wait;
        tasks.spawn(async move { examine(&*backend, dir, &manifest, slot, lock_wait).await });
    }
    while let Some(one) = joined(&mut tasks).await? {
        examined.push(one);
    }
    Ok(examined)
}

async fn joined(tasks: &mut JoinSet<Result<Examined>>) -> Result<Option<Examined>> {
    match tasks.join_next().await {
        None => Ok(None),
        Some(Ok(one)) => one.map(Some),
        Some(Err(e)) => Err(Error::io("recover from", "a segment")(io::Error::other(e))),
    }
}

/// Looks at one file.
async fn examine(
    backend: &dyn Backend,
    dir: PathBuf,
    manifest: &Manifest,
    slot: u16,
    lock_wait: Duration,
) -> Result<Examined> {
    let path = dir.join(segment_name(slot));
    let failed = |e| Error::io("read", &path)(e);
    let file = backend.open(&path, OpenMode::Read).await.map_err(Error::io("open", &path))?;
    let len = file.len().await.map_err(failed)?;
    let is_whole = len == manifest.segment_len_bytes;
    let head = exact::read_up_to(&*file, 0, SEGMENT_HEADER_BYTES).await.map_err(failed)?;
    let mut report = RecoveryReport { bytes_read: head.len() as u64, ..RecoveryReport::default() };
    let one = |file, state, report| Examined { slot, file, state, report, doubt_below: Sequence(0) };
    let header = match SegmentHeader::decode(&head) {
        Ok(header) => header,
        Err(defect) => {
            if head.iter().any(|&b| b != 0) {
                report.note(format!("{}: {defect}; its records are dropped", segment_name(slot)));
                report.dropped_damaged += 1;
            }
            return Ok(one(file, State::Free { id: None, is_whole }, report));
        }
    };
    if header.directory_id != manifest.directory_id {
        let note = format!("{} belongs to another directory; it is left alone", segment_name(slot));
        return Ok(one(file, State::Foreign(note), report));
    }
    if header.stream == FREE_STREAM {
        return Ok(one(file, State::Free { id: Some(header.id), is_whole }, report));
    }
    let footer = scan::read_footer(&*file, header.id, manifest.segment_len_bytes).await.map_err(failed)?;
    match footer {
        Ok(footer) => {
            report.segments_by_footer += 1;
            report.bytes_read += footer.bytes_read;
            report.records += footer.rows.len() as u64;
            let state = State::Used { id: header.id, rows: footer.rows, newest: footer.trailer.newest, unsealed: None };
            Ok(one(file, state, report))
        }
        Err(defect) => {
            // Whoever wrote it may be dead, and its writes still land (trap 7).
            let writer = lock_writable(backend, &path, lock_wait).await?;
            let resync = matches!(defect, FooterDefect::Crc | FooterDefect::Bounds);
            let end = len.min(manifest.segment_len_bytes);
            let scope = Scope { segment: header.id, end, seed: &manifest.seed, resync };
            let mut scanned = scan::scan(&*file, scope).await.map_err(failed)?;
            report.segments_scanned += 1;
            report.bytes_read += scanned.bytes_read;
            report.records += scanned.rows.len() as u64;
            report.torn_bytes += scanned.torn_bytes;
            report.dropped_damaged += scanned.damage.len() as u64;
            for damage in &scanned.damage {
                report.note(format!("{} at {}: {}", segment_name(slot), damage.offset, damage.defect));
            }
            let last = scanned.rows.iter().map(|row| row.sequence).max().unwrap_or_default();
            let doubt_below = if scanned.hides_keys { last } else { Sequence(0) };
            let rows = std::mem::take(&mut scanned.rows);
            if rows.is_empty() {
                return Ok(one(file, State::Free { id: Some(header.id), is_whole }, report));
            }
            let state = State::Used { id: header.id, rows, newest: scanned.newest, unsealed: Some(scanned.synced) };
            Ok(Examined { doubt_below, ..one(writer, state, report) })
        }
    }
}

async fn lock_writable(backend: &dyn Backend, path: &std::path::Path, wait: Duration) -> Result<Arc<dyn DiskFile>> {
    let mode = OpenMode::ReadWrite { direct: false };
    let file = backend.open(path, mode).await.map_err(Error::io("open", path))?;
    let until = tokio::time::Instant::now() + wait;
    while !file.try_lock().map_err(Error::io("lock", path))? {
        if tokio::time::Instant::now() >= until {
            return Err(Error::Locked { path: path.into() });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(file)
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
