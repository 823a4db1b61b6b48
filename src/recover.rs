//! From a directory to an index: footers of sealed segments, a walk through those that were being written.
//!
//! All are read before the first entry is published: what is newest is known only then.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::backend::{Backend, BufferPool, DiskFile, OpenMode, WriteBuf, exact};
use crate::catalog;
use crate::error::{Error, Result};
use crate::format::file_name::segment_name;
use crate::format::footer::{self, FooterDefect, Row};
use crate::format::manifest::Manifest;
use crate::format::segment_header::{FREE_STREAM, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::index::load::{Batch, Candidate, Claim};
use crate::index::{Index, Location};
use crate::segment::scan::{self, Scope};
use crate::segment::{Segment, SegmentSet, Summary, summarize};
use crate::stats::RecoveryReport;
use crate::types::{Millis, RecordKind, SegmentId, Sequence};

mod publish;

use publish::Publisher;

/// Ids left out at each open: more than a crash can have begun since the last segment whose header it kept.
const SPARE_IDS: u64 = 1 << 16;

/// Segments looked at side by side.
const PARALLEL: usize = 8;

/// What recovery works on.
#[derive(Clone)]
pub struct Recovery {
    /// The way to the disk.
    pub backend: Arc<dyn Backend>,
    /// The directory.
    pub dir: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// Where entries go.
    pub index: Arc<Index>,
    /// Where segments go.
    pub segments: Arc<SegmentSet>,
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
    /// It holds records.
    Used(Used),
}

/// A file that holds records.
struct Used {
    id: SegmentId,
    summary: Summary,
    newest: Millis,
    batch: Batch,
    /// The rows of a segment that was not sealed, and shall be.
    unsealed: Option<Vec<Row>>,
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
pub async fn recover(r: &Recovery, slots: &[u16], report: &mut RecoveryReport) -> Result<Outcome> {
    let examined = examine_all(r, slots).await?;
    let mut outcome = Outcome { last_sequence: r.manifest.cleared, newest: Millis(0), manifest: r.manifest };
    let mut used = Vec::new();
    let mut doubt_below = Sequence(0);
    let mut has_removed = false;
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
                has_removed |= free_slot(r, one.slot, is_whole).await?;
            }
            State::Used(found) => {
                r.segments.saw_id(found.id);
                outcome.newest = outcome.newest.max(found.newest);
                outcome.last_sequence = outcome.last_sequence.max(Sequence(found.summary.max_sequence));
                used.push((one.slot, one.file, found));
            }
        }
    }
    // What was removed does not come back beside what is made in its place.
    if has_removed {
        r.backend.sync_dir(&r.dir).await.map_err(Error::io("sync", &r.dir))?;
    }
    // Said in the manifest before any segment is sealed anew, so that the doubt outlives this run.
    if doubt_below > outcome.manifest.cleared {
        outcome.manifest.cleared = Sequence(doubt_below.0 - 1);
        catalog::write_manifest(&*r.backend, &r.dir, &outcome.manifest)
            .await
            .map_err(Error::io("write the manifest of", &r.dir))?;
    }
    // Ids whose header did not get to the device are not given out again: their records may have.
    r.segments.saw_id(SegmentId(r.segments.newest_id().0 + SPARE_IDS));
    publish_all(r, used, outcome.manifest.cleared, report).await?;
    report.entries_kept = r.index.len();
    Ok(outcome)
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

/// Whether the file was removed.
async fn free_slot(r: &Recovery, slot: u16, is_whole: bool) -> Result<bool> {
    let path = r.segments.path(slot);
    // A file of another length was never finished, or belongs to a larger cache than this one.
    if is_whole && !r.segments.is_over_limit() {
        r.segments.set_free(slot);
        return Ok(false);
    }
    r.backend.remove(&path).await.map_err(Error::io("remove", &path))?;
    r.segments.set_absent(slot);
    Ok(true)
}

