//! `export`: every served entry, out of the directory and into files.
//!
//! Values pass through in pieces: a chunk, or a record, is in memory at a time.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use esker::format::namespace::split;
use esker::inspect::{Contents, EntryInfo, EntryState, Finding, Inspector, Piece, Verdict};
use serde::Serialize;

use crate::cli::{Export, Format};
use crate::words::{self, grouped};
use crate::{complain, key, place, progress, unhex};

mod files;
mod item;
mod json_lines;
pub mod name;
mod tape;

use item::Item;

/// Where entries go.
trait Sink {
    /// Whether a value must be known to be whole before it begins.
    fn wants_whole(&self) -> bool {
        false
    }
    /// An entry begins.
    fn begin(&mut self, item: &Item) -> io::Result<()>;
    /// The next bytes of its value.
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// It ends; not whole, if there is a reason why.
    fn end(&mut self, item: &Item, fault: Option<&str>) -> io::Result<()>;
    /// All is written.
    fn close(&mut self) -> io::Result<()>;
}

/// What was done.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Entries written.
    pub exported: u64,
    /// Bytes of their values.
    pub value_bytes: u64,
    /// Entries that expired.
    pub expired: u64,
    /// Entries that a purge covers.
    pub purged: u64,
    /// Large values that lack chunks, which is no damage.
    pub not_whole: u64,
    /// Entries that could not be read.
    pub unreadable: u64,
    /// Damaged places in footers and unsealed segments, which may have held more.
    pub damaged_places: u64,
}

/// Exports, and says what was left out.
///
/// # Errors
/// `OUT` is in use; the directory is none; a failed write.
pub async fn run(out: &mut (impl Write + Send), inspector: &Inspector, args: &Export) -> Result<ExitCode> {
    let to_stdout = args.to == Path::new("-");
    if to_stdout && args.json {
        bail!("--json prints to stdout, and so does --to -; name a file for one of them");
    }
    let contents = inspector.contents().await?;
    let report = if to_stdout {
        let mut sink: Box<dyn Sink + Send + '_> = match args.format {
            Format::Dir => bail!("a directory cannot go to stdout; name one with --to, or take --format tar or jsonl"),
            Format::Tar => Box::new(tape::Tape::new(&mut *out)),
            Format::Jsonl => Box::new(json_lines::JsonLines::new(&mut *out)),
        };
        export(&contents, inspector, args, &mut *sink).await?
    } else {
        place::stay_outside(&args.dir, &args.to)?;
        let mut sink: Box<dyn Sink + Send> = match args.format {
            Format::Dir => Box::new(files::Files::new(&args.to)?),
            Format::Tar => Box::new(tape::Tape::new(place::new_file(&args.to)?)),
            Format::Jsonl => Box::new(json_lines::JsonLines::new(place::new_file(&args.to)?)),
        };
        export(&contents, inspector, args, &mut *sink).await?
    };
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else if to_stdout {
        complain(&report.text());
    } else {
        writeln!(out, "{}", report.text())?;
    }
    if report.damaged_places > 0 {
        let places = grouped(report.damaged_places);
        complain(&format!("{places} damaged places may have held more entries; `segdump verify` lists them"));
    }
    let is_clean = report.unreadable + report.damaged_places == 0;
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn export(
    contents: &Contents,
    inspector: &Inspector,
    args: &Export,
    sink: &mut (dyn Sink + Send),
) -> Result<Report> {
    let mut report = Report { damaged_places: contents.damaged_places(), ..Report::default() };
    let bar = progress::bar("entries", contents.most_entries());
    let mut entries = contents.entries();
    while let Some(entry) = entries.next().await? {
        bar.inc(1);
        let disk_key = entry.key_hex.as_deref().and_then(unhex);
        if disk_key.as_deref().is_some_and(|key| !is_wanted(key, args)) {
            continue;
        }
        match (entry.state, &disk_key) {
            (EntryState::Expired, _) => report.expired += 1,
            (EntryState::Purged, _) => report.purged += 1,
            (EntryState::NotWhole, _) => report.not_whole += 1,
            (EntryState::Served, Some(key)) => one(contents, inspector, key, sink, &mut report).await?,
            (EntryState::Damaged | EntryState::Served, _) => {
                report.unreadable += 1;
                complain(&unread(&entry));
            }
        }
    }
    sink.close()?;
    bar.finish_and_clear();
    Ok(report)
}

fn is_wanted(disk_key: &[u8], args: &Export) -> bool {
    let (namespace, key) = split(disk_key).map_or((None, disk_key), |split| (Some(split.name), split.key));
    args.namespace.as_deref().is_none_or(|wanted| namespace == Some(wanted))
        && args.prefix.as_deref().is_none_or(|prefix| key.starts_with(prefix.as_bytes()))
}

fn unread(entry: &EntryInfo) -> String {
    let defect = entry.defect.as_deref().unwrap_or("its key cannot be read");
    format!("the record in {} at {} is not exported: {defect}", entry.file, entry.offset)
}

/// Writes one entry. What cannot be read is named; what cannot be written is an error.
async fn one(
    contents: &Contents,
    inspector: &Inspector,
    disk_key: &[u8],
    sink: &mut (dyn Sink + Send),
    report: &mut Report,
) -> Result<()> {
    let finding = match contents.get(disk_key).await {
        Ok(finding) => finding,
        Err(e) => {
            report.unreadable += 1;
            complain(&format!("`{}` is not exported: {e}", words::name(disk_key)));
            return Ok(());
        }
    };
    match finding.verdict {
        Verdict::Served => {}
        Verdict::Expired => {
            report.expired += 1;
            return Ok(());
        }
        _ => {
            report.unreadable += 1;
            complain(&words::not_served(disk_key, &finding));
            return Ok(());
        }
    }
    let mut fault = None;
    if sink.wants_whole() && finding.object.is_some() {
        fault = copy(inspector, &finding, &mut |_| Ok(())).await?;
    }
    if fault.is_none() {
        let item = Item::new(disk_key, &finding);
        sink.begin(&item)?;
        fault = copy(inspector, &finding, &mut |bytes| sink.bytes(bytes)).await?;
        sink.end(&item, fault.as_deref())?;
    }
    match fault {
        Some(fault) => {
            report.unreadable += 1;
            complain(&format!("`{}` is not exported whole: {fault}", words::name(disk_key)));
        }
        None => {
            report.exported += 1;
            report.value_bytes += finding.len_bytes();
        }
    }
    Ok(())
}

/// Hands on a value as it is read; why it ends too early, if it does.
async fn copy(
    inspector: &Inspector,
    finding: &Finding,
    to: &mut (dyn FnMut(&[u8]) -> io::Result<()> + Send),
) -> Result<Option<String>> {
    let mut value = inspector.value(finding);
    loop {
        match value.next().await {
            Ok(None) => return Ok(None),
            Ok(Some(Piece::Bytes(bytes))) => to(&bytes)?,
            Ok(Some(Piece::Fault(fault))) => return Ok(Some(key::chunk_fault(&fault))),
            Err(e) => return Ok(Some(e.to_string())),
        }
    }
}

impl Report {
    fn text(&self) -> String {
        let mut text =
            format!("exported {} entries, {} of values", grouped(self.exported), words::size(self.value_bytes));
        let left_out = [
            (self.expired, "expired"),
            (self.purged, "purged"),
            (self.not_whole, "lack chunks"),
            (self.unreadable, "COULD NOT BE READ"),
        ];
        for (count, why) in left_out.into_iter().filter(|(count, _)| *count > 0) {
            text.push_str(&format!("; {} {why}", grouped(count)));
        }
        text
    }
}
