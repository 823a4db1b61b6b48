//! The reports for people.

use std::io::{self, Write};
use std::path::Path;

use esker::inspect::{
    Finding, Listing, PurgedBy, RecordInfo, SegmentState, SegmentSummary, Summary, Verdict, VerifyReport, escape,
};

use esker::format::namespace;

use crate::table::{self, Align};

/// Longest key that a table shows whole, in characters.
const KEY_CHARS: usize = 64;

/// The directory in a few lines, then its segments by state.
pub fn summary(out: &mut impl Write, dir: &Path, summary: &Summary) -> io::Result<()> {
    let total = summary.live_bytes + summary.dead_bytes;
    writeln!(out, "{}", escape(dir.as_os_str().as_encoded_bytes()))?;
    let mut lines = vec![
        ("format version", summary.format_version.to_string()),
        ("directory id", summary.directory_id.clone()),
        ("created", time(Some(summary.created))),
        ("segment length", size(summary.segment_len_bytes)),
        ("entries", grouped(summary.entries)),
        ("records", grouped(summary.records)),
        ("objects", objects(summary.objects, summary.objects_not_whole)),
        ("chunks", format!("{} live, {} dead", grouped(summary.chunks_live), grouped(summary.chunks_dead))),
        ("live", format!("{} ({})", size(summary.live_bytes), percent(summary.live_bytes, total))),
        ("dead", format!("{} ({})", size(summary.dead_bytes), percent(summary.dead_bytes, total))),
        ("  of it free", size(summary.free_bytes)),
        ("damaged places", grouped(summary.damaged_records)),
    ];
    if summary.cleared_sequence > 0 {
        lines.push(("cleared up to", format!("sequence {}", grouped(summary.cleared_sequence))));
    }
    for (name, value) in lines {
        writeln!(out, "  {name:<16}{value}")?;
    }
    writeln!(out)?;
    let states = [
        SegmentState::Sealed,
        SegmentState::Open,
        SegmentState::Free,
        SegmentState::Damaged,
        SegmentState::Foreign,
        SegmentState::Changing,
    ];
    let mut rows = Vec::new();
    for state in states {
        let of: Vec<&SegmentSummary> = summary.segments.iter().filter(|s| s.state == state).collect();
        if of.is_empty() {
            continue;
        }
        let sum = |field: fn(&SegmentSummary) -> u64| of.iter().map(|s| field(s)).sum::<u64>();
        let numbers = [of.len() as u64, sum(|s| s.records), sum(|s| s.live_records)].map(grouped);
        let [files, records, live] = numbers;
        let (live_bytes, len) = (sum(|s| s.live_bytes), sum(|s| s.len_bytes));
        rows.push([state.name().to_owned(), files, records, live, size(live_bytes), percent(live_bytes, len)]);
    }
    let heads = ["segments", "files", "records", "live records", "live", "of file"];
    let mut aligned = heads.map(|head| (head, Align::Right));
    aligned[0].1 = Align::Left;
    table::write(out, aligned, &rows)
}

fn objects(whole: u64, not_whole: u64) -> String {
    format!("{} whole, {} not", grouped(whole), grouped(not_whole))
}

/// A line for each segment.
pub fn segments(out: &mut impl Write, segments: &[SegmentSummary]) -> io::Result<()> {
    let rows: Vec<_> = segments
        .iter()
        .map(|s| {
            [
                s.file.clone(),
                s.id.map_or("-".into(), grouped),
                s.state.name().into(),
                s.stream.unwrap_or("-").into(),
                grouped(s.records),
                grouped(s.live_records),
                grouped(s.live_bytes),
                grouped(s.dead_bytes),
                percent(s.live_bytes, s.len_bytes),
                time(s.oldest),
                time(s.newest),
                match (&s.defect, s.damaged_records) {
                    (Some(defect), _) => defect.clone(),
                    (None, 0) => String::new(),
                    (None, n) => format!("{} damaged places", grouped(n)),
                },
            ]
        })
        .collect();
    let (l, r) = (Align::Left, Align::Right);
    let heads = [
        ("file", l),
        ("id", r),
        ("state", l),
        ("stream", l),
        ("records", r),
        ("live", r),
        ("live bytes", r),
        ("dead bytes", r),
        ("live %", r),
        ("oldest", l),
        ("newest", l),
        ("defect", l),
    ];
    table::write(out, heads, &rows)
}

