//! One segment file, every byte of it.

use std::collections::HashMap;
use std::io;

use super::{Identified, Identity, VerifyReport, read_head};
use crate::api::inspect::examine::header_of;
use crate::backend::{DiskFile, exact};
use crate::format::bytes::leading_zero_units;
use crate::format::footer::{self, FooterDefect, Row, TRAILER_BYTES};
use crate::format::manifest::Manifest;
use crate::format::object::{ChunkKey, ObjectHead};
use crate::format::segment_header::{FREE_STREAM, SEGMENT_HEADER_BYTES, SegmentHeader, TWIN_AT};
use crate::segment::scan::{self, Footer, Scanned, Scope, Seen};
use crate::types::{BLOCK_BYTES, RecordKind};

/// What was found in a file.
pub struct Checked {
    /// Its header.
    pub head: Identified,
    /// Whether it has a whole footer: then nothing writes to it.
    pub is_sealed: bool,
    /// Findings.
    pub report: VerifyReport,
    /// The end of the file, if it is the footer of another segment.
    pub strange_footer: Option<Vec<u8>>,
}

/// Where a file and its findings meet.
struct Check<'a> {
    file: &'a dyn DiskFile,
    name: &'a str,
    manifest: Option<&'a Manifest>,
    len_bytes: u64,
    segment_len_bytes: u64,
    report: VerifyReport,
    /// Which chunks stand at damaged places.
    damaged_chunks: HashMap<u64, ChunkKey>,
}

/// Checks a file.
///
/// # Errors
/// The disk's.
pub async fn check(file: &dyn DiskFile, name: &str, manifest: Option<&Manifest>) -> io::Result<Checked> {
    let len_bytes = file.len().await?;
    let head = read_head(file, manifest).await?;
    let own_len = header_of(&head).map_or(len_bytes, |h| h.segment_len_bytes);
    let segment_len_bytes = manifest.map_or(own_len, |m| m.segment_len_bytes);
    let report = VerifyReport::default();
    let damaged_chunks = HashMap::new();
    let mut this = Check { file, name, manifest, len_bytes, segment_len_bytes, report, damaged_chunks };
    let (is_sealed, strange_footer) = match head.identity {
        Identity::Blank => (this.blank().await?, None),
        Identity::Lost(defect) => {
            this.damage(0, format!("{defect}; the records of the segment are lost"));
            (false, None)
        }
        Identity::Foreign(_) => {
            this.report.note(name, "belongs to another directory; the cache leaves it alone");
            (true, None)
        }
        Identity::Ours(header) => {
            this.heads(&head).await?;
            if header.stream == FREE_STREAM {
                (true, None)
            } else {
                if header.segment_len_bytes != segment_len_bytes {
                    let says = header.segment_len_bytes;
                    this.damage(24, format!("the header says {says} bytes, the manifest {segment_len_bytes}"));
                }
                this.used(&header).await?
            }
        }
    };
    Ok(Checked { head, is_sealed, report: this.report, strange_footer })
}

