//! `picture`: the segments from the oldest to the newest, each a strip of what it holds.

use std::collections::HashMap;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Result, bail};
use esker::format::namespace::split;
use esker::inspect::{Inspector, SegmentState, SegmentSummary, Summary};

use crate::cli::Picture;
use crate::words::{self, grouped};
use crate::{place, unhex};

mod drawing;
mod page;
pub mod strips;

pub use drawing::draw;
use strips::Strip;

/// Draws the directory into a file that is new.
///
/// # Errors
/// A file of another kind; one that is there; the directory is none.
pub async fn run(out: &mut impl Write, inspector: &Inspector, args: &Picture, now: u64) -> Result<ExitCode> {
    let kind = args.output.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let is_page = match kind {
        "svg" => false,
        "html" => true,
        _ => bail!("a picture is a file named *.svg or *.html; browsers show both, and print an svg as png or pdf"),
    };
    place::stay_outside(&args.dir, &args.output)?;
    let summary = inspector.summary().await?;
    let names = group_names(inspector, &summary).await?;
    let strips = strips::all(&summary.segments, &names, now);
    let title = format!("What is in {}", words::path(&args.dir));
    let totals = totals(&summary, &strips);
    let drawing = draw(&title, &totals, &strips, summary.segment_len_bytes);
    let text = if is_page { page::page(&title, &drawing, &strips) } else { drawing };
    let mut file = place::new_file(&args.output)?;
    file.write_all(text.as_bytes())?;
    file.flush()?;
    writeln!(out, "{}", totals.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Names of the namespaces that have segments of their own: a segment knows a digest only, and its entries say the rest.
async fn group_names(inspector: &Inspector, summary: &Summary) -> Result<HashMap<String, String>> {
    let mut names = HashMap::new();
    let groups: std::collections::HashSet<_> = summary.segments.iter().filter_map(|s| s.group.clone()).collect();
    if groups.is_empty() {
        return Ok(names);
    }
    let contents = inspector.contents().await?;
    let mut entries = contents.entries();
    while names.len() < groups.len()
        && let Some(entry) = entries.next().await?
    {
        let Some(key) = entry.key_hex.as_deref().and_then(unhex) else { continue };
        if let Some(split) = split(&key) {
            let group = contents.group_of(split.name);
            if groups.contains(&group) {
                names.insert(group, split.name.to_owned());
            }
        }
    }
    Ok(names)
}

/// The directory in a few sentences.
fn totals(summary: &Summary, strips: &[Strip]) -> Vec<String> {
    let sum = |of: fn(&Strip) -> u64| strips.iter().map(of).sum::<u64>();
    let all = sum(Strip::bytes);
    let part = |bytes: u64, what: &str| format!("{} {what} ({})", words::size(bytes), words::percent(bytes, all));
    let parts = [
        part(sum(|s| s.live), "live"),
        part(sum(|s| s.expired), "expired"),
        part(sum(|s| s.dead), "dead"),
        part(sum(|s| s.damaged), "damaged"),
    ];
    let of = |state| summary.segments.iter().filter(|s: &&SegmentSummary| s.state == state).count() as u64;
    let mut lines = vec![
        format!(
            "{} entries in {} used segments, {} in all",
            grouped(summary.entries),
            grouped(strips.len() as u64),
            words::size(all)
        ),
        parts.join(", "),
    ];
    let free = of(SegmentState::Free);
    let mut rest = format!("not drawn: {} free segment files ({})", grouped(free), words::size(summary.free_bytes));
    if of(SegmentState::Foreign) > 0 {
        rest.push_str(&format!(", {} of another directory", grouped(of(SegmentState::Foreign))));
    }
    lines.push(rest);
    if summary.damaged_records > 0 {
        let places = grouped(summary.damaged_records);
        lines.push(format!("{places} damaged places were met: `segdump verify` reads everything, and lists them"));
    }
    lines
}
