//! Row 2: every short script, and every crash point in it (P2, P4).
//!
//! A script is a sequence of set, overwrite, delete, sync, rotate, evict, reopen and stream on one key; the last, a value in
//! ten chunks that are written out one by one, only in scripts of up to three. After every operation of
//! the disk that changes it, when it has begun and when it has landed, copies of the disk are crashed, by a kill and by
//! power losses with several dice, and recovered. Then the key must show a version no older than the last durable one,
//! or nothing; nothing, if a durable delete was the last thing; and what was synced, unless eviction may have taken it.

mod points;

use anyhow::{Context, Result};

use crate::crew::{self, Broken};
use crate::row::{Order, Outcome, Row, Slice};

/// What a script is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// The key, `Buffered`.
    Set,
    /// The key, `Synced`.
    Overwrite,
    /// The key.
    Delete,
    /// Everything.
    Sync,
    /// Fills the open segment, so that the next one begins.
    Rotate,
    /// Fills the cache, so that the oldest segments go.
    Evict,
    /// Closes and opens.
    Reopen,
    /// The key, in ten chunks, each of them `Written` before the next; then `Synced`.
    Stream,
}

impl Verb {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Set, "set"),
        (Self::Overwrite, "overwrite"),
        (Self::Delete, "delete"),
        (Self::Sync, "sync"),
        (Self::Rotate, "rotate"),
        (Self::Evict, "evict"),
        (Self::Reopen, "reopen"),
        (Self::Stream, "stream"),
    ];
}

/// The row.
#[derive(Debug)]
pub struct Scripts;

impl Row for Scripts {
    fn number(&self) -> u32 {
        2
    }

    fn what(&self) -> &'static str {
        "every short script"
    }

    fn target(&self, slice: Slice) -> String {
        format!("all scripts of up to {} verbs, every crash point, 0 failures", longest(slice))
    }

    fn canary(&self) -> &'static str {
        "the disk says that it has synced, and has not"
    }

    fn run(&self, order: &Order) -> Result<Outcome> {
        run_up_to(order, longest(order.slice))
    }
}

fn longest(slice: Slice) -> u32 {
    match slice {
        Slice::Ci => 3,
        Slice::Full => 4,
    }
}

/// Runs all scripts of up to so many verbs.
///
/// # Errors
/// There is no such case.
pub fn run_up_to(order: &Order, longest: u32) -> Result<Outcome> {
    let only = order.case.as_deref().map(parse).transpose()?;
    let count = if only.is_some() { 1 } else { (1..=longest).map(scripts).sum() };
    let script = |n: u64| only.clone().unwrap_or_else(|| nth(n));
    let run = |n: u64, points: &mut u64| -> Result<(), Broken> {
        *points += points::run(order.seed, &script(n), order.canary)?;
        Ok(())
    };
    let haul = crew::share(order.threads, count, |n| name(&script(n)), run, |_| false);
    let points = haul.tallies.iter().sum::<u64>();
    let figure =
        format!("{count} scripts, {points} crash points; {} scripts failed, {} panics", haul.failed, haul.panics);
    let counts = vec![("scripts".into(), count), ("crash points".into(), points)];
    Ok(Outcome::judged(figure, counts, haul.failures, true))
}

/// How many verbs scripts of this length are made of.
fn verbs(len: u32) -> u64 {
    if len <= 3 { 8 } else { 7 }
}

fn scripts(len: u32) -> u64 {
    verbs(len).pow(len)
}

/// The scripts in order of their length.
fn nth(mut n: u64) -> Vec<Verb> {
    let mut len = 1;
    while n >= scripts(len) {
        n -= scripts(len);
        len += 1;
    }
    let verbs = verbs(len);
    (0..len).map(|place| Verb::ALL[(n / verbs.pow(place) % verbs) as usize].0).collect()
}

fn name(script: &[Verb]) -> String {
    let word = |verb: &Verb| Verb::ALL.iter().find(|(v, _)| v == verb).map_or("", |(_, word)| word);
    script.iter().map(word).collect::<Vec<_>>().join(",")
}

fn parse(text: &str) -> Result<Vec<Verb>> {
    let verb = |word: &str| Verb::ALL.iter().find(|(_, w)| *w == word).map(|(verb, _)| *verb);
    text.split(',')
        .map(|word| {
            verb(word).with_context(|| {
                format!("`{word}` is no verb: set, overwrite, delete, sync, rotate, evict, reopen, stream")
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_comes_once() {
        let all = 8 + 64 + 512 + 2401;
        let names: std::collections::BTreeSet<_> = (0..all).map(|n| name(&nth(n))).collect();
        assert_eq!(names.len(), all as usize);
        assert!(names.iter().all(|n| name(&parse(n).expect("it parses")) == *n));
    }
}
