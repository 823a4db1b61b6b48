//! `watch`: the figures of the summary, again and again, and what changed from one time to the next.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use esker::inspect::{Inspector, SegmentState, Summary};

use crate::cli::Watch;
use crate::words::{self, grouped, percent, size, time};

/// Clears the screen, and begins at its top.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What is watched.
#[derive(Debug, Clone, Copy)]
struct Figures {
    used: u64,
    segments: u64,
    entries: u64,
    live: u64,
    total: u64,
    damaged_places: u64,
}

/// Looks so many times, or until it is ended. `look` makes an inspector of what is now, and says when that is.
///
/// # Errors
/// The directory is none; the disk's.
pub async fn run(out: &mut impl Write, look: impl Fn() -> (Inspector, u64), args: &Watch) -> Result<ExitCode> {
    let is_screen = io::stdout().is_terminal();
    let mut last: Option<(Figures, Instant)> = None;
    let mut round = 0;
    while args.count.is_none_or(|count| round < count) {
        if round > 0 {
            tokio::time::sleep(Duration::from_secs_f64(args.interval)).await;
        }
        round += 1;
        let (inspector, now) = look();
        let (figures, at) = (Figures::of(&inspector.summary().await?), Instant::now());
        let before = last.map(|(figures, then)| (figures, at.duration_since(then).as_secs_f64()));
        if is_screen {
            write!(out, "{CLEAR}{}  {}\n\n", words::path(&args.dir), time(Some(now)))?;
            figures.screen(out, before)?;
        } else {
            writeln!(out, "{}  {}", time(Some(now)), figures.line(before))?;
        }
        out.flush()?;
        last = Some((figures, at));
    }
    Ok(ExitCode::SUCCESS)
}

impl Figures {
    fn of(summary: &Summary) -> Self {
        let ours = || summary.segments.iter().filter(|segment| segment.state != SegmentState::Foreign);
        Self {
            used: ours().filter(|segment| segment.state != SegmentState::Free).count() as u64,
            segments: ours().count() as u64,
            entries: summary.entries,
            live: summary.live_bytes,
            total: summary.live_bytes + summary.dead_bytes,
            damaged_places: summary.damaged_records,
        }
    }

    /// Names, figures, and by how much they changed in a second.
    fn rows(&self, before: Option<(Self, f64)>) -> [(&'static str, String, String); 3] {
        let change = |of: fn(&Self) -> u64, shown: fn(u64) -> String| match before {
            Some((before, seconds)) => per_second(of(&before), of(self), seconds, shown),
            None => String::new(),
        };
        let used = format!("{} of {} used", grouped(self.used), grouped(self.segments));
        let live = format!("{} live ({})", size(self.live), percent(self.live, self.total));
        [
            ("segments", used, change(|f| f.used, grouped)),
            ("entries", grouped(self.entries), change(|f| f.entries, grouped)),
            ("bytes", live, change(|f| f.live, size)),
        ]
    }

    fn line(&self, before: Option<(Self, f64)>) -> String {
        let part = |(name, figure, change): (&str, String, String)| {
            let change = if change.is_empty() { change } else { format!(" ({change})") };
            format!("{name} {figure}{change}")
        };
        self.rows(before).map(part).join("; ") + &self.damage()
    }

    fn screen(&self, out: &mut impl Write, before: Option<(Self, f64)>) -> io::Result<()> {
        for (name, figure, change) in self.rows(before) {
            writeln!(out, "  {name:<10}{figure:<32}{change}")?;
        }
        writeln!(out, "{}", self.damage())
    }

    fn damage(&self) -> String {
        match self.damaged_places {
            0 => String::new(),
            n => format!("; {} DAMAGED places, see `segdump verify`", grouped(n)),
        }
    }
}

/// A change, to the whole unit.
fn per_second(before: u64, now: u64, seconds: f64, shown: fn(u64) -> String) -> String {
    let rate = (before.abs_diff(now) as f64 / seconds.max(0.001)).round() as u64;
    let sign = if now < before { "-" } else { "+" };
    format!("{sign}{}/s", shown(rate))
}

#[cfg(test)]
mod tests {
    use super::{Figures, per_second};
    use crate::words::grouped;

    #[test]
    fn changes_are_by_the_second() {
        assert_eq!(per_second(1_000, 5_000, 2.0, grouped), "+2,000/s");
        assert_eq!(per_second(5_000, 1_000, 0.5, grouped), "-8,000/s");
        let before = Figures { used: 1, segments: 4, entries: 10, live: 2048, total: 4096, damaged_places: 0 };
        let now = Figures { used: 2, entries: 30, damaged_places: 1, ..before };
        let line = "segments 2 of 4 used (+1/s); entries 30 (+20/s); bytes 2.0 KiB live (50.0 %) (+0 bytes/s)";
        assert_eq!(before.line(None), "segments 1 of 4 used; entries 10; bytes 2.0 KiB live (50.0 %)");
        assert!(now.line(Some((before, 1.0))).starts_with(line), "{}", now.line(Some((before, 1.0))));
        assert!(now.line(None).contains("1 DAMAGED"));
    }
}