async fn examine_all(r: &Recovery, slots: &[u16]) -> Result<Vec<Examined>> {
    let mut tasks = JoinSet::new();
    let mut examined = Vec::with_capacity(slots.len());
    for &slot in slots {
        if tasks.len() >= PARALLEL {
            examined.extend(joined(&mut tasks).await?);
        }
        tasks.spawn(examine(r.clone(), slot));
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
async fn examine(r: Recovery, slot: u16) -> Result<Examined> {
    let (backend, manifest) = (&*r.backend, &r.manifest);
    let path = r.segments.path(slot);
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
    match scan::read_footer(&*file, header.id, manifest.segment_len_bytes).await.map_err(failed)? {
        Ok(footer) => {
            report.segments_by_footer += 1;
            report.bytes_read += footer.bytes_read;
            report.records += u64::from(footer.trailer.rows);
            let (batch, summary) = gather(&r, slot, footer.rows());
            let newest = footer.trailer.newest;
            let state = State::Used(Used { id: header.id, summary, newest, batch, unsealed: None });
            Ok(one(file, state, report))
        }
        Err(defect) => {
            // Whoever wrote it may be dead, and its writes still land (trap 7).
            let writer = lock_writable(backend, &path, r.lock_wait).await?;
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
            let rows = std::mem::take(&mut scanned.rows);
            if rows.is_empty() {
                return Ok(one(file, State::Free { id: Some(header.id), is_whole }, report));
            }
            let (batch, summary) = gather(&r, slot, rows.iter().copied());
            let doubt_below = Sequence(if scanned.hides_keys { summary.max_sequence } else { 0 });
            let newest = scanned.newest;
            let state = State::Used(Used { id: header.id, summary, newest, batch, unsealed: Some(rows) });
            Ok(Examined { doubt_below, ..one(writer, state, report) })
        }
    }
}

/// The records of a segment, sorted for the index, and what they are.
fn gather(r: &Recovery, slot: u16, rows: impl Iterator<Item = Row> + Clone) -> (Batch, Summary) {
    let candidate = |row: Row| {
        let claim = match row.kind {
            RecordKind::Put if row.is_expired(r.now) => Claim::Expired,
            RecordKind::Put => Claim::Serve,
            _ => Claim::Cover,
        };
        let at = Location { slot, offset_units: row.offset_units, class: row.class.bits() };
        Candidate::new(row.digest, row.sequence, claim, at)
    };
    (r.index.batch(|| rows.clone().map(candidate)), summarize(rows.clone()))
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

/// Fills the index, then seals what was scanned.
async fn publish_all(
    r: &Recovery,
    mut used: Vec<(u16, Arc<dyn DiskFile>, Used)>,
    floor: Sequence,
    report: &mut RecoveryReport,
) -> Result<()> {
    let mut ids = vec![SegmentId(0); used.iter().map(|(slot, ..)| *slot as usize + 1).max().unwrap_or(0)];
    used.iter().for_each(|(slot, _, one)| ids[*slot as usize] = one.id);
    let publisher = Publisher {
        batches: used.iter_mut().map(|(_, _, one)| std::mem::take(&mut one.batch)).collect(),
        ids,
        index: r.index.clone(),
        cleared_up_to: r.manifest.cleared,
        floor,
    };
    let tally = tokio::task::spawn_blocking(move || publisher.run())
        .await
        .map_err(|e| Error::io("recover from", &r.dir)(io::Error::other(e)))?;
    report.dropped_replaced += tally.replaced;
    report.dropped_cleared += tally.cleared;
    report.dropped_expired += tally.expired;
    report.dropped_doubtful += tally.doubtful;
    for (slot, (bytes, entries)) in tally.live.iter().enumerate() {
        r.segments.add_live_entries(slot as u16, *bytes, *entries);
    }
    for (slot, file, one) in used {
        install(r, slot, file, one).await?;
    }
    Ok(())
}

async fn install(r: &Recovery, slot: u16, mut file: Arc<dyn DiskFile>, one: Used) -> Result<()> {
    let path = r.segments.path(slot);
    if let Some(rows) = one.unsealed {
        seal(&*file, &rows, one.id, r.manifest.segment_len_bytes, one.newest)
            .await
            .map_err(Error::io("seal", &path))?;
        file = r.backend.open(&path, OpenMode::Read).await.map_err(Error::io("open", &path))?;
    }
    let segment = Segment::sealed(one.id, slot, path, file, one.summary);
    segment.set_horizon(r.segments.newest_id());
    r.segments.install(Arc::new(segment));
    Ok(())
}

async fn seal(file: &dyn DiskFile, rows: &[Row], id: SegmentId, len_bytes: u64, newest: Millis) -> io::Result<()> {
    let data_end = rows.last().map_or(0, |row| row.offset() + row.len_bytes());
    let (at, bytes) = footer::encode(rows, id, len_bytes, data_end, newest);
    let mut buf = BufferPool::new(0).take(bytes.len())?;
    buf[..bytes.len()].copy_from_slice(&bytes);
    exact::write_all_at(file, at, WriteBuf::new(Arc::new(buf), bytes.len())).await?;
    file.sync_data().await
}
