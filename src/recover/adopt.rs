//! Large values: which heads have all their chunks. Heads are read, chunks are not.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use super::Recovery;
use crate::error::{Error, Result};
use crate::format::digest::digest;
use crate::format::footer::Row;
use crate::format::length::class_bytes;
use crate::format::object::{ChunkKey, ObjectHead};
use crate::object::Object;
use crate::read::{self, Failure};
use crate::stats::RecoveryReport;
use crate::sync::Mutex;
use crate::sync::task::JoinSet;
use crate::types::{Digest, Location, RecordKind, SegmentId, Sequence};

/// Heads that are read one after the other; as many reads are in flight as there are such groups, up to a bound.
const HEADS_A_TASK: usize = 64;
const TASKS: usize = 16;

/// What a segment holds of objects.
#[derive(Debug, Default)]
pub(super) struct Parts {
    heads: Vec<(Digest, Location)>,
    chunks: Vec<(Digest, SegmentId, Location)>,
    /// And the purges.
    pub(super) purges: Vec<(Sequence, Location)>,
    /// And what is dirty.
    pub(super) dirty: Vec<(Digest, Sequence, Location)>,
}

impl Parts {
    /// `stored`: up to this sequence everything is at the origin.
    pub(super) fn add(&mut self, row: &Row, at: Location, segment: SegmentId, stored: Sequence) {
        match row.kind {
            RecordKind::Put if row.is_dirty && row.sequence > stored => {
                self.dirty.push((row.digest, row.sequence, at));
            }
            RecordKind::Head => self.heads.push((row.digest, at)),
            RecordKind::Chunk => self.chunks.push((row.digest, segment, at)),
            RecordKind::Purge => self.purges.push((row.sequence, at)),
            _ => {}
        }
    }
}

/// Where the newest copy of each chunk is, by the digest of its key; and which objects have a head.
#[derive(Default)]
struct Chunks {
    places: HashMap<Digest, (SegmentId, Location)>,
    claimed: Mutex<HashSet<Sequence>>,
}

/// Makes objects of the heads that are served and have all their chunks. A head that lacks one leaves the index, unless there is
/// something older: then it stays there as long as it is on disk, and a get finds that it is not whole.
pub(super) async fn adopt_all(r: &Recovery, parts: Vec<Parts>, report: &mut RecoveryReport) -> Result<()> {
    let mut chunks = Chunks::default();
    let mut heads = Vec::new();
    for one in parts {
        let is_served =
            |(digest, at): &(Digest, Location)| r.index.lookup(*digest).is_some_and(|found| found.location == *at);
        heads.extend(one.heads.into_iter().filter(is_served));
        for (digest, segment, at) in one.chunks {
            // Of a chunk and its moved copy the later segment's counts, as of any record.
            let newest = chunks.places.entry(digest).or_insert((segment, at));
            if segment > newest.0 {
                *newest = (segment, at);
            }
        }
    }
    let (all, mut adopted) = (chunks.places.len() as u64, 0);
    let chunks = Arc::new(chunks);
    let mut heads = heads.chunks(HEADS_A_TASK);
    let mut tasks = JoinSet::new();
    loop {
        while tasks.len() < TASKS
            && let Some(some) = heads.next()
        {
            tasks.spawn(adopt(r.clone(), some.to_vec(), chunks.clone()));
        }
        match tasks.join_next().await {
            None => break,
            Some(Ok(Adopted { objects, chunks, broken, damaged, bytes_read })) => {
                report.objects_kept += objects;
                report.dropped_damaged += damaged;
                report.dropped_objects += broken;
                report.bytes_read += bytes_read;
                adopted += chunks;
            }
            Some(Err(e)) => return Err(Error::io("recover objects from", &r.dir)(io::Error::other(e))),
        }
    }
    report.dropped_chunks += all - adopted;
    Ok(())
}

#[derive(Default)]
struct Adopted {
    objects: u64,
    chunks: u64,
    /// Heads without all their chunks.
    broken: u64,
    /// Of these, heads that are damaged.
    damaged: u64,
    bytes_read: u64,
}

async fn adopt(r: Recovery, heads: Vec<(Digest, Location)>, chunks: Arc<Chunks>) -> Adopted {
    let mut adopted = Adopted::default();
    for (digest, at) in heads {
        adopted.bytes_read += class_bytes(at.class);
        let head = match read::fetch(&r.segments, at).await {
            Ok(record) if record.header.kind == RecordKind::Head => ObjectHead::decode(record.value()),
            Ok(_) => None,
            Err(Failure::Damaged(segment, defect)) => {
                tracing::warn!(path = %segment.path.display(), offset = at.offset(), %defect, "a head is damaged");
                adopted.damaged += 1;
                None
            }
            // The disk may answer whoever gets the entry.
            Err(Failure::Gone | Failure::Io(..)) => continue,
        };
        let Some(object) = head.and_then(|head| assemble(&r, &head, &chunks)) else {
            adopted.broken += 1;
            if r.index.lookup(digest).is_some_and(|found| !found.older) && r.index.remove_if(digest, at).is_some() {
                r.segments.sub_live(at.slot, class_bytes(at.class));
            }
            continue;
        };
        let own = object.chunks();
        own.iter().for_each(|at| r.segments.add_live(at.slot, class_bytes(at.class)));
        (adopted.objects, adopted.chunks) = (adopted.objects + 1, adopted.chunks + own.len() as u64);
        r.objects.adopt(Arc::new(object), digest, at);
    }
    adopted
}

/// The object of a head, if all its chunks are there.
fn assemble(r: &Recovery, head: &ObjectHead, chunks: &Chunks) -> Option<Object> {
    // More than there are: nothing to look for. And no two heads have the same chunks, but for a forger, who would have them
    // counted, and their places held in memory, once for each.
    if head.chunk_count as usize > chunks.places.len() || !chunks.claimed.lock().insert(head.object) {
        return None;
    }
    let place = |index: u32| {
        let key = ChunkKey { object: head.object, index: u64::from(index) };
        chunks.places.get(&digest(&r.manifest.seed, &key.encode())).map(|(_, at)| *at)
    };
    let places: Option<Vec<Location>> = (0..head.chunk_count).map(place).collect();
    Some(Object::found(head.object, head.chunk_len_bytes, head.total_len_bytes, places?))
}
