//! What the index would hold, entry by entry: an object is one of them, its chunks are none.

use serde::Serialize;

use super::escape::shown;
use super::fold::{Fate, Fold, Newest};
use super::object::{Files, Judge, Judged};
use super::records::hex;
use super::{Inspector, ObjectInfo};
use crate::error::Result;
use crate::format::file_name::segment_name;
use crate::format::length::class_bytes;
use crate::format::record::{self, Defect, HEADER_BYTES, Header};
use crate::format::tags::{self, Tags};
use crate::types::{MAX_KEY_BYTES, MAX_TAGS};

/// Read of each record to begin with: most keys are shorter, with as many tags as there can be.
const HEADER_AND_KEY_BYTES: usize = 512;

/// What a get of an entry would meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryState {
    /// Its value, as far as was looked: no value is read.
    Served,
    /// It expired, and stays until its eviction leaves a marker for what is older.
    Expired,
    /// A purge covers it: it stays until it is asked for, or its segment goes.
    Purged,
    /// Chunks of it are not on disk, and it stays until its eviction leaves a marker for what is older.
    NotWhole,
    /// Its record is damaged.
    Damaged,
}

impl EntryState {
    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Expired => "expired",
            Self::Purged => "purged",
            Self::NotWhole => "not_whole",
            Self::Damaged => "damaged",
        }
    }
}

/// An entry.
#[derive(Debug, Clone, Serialize)]
pub struct EntryInfo {
    /// The namespace that it is in, escaped.
    pub namespace: Option<String>,
    /// Its key, escaped, within its namespace; none if it cannot be read.
    pub key: Option<String>,
    /// Its key in hexadecimal, as it stands on disk.
    pub key_hex: Option<String>,
    /// Length of the key in bytes, as it stands on disk.
    pub key_len: u32,
    /// Length of the user's metadata in bytes.
    pub metadata_len: u32,
    /// How many tags it has.
    pub tags: usize,
    /// Length of the whole value in bytes.
    pub value_len: u64,
    /// Bytes that its record takes on disk, and the chunks of a whole value, those left out that another entry has too.
    pub disk_bytes: u64,
    /// What a get would meet.
    pub state: EntryState,
    /// Name of the file that holds its record, or its head.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// Its sequence.
    pub sequence: u64,
    /// When it was set, in unix milliseconds.
    pub created: Option<u64>,
    /// When it expires, in unix milliseconds.
    pub expires: Option<u64>,
    /// The object, if it is one. None too if it is not whole, and heads together claim far more chunks than there are: then
    /// they are forged, and no time is spent on them.
    pub object: Option<ObjectInfo>,
    /// What is wrong with its record.
    pub defect: Option<String>,
}

impl Inspector {
    /// Shows `look` every entry that the index would hold, in the order of the files: as many as the summary counts. Returns
    /// how many. Reads footers, and header and key of each entry. Memory as for the summary.
    ///
    /// # Errors
    /// As [`Inspector::summary`].
    pub async fn entries(&self, look: &mut (dyn FnMut(EntryInfo) + Send)) -> Result<u64> {
        let contents = self.contents().await?;
        let mut entries = contents.entries();
        let mut count = 0;
        while let Some(entry) = entries.next().await? {
            count += 1;
            look(entry);
        }
        Ok(count)
    }

    /// What stands at the newest record of a digest; none if its segment is none.
    pub(super) async fn entry(&self, fold: &Fold, newest: &Newest, files: &mut Files<'_>) -> Result<Option<EntryInfo>> {
        let Some((slot, id)) = fold.segment(newest.at) else { return Ok(None) };
        let mut bytes = files.read(slot, newest.at, HEADER_AND_KEY_BYTES).await?;
        // Of the metadata field the tags are needed.
        let most = tags::tags_bytes(MAX_TAGS);
        let needs = |claims: u64| (claims + most as u64).min(class_bytes(newest.at.class));
        if record::header_claims(&bytes).is_some_and(|claims| needs(claims) > bytes.len() as u64) {
            bytes = files.read(slot, newest.at, HEADER_BYTES + MAX_KEY_BYTES + most).await?;
        }
        let decoded = record::decode_header(&bytes, id, newest.at.offset());
        let decoded = decoded.and_then(|header| Ok((header, tags_of(&header, &bytes)?)));
        let (header, tags) = decoded.as_ref().map_or((None, Tags::default()), |(header, tags)| (Some(header), *tags));
        let key = header.and_then(|header| bytes.get(record::parts(header).0));
        let state = match (&decoded, fold.fate(newest, self.now)) {
            (Err(_), _) => EntryState::Damaged,
            (_, Fate::Expired { .. }) => EntryState::Expired,
            (Ok((header, _)), _) if header.expires.is_some_and(|at| at <= self.now) => EntryState::Expired,
            (Ok((header, _)), _)
                if key.is_some_and(|key| fold.marks.cover(key, tags, header.sequence, header.created)) =>
            {
                EntryState::Purged
            }
            _ => EntryState::Served,
        };
        let (namespace, shown) = key.map(|key| shown(newest.kind, key)).unzip();
        let namespace = namespace.flatten();
        Ok(Some(EntryInfo {
            namespace,
            key: shown,
            key_hex: key.map(hex),
            key_len: header.map_or(0, |h| h.key_len),
            metadata_len: header.map_or(0, |h| u32::from(h.metadata_len)) - tags::tags_bytes(tags.len()) as u32,
            tags: tags.len(),
            value_len: header.map_or(0, |h| u64::from(h.value_len)),
            disk_bytes: class_bytes(newest.at.class),
            state,
            file: segment_name(slot),
            offset: newest.at.offset(),
            sequence: newest.sequence.0,
            created: header.map(|h| h.created.0),
            expires: header.and_then(|h| h.expires).map(|at| at.0),
            object: None,
            defect: decoded.err().map(|defect| defect.to_string()),
        }))
    }
}

/// The tags of a record of which these are the first bytes.
fn tags_of<'a>(header: &Header, bytes: &'a [u8]) -> Result<Tags<'a>, Defect> {
    let field = record::parts(header).1;
    let field = bytes.get(field.start.min(bytes.len())..field.end.min(bytes.len())).unwrap_or_default();
    Ok(tags::split(header.flags, field).ok_or(Defect::Tags)?.0)
}

impl EntryInfo {
    /// Says what the head stands for.
    pub(super) fn of_object(&mut self, judge: &mut Judge<'_>, judged: Judged) {
        match judged {
            Judged::Whole(head, _, chunks) => {
                self.object = head.object.as_ref().map(ObjectInfo::of);
                self.disk_bytes += chunks.iter().map(|at| class_bytes(at.class)).sum::<u64>();
            }
            Judged::NotWhole(head) => {
                self.object = head.object.and_then(|object| judge.describe(&object));
                if self.state == EntryState::Served {
                    self.state = EntryState::NotWhole;
                }
            }
            Judged::Damaged(defect) => {
                self.state = EntryState::Damaged;
                self.defect = Some(defect.to_string());
            }
        }
        self.value_len = self.object.as_ref().map_or(0, |object| object.len_bytes);
    }
}
