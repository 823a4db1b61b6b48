//! Footers only: quick, and all that the figures need.

use super::examine::{Examined, header_of};
use super::fold::Fold;
use super::{Inspector, SegmentState, SegmentSummary, Summary};
use crate::error::Result;
use crate::format::length::class_bytes;
use crate::format::manifest;

impl Inspector {
    /// What the directory holds. Memory: about 60 bytes for each key on disk.
    ///
    /// # Errors
    /// `NotACache`, `NewerFormat`, `Io`. A damaged segment is not an error.
    pub async fn summary(&self) -> Result<Summary> {
        let manifest = self.manifest().await?;
        let mut fold = Fold::new(manifest.cleared, None);
        let mut segments = Vec::new();
        for slot in self.names().await?.0 {
            if let Some(one) = self.examine(&manifest, slot).await? {
                fold.add(&one);
                segments.push(of_segment(&one));
            }
        }
        let mut entries = 0;
        for newest in fold.all().filter(|newest| fold.fate(newest, self.now).is_indexed()) {
            entries += 1;
            if let Some(segment) = segments.get_mut(newest.segment as usize) {
                segment.live_records += 1;
                segment.live_bytes += class_bytes(newest.class);
            }
        }
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

fn of_segment(one: &Examined) -> SegmentSummary {
    let header = header_of(&one.head);
    // A segment of which nothing is known loses what it held, however much that was.
    let lost = one.state == SegmentState::Damaged && one.segment.is_none();
    SegmentSummary {
        id: one.segment.map(|(_, id)| id.0),
        file: one.name.clone(),
        state: one.state,
        stream: header.and_then(|h| stream_name(h.stream)),
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
        _ => None,
    }
}
