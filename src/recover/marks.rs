//! Purge marks: each is in the key of its record.

use std::sync::Arc;

use super::Recovery;
use crate::error::{Error, Result};
use crate::format::length::class_bytes;
use crate::format::purge::Selector;
use crate::format::record;
use crate::marks::Mark;
use crate::segment::Segment;
use crate::stats::RecoveryReport;
use crate::types::{Location, Sequence};

/// Takes in the marks at these places. One whose key is damaged may cover anything older: all of that is dead.
///
/// # Errors
/// `Io`: what a mark covers that cannot be read now may not be served.
pub(super) async fn adopt_all(
    r: &Recovery,
    places: &[(Sequence, Location)],
    report: &mut RecoveryReport,
) -> Result<()> {
    for (sequence, at) in places.iter().filter(|(sequence, _)| *sequence > r.manifest.cleared) {
        let Some(segment) = r.segments.get(at.slot) else { continue };
        match read(r, &segment, *at).await? {
            Some(selector) => {
                let mark = Mark { sequence: *sequence, horizon: r.segments.newest_id(), is_written: true };
                r.marks.adopt(&selector, mark);
            }
            None => {
                let path = segment.path.file_name().unwrap_or_default().to_string_lossy();
                report.note(format!("{path} at {}: a purge is damaged; what is older is dropped", at.offset()));
                report.dropped_damaged += 1;
                r.marks.raise_floor(*sequence);
            }
        }
        report.bytes_read += class_bytes(at.class);
    }
    Ok(())
}

async fn read(r: &Recovery, segment: &Arc<Segment>, at: Location) -> Result<Option<Selector>> {
    let len = class_bytes(at.class) as usize;
    let bytes = segment.read(at.offset(), len).await.map_err(Error::io("read", r.segments.path(at.slot)))?;
    let Ok(header) = record::decode_header(&bytes, segment.id, at.offset()) else { return Ok(None) };
    let (key, ..) = record::parts(&header);
    Ok(bytes.get(key).and_then(Selector::decode))
}
