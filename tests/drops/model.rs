//! What each key may hold, after calls of which some were dropped.

use std::collections::{BTreeMap, BTreeSet};

use esker::DiskCache;

/// Versions that a key may have, a miss among them.
#[derive(Debug, Default)]
pub struct Model(BTreeMap<u32, BTreeSet<Option<u32>>>);

/// The key of this number.
pub fn key(n: u32) -> Vec<u8> {
    format!("key {n}").into_bytes()
}

/// The value of this version: short, of some blocks, or of most of a segment.
pub fn value(n: u32, version: u32) -> Vec<u8> {
    let len = [100, 5_000, 40_000][(version % 3) as usize];
    let mut bytes = [n.to_le_bytes(), version.to_le_bytes()].concat();
    bytes.resize(len, (n * 7 + version) as u8);
    bytes
}

impl Model {
    /// The key has this and nothing else.
    pub fn is(&mut self, n: u32, version: Option<u32>) {
        self.0.insert(n, [version].into());
    }

    /// The key may have this too.
    pub fn may_be(&mut self, n: u32, version: Option<u32>) {
        self.0.entry(n).or_default().insert(version);
    }

    /// Every key may be gone.
    pub fn all_may_be_gone(&mut self) {
        for versions in self.0.values_mut() {
            versions.insert(None);
        }
    }

    /// Asks for every key.
    ///
    /// # Panics
    /// If one has what it may not have.
    pub async fn judge(&self, cache: &DiskCache, when: &str) {
        for (&n, versions) in &self.0 {
            let hit = cache.get(key(n)).await.unwrap_or_else(|e| panic!("{when}: get: {e}"));
            let is_true = |version: &Option<u32>| match (version, &hit) {
                (Some(version), Some(hit)) => hit.value()[..] == value(n, *version)[..],
                (None, None) => true,
                _ => false,
            };
            let has = hit.as_ref().map(|hit| hit.value().len());
            assert!(versions.iter().any(is_true), "{when}: key {n} has {has:?} bytes, and may have {versions:?}");
        }
    }
}
