//! One key: its value, or why it is not served.

use std::io;

use bytes::Bytes;
use serde::Serialize;

use super::fold::{Fate, Fold, Newest};
use super::{Inspector, SegmentState};
use crate::backend::exact;
use crate::error::{Error, Result};
use crate::format::digest::digest;
use crate::format::length::class_bytes;
use crate::format::record::{self, Defect};
use crate::types::{RecordKind, SegmentId, UNIT_BYTES};

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
    /// Everything of it was written before a `clear`.
    Cleared,
    /// The newest record is damaged; an older one is not served instead.
    Damaged,
    /// A damaged place may have held a newer record of it.
    Doubtful,
    /// The newest record is another key's with the same digest.
    Collision,
    /// It is the head of a value in chunks, which is not put together here.
    Chunked,
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
    /// What is wrong with it.
    pub defect: Option<String>,
    /// The metadata; empty unless served.
    #[serde(skip)]
    pub metadata: Bytes,
    /// The value; empty unless served.
    #[serde(skip)]
    pub value: Bytes,
}

impl Finding {
    fn of(verdict: Verdict) -> Self {
        Self {
            verdict,
            file: None,
            offset: None,
            sequence: None,
            created: None,
            expires: None,
            defect: None,
            metadata: Bytes::new(),
            value: Bytes::new(),
        }
    }
}

impl Inspector {
    /// What the cache would answer for `key`, and why. Reads every footer.
    ///
    /// # Errors
    /// `NotACache`, `NewerFormat`, `Io`.
    pub async fn get(&self, key: &[u8]) -> Result<Finding> {
        let manifest = self.manifest().await?;
        let digest = digest(&manifest.seed, key);
        let mut fold = Fold::new(manifest.cleared, Some(digest));
        let mut places = Vec::new();
        let mut is_changing = false;
        for slot in self.names().await?.0 {
            if let Some(one) = self.examine(&manifest, slot).await? {
                fold.add(&one);
                is_changing |= one.state == SegmentState::Changing;
                // The trailer may say it where the header is lost.
                places.push((slot, one.name, one.segment.map_or(SegmentId(0), |(_, id)| id)));
            }
        }
        let newest = fold.get(digest);
        let Some((newest, (slot, name, id))) = newest.and_then(|n| Some((n, places.get(n.segment as usize)?))) else {
            return Ok(Finding::of(match (is_changing, fold.cleared) {
                (true, _) => Verdict::Changing,
                (_, 0) => Verdict::Unknown,
                _ => Verdict::Cleared,
            }));
        };
        let at = Finding {
            file: Some(name.clone()),
            offset: Some(u64::from(newest.offset_units) * UNIT_BYTES),
            sequence: Some(newest.sequence.0),
            ..Finding::of(Verdict::Changing)
        };
        let Some(bytes) = self.record_bytes(*slot, newest).await? else { return Ok(at) };
        Ok(self.judge(at, fold.fate(newest, self.now), bytes, *id, key))
    }

    async fn record_bytes(&self, slot: u16, newest: &Newest) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.open_slot(slot).await? else { return Ok(None) };
        let offset = u64::from(newest.offset_units) * UNIT_BYTES;
        match exact::read_exact_at(&*file, offset, class_bytes(newest.class) as usize).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(Some(Vec::new())),
            Err(e) => Err(Error::io("read", self.dir.join(crate::format::file_name::segment_name(slot)))(e)),
        }
    }

    fn judge(&self, at: Finding, fate: Fate, bytes: Vec<u8>, id: SegmentId, key: &[u8]) -> Finding {
        let offset = at.offset.unwrap_or_default();
        let damaged =
            |defect: Defect| Finding { verdict: Verdict::Damaged, defect: Some(defect.to_string()), ..at.clone() };
        let header = match record::decode_header(&bytes, id, offset) {
            Ok(header) => header,
            Err(defect) => return damaged(defect),
        };
        let (key_range, metadata, value) = record::parts(&header);
        let is_same = bytes.get(key_range).is_some_and(|found| found == key);
        let at = Finding { created: Some(header.created.0), expires: header.expires.map(|at| at.0), ..at.clone() };
        let verdict = match (header.kind, fate) {
            (_, Fate::Doubtful) => Verdict::Doubtful,
            (RecordKind::Marker, _) => Verdict::Marked,
            _ if !is_same => Verdict::Collision,
            (RecordKind::Delete, _) => Verdict::Deleted,
            (RecordKind::Head, _) => Verdict::Chunked,
            (RecordKind::Put, _) if header.expires.is_some_and(|at| at <= self.now) => Verdict::Expired,
            (RecordKind::Put, _) => Verdict::Served,
            _ => Verdict::Collision,
        };
        if let Err(defect) = record::decode(&bytes, id, offset) {
            return Finding { verdict: Verdict::Damaged, defect: Some(defect.to_string()), ..at };
        }
        if verdict != Verdict::Served {
            return Finding { verdict, ..at };
        }
        let bytes = Bytes::from(bytes);
        Finding { verdict, metadata: bytes.slice(metadata), value: bytes.slice(value), ..at }
    }
}
