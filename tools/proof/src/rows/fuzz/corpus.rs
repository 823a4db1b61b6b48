//! The inputs that are kept: small, and each reaches something that the others do not.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Target;

/// An input and its name.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The file's name, or `seed-N`.
    pub name: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What a target begins with, then its files, by name.
///
/// # Errors
/// The corpus cannot be read.
pub fn load(target: &Target) -> Result<Vec<Kept>> {
    let seeds = (target.seeds)().into_iter().enumerate();
    let mut kept: Vec<_> = seeds.map(|(n, bytes)| Kept { name: format!("seed-{n}"), bytes }).collect();
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name);
    if !dir.is_dir() {
        return Ok(kept);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push(Kept { name, bytes: std::fs::read(&path)? });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    kept.append(&mut files);
    Ok(kept)
}
