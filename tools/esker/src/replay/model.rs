//! What the cache must answer: the version of each key that was set last. Kept by the tasks that send the requests, and
//! handed to the parent in a file.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::trace::Key;
use crate::value::Identity;

/// What is known of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The key.
    pub key: Key,
    /// The version set last.
    pub newest: Identity,
    /// When it expires, on the cache's clock; `u64::MAX`: never.
    pub expires_ms: u64,
    /// Whether a hit is right: false after a delete, or when the last set was refused.
    pub present: bool,
}

impl Known {
    /// Whether this value may be served at `now_ms`, a time read before the get was sent.
    pub fn allows(&self, value: &[u8], now_ms: u64) -> bool {
        self.present && now_ms < self.expires_ms && self.newest.matches(value)
    }
}

/// Writes what is known to a file.
///
/// # Errors
/// If the file cannot be written.
pub fn save<'a>(path: &Path, all: impl Iterator<Item = &'a Known>) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    let mut out = BufWriter::new(file);
    for known in all {
        let (number, text): (bool, &[u8]) = (matches!(known.key, Key::Number(_)), known.key.bytes());
        out.write_all(&known.newest.object.to_le_bytes())?;
        out.write_all(&known.newest.version.to_le_bytes())?;
        out.write_all(&known.newest.len_bytes.to_le_bytes())?;
        out.write_all(&known.expires_ms.to_le_bytes())?;
        out.write_all(&[u8::from(known.present), u8::from(number)])?;
        out.write_all(&(text.len() as u32).to_le_bytes())?;
        out.write_all(text)?;
    }
    out.flush()?;
    Ok(())
}

/// Reads what [`save`] wrote.
///
/// # Errors
/// If the file cannot be read or is cut short.
pub fn load(path: &Path) -> Result<Vec<Known>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut rest = file.metadata()?.len();
    let mut input = BufReader::new(file);
    let mut all = Vec::new();
    while rest > 0 {
        let mut head = [0; 30];
        input.read_exact(&mut head).context("the model is cut short")?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let mut text = vec![0; word(26) as usize];
        input.read_exact(&mut text).context("the model is cut short")?;
        rest = rest.saturating_sub((head.len() + text.len()) as u64);
        let key = match (head[25], <[u8; 8]>::try_from(text.as_slice())) {
            (1, Ok(number)) => Key::Number(number),
            _ => Key::Text(Arc::from(text)),
        };
        let newest = Identity { object: long(0), version: word(8), len_bytes: word(12) };
        all.push(Known { key, newest, expires_ms: long(16), present: head[24] == 1 });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded() {
        let newest = Identity { object: 5, version: 2, len_bytes: 10 };
        let keys = [Key::Number(5u64.to_le_bytes()), Key::Text(Arc::from(&b"\xff,\n"[..]))];
        let all: Vec<Known> =
            keys.into_iter().map(|key| Known { key, newest, expires_ms: u64::MAX, present: true }).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        save(file.path(), all.iter()).unwrap();
        assert_eq!(load(file.path()).unwrap(), all);
    }

    #[test]
    fn only_the_newest_living_version_is_allowed() {
        let newest = Identity { object: 5, version: 2, len_bytes: 10 };
        let known = Known { key: Key::Number([0; 8]), newest, expires_ms: 100, present: true };
        let value = newest.value();
        assert!(known.allows(&value, 99));
        assert!(!known.allows(&value, 100), "expired");
        assert!(!known.allows(&Identity { version: 1, ..newest }.value(), 99), "replaced");
        assert!(!Known { present: false, ..known }.allows(&value, 99), "deleted");
    }
}
