//! One key: its value, or why it is not served.

use bytes::Bytes;
use serde::Serialize;

use super::fold::{Fate, Fold, Newest};
use super::object::{Files, bytes_to_read};
use super::value::ChunkAt;
use super::{Inspector, ObjectInfo};
use crate::error::Result;
use crate::format::digest::digest;
use crate::format::file_name::segment_name;
use crate::format::manifest::Manifest;
use crate::format::object::ObjectHead;
use crate::format::record::{self, Defect};
use crate::format::tags;
use crate::marks::PurgedBy;
use crate::types::{RecordKind, SegmentId};

/// How often the directory is read before it is believed that chunks are missing.
const ATTEMPTS: usize = 2;
/// What is wrong with a head that describes nothing.
pub const NO_OBJECT: &str = "its value is no object's";

/// Whether a key is served, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is served.
    Served,
    /// No record of it is on disk.
    Unknown,
    /// The newest record is a delete.
    Deleted,
    /// The newest record is a marker: the entry was evicted, or an update failed or was damaged, and older copies are
    /// kept dead.
    Marked,
    /// It expired.
    Expired,
    /// A purge covers it.
    Purged,
    /// Everything of it was written before a `clear`.
    Cleared,
    /// The newest record is damaged; an older one is not served instead.
    Damaged,
    /// A damaged place may have held a newer record of it.
    Doubtful,
    /// The newest record is another key's with the same digest.
    Collision,
    /// It is a large value of which chunks are not on disk: see [`Finding::object`].
    NotWhole,
    /// A segment changed while it was read, and the key was nowhere else. Ask again.
    Changing,
}

/// What there is of a key.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Whether it is served, or why not.
    pub verdict: Verdict,
    /// Name of the file that holds the newest record.
    pub file: Option<String>,
    /// Where in the file, in bytes.
    pub offset: Option<u64>,
    /// Its sequence.
    pub sequence: Option<u64>,
    /// When it was set, in unix milliseconds.
    pub created: Option<u64>,
    /// When it expires, in unix milliseconds.
    pub expires: Option<u64>,
    /// By what it is purged, if it is.
    pub purged_by: Option<PurgedBy>,
    /// How many tags it has.
    pub tags: usize,
    /// What is wrong with it.
    pub defect: Option<String>,
    /// The object, if the newest record is a head, and what is on disk of it.
    pub object: Option<ObjectInfo>,
    /// The metadata; empty unless served.
    #[serde(skip)]
    pub metadata: Bytes,
    /// The value if it is served and stands in one record, else empty: [`Inspector::value`] reads that of an object too.
    #[serde(skip)]
    pub value: Bytes,
    #[serde(skip)]
    pub(super) head: Option<ObjectHead>,
    #[serde(skip)]
    pub(super) places: Vec<ChunkAt>,
}

impl Finding {
    /// Length of the value in bytes; 0 unless served.
    pub fn len_bytes(&self) -> u64 {
        match (&self.object, self.verdict) {
            (Some(object), Verdict::Served) => object.len_bytes,
            _ => self.value.len() as u64,
        }
    }

    pub(super) fn of(verdict: Verdict) -> Self {
        Self {
            verdict,
            file: None,
            offset: None,
            sequence: None,
            created: None,
            expires: None,
            purged_by: None,
            tags: 0,
            defect: None,
            object: None,
            metadata: Bytes::new(),
            value: Bytes::new(),
            head: None,
            places: Vec::new(),
        }
    }
}

impl Inspector {
    /// What the cache would answer for `key`, and why. Reads every footer, and no chunk: [`Inspector::value`] does.
    ///
    /// # Errors
    /// `NotACache`, `NewerFormat`, `Io`.
    pub async fn get(&self, key: &[u8]) -> Result<Finding> {
        let manifest = self.manifest().await?;
        let digest = digest(&manifest.seed, key);
        let mut found = Finding::of(Verdict::Unknown);
        for _ in 0..ATTEMPTS {
            let (fold, is_changing) = self.fold(&manifest, Fold::of_one(manifest.cleared, digest), &mut |_| {}).await?;
            found = self.find(&manifest, &fold, key, is_changing).await?;
            // A chunk that eviction moved meanwhile may have been in no file when that was read.
            if found.verdict != Verdict::NotWhole {
                break;
            }
        }
        Ok(found)
    }

