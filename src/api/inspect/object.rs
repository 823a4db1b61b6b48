//! Objects: which heads have all their chunks, by the rules of recovery. Heads are read, chunks are not.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::fold::{At, Fate, Fold, Newest};
use super::{Inspector, examine};
use crate::backend::{DiskFile, exact};
use crate::error::{Error, Result};
use crate::format::digest::digest;
use crate::format::file_name::segment_name;
use crate::format::length::class_bytes;
use crate::format::manifest::Manifest;
use crate::format::object::{ChunkKey, HEAD_VALUE_BYTES, ObjectHead};
use crate::format::purge::Selector;
use crate::format::record::{self, Defect, HEADER_BYTES};
use crate::marks::Mark;
use crate::types::{MAX_KEY_BYTES, MAX_METADATA_BYTES, RecordKind, SegmentId, Sequence};

/// The longest record that a head can have; of one that says it is longer no more is read.
const MAX_HEAD_BYTES: usize = HEADER_BYTES + MAX_KEY_BYTES + MAX_METADATA_BYTES + HEAD_VALUE_BYTES;
/// Chunks that are looked for beyond as many as there are: a head may say that it has four billion.
const MAX_VAIN_LOOKS: u64 = 1 << 16;
/// All heads of a listing together may have as many looked for as there are chunks, and so many more, times this.
const LOOKS_A_CHUNK: u64 = 4;
/// Runs of missing chunks that are told.
const MAX_RUNS: usize = 16;

/// A value in chunks, as its head describes it, and what is on disk of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectInfo {
    /// The object's id: the sequence of its first chunk.
    pub id: u64,
    /// Length of the whole value in bytes.
    pub len_bytes: u64,
    /// Length of every chunk but the last, in bytes.
    pub chunk_len_bytes: u32,
    /// Number of chunks.
    pub chunks: u32,
    /// Chunks that are not on disk. Of a head that counts many more than there are in the directory, the rest of them too,
    /// without a look.
    pub missing: u64,
    /// Which: the first and the last index of each run, at most 16 runs.
    pub missing_runs: Vec<(u64, u64)>,
}

/// A chunk that is on disk, and its index.
pub type Present = (u64, At);

impl ObjectInfo {
    /// Whether every chunk is on disk.
    pub fn is_whole(&self) -> bool {
        self.missing == 0
    }

    /// Which chunks are missing, in words: `0-4, 7`.
    pub fn missing_text(&self) -> String {
        let told: u64 = self.missing_runs.iter().map(|(first, last)| last - first + 1).sum();
        let run = |(first, last): &(u64, u64)| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        };
        let mut runs: Vec<String> = self.missing_runs.iter().map(run).collect();
        if told < self.missing {
            runs.push("...".into());
        }
        runs.join(", ")
    }

    /// What the head says, and the chunks that are on disk, by index.
    pub(super) fn assemble(head: &ObjectHead, fold: &Fold, seed: &[u8; 16]) -> (Self, Vec<Present>) {
        let count = u64::from(head.chunk_count);
        let looked = count.min(fold.chunks() + MAX_VAIN_LOOKS);
        let mut present = Vec::new();
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for index in 0..looked {
            if let Some(at) = place(fold, seed, head.object, index) {
                present.push((index, at));
            } else if let Some((_, last)) = runs.last_mut().filter(|(_, last)| last + 1 == index) {
                *last = index;
            } else if runs.len() < MAX_RUNS {
                runs.push((index, index));
            }
        }
        if let Some((_, last)) = runs.last_mut().filter(|(_, last)| looked < count && last + 1 == looked) {
            *last = count - 1;
        }
        let info = Self { missing: count - present.len() as u64, missing_runs: runs, ..Self::of(head) };
        (info, present)
    }

    /// What the head says.
    pub(super) fn of(head: &ObjectHead) -> Self {
        Self {
            id: head.object.0,
            len_bytes: head.total_len_bytes,
            chunk_len_bytes: head.chunk_len_bytes,
            chunks: head.chunk_count,
            missing: 0,
            missing_runs: Vec::new(),
        }
    }
}

fn place(fold: &Fold, seed: &[u8; 16], object: Sequence, index: u64) -> Option<At> {
    fold.chunk(digest(seed, &ChunkKey { object, index }.encode()))
}

/// A head's record.
pub struct HeadRecord {
    /// The user's key.
    pub key: Vec<u8>,
    /// What its value says; none if it is no object's.
    pub object: Option<ObjectHead>,
}