/// The head of the table of records. Its columns have fixed widths, since its lines come as they are read.
pub fn records_head(out: &mut impl Write) -> io::Result<()> {
    row(out, ["offset", "kind", "sequence", "bytes", "meta", "value", "created", "expires", "key", ""])
}

/// A line for a record.
pub fn record(out: &mut impl Write, record: &RecordInfo) -> io::Result<()> {
    let count = |n: u64| if record.key.is_some() { grouped(n) } else { "-".into() };
    let key = key(record.namespace.as_deref(), record.key.as_deref(), record.key_len);
    let defect = record.defect.as_ref().map(|d| format!("<- DAMAGED: {d}")).unwrap_or_default();
    let id = record.object_id.map_or_else(String::new, grouped);
    // The key of a chunk is its place in its object; that of a head is the user's.
    let key = match (record.chunk_index, record.object_chunks) {
        (Some(index), _) => format!("chunk {} of object {id}", grouped(index)),
        (_, Some(chunks)) => format!("{key}  (object {id}, {} chunks)", grouped(u64::from(chunks))),
        _ => key,
    };
    let cells = [
        grouped(record.offset),
        record.kind.to_owned(),
        record.sequence.map_or("-".into(), grouped),
        grouped(record.len_bytes),
        count(u64::from(record.metadata_len)),
        count(record.object_len.unwrap_or(u64::from(record.value_len))),
        time(record.created),
        time(record.expires),
        key,
        defect,
    ];
    row(out, cells.each_ref().map(String::as_str))
}

fn row(
    out: &mut impl Write,
    [offset, kind, sequence, bytes, meta, value, made, expires, key, defect]: [&str; 10],
) -> io::Result<()> {
    let line = format!(
        "{offset:>13}  {kind:<6}  {sequence:>12}  {bytes:>11}  {meta:>6}  {value:>11}  {made:<19}  {expires:<19}  {key}  {defect}"
    );
    writeln!(out, "{}", line.trim_end())
}

/// What was listed.
pub fn listing(out: &mut impl Write, path: &Path, listing: &Listing) -> io::Result<()> {
    let id = listing.id.map_or("unknown segment".into(), |id| format!("segment {}", grouped(id)));
    let stream = listing.stream.map(|s| format!(", stream {s}")).unwrap_or_default();
    writeln!(
        out,
        "\n{}: {id}, {}{stream}, begun {}; {} lines, records end at {} of {} bytes",
        escape(path.as_os_str().as_encoded_bytes()),
        listing.state.name(),
        time(listing.created),
        grouped(listing.records),
        grouped(listing.data_end),
        grouped(listing.len_bytes),
    )?;
    match (&listing.defect, listing.id) {
        (Some(defect), None) => {
            writeln!(out, "{defect}: without it no record can be told from one of an earlier life of the file")
        }
        (Some(defect), Some(_)) => writeln!(out, "{defect}: the records were found by reading them"),
        (None, _) => Ok(()),
    }
}

/// Why a key is not served.
pub fn not_served(key: &[u8], finding: &Finding) -> String {
    let why = match finding.verdict {
        Verdict::Served => "it is served",
        Verdict::Unknown => "no record of it is on disk",
        Verdict::Deleted => "it was deleted",
        Verdict::Marked => "it was evicted or lost, and a marker keeps older copies dead",
        Verdict::Expired => "it expired",
        Verdict::Purged => purged_by(finding.purged_by),
        Verdict::Cleared => "everything of it was written before the cache was cleared",
        Verdict::Damaged => "its newest record is damaged, and an older one is not served instead",
        Verdict::Doubtful => "a damaged place may have held a newer record of it",
        Verdict::Collision => "a newer record of another key has the same digest",
        Verdict::NotWhole => &not_whole(finding),
        Verdict::Changing => "segments changed while they were read; ask again",
    };
    format!("`{}` is not served: {why}{}", name(key), place(finding))
}

fn purged_by(what: Option<PurgedBy>) -> &'static str {
    match what {
        Some(PurgedBy::Prefix) => "a purge by prefix covers it",
        Some(PurgedBy::Tag) => "a purge by tag covers it",
        Some(PurgedBy::Age) => "a purge by age covers it",
        Some(PurgedBy::Place) => "it is older than a purge that is damaged, and may have been covered by it",
        None => "a purge covers it",
    }
}

