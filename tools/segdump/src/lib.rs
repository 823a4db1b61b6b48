//! The words of `segdump`, as a library so that its reports on hostile directories can be tried in memory.

use std::io::Write;

use esker::inspect::escape;

pub mod cli;
pub mod diff;
pub mod export;
pub mod histogram;
pub mod key;
pub mod lines;
pub mod picture;
pub mod place;
pub mod progress;
pub mod stats;
pub mod svg;
mod table;
pub mod watch;
pub mod words;

/// A line on stderr; paths and keys in it come from anywhere. A stderr that is closed is nobody's loss.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "segdump: {}", escape(text.as_bytes()));
}

/// The bytes that hexadecimal digits stand for.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble = |c: u8| char::from(c).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}
