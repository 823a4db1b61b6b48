//! `stats`: how entries are spread over sizes, ages, streams and namespaces. Each entry is looked at once, and forgotten.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use esker::inspect::{EntryInfo, EntryState, Inspector, SegmentSummary};
use serde::Serialize;

use crate::histogram::Histogram;
use crate::{cli, progress};

mod report;

/// Largest entries that are named.
const LARGEST: usize = 10;
/// Namespaces that are told apart; what is in more counts as one: a directory may have millions.
const MAX_NAMESPACES: usize = 1_000;
/// Longest key that is kept to be shown, in characters.
const KEY_CHARS: usize = 200;

/// What `stats` says.
#[derive(Debug, Default, Serialize)]
pub struct Stats {
    /// Entries that are served.
    pub entries: u64,
    /// Entries that expired, and are still in the index.
    pub expired: u64,
    /// Entries that a purge covers.
    pub purged: u64,
    /// Large values that lack chunks.
    pub not_whole: u64,
    /// Entries whose record is damaged.
    pub damaged: u64,
    /// Of the entries that are served: lengths of keys and values in bytes, ages and times to live left in milliseconds.
    pub spread: Vec<Spread>,
    /// Bytes of segment files by stream.
    pub streams: BTreeMap<String, Bytes>,
    /// Bytes of entries by namespace, escaped; what is in none is `-`.
    pub namespaces: BTreeMap<String, Whose>,
    /// The largest entries that are served, the largest first.
    pub largest: Vec<Large>,
}

/// How one quantity is spread.
#[derive(Debug, Serialize)]
pub struct Spread {
    /// The quantity.
    pub of: &'static str,
    /// Entries that have it.
    pub count: u64,
    /// The least.
    pub min: u64,
    /// Half of them do not pass this.
    pub p50: u64,
    /// Nine of ten do not pass this.
    pub p90: u64,
    /// 99 of a hundred do not pass this.
    pub p99: u64,
    /// The most.
    pub max: u64,
    /// The mean.
    pub mean: u64,
}

/// Bytes of the segments of a stream, disjoint.
#[derive(Debug, Default, Serialize)]
pub struct Bytes {
    /// Segment files.
    pub segments: u64,
    /// Of what is served.
    pub live: u64,
    /// Of what expired.
    pub expired: u64,
    /// Of all else.
    pub dead: u64,
}

/// A namespace's share. Bytes are those of records, chunks included; what was replaced is nobody's any more.
#[derive(Debug, Default, Serialize)]
pub struct Whose {
    /// Entries that are served.
    pub entries: u64,
    /// Bytes on disk of what is served.
    pub live: u64,
    /// Bytes on disk of entries that expired and are still in the index.
    pub expired: u64,
    /// Bytes on disk of entries that are purged, lack chunks, or are damaged.
    pub dead: u64,
}

/// A large entry.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Large {
    /// Length of its value in bytes.
    pub value_len: u64,
    /// Its namespace, escaped.
    pub namespace: Option<String>,
    /// Its key, escaped, and shortened if it is very long.
    pub key: String,
}

/// What is counted on the way.
#[derive(Default)]
struct Counts {
    stats: Stats,
    keys: Histogram,
    values: Histogram,
    ages: Histogram,
    left: Histogram,
}

/// Counts, and reports.
///
/// # Errors
/// The directory is none; the disk's.
pub async fn run(out: &mut impl Write, inspector: &Inspector, args: &cli::Dir, now: u64) -> Result<ExitCode> {
    let mut counts = Counts::default();
    for segment in inspector.segments().await? {
        counts.segment(&segment);
    }
    let contents = inspector.contents().await?;
    let bar = progress::bar("entries", contents.most_entries());
    let mut entries = contents.entries();
    while let Some(entry) = entries.next().await? {
        bar.inc(1);
        counts.entry(&entry, now);
    }
    bar.finish_and_clear();
    let stats = counts.end();
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &stats)?;
        writeln!(out)?;
    } else {
        report::stats(out, &stats)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Counts {
    fn segment(&mut self, segment: &SegmentSummary) {
        let name = segment.stream.unwrap_or_else(|| segment.state.name());
        let bytes = self.stats.streams.entry(name.to_owned()).or_default();
        bytes.segments += 1;
        bytes.live += segment.live_bytes.saturating_sub(segment.live_expired_bytes);
        bytes.expired += segment.expired_bytes + segment.live_expired_bytes;
        bytes.dead += segment.dead_bytes.saturating_sub(segment.expired_bytes);
    }

    fn entry(&mut self, entry: &EntryInfo, now: u64) {
        let stats = &mut self.stats;
        let name = entry.namespace.as_deref().unwrap_or("-");
        let is_known = stats.namespaces.contains_key(name) || stats.namespaces.len() < MAX_NAMESPACES;
        let whose = stats.namespaces.entry(if is_known { name } else { "(others)" }.to_owned()).or_default();
        let (count, bytes) = match entry.state {
            EntryState::Served => (&mut stats.entries, &mut whose.live),
            EntryState::Expired => (&mut stats.expired, &mut whose.expired),
            EntryState::Purged => (&mut stats.purged, &mut whose.dead),
            EntryState::NotWhole => (&mut stats.not_whole, &mut whose.dead),
            EntryState::Damaged => (&mut stats.damaged, &mut whose.dead),
        };
        *count += 1;
        *bytes += entry.disk_bytes;
        if entry.state != EntryState::Served {
            return;
        }
        whose.entries += 1;
        self.keys.add(u64::from(entry.key_len));
        self.values.add(entry.value_len);
        entry.created.iter().for_each(|at| self.ages.add(now.saturating_sub(*at)));
        entry.expires.iter().for_each(|at| self.left.add(at.saturating_sub(now)));
        self.keep_if_large(entry);
    }

    fn keep_if_large(&mut self, entry: &EntryInfo) {
        let largest = &mut self.stats.largest;
        if largest.len() == LARGEST && largest.last().is_some_and(|last| last.value_len >= entry.value_len) {
            return;
        }
        let key = entry.key.as_deref().unwrap_or("-").chars().take(KEY_CHARS).collect();
        largest.push(Large { value_len: entry.value_len, namespace: entry.namespace.clone(), key });
        largest.sort_by_key(|large| std::cmp::Reverse(large.value_len));
        largest.truncate(LARGEST);
    }

    fn end(self) -> Stats {
        let all = [
            ("key bytes", self.keys),
            ("value bytes", self.values),
            ("age ms", self.ages),
            ("time to live left ms", self.left),
        ];
        let spread = all.map(|(of, histogram)| Spread {
            of,
            count: histogram.count(),
            min: histogram.percentile(0),
            p50: histogram.percentile(50),
            p90: histogram.percentile(90),
            p99: histogram.percentile(99),
            max: histogram.percentile(100),
            mean: histogram.mean(),
        });
        Stats { spread: spread.into(), ..self.stats }
    }
}