/// A key as a sentence has it, not escaped.
pub(crate) fn name(key: &[u8]) -> String {
    let (whose, key) = match namespace::split(key) {
        Some(split) => (format!("[{}] ", split.name), split.key),
        None => (String::new(), key),
    };
    let key = String::from_utf8_lossy(key);
    let shown: String = key.chars().take(KEY_CHARS).collect();
    let dots = if shown.len() < key.len() { "..." } else { "" };
    whose + &shown + dots
}

/// Where a value was found.
pub fn served(finding: &Finding) -> String {
    let metadata = finding.metadata.len();
    let chunks = finding.object.as_ref().map(|object| format!(" in {} chunks", object.chunks)).unwrap_or_default();
    format!("{} bytes{chunks}, {metadata} bytes of metadata{}", finding.len_bytes(), place(finding))
}

fn not_whole(finding: &Finding) -> String {
    let Some(object) = &finding.object else { return "chunks of it are not on disk".into() };
    let (missing, chunks) = (grouped(object.missing), grouped(u64::from(object.chunks)));
    format!("{missing} of its {chunks} chunks are not on disk ({})", object.missing_text())
}

fn place(finding: &Finding) -> String {
    let mut text = String::new();
    if let (Some(file), Some(offset)) = (&finding.file, finding.offset) {
        text.push_str(&format!(" ({file} at {offset}"));
        if let Some(sequence) = finding.sequence {
            text.push_str(&format!(", sequence {sequence}"));
        }
        if finding.created.is_some() {
            text.push_str(&format!(", set {}", time(finding.created)));
        }
        if finding.expires.is_some() {
            text.push_str(&format!(", expires {}", time(finding.expires)));
        }
        if let Some(defect) = &finding.defect {
            text.push_str(&format!(", {defect}"));
        }
        text.push(')');
    }
    text
}

/// Damage first, then what else there is to know.
pub fn verify(out: &mut impl Write, report: &VerifyReport) -> io::Result<()> {
    let rows: Vec<_> = report.damage.iter().map(|d| [d.file.clone(), grouped(d.offset), d.what.clone()]).collect();
    if !rows.is_empty() {
        table::write(out, [("file", Align::Left), ("offset", Align::Right), ("damage", Align::Left)], &rows)?;
        writeln!(out)?;
    }
    let notes: Vec<_> = report.notes.iter().map(|n| [n.file.clone(), n.text.clone()]).collect();
    if !notes.is_empty() {
        table::write(out, [("file", Align::Left), ("note, no damage", Align::Left)], &notes)?;
        writeln!(out)?;
    }
    let read =
        format!("{} segments, {} records, {} read", report.segments, grouped(report.records), size(report.bytes_read));
    if report.objects + report.objects_not_whole + report.chunks_dead > 0 {
        let (objects, dead) = (objects(report.objects, report.objects_not_whole), grouped(report.chunks_dead));
        writeln!(out, "objects: {objects}; {dead} dead chunks")?;
    }
    match report.damage.len() {
        0 => writeln!(out, "clean: {read}"),
        1 => writeln!(out, "DAMAGED in 1 place: {read}"),
        n => writeln!(out, "DAMAGED in {} places: {read}", grouped(n as u64)),
    }
}

/// A key as tables show it: the namespace in brackets, if it is in one.
pub(crate) fn key(namespace: Option<&str>, key: Option<&str>, len_bytes: u32) -> String {
    let whose = namespace.map(|name| format!("[{name}] ")).unwrap_or_default();
    key.map_or("-".into(), |key| whose + &shortened(key, len_bytes))
}

fn shortened(key: &str, len_bytes: u32) -> String {
    if key.chars().count() <= KEY_CHARS {
        return key.to_owned();
    }
    let start: String = key.chars().take(KEY_CHARS).collect();
    format!("{start}... ({} bytes)", grouped(u64::from(len_bytes)))
}

/// A point in time, UTC, to the second; a number of milliseconds where no calendar has it.
pub(crate) fn time(millis: Option<u64>) -> String {
    let Some(millis) = millis else { return "-".into() };
    let at = i64::try_from(millis).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| format!("{millis} ms"), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".into() } else { format!("{:.1} %", part as f64 * 100.0 / whole as f64) }
}

/// Bytes, in the largest unit that leaves no more than four digits before the point.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = "bytes";
    for next in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") }
}

/// Digits in groups of three.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A path, as text.
pub(crate) fn path(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes())
}
