//! What `summary` and `segments` say.

use serde::Serialize;

use crate::format::footer::FooterDefect;

/// What a segment file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentState {
    /// It holds nothing and waits to be used.
    Free,
    /// It has no footer: it is being written, or was when its process died.
    Open,
    /// It is complete.
    Sealed,
    /// Its header or its footer is damaged, or the file is too short.
    Damaged,
    /// It belongs to another directory; the cache leaves it alone.
    Foreign,
    /// It was freed or begun anew each time it was read.
    Changing,
}

impl SegmentState {
    /// What a segment with an undamaged header is, by what is wrong with its footer.
    pub(super) fn of_footer(defect: Option<FooterDefect>) -> Self {
        match defect {
            None => Self::Sealed,
            Some(FooterDefect::Magic | FooterDefect::OtherSegment) => Self::Open,
            Some(FooterDefect::Crc | FooterDefect::Bounds | FooterDefect::Truncated) => Self::Damaged,
        }
    }

    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Open => "open",
            Self::Sealed => "sealed",
            Self::Damaged => "damaged",
            Self::Foreign => "foreign",
            Self::Changing => "changing",
        }
    }
}

/// One segment file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentSummary {
    /// The segment's id; none if the header does not say.
    pub id: Option<u64>,
    /// The file's name.
    pub file: String,
    /// What it is.
    pub state: SegmentState,
    /// What was appended to it: `new`, `reinserted`, `short_lived`, `main` or `expiring`.
    pub stream: Option<&'static str>,
    /// Whose streams' it is: digest of the namespace's name in hexadecimal; none if it is everybody's.
    pub group: Option<String>,
    /// When it was begun, in unix milliseconds.
    pub created: Option<u64>,
    /// Length of the file, in bytes.
    pub len_bytes: u64,
    /// Bytes of records that are served.
    pub live_bytes: u64,
    /// Bytes of the file that are not.
    pub dead_bytes: u64,
    /// Of the dead bytes, those of entries that have expired, and would be live had they not.
    pub expired_bytes: u64,
    /// Of the live bytes, those of entries that have expired, and stay for what is older.
    pub live_expired_bytes: u64,
    /// Records, served or not, pads not counted.
    pub records: u64,
    /// Records that are served, chunks of whole objects among them.
    pub live_records: u64,
    /// Damaged places that were met. Of a sealed segment only the footer is read: `verify` reads all.
    pub damaged_records: u64,
    /// Creation time of the first record, in unix milliseconds; none where records are not in the order of time.
    pub oldest: Option<u64>,
    /// Creation time of the newest record, in unix milliseconds.
    pub newest: Option<u64>,
    /// What is wrong with header or footer.
    pub defect: Option<String>,
}

/// What a directory holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Version of the format on disk.
    pub format_version: u32,
    /// The directory's id, in hexadecimal.
    pub directory_id: String,
    /// When the directory was made, in unix milliseconds.
    pub created: u64,
    /// Records up to this sequence were cleared; 0: none.
    pub cleared_sequence: u64,
    /// Length of a segment file, in bytes.
    pub segment_len_bytes: u64,
    /// Entries that the index would hold if the cache was opened now.
    pub entries: u64,
    /// Of these, large values that have all their chunks.
    pub objects: u64,
    /// Large values that are the newest of their keys and lack chunks: a get of one is a miss.
    pub objects_not_whole: u64,
    /// Chunks of whole objects.
    pub chunks_live: u64,
    /// Chunks of no whole object that is served. Copies of one chunk count as one.
    pub chunks_dead: u64,
    /// Bytes of their records, and of the chunks of whole objects.
    pub live_bytes: u64,
    /// All other bytes of segment files, those of free files included; foreign files are not counted.
    pub dead_bytes: u64,
    /// Of the dead bytes, those of free files.
    pub free_bytes: u64,
    /// Records, served or not, pads not counted.
    pub records: u64,
    /// Damaged places that were met. Of sealed segments only the footers are read: `verify` reads all.
    pub damaged_records: u64,
    /// The segment files, by name.
    pub segments: Vec<SegmentSummary>,
}
