//! The names of the files in a directory. Parsing is strict: what is not exactly a name of ours is not ours.

use std::ffi::OsStr;

use crate::types::SegmentId;

/// The manifest.
pub const MANIFEST: &str = "MANIFEST";
/// A manifest that is being written; renamed over [`MANIFEST`] when it is on the device.
pub const MANIFEST_TMP: &str = "MANIFEST.tmp";
/// The file whose lock says that a process uses the directory.
pub const LOCK: &str = "LOCK";

const SEGMENT_PREFIX: &str = "seg-";
const FREE_PREFIX: &str = "free-";
const SUFFIX: &str = ".esk";

/// The name of a segment's file: `seg-` and the id as 16 lower-case hexadecimal digits, `.esk`.
pub fn segment_name(id: SegmentId) -> String {
    format!("{SEGMENT_PREFIX}{:016x}{SUFFIX}", id.0)
}

/// The segment whose file has exactly this name.
pub fn parse_segment_name(name: &OsStr) -> Option<SegmentId> {
    parse(name, SEGMENT_PREFIX).map(SegmentId)
}

/// The name of a file that waits to be used again: `free-` and `n` as 16 lower-case hexadecimal digits, `.esk`.
pub fn free_name(n: u64) -> String {
    format!("{FREE_PREFIX}{n:016x}{SUFFIX}")
}

/// The number of the free file of exactly this name.
pub fn parse_free_name(name: &OsStr) -> Option<u64> {
    parse(name, FREE_PREFIX)
}

/// Whether this is the name of a free file.
pub fn is_free_name(name: &OsStr) -> bool {
    parse_free_name(name).is_some()
}

fn parse(name: &OsStr, prefix: &str) -> Option<u64> {
    let digits = name.to_str()?.strip_prefix(prefix)?.strip_suffix(SUFFIX)?;
    let is_strict = digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_strict { u64::from_str_radix(digits, 16).ok() } else { None }
}
