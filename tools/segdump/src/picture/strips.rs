//! What the picture shows of each segment.

use std::collections::HashMap;

use esker::inspect::{SegmentState, SegmentSummary};

use crate::words::{self, grouped};

/// A segment, or a few that follow each other, as disjoint parts.
#[derive(Debug, Clone, Default)]
pub struct Strip {
    /// What it is called.
    pub name: String,
    /// What was appended to it, and for whom.
    pub stream: String,
    /// How long ago it was begun.
    pub age: String,
    /// Bytes that are served.
    pub live: u64,
    /// Bytes of what has expired.
    pub expired: u64,
    /// Bytes of what was replaced or deleted, padding, and what is not written yet.
    pub dead: u64,
    /// Bytes of a file of which nothing can be read.
    pub damaged: u64,
    /// Damaged places elsewhere in it.
    pub damaged_places: u64,
}

impl Strip {
    /// All its bytes.
    pub fn bytes(&self) -> u64 {
        self.live + self.expired + self.dead + self.damaged
    }

    /// The share that is live, in words.
    pub fn live_share(&self) -> String {
        words::percent(self.live, self.bytes())
    }

    /// All of it in one line.
    pub fn text(&self) -> String {
        let size = words::size;
        let parts = [(self.live, "live"), (self.expired, "expired"), (self.dead, "dead"), (self.damaged, "damaged")];
        let parts: Vec<_> = parts.map(|(bytes, what)| format!("{} {what}", size(bytes))).into();
        let places = match self.damaged_places {
            0 => String::new(),
            n => format!(", {} damaged places", grouped(n)),
        };
        format!("{}, {}, {} old: {}{places}", self.name, self.stream, self.age, parts.join(", "))
    }

    fn of(segment: &SegmentSummary, names: &HashMap<String, String>, now: u64) -> Self {
        let whose = segment.group.as_ref().map(|group| match names.get(group) {
            Some(name) => format!(" [{name}]"),
            None => format!(" [namespace {group}]"),
        });
        let is_lost = segment.state == SegmentState::Damaged && segment.id.is_none();
        let state = if segment.state == SegmentState::Sealed { "" } else { segment.state.name() };
        let space = if state.is_empty() { "" } else { ", " };
        let (dead, damaged) = match (is_lost, segment.dead_bytes.saturating_sub(segment.expired_bytes)) {
            (true, bytes) => (0, bytes),
            (false, bytes) => (bytes, 0),
        };
        Self {
            name: segment.id.map_or_else(|| segment.file.clone(), |id| format!("segment {}", grouped(id))),
            stream: format!("{}{}{space}{state}", segment.stream.unwrap_or("-"), whose.unwrap_or_default()),
            age: segment.created.map_or_else(|| "unknown time".into(), |at| age(now.saturating_sub(at))),
            live: segment.live_bytes.saturating_sub(segment.live_expired_bytes),
            expired: segment.expired_bytes + segment.live_expired_bytes,
            dead,
            damaged,
            damaged_places: if is_lost { 0 } else { segment.damaged_records },
        }
    }
}

/// The used segments, the oldest first; those of which nothing is known come last.
pub fn all(segments: &[SegmentSummary], names: &HashMap<String, String>, now: u64) -> Vec<Strip> {
    let is_used = |s: &&SegmentSummary| !matches!(s.state, SegmentState::Free | SegmentState::Foreign);
    let mut used: Vec<_> = segments.iter().filter(is_used).collect();
    used.sort_by_key(|segment| (segment.id.is_none(), segment.id));
    used.into_iter().map(|segment| Strip::of(segment, names, now)).collect()
}

/// At most so many strips: neighbours are put together.
pub fn at_most(strips: &[Strip], most: usize) -> Vec<Strip> {
    let together = strips.len().div_ceil(most).max(1);
    strips.chunks(together).map(merged).collect()
}

fn merged(strips: &[Strip]) -> Strip {
    let (Some(first), Some(last)) = (strips.first(), strips.last()) else { return Strip::default() };
    if strips.len() == 1 {
        return first.clone();
    }
    let sum = |of: fn(&Strip) -> u64| strips.iter().map(of).sum();
    let is_one_stream = strips.iter().all(|strip| strip.stream == first.stream);
    Strip {
        name: format!("{} to {}", first.name, last.name.trim_start_matches("segment ")),
        stream: if is_one_stream { first.stream.clone() } else { "several streams".into() },
        age: first.age.clone(),
        live: sum(|s| s.live),
        expired: sum(|s| s.expired),
        dead: sum(|s| s.dead),
        damaged: sum(|s| s.damaged),
        damaged_places: sum(|s| s.damaged_places),
    }
}

/// A time in its largest unit.
pub fn age(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", grouped(seconds / 86_400)),
    }
}
