//! `diff`: what two directories serve differently. Keys are looked up one by one, values are compared as they are read.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use esker::inspect::{Contents, EntryInfo, EntryState, Finding, Inspector, Piece, Value, Verdict};
use serde::Serialize;

use crate::cli::Diff;
use crate::lines::Lines;
use crate::words::{self, grouped};
use crate::{complain, progress, unhex};

/// A key that is not the same in both.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// `only_first`, `only_second` or `differs`.
    pub kind: &'static str,
    /// In what it differs: `bytes`, `metadata`, `expires`, `sequence`.
    pub what: Vec<&'static str>,
    /// Its namespace, escaped.
    pub namespace: Option<String>,
    /// Its key, escaped.
    pub key: String,
    /// Its key in hexadecimal, as it stands on disk.
    pub key_hex: String,
    #[serde(skip)]
    key_len: u32,
}

/// How many.
#[derive(Debug, Default, Serialize)]
pub struct Counts {
    /// Keys that both serve alike.
    pub same: u64,
    /// Keys that only the first serves.
    pub only_first: u64,
    /// Keys that only the second serves.
    pub only_second: u64,
    /// Keys that both serve, and not alike.
    pub differs: u64,
    /// Keys that could not be read, and so not compared. A record that does not say its key counts for itself.
    pub unreadable: u64,
}

/// One directory.
struct Side {
    inspector: Inspector,
    contents: Contents,
}

/// What became of a key.
enum Compared {
    Alike,
    Not(&'static str, Vec<&'static str>),
    Unreadable(String),
}

