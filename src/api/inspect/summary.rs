//! Footers, and the heads of large values: quick, and all that the figures need.

use super::examine::{Examined, header_of};
use super::fold::{At, Fate, Fold, Newest};
use super::object::{Judged, stays};
use super::{Inspector, SegmentState, SegmentSummary, Summary};
use crate::error::Result;
use crate::format::length::class_bytes;
use crate::format::manifest::{self, Manifest};
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
                count_expired(&mut segments, newest.at, fold.fate(newest, self.now));
            }
        }
        let (mut objects, mut objects_not_whole, mut chunks_live) = (0, 0, 0);
        let mut look = |newest: &Newest, judged: Judged| {
            if stays(&fold, newest, &judged) {
                entries += 1;
                live(&mut segments, newest.at);
                count_expired(&mut segments, newest.at, fold.fate(newest, self.now));
            }
            match judged {
                Judged::Whole(_, _, chunks) => {
                    objects += 1;
                    chunks_live += chunks.len() as u64;
                    for at in chunks {
                        live(&mut segments, at);
                        count_expired(&mut segments, at, fold.fate(newest, self.now));
                    }
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
        self.forgotten(&manifest, &fold, &mut segments).await?;
        for segment in &mut segments {
            segment.dead_bytes = segment.len_bytes.saturating_sub(segment.live_bytes);
            // Heads of a hostile directory may all claim the same chunks.
            segment.expired_bytes = segment.expired_bytes.min(segment.dead_bytes);
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

    /// Counts the bytes of what expired and is in no index.
    async fn forgotten(&self, manifest: &Manifest, fold: &Fold, segments: &mut [SegmentSummary]) -> Result<()> {
        let is_forgotten = |fate| fate == Fate::Expired { stays: false };
        let mut count = |at: At| {
            if let Some(segment) = segments.get_mut(usize::from(at.segment)) {
                segment.expired_bytes += class_bytes(at.class);
            }
        };
        fold.all().filter(|newest| is_forgotten(fold.fate(newest, self.now))).for_each(|newest| count(newest.at));
        let mut look = |_: &Newest, judged: Judged| {
            if let Judged::Whole(_, _, chunks) = judged {
                chunks.into_iter().for_each(&mut count);
            }
        };
        self.judge_heads_of(manifest, fold, is_forgotten, &mut look).await
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

/// Counts what is live as expired too, if it is.
fn count_expired(segments: &mut [SegmentSummary], at: At, fate: Fate) {
    if let Some(segment) = segments.get_mut(usize::from(at.segment)).filter(|_| matches!(fate, Fate::Expired { .. })) {
        segment.live_expired_bytes += class_bytes(at.class);
    }
}

/// What is known of a segment without the others.
pub(super) fn of_segment(one: &Examined) -> SegmentSummary {
    let header = header_of(&one.head);
    // A segment of which nothing is known loses what it held, however much that was.
    let lost = one.state == SegmentState::Damaged && one.segment.is_none();
    SegmentSummary {
        id: one.segment.map(|(_, id)| id.0),
        file: one.name.clone(),
        state: one.state,
        stream: header.and_then(|h| stream_name(h.stream)),
        group: header.filter(|h| h.group > 0).map(|h| format!("{:016x}", h.group)),
        created: header.map(|h| h.created.0),
        len_bytes: one.len_bytes,
        live_bytes: 0,
        dead_bytes: 0,
        expired_bytes: 0,
        live_expired_bytes: 0,
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