impl Check<'_> {
    fn damage(&mut self, offset: u64, what: impl Into<String>) {
        self.report.damage(self.name, offset, what);
    }

    /// A file that was never written holds zeros. Its header is written last of what goes ahead of the seal before it, so
    /// data alone are a segment that never began.
    async fn blank(&mut self) -> io::Result<bool> {
        Ok(self.first_byte(0, self.len_bytes).await?.is_none())
    }

    /// Length of the file, the header, its twin, and zeros between them.
    async fn heads(&mut self, head: &Identified) -> io::Result<()> {
        let (len, want) = (self.len_bytes, self.segment_len_bytes);
        if len < want {
            self.damage(len, format!("the file ends here; a segment has {want} bytes"));
        } else if len > want {
            self.damage(want, format!("{} bytes too many; a segment has {want}", len - want));
        }
        if let Some(fault) = head.fault {
            self.damage(0, format!("{fault}; it is known from another place, and no record is touched"));
        }
        if let Some(offset) = self.first_byte(SEGMENT_HEADER_BYTES as u64, TWIN_AT.min(len)).await? {
            self.damage(offset, "not zero behind the segment header; no record is touched");
        }
        if head.is_twin_wrong {
            self.damage(TWIN_AT, "the second copy of the segment header is another; no record is touched");
        }
        Ok(())
    }

    /// Where the first byte other than zero is.
    async fn first_byte(&mut self, from: u64, until: u64) -> io::Result<Option<u64>> {
        const STEP_BYTES: u64 = 1 << 20;
        let mut at = from;
        while at < until {
            let bytes = self.file.read_at(at, (until - at).min(STEP_BYTES) as usize).await?;
            if bytes.is_empty() {
                break;
            }
            self.report.bytes_read += bytes.len() as u64;
            let zeros = leading_zero_units(&bytes);
            if let Some(i) = bytes[zeros..].iter().position(|&b| b != 0) {
                return Ok(Some(at + (zeros + i) as u64));
            }
            at += bytes.len() as u64;
        }
        Ok(None)
    }

    /// Records and footer. Whether it is sealed, and the end of the file if that is another segment's footer.
    async fn used(&mut self, header: &SegmentHeader) -> io::Result<(bool, Option<Vec<u8>>)> {
        let footer = scan::read_footer(self.file, header.id, self.segment_len_bytes).await?;
        let whole = self.len_bytes.min(self.segment_len_bytes);
        let end = footer.as_ref().map_or(whole, |f| f.trailer.data_end);
        let seed = self.manifest.map_or([0; 16], |m| m.seed);
        // As recovery reads it: what a pad does not vouch for in an unsealed segment is its torn end.
        let is_unsealed = matches!(footer, Err(FooterDefect::Magic | FooterDefect::OtherSegment));
        let scope = Scope { segment: header.id, end, seed: &seed, resync: !is_unsealed };
        let mut scanned = self.walk(scope).await?;
        let rows_at = if is_unsealed { self.lost_trailer(&scanned).await? } else { None };
        if let Some(end) = rows_at {
            // It was sealed, and so complete.
            let trailer = self.segment_len_bytes - TRAILER_BYTES as u64;
            self.damage(
                trailer,
                "the footer's trailer is missing, its rows are there; recovery reads the records instead",
            );
            scanned = self.walk(Scope { end, resync: true, ..scope }).await?;
        }
        let wrong = scanned.damage.iter().filter(|d| has_row(&scanned, d.offset)).count();
        self.report.records += (scanned.rows.len() - wrong) as u64;
        for damage in scanned.damage.iter().filter(|d| footer.is_ok() || d.offset < scanned.data_end) {
            let chunk = self.damaged_chunks.get(&damage.offset);
            let whose = chunk.map(|chunk| format!("; chunk {} of object {}", chunk.index, chunk.object.0));
            self.damage(damage.offset, format!("record: {}{}", damage.defect, whose.unwrap_or_default()));
        }
        match footer {
            Ok(footer) => {
                self.report.bytes_read += footer.bytes_read;
                self.compare(&scanned, &footer);
                Ok((true, None))
            }
            Err(defect) if is_unsealed => {
                if rows_at.is_none() {
                    self.note_end(&scanned);
                }
                let is_strange = defect == FooterDefect::OtherSegment;
                Ok((false, if is_strange { Some(self.last_bytes().await?) } else { None }))
            }
            // The length of the file has been reported.
            Err(FooterDefect::Truncated) => Ok((false, None)),
            Err(defect) => {
                self.footer_damage(header, defect).await?;
                Ok((false, None))
            }
        }
    }

    /// Walks the records, and looks into those of large values.
    async fn walk(&mut self, scope: Scope<'_>) -> io::Result<Scanned> {
        let mut objects = Vec::new();
        let damaged_chunks = &mut self.damaged_chunks;
        let mut look = |seen: Seen<'_>| {
            if let Seen::Record { offset, header, key, defect: Some(_), .. } = seen
                && header.kind == RecordKind::Chunk
            {
                damaged_chunks.extend(ChunkKey::decode(key).map(|chunk| (offset, chunk)));
            }
            objects.extend(object_damage(seen));
        };
        let scanned = scan::walk(self.file, scope, &mut look).await?;
        self.report.bytes_read += scanned.bytes_read;
        for (offset, what) in objects.into_iter().filter(|(offset, _)| *offset < scanned.data_end) {
            self.damage(offset, what);
        }
        Ok(scanned)
    }

    /// Every row has its record, and every record its row.
    fn compare(&mut self, scanned: &Scanned, footer: &Footer) {
        let mut found: HashMap<u32, &Row> = scanned.rows.iter().map(|row| (row.offset_units, row)).collect();
        let is_damaged = |row: &Row| scanned.damage.binary_search_by_key(&row.offset(), |d| d.offset).is_ok();
        for row in &footer.rows().collect::<Vec<_>>() {
            match found.remove(&row.offset_units) {
                None if !is_damaged(row) => {
                    self.damage(row.offset(), "the footer has a record here, the segment does not");
                }
                Some(record) if !self.agrees(row, record) && !is_damaged(row) => {
                    self.damage(row.offset(), "the footer's row says something else than the record");
                }
                _ => {}
            }
        }
        for row in found.values() {
            self.damage(row.offset(), "the footer has no row for the record here; it is not served");
        }
        if scanned.damage.is_empty() && scanned.newest > footer.trailer.newest {
            let at = self.segment_len_bytes - TRAILER_BYTES as u64;
            self.damage(at, "the footer was made before its newest record");
        }
    }

    fn agrees(&self, row: &Row, record: &Row) -> bool {
        // Without the directory's seed digests cannot be made.
        let digest = if self.manifest.is_some() { record.digest } else { row.digest };
        *row == Row { digest, ..*record }
    }

    fn note_end(&mut self, scanned: &Scanned) {
        let end = format!("not sealed; its records end at {}", scanned.data_end);
        let text = match scanned.torn_bytes {
            0 => end,
            torn => format!("{end}, and {torn} bytes of a torn end follow, which may never have been on the device"),
        };
        self.report.note(self.name, text);
    }

    /// Where the footer's rows are in a segment that was sealed and lost its trailer, which looks unsealed. Rows begin
    /// with a block, and no other life of the file had the first one.
    async fn lost_trailer(&mut self, scanned: &Scanned) -> io::Result<Option<u64>> {
        const STEP_BYTES: u64 = 1 << 20;
        let Some(first) = scanned.rows.first().map(Row::encode) else { return Ok(None) };
        let mut at = (scanned.data_end + scanned.torn_bytes).next_multiple_of(BLOCK_BYTES);
        let end = self.len_bytes.min(self.segment_len_bytes);
        while at < end {
            let bytes = exact::read_up_to(self.file, at, (end - at).min(STEP_BYTES) as usize).await?;
            self.report.bytes_read += bytes.len() as u64;
            if let Some(i) = bytes.chunks(BLOCK_BYTES as usize).position(|block| block.starts_with(&first)) {
                return Ok(Some(at + i as u64 * BLOCK_BYTES));
            }
            at += STEP_BYTES;
        }
        Ok(None)
    }

    async fn last_bytes(&self) -> io::Result<Vec<u8>> {
        let at = self.segment_len_bytes - TRAILER_BYTES as u64;
        exact::read_exact_at(self.file, at, TRAILER_BYTES).await
    }

    async fn footer_damage(&mut self, header: &SegmentHeader, defect: FooterDefect) -> io::Result<()> {
        let last = self.last_bytes().await?;
        let at = match footer::decode_trailer(&last, header.id, self.segment_len_bytes) {
            Ok(trailer) => trailer.rows_offset,
            Err(_) => self.segment_len_bytes - TRAILER_BYTES as u64,
        };
        self.damage(at, format!("{defect}; recovery reads the records instead"));
        Ok(())
    }
}

/// Whether the record at this offset has a readable header. Rows and damage are in the order of the file.
fn has_row(scanned: &Scanned, offset: u64) -> bool {
    scanned.rows.binary_search_by_key(&offset, Row::offset).is_ok()
}

/// What is wrong with an undamaged record of a large value.
fn object_damage(seen: Seen<'_>) -> Option<(u64, &'static str)> {
    let Seen::Record { offset, header, key, value, defect: None, .. } = seen else { return None };
    match header.kind {
        RecordKind::Chunk if ChunkKey::decode(key).is_none() => Some((offset, "chunk: its key names no chunk")),
        RecordKind::Head if ObjectHead::decode(value).is_none() => Some((offset, "head: its value is no object's")),
        _ => None,
    }
}