/// Lists the differences as they are found: those of the first directory's keys, then what only the second has.
///
/// # Errors
/// One of the directories is none; the disk's.
pub async fn run(out: &mut (impl Write + Send), [first, second]: [Inspector; 2], args: &Diff) -> Result<ExitCode> {
    let first = Side { contents: first.contents().await?, inspector: first };
    let second = Side { contents: second.contents().await?, inspector: second };
    let mut lines = Lines::new(out, "differences", args.json);
    let mut counts = Counts::default();
    let total = first.contents.most_entries() + second.contents.most_entries();
    let bar = progress::bar("entries", total);
    let mut shown = 0;
    for is_first in [true, false] {
        let mut entries = if is_first { first.contents.entries() } else { second.contents.entries() };
        while let Some(entry) = entries.next().await? {
            bar.inc(1);
            let Some(compared) = compare(&first, &second, is_first, &entry, args).await? else { continue };
            if let Some(difference) = counts.add(compared, entry) {
                shown += 1;
                if shown <= args.limit {
                    lines.add(&difference, |_| Ok(()), line);
                }
            }
        }
    }
    bar.finish_and_clear();
    let is_alike = counts.only_first + counts.only_second + counts.differs + counts.unreadable == 0;
    let counts = Ok::<_, io::Error>(counts);
    lines.end("counts", &counts)?;
    if let (false, Ok(counts)) = (args.json, &counts) {
        summary(out, counts, shown.saturating_sub(args.limit))?;
    }
    Ok(if is_alike { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// None for what is not served, and for what the first pass has compared.
async fn compare(
    first: &Side,
    second: &Side,
    is_first: bool,
    entry: &EntryInfo,
    args: &Diff,
) -> Result<Option<Compared>> {
    let unread = |why: &str| Some(Compared::Unreadable(format!("{} at {}: {why}", entry.file, entry.offset)));
    let key = match (entry.state, entry.key_hex.as_deref().and_then(unhex)) {
        (EntryState::Served, Some(key)) => key,
        (EntryState::Damaged, _) => return Ok(unread(entry.defect.as_deref().unwrap_or("damaged"))),
        _ => return Ok(None),
    };
    let (here, there) = if is_first { (first, second) } else { (second, first) };
    let other = there.contents.get(&key).await?;
    if !is_first && matches!(other.verdict, Verdict::Served | Verdict::Damaged) {
        // The first pass came upon it.
        return Ok(None);
    }
    let own = here.contents.get(&key).await?;
    if own.verdict != Verdict::Served {
        return Ok(Some(Compared::Unreadable(words::not_served(&key, &own))));
    }
    match (other.verdict, is_first) {
        (Verdict::Served, _) => {}
        (Verdict::Damaged | Verdict::Doubtful | Verdict::Changing, _) => {
            return Ok(Some(Compared::Unreadable(words::not_served(&key, &other))));
        }
        (_, true) => return Ok(Some(Compared::Not("only_first", Vec::new()))),
        (_, false) => return Ok(Some(Compared::Not("only_second", Vec::new()))),
    }
    let Some(is_same) = same_value([(here, &own), (there, &other)]).await? else {
        return Ok(unread("a chunk of its value, or of the other one, cannot be read"));
    };
    let checks = [
        (is_same, "bytes"),
        (own.metadata == other.metadata, "metadata"),
        (own.expires == other.expires, "expires"),
        (args.ignore_sequence || own.sequence == other.sequence, "sequence"),
    ];
    let what: Vec<_> = checks.into_iter().filter(|(is_same, _)| !is_same).map(|(_, what)| what).collect();
    Ok(Some(if what.is_empty() { Compared::Alike } else { Compared::Not("differs", what) }))
}

/// Whether two values are the same bytes; none if one of them cannot be read.
async fn same_value([(here, own), (there, other)]: [(&Side, &Finding); 2]) -> Result<Option<bool>> {
    if own.len_bytes() != other.len_bytes() {
        return Ok(Some(false));
    }
    let (mut a, mut b) = (here.inspector.value(own), there.inspector.value(other));
    let (mut x, mut y) = Default::default();
    loop {
        if !fill(&mut x, &mut a).await? || !fill(&mut y, &mut b).await? {
            return Ok(None);
        }
        let both = x.len().min(y.len());
        if both == 0 {
            return Ok(Some(x.is_empty() && y.is_empty()));
        }
        if x.split_to(both) != y.split_to(both) {
            return Ok(Some(false));
        }
    }
}

/// The next piece, once the last one is used up. Whether it could be read.
async fn fill(piece: &mut bytes::Bytes, value: &mut Value<'_>) -> Result<bool> {
    if piece.is_empty() {
        match value.next().await? {
            Some(Piece::Bytes(bytes)) => *piece = bytes,
            Some(Piece::Fault(_)) => return Ok(false),
            None => {}
        }
    }
    Ok(true)
}

impl Counts {
    fn add(&mut self, compared: Compared, entry: EntryInfo) -> Option<Difference> {
        let (kind, what) = match compared {
            Compared::Alike => {
                self.same += 1;
                return None;
            }
            Compared::Unreadable(why) => {
                self.unreadable += 1;
                complain(&why);
                return None;
            }
            Compared::Not(kind, what) => (kind, what),
        };
        match kind {
            "only_first" => self.only_first += 1,
            "only_second" => self.only_second += 1,
            _ => self.differs += 1,
        }
        let EntryInfo { namespace, key, key_hex, key_len, .. } = entry;
        let (key, key_hex) = (key.unwrap_or_default(), key_hex.unwrap_or_default());
        Some(Difference { kind, what, namespace, key, key_hex, key_len })
    }
}

fn line(out: &mut impl Write, difference: &Difference) -> io::Result<()> {
    let key = words::key(difference.namespace.as_deref(), Some(&difference.key), difference.key_len);
    match difference.kind {
        "only_first" => writeln!(out, "only in the first   {key}"),
        "only_second" => writeln!(out, "only in the second  {key}"),
        _ => writeln!(out, "differs             {key}  ({})", difference.what.join(", ")),
    }
}

fn summary(out: &mut impl Write, counts: &Counts, more: u64) -> io::Result<()> {
    if more > 0 {
        writeln!(out, "and {} more; --limit shows them", grouped(more))?;
    }
    let Counts { same, only_first, only_second, differs, unreadable } = *counts;
    let [same, first, second, differs] = [same, only_first, only_second, differs].map(grouped);
    write!(out, "{same} alike, {differs} differ, {first} only in the first, {second} only in the second")?;
    if unreadable > 0 {
        write!(out, ", {} COULD NOT BE READ", grouped(unreadable))?;
    }
    writeln!(out)
}
