//! Every version of a key that is on disk: what it is, whether it is whole, and what is wrong with it.

use serde::Serialize;

use super::find::NO_OBJECT;
use super::fold::{Fold, Newest};
use super::object::{Files, Present, bytes_to_read};
use super::records::kind_name;
use super::value::{ChunkAt, read_chunk};
use super::{ChunkFault, Finding, Inspector, ObjectInfo, Verdict};
use crate::error::Result;
use crate::format::digest::digest;
use crate::format::file_name::segment_name;
use crate::format::object::ObjectHead;
use crate::format::record;
use crate::types::RecordKind;

/// Damaged chunks of a version that are told.
const MAX_FAULTS: usize = 16;

/// A record of the key, with all of its chunks if it is a head.
#[derive(Debug, Clone, Serialize)]
pub struct Version {
    /// Name of the file.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// Its sequence.
    pub sequence: u64,
    /// `put`, `delete`, `head` or `marker`.
    pub kind: &'static str,
    /// Whether it is the one that counts.
    pub is_newest: bool,
    /// Whether a `clear` made it void.
    pub is_cleared: bool,
    /// Whether it has the key that was asked for, and not another with the same digest. A marker has none.
    pub is_this_key: bool,
    /// When it was set, in unix milliseconds.
    pub created: Option<u64>,
    /// When it expires, in unix milliseconds.
    pub expires: Option<u64>,
    /// Length of the whole value in bytes.
    pub value_len: u64,
    /// What is wrong with the record.
    pub defect: Option<String>,
    /// The object, if it is a head.
    pub object: Option<ObjectInfo>,
    /// Chunks that are on disk and damaged.
    pub damaged_chunks: u64,
    /// The first of them, at most 16.
    pub faults: Vec<ChunkFault>,
}

/// All there is of a key.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// What the cache would answer, and why. `Damaged` also if it is a damaged chunk that a get would meet.
    #[serde(flatten)]
    pub finding: Finding,
    /// Records of the key, the newest first.
    pub versions: Vec<Version>,
    /// Older ones, beyond 64.
    pub versions_left_off: u64,
}

impl Inspector {
    /// Every version of `key` that is on disk. Reads every footer, and each version with all its chunks.
    ///
    /// # Errors
    /// As [`Inspector::get`].
    pub async fn explain(&self, key: &[u8]) -> Result<Explanation> {
        let manifest = self.manifest().await?;
        let only = Fold::of_one(manifest.cleared, digest(&manifest.seed, key));
        let (fold, is_changing) = self.fold(&manifest, only, &mut |_| {}).await?;
        let mut finding = self.find(&manifest, &fold, key, is_changing).await?;
        let mut versions = Vec::new();
        let mut files = Files::new(self);
        for record in fold.versions() {
            versions.extend(self.version(&fold, &manifest.seed, &record, key, &mut files).await?);
        }
        let newest = fold.get(digest(&manifest.seed, key)).map(|newest| (newest.at, newest.sequence));
        for version in &mut versions {
            let place = newest.and_then(|(at, sequence)| Some((fold.segment(at)?.0, at.offset(), sequence)));
            version.is_newest = place.is_some_and(|(slot, offset, sequence)| {
                (segment_name(slot), offset, sequence.0) == (version.file.clone(), version.offset, version.sequence)
            });
            if let Some(fault) = version.faults.first().filter(|_| version.is_newest)
                && finding.verdict == Verdict::Served
            {
                finding.verdict = Verdict::Damaged;
                finding.defect = Some(format!("chunk {}: {}", fault.index, fault.what));
            }
        }
        let versions_left_off = fold.versions_seen() - versions.len() as u64;
        Ok(Explanation { finding, versions, versions_left_off })
    }

    async fn version(
        &self,
        fold: &Fold,
        seed: &[u8; 16],
        record: &Newest,
        key: &[u8],
        files: &mut Files<'_>,
    ) -> Result<Option<Version>> {
        let Some((slot, id)) = fold.segment(record.at) else { return Ok(None) };
        let mut version = Version {
            file: segment_name(slot),
            offset: record.at.offset(),
            sequence: record.sequence.0,
            kind: kind_name(record.kind),
            is_newest: false,
            is_cleared: fold.is_cleared(record),
            is_this_key: false,
            created: None,
            expires: None,
            value_len: 0,
            defect: None,
            object: None,
            damaged_chunks: 0,
            faults: Vec::new(),
        };
        let bytes = files.read(slot, record.at, bytes_to_read(record.kind, record.at)).await?;
        let header = match record::decode_header(&bytes, id, record.at.offset()) {
            Ok(header) => header,
            Err(defect) => return Ok(Some(Version { defect: Some(defect.to_string()), ..version })),
        };
        let (key_range, _, value) = record::parts(&header);
        // The row of a record with a damaged value calls it a marker.
        version.kind = kind_name(header.kind);
        version.is_this_key = bytes.get(key_range).is_some_and(|found| found == key);
        (version.created, version.expires) = (Some(header.created.0), header.expires.map(|at| at.0));
        version.value_len = u64::from(header.value_len);
        version.defect = record::decode(&bytes, id, record.at.offset()).err().map(|defect| defect.to_string());
        if header.kind == RecordKind::Head && version.defect.is_none() {
            match bytes.get(value).and_then(ObjectHead::decode) {
                Some(head) => self.read_all(fold, seed, &head, &mut version).await?,
                None => version.defect = Some(NO_OBJECT.into()),
            }
        }
        Ok(Some(version))
    }

    /// Looks for all chunks, and reads those that are there.
    async fn read_all(&self, fold: &Fold, seed: &[u8; 16], head: &ObjectHead, version: &mut Version) -> Result<()> {
        let (object, present): (_, Vec<Present>) = ObjectInfo::assemble(head, fold, seed);
        let mut files = Files::new(self);
        for (index, at) in present {
            let Some(place) = ChunkAt::new(fold, at) else { continue };
            if let Err(fault) = read_chunk(&mut files, head, index, place).await? {
                version.damaged_chunks += 1;
                if version.faults.len() < MAX_FAULTS {
                    version.faults.push(fault);
                }
            }
        }
        (version.value_len, version.object) = (object.len_bytes, Some(object));
        Ok(())
    }
}
