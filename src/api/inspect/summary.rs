//! Footers, and the heads of large values: quick, and all that the figures need.

use super::examine::{Examined, header_of};
use super::fold::{At, Fold, Newest};
use super::object::{Judged, stays};
use super::{Inspector, SegmentState, SegmentSummary, Summary};
use crate::error::Result;
use crate::format::length::class_bytes;
use crate::format::manifest;
use crate::types::RecordKind;

impl Inspector {
    /// What the directory holds. Reads footers, and the heads of large values. Memory: about 60 bytes for each key on disk,
    /// and about 30 for each chunk.
    ///
    /// # Errors
    /// `NotACache`, `NewerFormat`, `Io`. A damaged segment is not an error.
    pub async fn summary(&self) -> Result<Summary> {
        let manifest = self.manifest().await?;
        let mut segments = Vec::new();
        let mut look = |one: &Examined| segments.push(of_segment(one));
        let (fold, _) = self.fold(&manifest, Fold::of_all(manifest.cleared), &mut look).await?;
        let own = fold.own(&manifest.seed);
        let mut entries = 0;
        for newest in fold.all().filter(|newest| fold.fate(newest, self.now).is_indexed()) {
            if newest.kind != RecordKind::Head {
                entries += u64::from(Some(newest.at) != own);
                live(&mut segments, newest.at);
            }
        }
        let (mut objects, mut objects_not_whole, mut chunks_live) = (0, 0, 0);
        let mut look = |newest: &Newest, judged: Judged| {
            if stays(&fold, newest, &judged) {
                entries += 1;
                live(&mut segments, newest.at);
            }
            match judged {
                Judged::Whole(_, _, chunks) => {
                    objects += 1;
                    chunks_live += chunks.len() as u64;
                    chunks.into_iter().for_each(|at| live(&mut segments, at));
                }
                Judged::NotWhole(_) => objects_not_whole += 1,
                Judged::Damaged(_) => {
                    if let Some(segment) = segments.get_mut(usize::from(newest.at.segment)) {
                        segment.damaged_records += 1;
                    }
                }
            }
        };
        self.judge_heads(&manifest, &fold, &mut look).await?;
        for segment in &mut segments {
            segment.dead_bytes = segment.len_bytes.saturating_sub(segment.live_bytes);
        }
        let total = |of: fn(&SegmentSummary) -> u64, which: fn(SegmentState) -> bool| -> u64 {
            segments.iter().filter(|s| which(s.state)).map(of).sum()
        };
        let ours = |state| state != SegmentState::Foreign;
        Ok(Summary {
            format_version: manifest::VERSION,
            directory_id: format!("{:016x}", manifest.directory_id),
            created: manifest.created.0,
            cleared_sequence: manifest.cleared.0,
            segment_len_bytes: manifest.segment_len_bytes,
            entries,
            objects,
            objects_not_whole,
            chunks_live,
            chunks_dead: fold.chunks() - chunks_live,
            live_bytes: total(|s| s.live_bytes, ours),
            dead_bytes: total(|s| s.dead_bytes, ours),
            free_bytes: total(|s| s.len_bytes, |state| state == SegmentState::Free),
            records: total(|s| s.records, ours),
            damaged_records: total(|s| s.damaged_records, ours),
            segments,
        })
    }

    /// The segment files, as in the summary: which bytes are live depends on all of them.
    ///
    /// # Errors
    /// As [`Inspector::summary`].
    pub async fn segments(&self) -> Result<Vec<SegmentSummary>> {
        Ok(self.summary().await?.segments)
    }
}

/// Counts a record as served.
fn live(segments: &mut [SegmentSummary], at: At) {
    if let Some(segment) = segments.get_mut(usize::from(at.segment)) {
        segment.live_records += 1;
        segment.live_bytes += class_bytes(at.class);
    }
}

fn of_segment(one: &Examined) -> SegmentSummary {
    let header = header_of(&one.head);
    // A segment of which nothing is known loses what it held, however much that was.
    let lost = one.state == SegmentState::Damaged && one.segment.is_none();
    SegmentSummary {
        id: one.segment.map(|(_, id)| id.0),
        file: one.name.clone(),
        state: one.state,
        stream: header.and_then(|h| stream_name(h.stream)),
        group: header.filter(|h| h.group > 0).map(|h| format!("{:016x}", h.group)),
        len_bytes: one.len_bytes,
        live_bytes: 0,
        dead_bytes: 0,
        records: one.rows.len() as u64,
        live_records: 0,
        damaged_records: one.damage.len() as u64 + u64::from(lost),
        oldest: one.oldest.map(|at| at.0),
        newest: one.newest.map(|at| at.0),
        defect: one.defect.clone(),
    }
}

/// The stream's name; none for a free segment.
pub(super) fn stream_name(stream: u8) -> Option<&'static str> {
    match stream {
        0 => Some("new"),
        1 => Some("reinserted"),
        2 => Some("short_lived"),
        3 => Some("main"),
        4 => Some("expiring"),
        _ => None,
    }
}
