//! Objects, over all segments: whether each head that is served has its chunks, and each chunk its head.

use super::VerifyReport;
use crate::api::inspect::fold::{At, Fold, Newest};
use crate::api::inspect::object::{HeadRecord, Judged};
use crate::api::inspect::{Inspector, ObjectInfo, escape};
use crate::error::Result;
use crate::format::file_name::segment_name;
use crate::format::length::class_bytes;
use crate::format::manifest::Manifest;
use crate::format::namespace;
use crate::format::object::{CHUNK_KEY_BYTES, ObjectHead};
use crate::format::record::record_len;

/// Heads without all their chunks that are named; the others are counted.
const MAX_NAMED: u64 = 100;
/// Longest key that a note shows whole, in bytes.
const MAX_KEY_SHOWN: usize = 64;

impl Inspector {
    /// Counts the objects. That a chunk is missing is no damage: it was evicted, or its segment was lost, which is reported
    /// for itself. A chunk whose length is not what its head says is: no cache writes one.
    pub(super) async fn check_objects(&self, manifest: &Manifest, report: &mut VerifyReport) -> Result<()> {
        let (fold, _) = self.fold(manifest, Fold::of_all(manifest.cleared), &mut |_| {}).await?;
        let mut chunks_live = 0;
        let mut look = |newest: &Newest, judged: Judged| match judged {
            Judged::Whole(record, from, chunks) => {
                report.objects += 1;
                chunks_live += chunks.len() as u64;
                if let Some(head) = &record.object {
                    wrong_lengths(report, &fold, head, from, &chunks);
                }
            }
            Judged::NotWhole(record) => {
                report.objects_not_whole += 1;
                if report.objects_not_whole <= MAX_NAMED {
                    note_missing(report, &fold, manifest, newest.at, &record);
                }
            }
            // The walk through its segment said so.
            Judged::Damaged(_) => {}
        };
        self.judge_heads(manifest, &fold, &mut look).await?;
        report.chunks_dead = fold.chunks() - chunks_live;
        let more = report.objects_not_whole.saturating_sub(MAX_NAMED);
        if more > 0 {
            report.note("all segments", format!("{more} more large values lack chunks"));
        }
        if report.chunks_dead > 0 {
            let text = format!("{} chunks belong to no large value that is served whole", report.chunks_dead);
            report.note("all segments", text);
        }
        Ok(())
    }
}

fn wrong_lengths(report: &mut VerifyReport, fold: &Fold, head: &ObjectHead, from: u64, chunks: &[At]) {
    for (at, index) in chunks.iter().zip(from..) {
        let len = head.chunk_bytes(index).unwrap_or(0) as usize;
        let expected = record_len(CHUNK_KEY_BYTES, 0, len).map(|class| class.len_bytes());
        if expected != Some(class_bytes(at.class))
            && let Some((slot, _)) = fold.segment(*at)
        {
            let what = format!("chunk {index} of object {}: it has another length than the head says", head.object.0);
            report.damage(segment_name(slot), at.offset(), what);
        }
    }
}

fn note_missing(report: &mut VerifyReport, fold: &Fold, manifest: &Manifest, at: At, record: &HeadRecord) {
    // A value that is no object's is damage, and was found as such.
    let (Some(head), Some((slot, _))) = (&record.object, fold.segment(at)) else { return };
    let (object, _) = ObjectInfo::assemble(head, fold, &manifest.seed);
    let (whose, key) = match namespace::split(&record.key) {
        Some(split) => (format!("[{}] ", escape(split.name.as_bytes())), split.key),
        None => (String::new(), &record.key[..]),
    };
    let shown = whose + &key.get(..MAX_KEY_SHOWN).map_or_else(|| escape(key), |start| escape(start) + "...");
    let text = format!(
        "head at {}: `{shown}` lacks {} of {} chunks ({}); a get of it is a miss",
        at.offset(),
        object.missing,
        object.chunks,
        object.missing_text()
    );
    report.note(segment_name(slot), text);
}
