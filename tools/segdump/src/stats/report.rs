//! The distributions, for people.

use std::io::{self, Write};

use super::{Spread, Stats};
use crate::picture::strips::age;
use crate::table::{self, Align};
use crate::words::{self, grouped};

const L: Align = Align::Left;
const R: Align = Align::Right;

/// Writes the tables.
pub fn stats(out: &mut impl Write, stats: &Stats) -> io::Result<()> {
    write!(out, "{} entries are served", grouped(stats.entries))?;
    let others = [
        (stats.expired, "expired"),
        (stats.purged, "purged"),
        (stats.not_whole, "lack chunks"),
        (stats.damaged, "DAMAGED"),
    ];
    for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
        write!(out, "; {} {what}", grouped(count))?;
    }
    writeln!(out, "\n")?;
    let rows: Vec<_> = stats.spread.iter().map(spread).collect();
    let heads = ["of those served", "entries", "least", "p50", "p90", "p99", "most", "mean"];
    let mut aligned = heads.map(|head| (head, R));
    aligned[0].1 = L;
    table::write(out, aligned, &rows)?;
    let size = words::size;
    let rows: Vec<_> = stats
        .streams
        .iter()
        .map(|(name, b)| [name.clone(), grouped(b.segments), size(b.live), size(b.expired), size(b.dead)])
        .collect();
    writeln!(out)?;
    table::write(out, [("stream", L), ("segments", R), ("live", R), ("expired", R), ("dead", R)], &rows)?;
    let rows: Vec<_> = stats
        .namespaces
        .iter()
        .map(|(name, w)| [name.clone(), grouped(w.entries), size(w.live), size(w.expired), size(w.dead)])
        .collect();
    writeln!(out)?;
    table::write(out, [("namespace", L), ("entries", R), ("live", R), ("expired", R), ("dead", R)], &rows)?;
    let rows: Vec<_> = stats
        .largest
        .iter()
        .map(|large| {
            let len = u32::try_from(large.key.len()).unwrap_or(u32::MAX);
            [grouped(large.value_len), words::key(large.namespace.as_deref(), Some(&large.key), len)]
        })
        .collect();
    writeln!(out)?;
    table::write(out, [("largest value", R), ("key", L)], &rows)
}

fn spread(spread: &Spread) -> [String; 8] {
    let is_time = spread.of.ends_with(" ms");
    let shown = |value| match (spread.count, is_time) {
        (0, _) => "-".to_owned(),
        (_, true) => age(value),
        (_, false) => grouped(value),
    };
    let Spread { min, p50, p90, p99, max, mean, .. } = *spread;
    let [min, p50, p90, p99, max, mean] = [min, p50, p90, p99, max, mean].map(shown);
    let of = spread.of.trim_end_matches(" ms").to_owned();
    [of, grouped(spread.count), min, p50, p90, p99, max, mean]
}
