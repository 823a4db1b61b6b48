//! What may not be served where damage hides keys: a hidden record may have replaced anything that is older (P2).

use super::{Stream, Summary};
use crate::format::segment_header::StreamTag;
use crate::types::{SegmentId, Sequence};

/// Records are hidden whose keys nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// None of them is newer than this: the segment's trailer says so, or a record behind them.
    UpTo(Sequence),
    /// They are in this segment of this stream.
    In(StreamTag, SegmentId),
    /// They are in a segment of which nothing is known.
    Anywhere,
}

/// What is known of a readable segment.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    stream: StreamTag,
    id: SegmentId,
    min: Sequence,
    max: Sequence,
}

impl Extent {
    /// Of a segment that holds this; none if it holds nothing.
    pub fn of(stream: StreamTag, id: SegmentId, summary: &Summary) -> Option<Self> {
        let (min, max) = (Sequence(summary.min_sequence), Sequence(summary.max_sequence));
        (min <= max).then_some(Self { stream, id, min, max })
    }
}

impl Doubt {
    /// Up to which sequence nothing is served. What is hidden is older than the next segment of its stream, if that is
    /// there and the stream is not that of moved records; else it may be newer than all there is.
    pub fn floor(self, extents: &[Extent]) -> Sequence {
        let later = |stream: StreamTag, id: SegmentId| extents.iter().filter(move |e| e.stream == stream && e.id > id);
        let bound = match self {
            Self::UpTo(newest) => Some(newest),
            Self::In(tag, id) if !Stream::of_number(tag.stream).is_moved() => later(tag, id).map(|e| e.min).min(),
            _ => None,
        };
        match bound {
            Some(bound) => Sequence(bound.0.saturating_sub(1)),
            None => extents.iter().map(|e| e.max).max().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_above_whatever_may_have_been_replaced() {
        let extent =
            |stream, id, min, max| Extent { stream, id: SegmentId(id), min: Sequence(min), max: Sequence(max) };
        let [new, moved, of_other] = [(0, 0), (1, 0), (0, 7)].map(|(stream, group)| StreamTag { stream, group });
        let extents = [
            extent(new, 1, 1, 10),
            extent(new, 3, 20, 30),
            extent(new, 4, 31, 40),
            extent(moved, 5, 2, 35),
            extent(of_other, 6, 12, 15),
        ];
        let floor = |doubt: Doubt| doubt.floor(&extents).0;
        assert_eq!(floor(Doubt::UpTo(Sequence(12))), 11, "the newest of them replaced nothing that is as new");
        assert_eq!(floor(Doubt::In(new, SegmentId(2))), 19, "older than the next segment of the stream");
        assert_eq!(floor(Doubt::In(new, SegmentId(4))), 40, "the last of its stream: maybe newer than all");
        assert_eq!(floor(Doubt::In(moved, SegmentId(2))), 40, "moved records are in no order");
        assert_eq!(floor(Doubt::In(of_other, SegmentId(2))), 11, "another group's streams are others");
        assert_eq!(floor(Doubt::Anywhere), 40);
        assert_eq!(Doubt::Anywhere.floor(&[]).0, 0);
    }
}
