//! Medians, spreads and targets, as a table or as JSON.

use serde::Serialize;

/// What a ratio or a figure should be.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// Shown for comparison.
    None,
}

impl Target {
    fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtLeast(least) => Some(value >= least),
            Self::AtMost(most) => Some(value <= most),
            Self::None => None,
        }
    }
}

/// One line: ours beside the other, repeated, with the ratio that counts.
#[derive(Debug, Serialize)]
pub struct Line {
    name: String,
    unit: &'static str,
    other: Vec<f64>,
    ours: Vec<f64>,
    other_median: f64,
    ours_median: f64,
    /// Of each round, so that a slow minute of the machine hits both sides.
    ratios: Vec<f64>,
    ratio_median: f64,
    target: Target,
    met: Option<bool>,
}

/// One figure against an absolute target.
#[derive(Debug, Serialize)]
pub struct Figure {
    name: String,
    unit: &'static str,
    values: Vec<f64>,
    median: f64,
    target: Target,
    met: Option<bool>,
}

/// Everything a bench program found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    ratios: Vec<Line>,
    figures: Vec<Figure>,
    notes: Vec<String>,
}

/// The middle value (the lower of two); 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

impl Report {
    /// Adds a comparison. `ratio` makes the figure that counts from (other, ours).
    pub fn compare(
        &mut self,
        name: impl Into<String>,
        unit: &'static str,
        rounds: &[(f64, f64)],
        target: Target,
        ratio: impl Fn(f64, f64) -> f64,
    ) {
        let (other, ours): (Vec<f64>, Vec<f64>) = rounds.iter().copied().unzip();
        let ratios: Vec<f64> = rounds.iter().map(|&(other, ours)| ratio(other, ours)).collect();
        let ratio_median = median(&ratios);
        let line = Line {
            name: name.into(),
            unit,
            other_median: median(&other),
            ours_median: median(&ours),
            other,
            ours,
            ratios,
            ratio_median,
            target,
            met: target.is_met(ratio_median),
        };
        eprintln!("  {}", line.text());
        self.ratios.push(line);
    }

    /// A comparison of rates: ours by the other.
    pub fn rates(&mut self, name: impl Into<String>, unit: &'static str, rounds: &[(f64, f64)], target: Target) {
        self.compare(name, unit, rounds, target, |other, ours| ours / other);
    }

    /// Adds a figure.
    pub fn figure(&mut self, name: impl Into<String>, unit: &'static str, values: Vec<f64>, target: Target) {
        let median = median(&values);
        let figure = Figure { name: name.into(), unit, median, values, target, met: target.is_met(median) };
        eprintln!("  {}", figure.text());
        self.figures.push(figure);
    }

    /// Adds a remark.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Prints it.
    ///
    /// # Errors
    /// None in practice: everything in it serializes.
    pub fn print(&self, json: bool, other: &str) -> Result<(), serde_json::Error> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        if !self.ratios.is_empty() {
            println!("| | unit | {other} | this cache | ratio (min..max) | target | met |");
            println!("|---|---|---|---|---|---|---|");
            for l in &self.ratios {
                let (low, high) = spread(&l.ratios);
                println!(
                    "| {} | {} | {} | {} | **{:.2}** ({low:.2}..{high:.2}) | {} | {} |",
                    l.name,
                    l.unit,
                    number(l.other_median),
                    number(l.ours_median),
                    l.ratio_median,
                    target(l.target),
                    met(l.met)
                );
            }
        }
        if !self.figures.is_empty() {
            println!("\n| | unit | median (min..max) | target | met |");
            println!("|---|---|---|---|---|");
            for f in &self.figures {
                let (low, high) = spread(&f.values);
                println!(
                    "| {} | {} | **{}** ({}..{}) | {} | {} |",
                    f.name,
                    f.unit,
                    number(f.median),
                    number(low),
                    number(high),
                    target(f.target),
                    met(f.met)
                );
            }
        }
        for note in &self.notes {
            println!("\n{note}");
        }
        Ok(())
    }
}

impl Line {
    fn text(&self) -> String {
        let (other, ours) = (number(self.other_median), number(self.ours_median));
        format!("{}: {other} against {ours} {}, ratio {:.2} {}", self.name, self.unit, self.ratio_median, met(self.met))
    }
}

impl Figure {
    fn text(&self) -> String {
        format!("{}: {} {} {}", self.name, number(self.median), self.unit, met(self.met))
    }
}

fn spread(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, 0.0), |(low, high), &v| (v.min(low), v.max(high)))
}

fn number(value: f64) -> String {
    match value {
        v if v >= 1000.0 => {
            let digits = format!("{v:.0}");
            let groups: Vec<&str> =
                digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
            groups.join(",")
        }
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

fn target(target: Target) -> String {
    match target {
        Target::AtLeast(least) => format!(">= {least}"),
        Target::AtMost(most) => format!("<= {most}"),
        Target::None => String::new(),
    }
}

fn met(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "yes",
        Some(false) => "**no**",
        None => "",
    }
}
