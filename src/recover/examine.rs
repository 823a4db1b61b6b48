//! What one file holds: looked at side by side, a few at a time.

use crate::sync::atomic::Ordering;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::adopt::Parts;
use super::{Recovery, Unsealed, Used};
use crate::backend::{Backend, DiskFile, OpenMode};
use crate::error::{Error, Result};
use crate::format::file_name::segment_name;
use crate::format::footer::{FooterDefect, Row};
use crate::format::segment_header::{DATA_START, FREE_STREAM, SegmentHeader};
use crate::index::Location;
use crate::index::load::{Batch, Candidate, Claim};
use crate::segment::identity::{Identity, identify};
use crate::segment::scan::{self, Scope};
use crate::segment::{Doubt, Summary};
use crate::stats::RecoveryReport;
use crate::sync::task::JoinSet;
use crate::sync::time::{self, Instant};
use crate::types::{RecordKind, SegmentId};

/// Segments looked at side by side.
const PARALLEL: usize = 8;

/// What a file turned out to be.
pub(super) enum State {
    /// It holds nothing. Its last id, if known; whether it has its full length.
    Free { id: Option<SegmentId>, is_whole: bool },
    /// It held something, and neither header nor trailer says what. Whether it has its full length.
    Lost { is_whole: bool },
    /// Not of this directory: left alone.
    Foreign(String),
    /// It holds records.
    Used(Box<Used>),
}

pub(super) struct Examined {
    pub(super) slot: u16,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) state: State,
    pub(super) report: RecoveryReport,
    /// Keys are hidden by damage: older entries may have been replaced there.
    pub(super) doubt: Option<Doubt>,
}

/// Looks at the files in `slots`.
pub(super) async fn examine_all(r: &Recovery, slots: &[u16]) -> Result<Vec<Examined>> {
    let mut tasks = JoinSet::new();
    let mut examined = Vec::with_capacity(slots.len());
    for &slot in slots {
        if tasks.len() >= PARALLEL {
            examined.extend(joined(r, &mut tasks).await?);
        }
        tasks.spawn(examine(r.clone(), slot));
    }
    while let Some(one) = joined(r, &mut tasks).await? {
        examined.push(one);
    }
    Ok(examined)
}

async fn joined(r: &Recovery, tasks: &mut JoinSet<Result<Examined>>) -> Result<Option<Examined>> {
    match tasks.join_next().await {
        None => Ok(None),
        Some(Ok(one)) => {
            r.progress.done.fetch_add(1, Ordering::Relaxed);
            one.map(Some)
        }
        Some(Err(e)) => Err(Error::io("recover from", "a segment")(io::Error::other(e))),
    }
}

/// Looks at one file. Unless its footer says that it is finished, whoever wrote it may be dead, and its writes still land
/// (trap 7): in a file that looks free too, where the first of them, which holds the header, is on its way. Then it is
/// looked at once more under its lock.
async fn examine(r: Recovery, slot: u16) -> Result<Examined> {
    let path = r.segments.path(slot);
    let mut file = r.backend.open(&path, OpenMode::Read).await.map_err(Error::io("open", &path))?;
    let mut is_locked = false;
    loop {
        if let Some(one) = look(&r, slot, file, is_locked).await.map_err(|e| Error::io("read", &path)(e))? {
            return Ok(one);
        }
        file = lock_writable(&*r.backend, &path, r.lock_wait).await?;
        is_locked = true;
    }
}

