//! How far long work has come.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for so many of what it counts. indicatif draws on stderr, and only if that is a terminal.
pub fn bar(what: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = format!("{{bar:30}} {{pos}}/{{len}} {what}, {{eta}} left");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}