/// What becomes of a head that is the newest record of its key.
pub enum Judged {
    /// All of its chunks are there: from this index on those that no other head had.
    Whole(HeadRecord, u64, Vec<At>),
    /// They are not. Recovery forgets it, unless there is something older to keep dead.
    NotWhole(HeadRecord),
    /// It cannot be read: recovery leaves that to whoever gets it.
    Damaged(Defect),
}

/// The chunks of an object that are there, from the first on without a gap.
#[derive(Default)]
struct Run {
    places: Vec<At>,
    /// The next one is not there.
    is_over: bool,
    /// So many of them were counted as live.
    live: usize,
}

/// Judges heads. Whatever heads say, each chunk is looked for once, and once more where it is missing: heads of a hostile
/// directory may all claim the same object.
pub struct Judge<'a> {
    files: Files<'a>,
    manifest: &'a Manifest,
    fold: &'a Fold,
    runs: HashMap<Sequence, Run>,
    /// Looks that are left to say which chunks are missing.
    looks: u64,
}

impl<'a> Judge<'a> {
    /// Over all that was taken in.
    pub fn new(inspector: &'a Inspector, manifest: &'a Manifest, fold: &'a Fold) -> Self {
        let looks = LOOKS_A_CHUNK * (fold.chunks() + MAX_VAIN_LOOKS);
        Self { files: Files::new(inspector), manifest, fold, runs: HashMap::new(), looks }
    }

    /// What becomes of this head.
    ///
    /// # Errors
    /// The disk's.
    pub async fn judge(&mut self, newest: &Newest) -> Result<Judged> {
        let Some((slot, id)) = self.fold.segment(newest.at) else { return Ok(Judged::Damaged(Defect::Truncated)) };
        let bytes = self.files.read(slot, newest.at, MAX_HEAD_BYTES).await?;
        let head = match decode_head(&bytes, newest.at, id) {
            Ok(head) => head,
            Err(defect) => return Ok(Judged::Damaged(defect)),
        };
        let chunks = head.object.and_then(|object| self.claim(&object));
        Ok(match chunks {
            Some((from, live)) => Judged::Whole(head, from, live),
            None => Judged::NotWhole(head),
        })
    }

    /// What is missing of an object that is not whole; none if heads together claim far more than there is.
    pub fn describe(&mut self, head: &ObjectHead) -> Option<ObjectInfo> {
        let looks = u64::from(head.chunk_count).min(self.fold.chunks() + MAX_VAIN_LOOKS);
        self.looks = self.looks.checked_sub(looks)?;
        Some(ObjectInfo::assemble(head, self.fold, &self.manifest.seed).0)
    }

    /// The chunks of a whole object that become live by this head.
    fn claim(&mut self, head: &ObjectHead) -> Option<(u64, Vec<At>)> {
        // More than there are: nothing to look for.
        if u64::from(head.chunk_count) > self.fold.chunks() {
            return None;
        }
        let count = head.chunk_count as usize;
        let run = self.runs.entry(head.object).or_default();
        while run.places.len() < count && !run.is_over {
            match place(self.fold, &self.manifest.seed, head.object, run.places.len() as u64) {
                Some(at) => run.places.push(at),
                None => run.is_over = true,
            }
        }
        if run.places.len() < count {
            return None;
        }
        let from = run.live.min(count);
        run.live = run.live.max(count);
        Some((from as u64, run.places.get(from..count).unwrap_or_default().to_vec()))
    }
}

/// The head whose record these bytes begin with.
///
/// # Errors
/// What is wrong with the record. One that is longer than a head can be is none.
fn decode_head(bytes: &[u8], at: At, id: SegmentId) -> Result<HeadRecord, Defect> {
    let header = record::decode_header(bytes, id, at.offset())?;
    let (key, ..) = record::parts(&header);
    let key = bytes.get(key).unwrap_or_default().to_vec();
    if header.payload_bytes() > MAX_HEAD_BYTES as u64 {
        return Ok(HeadRecord { key, object: None });
    }
    let value = record::decode(bytes, id, at.offset())?.value;
    let object = (header.kind == RecordKind::Head).then(|| ObjectHead::decode(value)).flatten();
    Ok(HeadRecord { key, object })
}

/// How much of a record is read at a time.
pub fn bytes_to_read(kind: RecordKind, at: At) -> usize {
    let len = class_bytes(at.class) as usize;
    if kind == RecordKind::Head { len.min(MAX_HEAD_BYTES) } else { len }
}

/// Segment files, the last one kept open: records are asked for file by file.
pub struct Files<'a> {
    inspector: &'a Inspector,
    open: Option<(u16, Option<Arc<dyn DiskFile>>)>,
}

