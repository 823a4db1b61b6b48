//! What a file holds, found without the library's scanner: whatever decodes, wherever it stands.

use esker::SegmentId;
use esker::format::record::{self, Record};
use esker::format::segment_header::DATA_START;

/// Everything in the file of a segment that passes all checks of a record, and where it stands. One may lie within
/// another's value.
pub fn records(file: &[u8], segment: SegmentId) -> impl Iterator<Item = (u64, Record<'_>)> {
    (DATA_START..file.len() as u64).step_by(16).filter_map(move |at| {
        let record = record::decode(&file[at as usize..], segment, at).ok()?;
        Some((at, record))
    })
}