/// What a file holds; `None` if it must be locked first to tell.
async fn look(r: &Recovery, slot: u16, file: Arc<dyn DiskFile>, is_locked: bool) -> io::Result<Option<Examined>> {
    let manifest = &r.manifest;
    let is_whole = file.len().await? == manifest.segment_len_bytes;
    let found = identify(&*file, Some(manifest.directory_id), manifest.segment_len_bytes).await?;
    let report = RecoveryReport { bytes_read: DATA_START, ..RecoveryReport::default() };
    let state = State::Free { id: None, is_whole };
    let mut one = Examined { slot, file, state, report, doubt: None };
    let header = match found.identity {
        Identity::Ours(header) => header,
        Identity::Foreign(_) => {
            let note = format!("{} belongs to another directory; it is left alone", segment_name(slot));
            return Ok(Some(Examined { state: State::Foreign(note), ..one }));
        }
        _ if !is_locked => return Ok(None),
        Identity::Blank => return Ok(Some(one)),
        Identity::Lost(defect) => {
            one.report.note(format!("{}: {defect}; its records, and what is older, are dropped", segment_name(slot)));
            one.report.dropped_damaged += 1;
            return Ok(Some(Examined { state: State::Lost { is_whole }, doubt: Some(Doubt::Anywhere), ..one }));
        }
    };
    if let Some(fault) = found.fault {
        one.report.note(format!("{}: {fault}; it is known from another place", segment_name(slot)));
    }
    if header.stream == FREE_STREAM {
        let state = State::Free { id: Some(header.id), is_whole };
        return Ok(is_locked.then_some(Examined { state, ..one }));
    }
    match scan::read_footer(&*one.file, header.id, manifest.segment_len_bytes).await? {
        Ok(footer) => {
            one.report.segments_by_footer += 1;
            one.report.bytes_read += footer.bytes_read;
            one.report.records += u64::from(footer.trailer.rows);
            let (batch, parts, summary) = gather(r, slot, header.id, footer.rows());
            let (id, tag, newest) = (header.id, header.tag(), footer.trailer.newest);
            one.state = State::Used(Box::new(Used { id, tag, summary, newest, batch, parts, unsealed: None }));
        }
        Err(_) if !is_locked => return Ok(None),
        Err(defect) => {
            let resync = matches!(defect, FooterDefect::Crc | FooterDefect::Bounds);
            one.state = State::Free { id: Some(header.id), is_whole };
            walk(r, &mut one, &header, resync).await?;
        }
    }
    Ok(Some(one))
}

/// Walks the records of a segment that has no footer.
async fn walk(r: &Recovery, one: &mut Examined, header: &SegmentHeader, resync: bool) -> io::Result<()> {
    let manifest = &r.manifest;
    let len = one.file.len().await?;
    let end = len.min(manifest.segment_len_bytes);
    let scanned = scan::scan(&*one.file, Scope { segment: header.id, end, seed: &manifest.seed, resync }).await?;
    one.report.segments_scanned += 1;
    one.report.bytes_read += scanned.bytes_read;
    one.report.records += scanned.rows.len() as u64;
    one.report.torn_bytes += scanned.torn_bytes;
    one.report.dropped_damaged += scanned.damage.len() as u64;
    for damage in &scanned.damage {
        one.report.note(format!("{} at {}: {}", segment_name(one.slot), damage.offset, damage.defect));
    }
    one.doubt = scan::doubt(&*one.file, header, &scanned).await?;
    let is_whole = len == manifest.segment_len_bytes;
    if len < manifest.segment_len_bytes {
        one.report.note(format!("{} is cut off at {len} bytes; what is older is dropped", segment_name(one.slot)));
        one.report.dropped_damaged += 1;
    }
    let (id, tag, rows, newest) = (header.id, header.tag(), scanned.rows, scanned.newest);
    if rows.is_empty() {
        if one.doubt.is_some() {
            one.state = State::Lost { is_whole };
        }
        return Ok(());
    }
    let (batch, parts, summary) = gather(r, one.slot, id, rows.iter().copied());
    let unsealed = Some(Unsealed { rows, synced: scanned.synced });
    one.state = State::Used(Box::new(Used { id, tag, summary, newest, batch, parts, unsealed }));
    Ok(())
}

/// The records of a segment: those that are sorted for the index, and those that objects are made of; and what they are.
fn gather(r: &Recovery, slot: u16, id: SegmentId, rows: impl Iterator<Item = Row> + Clone) -> (Batch, Parts, Summary) {
    let location = |row: &Row| Location { slot, offset_units: row.offset_units, class: row.class.bits() };
    let candidate = |row: Row| {
        let claim = match row.kind {
            RecordKind::Put | RecordKind::Head if row.is_expired(r.now) => Claim::Expired,
            RecordKind::Put | RecordKind::Head => Claim::Serve,
            _ => Claim::Cover,
        };
        Candidate::new(row.digest, row.sequence, claim, location(&row))
    };
    let (mut summary, mut parts) = (Summary::EMPTY, Parts::default());
    for row in rows.clone() {
        summary.add(&row);
        parts.add(&row, location(&row), id, r.manifest.stored);
    }
    let found = rows.filter(|row| !matches!(row.kind, RecordKind::Chunk | RecordKind::Purge)).map(candidate);
    (r.index.batch(found.clone(), found), parts, summary)
}

async fn lock_writable(backend: &dyn Backend, path: &std::path::Path, wait: Duration) -> Result<Arc<dyn DiskFile>> {
    let mode = OpenMode::ReadWrite { direct: false };
    let file = backend.open(path, mode).await.map_err(Error::io("open", path))?;
    let until = Instant::now() + wait;
    while !file.try_lock().map_err(Error::io("lock", path))? {
        if Instant::now() >= until {
            return Err(Error::Locked { path: path.into() });
        }
        time::sleep(Duration::from_millis(10)).await;
    }
    Ok(file)
}