impl<'a> Files<'a> {
    /// None is open.
    pub fn new(inspector: &'a Inspector) -> Self {
        Self { inspector, open: None }
    }

    /// The file of a slot; `None` if it is gone.
    ///
    /// # Errors
    /// The disk's.
    pub async fn get(&mut self, slot: u16) -> Result<Option<Arc<dyn DiskFile>>> {
        match &self.open {
            Some((open, file)) if *open == slot => Ok(file.clone()),
            _ => {
                let file = self.inspector.open_slot(slot).await?;
                self.open = Some((slot, file.clone()));
                Ok(file)
            }
        }
    }

    /// A record's bytes, at most so many; fewer where the file ends, none if it is gone.
    ///
    /// # Errors
    /// The disk's.
    pub async fn read(&mut self, slot: u16, at: At, most: usize) -> Result<Vec<u8>> {
        let Some(file) = self.get(slot).await? else { return Ok(Vec::new()) };
        let len = (class_bytes(at.class) as usize).min(most);
        let failed = |e| Error::io("read", self.inspector.dir.join(segment_name(slot)))(e);
        exact::read_up_to(&*file, at.offset(), len).await.map_err(failed)
    }

    /// Whether the file of a slot is still this segment, as far as it says.
    ///
    /// # Errors
    /// The disk's.
    pub async fn is_still(&mut self, slot: u16, id: SegmentId) -> Result<bool> {
        self.open = None;
        let Some(file) = self.get(slot).await? else { return Ok(false) };
        let failed = |e| Error::io("read", self.inspector.dir.join(segment_name(slot)))(e);
        let head = examine::read_head(&*file, None).await.map_err(failed)?;
        Ok(examine::header_of(&head).is_none_or(|header| header.id == id))
    }
}

impl Inspector {
    /// Every head that the index would hold, and what becomes of it, in the order of the files.
    pub(super) async fn judge_heads(
        &self,
        manifest: &Manifest,
        fold: &Fold,
        look: &mut (dyn FnMut(&Newest, Judged) + Send),
    ) -> Result<()> {
        self.judge_heads_of(manifest, fold, Fate::is_indexed, look).await
    }

    /// Every head with such a fate.
    pub(super) async fn judge_heads_of(
        &self,
        manifest: &Manifest,
        fold: &Fold,
        which: fn(Fate) -> bool,
        look: &mut (dyn FnMut(&Newest, Judged) + Send),
    ) -> Result<()> {
        let is_head = |n: &&Newest| n.kind == RecordKind::Head && which(fold.fate(n, self.now));
        let mut heads: Vec<Newest> = fold.all().filter(is_head).copied().collect();
        heads.sort_unstable_by_key(|newest| newest.at);
        let mut judge = Judge::new(self, manifest, fold);
        for newest in &heads {
            look(newest, judge.judge(newest).await?);
        }
        Ok(())
    }

    /// Everything in the directory, and whether a file changed each time it was read. Each file is shown to `look`.
    pub(super) async fn fold(
        &self,
        manifest: &Manifest,
        mut fold: Fold,
        look: &mut (dyn FnMut(&examine::Examined) + Send),
    ) -> Result<(Fold, bool)> {
        let mut is_changing = false;
        for slot in self.names().await?.0 {
            if let Some(one) = self.examine(manifest, slot).await? {
                fold.add(slot, &one);
                is_changing |= one.state == super::SegmentState::Changing;
                look(&one);
            }
        }
        self.read_purges(&mut fold).await?;
        Ok((fold, is_changing))
    }

    /// What the purges say; one that is damaged may cover anything older.
    async fn read_purges(&self, fold: &mut Fold) -> Result<()> {
        let mut files = Files::new(self);
        for (sequence, at) in std::mem::take(&mut fold.purges) {
            let Some((slot, id)) = fold.segment(at) else { continue };
            let bytes = files.read(slot, at, HEADER_BYTES + MAX_KEY_BYTES).await?;
            let header = record::decode_header(&bytes, id, at.offset()).ok();
            let key = header.and_then(|header| bytes.get(record::parts(&header).0));
            match key.and_then(Selector::decode) {
                Some(selector) => fold.marks.adopt(&selector, Mark { sequence, horizon: id, is_written: true }),
                None => fold.marks.raise_floor(sequence),
            }
        }
        Ok(())
    }
}

/// Whether the index keeps a head of which this became.
pub fn stays(fold: &Fold, newest: &Newest, judged: &Judged) -> bool {
    !matches!(judged, Judged::NotWhole(_)) || fold.has_older(newest)
}
