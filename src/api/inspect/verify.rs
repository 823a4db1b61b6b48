//! Everything is read and checked against everything that speaks of it.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use super::Inspector;
use super::examine::read_head;
use crate::error::{Error, Result};
use crate::format::file_name::{LOCK, MANIFEST, MANIFEST_TMP, segment_name};
use crate::format::footer;
use crate::format::manifest::Manifest;
use crate::format::segment_header::{FREE_STREAM, SegmentHeader};
use crate::segment::identity::{Identified, Identity};
use crate::sync::time;
use crate::types::SegmentId;

mod object;
mod segment;

use segment::Checked;

/// How often an unsealed segment that looks damaged is read before that is believed: its writer may be in the middle
/// of a write, whose blocks land in any order.
const ATTEMPTS: usize = 4;
/// How long such a write is given.
const WRITE_LANDS_WITHIN: Duration = Duration::from_millis(250);

/// A damaged place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DamageInfo {
    /// Name of the file.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What is wrong there, and what it costs.
    pub what: String,
}

/// Something to know that is no damage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Name of the file, escaped.
    pub file: String,
    /// What to know.
    pub text: String,
}

/// How far a check has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Segment files checked.
    pub done: u64,
    /// Segment files.
    pub total: u64,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Whether there is no damage.
    pub is_clean: bool,
    /// Segment files checked.
    pub segments: u64,
    /// Records that were read and are right.
    pub records: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Large values that have all their chunks, among the newest records of their keys.
    pub objects: u64,
    /// Those that lack chunks: no damage, since eviction takes an object's chunks one segment at a time.
    pub objects_not_whole: u64,
    /// Chunks of no whole object that is served: replaced, deleted, evicted or never finished.
    pub chunks_dead: u64,
    /// Every damaged place, by file and offset.
    pub damage: Vec<DamageInfo>,
    /// What else there is to know.
    pub notes: Vec<Note>,
}

impl VerifyReport {
    fn note(&mut self, file: impl Into<String>, text: impl Into<String>) {
        self.notes.push(Note { file: file.into(), text: text.into() });
    }

    fn damage(&mut self, file: impl Into<String>, offset: u64, what: impl Into<String>) {
        self.damage.push(DamageInfo { file: file.into(), offset, what: what.into() });
    }
}

/// What later files are compared with.
#[derive(Default)]
struct Seen {
    /// Segment ids and the file that has them.
    ids: HashMap<SegmentId, String>,
    /// Files whose footer is another segment's, and the end of the file.
    strange_footers: Vec<(String, Vec<u8>, u64)>,
}

impl Inspector {
    /// Reads every record of every segment and compares it with its checksums and its row in the footer; headers and
    /// the manifest too. The torn end of an unsealed segment is no damage, but a note; so is a head that lacks chunks.
    ///
    /// # Errors
    /// `NotACache` if there is neither a manifest nor a segment; `NewerFormat`; `Io`.
    pub async fn verify(&self, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<VerifyReport> {
        let mut report = VerifyReport::default();
        let (slots, others) = self.names().await?;
        let manifest = self.check_manifest(&slots, &mut report).await?;
        for name in others.iter().filter(|n| *n != MANIFEST && *n != LOCK) {
            let text = if *name == MANIFEST_TMP {
                "a manifest that is being replaced, or was when its process died"
            } else {
                "not ours; the cache leaves it alone"
            };
            report.note(super::escape(name.as_encoded_bytes()), text);
        }
        let mut seen = Seen::default();
        let total = slots.len() as u64;
        for (done, slot) in slots.into_iter().enumerate() {
            progress(Progress { done: done as u64, total });
            self.check_slot(slot, manifest.as_ref(), &mut seen, &mut report).await?;
        }
        progress(Progress { done: total, total });
        swapped(&seen, &mut report);
        if let Some(manifest) = &manifest {
            self.check_objects(manifest, &mut report).await?;
        }
        report.damage.sort_by(|a, b| (&a.file, a.offset).cmp(&(&b.file, b.offset)));
        report.is_clean = report.damage.is_empty();
        Ok(report)
    }

    /// The manifest; none if it is missing or damaged, which is damage as long as there are segments.
    async fn check_manifest(&self, slots: &[u16], report: &mut VerifyReport) -> Result<Option<Manifest>> {
        let what = match self.manifest().await {
            Ok(manifest) => return Ok(Some(manifest)),
            Err(Error::NotACache { why, .. }) => why,
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                if slots.is_empty() {
                    return Err(Error::NotACache { path: self.dir.clone(), why: "it has no MANIFEST".into() });
                }
                "MANIFEST is missing".into()
            }
            Err(other) => return Err(other),
        };
        report.damage(MANIFEST, 0, format!("{what}; the cache does not open, and digests were not checked"));
        Ok(None)
    }

    async fn check_slot(
        &self,
        slot: u16,
        manifest: Option<&Manifest>,
        seen: &mut Seen,
        report: &mut VerifyReport,
    ) -> Result<()> {
        let name = segment_name(slot);
        let path = self.dir.join(&name);
        let failed = |e| Error::io("read", &path)(e);
        let mut checked = None;
        for attempt in 0..ATTEMPTS {
            let Some(file) = self.open_slot(slot).await? else { return Ok(()) };
            let one = segment::check(&*file, &name, manifest).await.map_err(failed)?;
            let after = read_head(&*file, manifest).await.map_err(failed)?;
            let is_settled = after == one.head && (one.is_sealed || one.report.damage.is_empty());
            let is_stable = after == one.head;
            checked = is_stable.then_some(one);
            if is_settled {
                break;
            }
            if attempt + 1 < ATTEMPTS {
                time::sleep(WRITE_LANDS_WITHIN).await;
            }
        }
        report.segments += 1;
        let Some(Checked { head, report: one, strange_footer, .. }) = checked else {
            report.note(name, "freed or begun anew each time it was read; not checked");
            return Ok(());
        };
        report.records += one.records;
        report.bytes_read += one.bytes_read;
        report.damage.extend(one.damage);
        report.notes.extend(one.notes);
        if let Some(header) = used(&head) {
            if let Some(other) = seen.ids.insert(header.id, name.clone()) {
                report.damage(&name, 0, format!("the same segment id, {}, as {other}", header.id));
            }
            let len_bytes = manifest.map_or(header.segment_len_bytes, |m| m.segment_len_bytes);
            seen.strange_footers.extend(strange_footer.map(|end| (name, end, len_bytes)));
        }
        Ok(())
    }
}

/// The header of a segment.
fn used(head: &Identified) -> Option<SegmentHeader> {
    match head.identity {
        Identity::Ours(header) if header.stream != FREE_STREAM => Some(header),
        _ => None,
    }
}

/// A footer that belongs to a segment in another file: headers or footers were exchanged. A footer of a segment that is
/// nowhere else is from an earlier life of its file.
fn swapped(seen: &Seen, report: &mut VerifyReport) {
    for (name, end, len_bytes) in &seen.strange_footers {
        let owner = seen.ids.iter().find(|(id, _)| footer::decode_trailer(end, **id, *len_bytes).is_ok());
        // Its own by now: it was sealed meanwhile.
        if let Some((id, other)) = owner.filter(|(_, other)| *other != name) {
            let at = len_bytes.saturating_sub(footer::TRAILER_BYTES as u64);
            report.damage(name, at, format!("footer of segment {id}, whose header is in {other}"));
        }
    }
}
