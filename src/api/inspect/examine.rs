//! One segment file, read as recovery reads it, but without its lock.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{Inspector, SegmentState, unless_gone};
use crate::backend::{DiskFile, OpenMode, exact};
use crate::error::{Error, Result};
use crate::format::file_name::segment_name;
use crate::format::footer::{FooterDefect, Row};
use crate::format::manifest::Manifest;
use crate::format::record::{self, HEADER_BYTES};
use crate::format::segment_header::{FREE_STREAM, SegmentHeader, StreamTag};
use crate::segment::Doubt;
use crate::segment::identity::{Identified, Identity, identify};
use crate::segment::scan::{self, Damage, Scope, Seen};
use crate::types::{MAX_KEY_BYTES, Millis, SegmentId};

/// The stream whose records keep the creation times they had before they were moved.
const REINSERTED: u8 = 1;

/// What the file says it is.
///
/// # Errors
/// The disk's.
pub async fn read_head(file: &dyn DiskFile, manifest: Option<&Manifest>) -> io::Result<Identified> {
    let segment_len_bytes = match manifest {
        Some(manifest) => manifest.segment_len_bytes,
        None => file.len().await?,
    };
    identify(file, manifest.map(|m| m.directory_id), segment_len_bytes).await
}

/// The header, if there is one.
pub fn header_of(head: &Identified) -> Option<&SegmentHeader> {
    match &head.identity {
        Identity::Blank | Identity::Lost(_) => None,
        Identity::Foreign(header) | Identity::Ours(header) => Some(header),
    }
}

/// What was found in a file.
#[derive(Debug)]
pub struct Examined {
    /// The file's name.
    pub name: String,
    /// Its length in bytes.
    pub len_bytes: u64,
    /// Its header.
    pub head: Identified,
    /// What it was sealed or begun as, also where the header is lost.
    pub segment: Option<(StreamTag, SegmentId)>,
    /// What it is.
    pub state: SegmentState,
    /// One row a record.
    pub rows: Vec<Row>,
    /// Damaged places.
    pub damage: Vec<Damage>,
    /// Damage hides which keys were there.
    pub doubt: Option<Doubt>,
    /// When its first record was made, if its records are in the order of time.
    pub oldest: Option<Millis>,
    /// When its newest record was made.
    pub newest: Option<Millis>,
    /// What is wrong with its header or its footer.
    pub defect: Option<String>,
}

impl Inspector {
    /// Opens the file of a slot; `None` if it is gone.
    pub(super) async fn open_slot(&self, slot: u16) -> Result<Option<Arc<dyn DiskFile>>> {
        let path = self.dir.join(segment_name(slot));
        unless_gone(self.backend.open(&path, OpenMode::Read).await, "open", &path)
    }

    /// Looks at the file of a slot, once more if it changed meanwhile. `None` if it is gone.
    pub(super) async fn examine(&self, manifest: &Manifest, slot: u16) -> Result<Option<Examined>> {
        let path = self.dir.join(segment_name(slot));
        for _ in 0..2 {
            let Some(file) = self.open_slot(slot).await? else { return Ok(None) };
            let found = examine_once(&*file, &path, manifest).await.map_err(Error::io("read", &path))?;
            let after = read_head(&*file, Some(manifest)).await.map_err(Error::io("read", &path))?;
            if after == found.head {
                return Ok(Some(found));
            }
        }
        let head = Identified { identity: Identity::Blank, fault: None, is_twin_wrong: false };
        let mut found = Examined::new(&path, 0, head, SegmentState::Changing);
        found.len_bytes = manifest.segment_len_bytes;
        Ok(Some(found))
    }
}

impl Examined {
    fn new(path: &Path, len_bytes: u64, head: Identified, state: SegmentState) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self {
            name,
            len_bytes,
            head,
            segment: header_of(&head).map(|h| (h.tag(), h.id)),
            state,
            rows: Vec::new(),
            damage: Vec::new(),
            doubt: None,
            oldest: None,
            newest: None,
            defect: None,
        }
    }
}

async fn examine_once(file: &dyn DiskFile, path: &Path, manifest: &Manifest) -> io::Result<Examined> {
    let len_bytes = file.len().await?;
    let head = read_head(file, Some(manifest)).await?;
    let empty = |state| Examined::new(path, len_bytes, head, state);
    let header = match head.identity {
        Identity::Blank => return Ok(empty(SegmentState::Free)),
        Identity::Foreign(_) => return Ok(empty(SegmentState::Foreign)),
        Identity::Ours(header) if header.stream == FREE_STREAM => return Ok(empty(SegmentState::Free)),
        Identity::Ours(header) => header,
        Identity::Lost(defect) => {
            let (doubt, defect) = (Some(Doubt::Anywhere), Some(defect.to_string()));
            return Ok(Examined { doubt, defect, ..empty(SegmentState::Damaged) });
        }
    };
    match scan::read_footer(file, header.id, manifest.segment_len_bytes).await? {
        Ok(footer) => {
            let rows: Vec<Row> = footer.rows().collect();
            let oldest = match rows.first() {
                Some(first) if header.stream != REINSERTED => created(file, &header, first).await?,
                _ => None,
            };
            let newest = (!rows.is_empty()).then_some(footer.trailer.newest);
            Ok(Examined { rows, oldest, newest, ..empty(SegmentState::Sealed) })
        }
        Err(defect) => {
            let state = SegmentState::of_footer(Some(defect));
            // As recovery decides it: behind a damaged place of a complete segment there is more to find.
            let resync = matches!(defect, FooterDefect::Crc | FooterDefect::Bounds);
            let end = len_bytes.min(manifest.segment_len_bytes);
            let scope = Scope { segment: header.id, end, seed: &manifest.seed, resync };
            let mut oldest: Option<Millis> = None;
            let mut look = |seen: Seen<'_>| {
                if let Seen::Record { header, row: Some(_), .. } = seen {
                    oldest = Some(oldest.map_or(header.created, |at| at.min(header.created)));
                }
            };
            let scanned = scan::walk(file, scope, &mut look).await?;
            let doubt = scan::doubt(file, &header, &scanned).await?;
            let newest = (!scanned.rows.is_empty()).then_some(scanned.newest);
            let oldest = oldest.filter(|_| newest.is_some());
            let defect = (state == SegmentState::Damaged).then(|| defect.to_string());
            // What stands behind the last record is the footer, or the torn end of what was being written.
            let damage = scanned.damage.into_iter().filter(|d| d.offset < scanned.data_end).collect();
            Ok(Examined { rows: scanned.rows, damage, doubt, oldest, newest, defect, ..empty(state) })
        }
    }
}

/// When the record of this row was made; none if its header is damaged.
async fn created(file: &dyn DiskFile, header: &SegmentHeader, row: &Row) -> io::Result<Option<Millis>> {
    let len = row.len_bytes().min((HEADER_BYTES + MAX_KEY_BYTES) as u64) as usize;
    match exact::read_exact_at(file, row.offset(), len).await {
        Ok(bytes) => Ok(record::decode_header(&bytes, header.id, row.offset()).ok().map(|h| h.created)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}
