//! The names of the files in a directory. Parsing is strict: what is not exactly a name of ours is not ours.

use std::ffi::OsStr;

/// The manifest.
pub const MANIFEST: &str = "MANIFEST";
/// A manifest that is being written; renamed over [`MANIFEST`] when it is on the device.
pub const MANIFEST_TMP: &str = "MANIFEST.tmp";
/// The file whose lock says that a process uses the directory.
pub const LOCK: &str = "LOCK";

const SEGMENT_PREFIX: &str = "seg-";
const SUFFIX: &str = ".esk";

/// The name of a segment's file: `seg-` and the number of its slot as 4 lower-case hexadecimal digits, `.esk`. A file
/// keeps its name through all its lives; the header says which one it is in.
pub fn segment_name(slot: u16) -> String {
    format!("{SEGMENT_PREFIX}{slot:04x}{SUFFIX}")
}

/// The slot whose file has exactly this name.
pub fn parse_segment_name(name: &OsStr) -> Option<u16> {
    let digits = name.to_str()?.strip_prefix(SEGMENT_PREFIX)?.strip_suffix(SUFFIX)?;
    let is_strict = digits.len() == 4 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_strict { u16::from_str_radix(digits, 16).ok() } else { None }
}
