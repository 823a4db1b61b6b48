//! Columns that line up.

use std::io::{self, Write};

/// How a column is set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Writes `rows` under `heads`, each column as wide as its widest cell.
pub fn write<const N: usize>(out: &mut impl Write, heads: [(&str, Align); N], rows: &[[String; N]]) -> io::Result<()> {
    let mut widths = heads.map(|(head, _)| head.len());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let titles = heads.map(|(head, _)| head.to_owned());
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        for ((cell, width), (_, align)) in row.iter().zip(widths).zip(heads) {
            let padded = match align {
                Align::Left => format!("{cell:<width$}  "),
                Align::Right => format!("{cell:>width$}  "),
            };
            line.push_str(&padded);
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
