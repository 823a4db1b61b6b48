//! The reports for people on entries and keys.

use std::io::{self, Write};

use esker::inspect::{ChunkFault, EntryInfo, Explanation, ObjectInfo, Verdict, Version, escape};

use crate::words::{self, grouped, time};

/// The head of the table of entries. Its columns have fixed widths, since its lines come as they are read.
pub fn entries_head(out: &mut impl Write) -> io::Result<()> {
    row(out, ["value", "chunks", "meta", "created", "expires", "state", "file", "offset", "key"])
}

/// A line for an entry.
pub fn entry(out: &mut impl Write, entry: &EntryInfo) -> io::Result<()> {
    let chunks = |object: &ObjectInfo| match object.missing {
        0 => grouped(u64::from(object.chunks)),
        missing => format!("{} of {}", grouped(u64::from(object.chunks) - missing), grouped(u64::from(object.chunks))),
    };
    let key = words::key(entry.namespace.as_deref(), entry.key.as_deref(), entry.key_len);
    let defect = entry.defect.as_ref().map(|defect| format!("  <- DAMAGED: {defect}")).unwrap_or_default();
    let cells = [
        grouped(entry.value_len),
        entry.object.as_ref().map_or("-".into(), chunks),
        grouped(u64::from(entry.metadata_len)),
        time(entry.created),
        time(entry.expires),
        entry.state.name().into(),
        entry.file.clone(),
        grouped(entry.offset),
        key + &defect,
    ];
    row(out, cells.each_ref().map(String::as_str))
}

fn row(
    out: &mut impl Write,
    [value, chunks, meta, made, expires, state, file, offset, key]: [&str; 9],
) -> io::Result<()> {
    let line = format!(
        "{value:>15}  {chunks:>9}  {meta:>6}  {made:<19}  {expires:<19}  {state:<9}  {file:<12}  {offset:>13}  {key}"
    );
    writeln!(out, "{}", line.trim_end())
}

/// Why a value was written in part only.
pub fn cut_short(key: &[u8], fault: &ChunkFault) -> String {
    format!("the value of `{}` ends here, and is not whole: {}", words::name(key), chunk_fault(fault))
}

/// Which chunk it is, and what is wrong with it.
pub fn chunk_fault(fault: &ChunkFault) -> String {
    format!("chunk {} ({} at {}): {}", grouped(fault.index), fault.file, fault.offset, fault.what)
}

/// The verdict, then every version, the newest first.
pub fn explanation(out: &mut impl Write, key: &[u8], explanation: &Explanation) -> io::Result<()> {
    let finding = &explanation.finding;
    let verdict = match finding.verdict {
        Verdict::Served => format!("`{}` is served: {}", words::name(key), words::served(finding)),
        _ => words::not_served(key, finding),
    };
    writeln!(out, "{}", escape(verdict.as_bytes()))?;
    for version in &explanation.versions {
        self::version(out, version)?;
    }
    match explanation.versions_left_off {
        0 => Ok(()),
        more => writeln!(out, "and {} older records", grouped(more)),
    }
}

fn version(out: &mut impl Write, version: &Version) -> io::Result<()> {
    let standing = match (version.is_newest, version.is_cleared) {
        (true, _) => "the newest",
        (_, true) => "cleared",
        _ => "replaced",
    };
    let whose =
        if version.is_this_key || version.kind == "marker" { "" } else { ", of another key with the same digest" };
    writeln!(
        out,
        "\n  {} in {} at {}, sequence {}: {standing}{whose}",
        version.kind,
        version.file,
        grouped(version.offset),
        grouped(version.sequence),
    )?;
    let expires = version.expires.map(|_| format!(", expires {}", time(version.expires))).unwrap_or_default();
    writeln!(out, "    {} bytes, set {}{expires}", grouped(version.value_len), time(version.created))?;
    if let Some(defect) = &version.defect {
        writeln!(out, "    DAMAGED: {defect}")?;
    }
    let Some(object) = &version.object else { return Ok(()) };
    let (id, chunks) = (grouped(object.id), grouped(u64::from(object.chunks)));
    let state = match (object.missing, version.damaged_chunks) {
        (0, 0) => "whole".to_owned(),
        (0, damaged) => format!("{} are DAMAGED", grouped(damaged)),
        (missing, 0) => format!("{} are not on disk", grouped(missing)),
        (missing, damaged) => format!("{} are not on disk, {} are DAMAGED", grouped(missing), grouped(damaged)),
    };
    writeln!(out, "    object {id} in {chunks} chunks of {} bytes: {state}", grouped(object.chunk_len_bytes.into()))?;
    if object.missing > 0 {
        writeln!(out, "    not on disk: {}", object.missing_text())?;
    }
    for fault in &version.faults {
        writeln!(out, "    {}", chunk_fault(fault))?;
    }
    let more = version.damaged_chunks - version.faults.len() as u64;
    if more > 0 { writeln!(out, "    and {} more", grouped(more)) } else { Ok(()) }
}
