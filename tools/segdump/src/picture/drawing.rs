//! The strips, with all that is needed to read them.

use super::strips::{self, Strip};
use crate::svg::{Anchor, Svg};
use crate::words;

/// More segments than this are drawn a few to a strip.
const MAX_STRIPS: usize = 400;
const WIDTH: f64 = 1230.0;
const LEFT: f64 = 430.0;
const BAR: f64 = 640.0;
const MARGIN: f64 = 24.0;
/// Distance of lines of text.
const LINE: f64 = 18.0;
/// Longest name of a segment and of its stream, and longest title, in characters.
const LABEL_CHARS: usize = 64;
const TITLE_CHARS: usize = 90;

const STYLE: &str = "text{font:12px sans-serif;fill:#222}.title{font-size:20px;font-weight:bold}.note{font-size:13px}\
    .faint{fill:#666}.paper{fill:#fff}.live{fill:#1b7f5c}.expired{fill:#e3a72f}.dead{fill:#cfd4da}.damaged{fill:#c62828}\
    .line{fill:#888}";

const LEGEND: [(&str, &str); 4] = [
    ("live", "live: served"),
    ("expired", "expired"),
    ("dead", "dead: replaced, deleted, padding, unwritten"),
    ("damaged", "damaged: a file, or (at the edge) places"),
];

/// The picture as an SVG. `segment_len_bytes` is what a whole strip stands for.
pub fn draw(title: &str, totals: &[String], strips: &[Strip], segment_len_bytes: u64) -> String {
    let mut svg = Svg::default();
    svg.text("title", Anchor::Start, [MARGIN, 36.0], &shortened(title, TITLE_CHARS));
    let mut y = 62.0;
    for line in totals {
        svg.text("note", Anchor::Start, [MARGIN, y], line);
        y += LINE;
    }
    legend(&mut svg, y);
    y += 40.0;
    if strips.is_empty() {
        svg.text("note", Anchor::Start, [MARGIN, y + LINE], "No segment holds anything yet.");
        return svg.finish(title, STYLE, [WIDTH, y + 2.0 * LINE + MARGIN]);
    }
    let drawn = strips::at_most(strips, MAX_STRIPS);
    let together = strips.len().div_ceil(drawn.len()).max(1) as u64;
    let step = (1_200.0 / drawn.len() as f64).clamp(3.0, 20.0);
    y = axis(&mut svg, y, segment_len_bytes.saturating_mul(together), together);
    let longest = drawn.iter().map(Strip::bytes).max().unwrap_or(1).max(1);
    let scale = BAR / longest.max(segment_len_bytes.saturating_mul(together)) as f64;
    // Where strips are thinner than a line of text, only some are labelled.
    let every = (14.0 / step).ceil().max(1.0) as usize;
    for (n, strip) in drawn.iter().enumerate() {
        self::strip(&mut svg, strip, y, step, scale, n.is_multiple_of(every));
        y += step;
    }
    svg.text("faint", Anchor::Start, [MARGIN, y + LINE], "newest");
    svg.finish(title, STYLE, [WIDTH, y + LINE + MARGIN])
}

fn legend(svg: &mut Svg, y: f64) {
    let mut x = MARGIN;
    for (class, text) in LEGEND {
        svg.rect(class, [x, y, 14.0, 14.0]);
        svg.text("note", Anchor::Start, [x + 20.0, y + 12.0], text);
        x += 60.0 + 6.6 * text.len() as f64;
    }
}

/// Heads of the columns, and the scale of bytes. Where the first strip begins.
fn axis(svg: &mut Svg, y: f64, bytes: u64, together: u64) -> f64 {
    let each = match together {
        1 => "a strip is a segment".to_owned(),
        n => format!("a strip is {n} segments"),
    };
    let names = format!("{each}: stream [namespace], age; oldest first");
    svg.text("faint", Anchor::Start, [MARGIN, y + LINE], &names);
    svg.text("faint", Anchor::Middle, [LEFT + BAR / 2.0, y], "bytes of the strip, by what became of them");
    svg.text("faint", Anchor::Start, [LEFT + BAR + 12.0, y + LINE], "live share");
    let below = y + LINE + 8.0;
    for (share, anchor) in [(0, Anchor::Start), (1, Anchor::Middle), (2, Anchor::End)] {
        let x = LEFT + BAR * f64::from(share) / 2.0;
        let label = words::size((u128::from(bytes) * u128::from(share as u32) / 2) as u64);
        svg.text("faint", anchor, [x, y + LINE], &label);
        svg.rect("line", [x, below - 4.0, 1.0, 4.0]);
    }
    svg.rect("line", [LEFT, below, BAR, 1.0]);
    below + 4.0
}

fn strip(svg: &mut Svg, strip: &Strip, y: f64, step: f64, scale: f64, is_labelled: bool) {
    svg.begin_group(&strip.text());
    let height = step - if step > 8.0 { 3.0 } else { 0.5 };
    let mut x = LEFT;
    for (class, bytes) in
        [("live", strip.live), ("expired", strip.expired), ("dead", strip.dead), ("damaged", strip.damaged)]
    {
        let width = bytes as f64 * scale;
        svg.rect(class, [x, y, width, height]);
        x += width;
    }
    if strip.damaged_places > 0 {
        svg.rect("damaged", [LEFT - 6.0, y, 5.0, height]);
    }
    if is_labelled {
        let baseline = y + height.max(8.0) / 2.0 + 4.0;
        let label = shortened(&format!("{}: {}, {}", strip.name, strip.stream, strip.age), LABEL_CHARS);
        svg.text("label", Anchor::End, [LEFT - 10.0, baseline], &label);
        svg.text("label", Anchor::Start, [LEFT + BAR + 12.0, baseline], &strip.live_share());
    }
    svg.end_group();
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let start: String = text.chars().take(most - 3).collect();
    start + "..."
}