    /// What became of a key, after all segments were taken in.
    pub(super) async fn find(
        &self,
        manifest: &Manifest,
        fold: &Fold,
        key: &[u8],
        is_changing: bool,
    ) -> Result<Finding> {
        let newest = fold.get(digest(&manifest.seed, key));
        let Some((newest, (slot, _))) = newest.and_then(|n| Some((n, fold.segment(n.at)?))) else {
            return Ok(Finding::of(match (is_changing, fold.cleared) {
                (true, _) => Verdict::Changing,
                (_, 0) => Verdict::Unknown,
                _ => Verdict::Cleared,
            }));
        };
        let at = Finding {
            file: Some(segment_name(slot)),
            offset: Some(newest.at.offset()),
            sequence: Some(newest.sequence.0),
            ..Finding::of(Verdict::Changing)
        };
        let mut files = Files::new(self);
        if files.get(slot).await?.is_none() {
            return Ok(at);
        }
        let bytes = files.read(slot, newest.at, bytes_to_read(newest.kind, newest.at)).await?;
        let found = self.judge(at, fold, newest, bytes, key);
        Ok(found.with_chunks(fold, &manifest.seed))
    }

    fn judge(&self, at: Finding, fold: &Fold, newest: &Newest, bytes: Vec<u8>, key: &[u8]) -> Finding {
        let fate = fold.fate(newest, self.now);
        let id = fold.segment(newest.at).map_or(SegmentId(0), |(_, id)| id);
        let offset = at.offset.unwrap_or_default();
        let damaged =
            |defect: Defect| Finding { verdict: Verdict::Damaged, defect: Some(defect.to_string()), ..at.clone() };
        let header = match record::decode_header(&bytes, id, offset) {
            Ok(header) => header,
            Err(defect) => return damaged(defect),
        };
        let (key_range, metadata, value) = record::parts(&header);
        let split = bytes.get(metadata.clone()).and_then(|field| tags::split(header.flags, field));
        let (tags, _) = split.unwrap_or_default();
        let is_same = bytes.get(key_range).is_some_and(|found| found == key);
        let (created, expires) = (Some(header.created.0), header.expires.map(|at| at.0));
        let at = Finding { created, expires, tags: tags.len(), ..at.clone() };
        let purged_by = fold.marks.covering(key, tags, header.sequence, header.created);
        let is_expired = header.expires.is_some_and(|at| at <= self.now);
        let verdict = match (header.kind, fate) {
            (_, Fate::Doubtful) => Verdict::Doubtful,
            (RecordKind::Marker, _) => Verdict::Marked,
            _ if !is_same => Verdict::Collision,
            (RecordKind::Delete, _) => Verdict::Deleted,
            (RecordKind::Put | RecordKind::Head, _) if is_expired => Verdict::Expired,
            (RecordKind::Put | RecordKind::Head, _) if purged_by.is_some() => Verdict::Purged,
            (RecordKind::Put | RecordKind::Head, _) => Verdict::Served,
            _ => Verdict::Collision,
        };
        if let Err(defect) = record::decode(&bytes, id, offset) {
            return Finding { verdict: Verdict::Damaged, defect: Some(defect.to_string()), ..at };
        }
        let is_head = header.kind == RecordKind::Head && is_same;
        let head = bytes.get(value.clone()).filter(|_| is_head).and_then(ObjectHead::decode);
        if is_head && head.is_none() {
            return Finding { verdict: Verdict::Damaged, defect: Some(NO_OBJECT.into()), ..at };
        }
        let at = Finding { verdict, head, purged_by: purged_by.filter(|_| verdict == Verdict::Purged), ..at };
        if verdict != Verdict::Served {
            return at;
        }
        let bytes = Bytes::from(bytes);
        let value = if is_head { Bytes::new() } else { bytes.slice(value) };
        Finding { metadata: tags::metadata(header.flags, &bytes.slice(metadata)), value, ..at }
    }
}

impl Finding {
    /// Looks for the chunks of the object, if it is one. It is served only if none is missing.
    fn with_chunks(self, fold: &Fold, seed: &[u8; 16]) -> Self {
        let Some(head) = &self.head else { return self };
        let (object, present) = ObjectInfo::assemble(head, fold, seed);
        if self.verdict != Verdict::Served {
            return Self { object: Some(object), ..self };
        }
        if !object.is_whole() {
            return Self { verdict: Verdict::NotWhole, object: Some(object), metadata: Bytes::new(), ..self };
        }
        let places = present.iter().filter_map(|(_, at)| ChunkAt::new(fold, *at)).collect();
        Self { object: Some(object), places, ..self }
    }
}
