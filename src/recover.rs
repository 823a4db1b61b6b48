//! From a directory to an index: footers of sealed segments, a walk through those that were being written.
//!
//! All are read before the first entry is published: what is newest is known only then.

use crate::sync::atomic::Ordering;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Backend, BufferPool, DiskFile, OpenMode, WriteBuf, exact};
use crate::catalog;
use crate::dirty::Dirty;
use crate::error::{Error, Result};
use crate::format::digest::digest;
use crate::format::footer::{self, Row};
use crate::format::manifest::Manifest;
use crate::format::segment_header::{FREE_STREAM, SegmentHeader, StreamTag};
use crate::index::Index;
use crate::index::load::Batch;
use crate::marks::Marks;
use crate::namespaces::Namespaces;
use crate::object::Objects;
use crate::segment::{Extent, Name, Segment, SegmentSet, Stream, Summary};
use crate::stats::{Progress, RecoveryReport};
use crate::sync::task;
use crate::types::{Millis, SegmentId, Sequence};

mod adopt;
mod examine;
mod marks;
mod publish;

use adopt::Parts;
use examine::{State, examine_all};
use publish::Publisher;

/// Ids that each open leaves out at the least: more than a crash can have begun since the last segment whose header it kept.
const LEAST_SPARE_IDS: u64 = 1 << 16;
/// And bits of how many more, by chance. The ids of 2^62 last for 2^27 opens.
const SPARE_ID_BITS: u32 = 36;

/// How much is written again at a time, in bytes.
const REWRITE_BYTES: u64 = 1 << 20;

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
    /// Where objects go.
    pub objects: Arc<Objects>,
    /// Where purge marks go.
    pub marks: Arc<Marks>,
    /// Where entries go that the origin does not have.
    pub dirty: Arc<Dirty>,
    /// Where segments go.
    pub segments: Arc<SegmentSet>,
    /// Whose they are.
    pub namespaces: Arc<Namespaces>,
    /// What has expired by now is dropped.
    pub now: Millis,
    /// How long to wait for a dead process's writes.
    pub lock_wait: Duration,
    /// How far it is.
    pub progress: Arc<Progress>,
    /// How many ids to leave out: see [`spare_ids`].
    pub spare_ids: u64,
}

/// How many ids an open leaves out. By chance, since of two lives in a row that lost their first header to a power loss the
/// second could otherwise begin with the id that the first did, and what is left of the first would count as its own.
pub fn spare_ids(seed: &[u8; 16]) -> u64 {
    LEAST_SPARE_IDS + (digest(seed, b"spare ids").0 >> (u64::BITS - SPARE_ID_BITS))
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

/// A file that holds records.
struct Used {
    id: SegmentId,
    tag: StreamTag,
    summary: Summary,
    newest: Millis,
    batch: Batch,
    parts: Parts,
    /// If it has no footer, what it shall be sealed with.
    unsealed: Option<Unsealed>,
}

/// A segment that was being written.
struct Unsealed {
    rows: Vec<Row>,
    /// Up to where it is known to be on the device.
    synced: u64,
}

/// Rebuilds the index from the files in `slots`.
///
/// # Errors
/// `NewerFormat`, `Locked`, `Io`. A damaged file is not an error.
pub async fn recover(r: &Recovery, slots: &[u16], report: &mut RecoveryReport) -> Result<Outcome> {
    r.progress.total.store(slots.len() as u64, Ordering::Relaxed);
    let examined = examine_all(r, slots).await?;
    let known = r.manifest.cleared.max(r.manifest.stored);
    let mut outcome = Outcome { last_sequence: known, newest: Millis(0), manifest: r.manifest };
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
            State::Used(found) => {
                extents.extend(Extent::of(found.tag, found.id, &found.summary));
                r.segments.saw_id(found.id);
                outcome.newest = outcome.newest.max(found.newest);
                outcome.last_sequence = outcome.last_sequence.max(Sequence(found.summary.max_sequence));
                used.push((one.slot, one.file, *found));
            }
        }
    }
    // Said in the manifest before any segment is sealed anew or freed, so that the doubt outlives this run.
    let floor = doubts.iter().map(|doubt| doubt.floor(&extents)).max().unwrap_or_default();
    if floor > outcome.manifest.cleared {
        outcome.manifest.cleared = floor;
        write_manifest(r, &outcome.manifest).await?;
    }
    // Ids whose header did not get to the device are not given out again: their records may have.
    r.segments.saw_id(SegmentId(r.segments.newest_id().0 + r.spare_ids));
    // What is in use is not installed yet, and has the room before what is free.
    let mut room = r.segments.limit().saturating_sub(r.segments.census().files + used.len() as u64);
    for (slot, is_whole, lost) in free {
        if let Some(file) = lost {
            mark_free(r, &*file).await.map_err(Error::io("free", r.segments.path(slot)))?;
        }
        let is_kept = is_whole && room > 0;
        room -= u64::from(is_kept);
        free_slot(r, slot, is_kept).await?;
    }
    // What was removed does not come back beside what is made in its place; and a file that a killed process had just made
    // does not go with the power, after something was synced in it.
    r.backend.sync_dir(&r.dir).await.map_err(Error::io("sync", &r.dir))?;
    let parts: Vec<Parts> = used.iter_mut().map(|(.., one)| std::mem::take(&mut one.parts)).collect();
    let purges: Vec<_> = parts.iter().flat_map(|one| one.purges.iter().copied()).collect();
    let dirty: Vec<_> = parts.iter().flat_map(|one| one.dirty.iter().copied()).collect();
    let cleared = outcome.manifest.cleared;
    publish_all(r, used, outcome.manifest.cleared, report).await?;
    marks::adopt_all(r, &purges, report).await?;
    outcome.manifest.cleared = outcome.manifest.cleared.max(r.marks.floor());
    if outcome.manifest.cleared > cleared {
        write_manifest(r, &outcome.manifest).await?;
    }
    adopt::adopt_all(r, parts, report).await?;
    for (digest, sequence, at) in dirty {
        if r.index.lookup(digest).is_some_and(|found| found.location == at) {
            r.dirty.add(at, digest, sequence);
        }
    }
    report.entries_kept = r.index.len();
    Ok(outcome)
}

async fn write_manifest(r: &Recovery, manifest: &Manifest) -> Result<()> {
    catalog::write_manifest(&*r.backend, &r.dir, manifest).await.map_err(Error::io("write the manifest of", &r.dir))
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
async fn mark_free(r: &Recovery, file: &dyn DiskFile) -> io::Result<()> {
    let header = SegmentHeader {
        id: r.segments.next_id(),
        segment_len_bytes: r.manifest.segment_len_bytes,
        created: r.now,
        stream: FREE_STREAM,
        directory_id: r.manifest.directory_id,
        group: 0,
    };
    write_all(file, 0, &header.encode_block()).await?;
    file.sync_data().await
}

/// Keeps a free file or removes it: one of another length was never finished, or belongs to a larger cache than this one.
async fn free_slot(r: &Recovery, slot: u16, is_kept: bool) -> Result<()> {
    if is_kept {
        r.segments.set_free(slot);
    } else {
        let path = r.segments.path(slot);
        r.backend.remove(&path).await.map_err(Error::io("remove", &path))?;
        r.segments.set_absent(slot);
    }
    Ok(())
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
    let tally = task::spawn_blocking(move || publisher.run())
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
    if let Some(unsealed) = &one.unsealed {
        seal(&*file, &one, unsealed, r.manifest.segment_len_bytes).await.map_err(Error::io("seal", &path))?;
        file = r.backend.open(&path, OpenMode::Read).await.map_err(Error::io("open", &path))?;
    }
    let stream = Stream::of_number(one.tag.stream).of(r.namespaces.group_tagged(one.tag.group));
    let name = Name { id: one.id, slot, stream, path };
    let segment = Segment::sealed(name, file, one.summary);
    segment.set_horizon(r.segments.newest_id());
    r.segments.install(Arc::new(segment));
    Ok(())
}

async fn seal(file: &dyn DiskFile, one: &Used, unsealed: &Unsealed, len_bytes: u64) -> io::Result<()> {
    let Unsealed { rows, synced } = unsealed;
    let data_end = rows.last().map_or(0, |row| row.offset() + row.len_bytes());
    // Where a sync failed, what the page cache shows may never reach the device, and no later sync says so (trap 6):
    // it is written again.
    let mut at = *synced;
    while at < data_end {
        let bytes = exact::read_exact_at(file, at, REWRITE_BYTES.min(data_end - at) as usize).await?;
        write_all(file, at, &bytes).await?;
        at += bytes.len() as u64;
    }
    if *synced < data_end {
        // The records are durable before a footer says that they are there.
        file.sync_data().await?;
    }
    let (at, bytes) = footer::encode(rows, one.id, len_bytes, data_end, one.newest);
    write_all(file, at, &bytes).await?;
    file.sync_data().await
}

async fn write_all(file: &dyn DiskFile, at: u64, bytes: &[u8]) -> io::Result<()> {
    let mut buf = BufferPool::new(0).take(bytes.len())?;
    buf[..bytes.len()].copy_from_slice(bytes);
    exact::write_all_at(file, at, WriteBuf::new(Arc::new(buf), bytes.len())).await
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_open_leaves_out_enough_ids_and_not_as_many_as_another() {
        let drawn: HashSet<u64> = (0..64).map(|n| spare_ids(&[n; 16])).collect();
        assert!(drawn.iter().all(|ids| (1 << 16..(1 << 16) + (1 << 36)).contains(ids)), "{drawn:?}");
        assert!(drawn.len() == 64 && drawn.iter().any(|ids| *ids > 1 << 34), "{drawn:?}");
    }
}
