//! Fetches that failed, remembered for a while.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::error::SharedError;
use crate::types::{Digest, Millis};

/// Most failures of a part of the table; what would end soonest goes first.
pub(super) const MOST: usize = 1_000;
/// A longer key's failure is not remembered: so a part's keys take a megabyte at most.
pub(super) const MAX_KEY_BYTES: usize = 1_024;

/// A failure. It is the user's error, which may do anything when it is dropped: never under a lock.
pub struct Failed {
    key: Bytes,
    error: SharedError,
    until: Millis,
}

/// One failure a digest.
#[derive(Default)]
pub struct Failures {
    by_digest: BTreeMap<u64, Failed>,
    by_end: BTreeSet<(Millis, u64)>,
}

impl Failures {
    /// How many there are, those that ended included.
    pub(super) fn len(&self) -> usize {
        self.by_digest.len()
    }

    /// What is remembered of a key.
    pub(super) fn get(&self, digest: Digest, key: &[u8], now: Millis) -> Option<SharedError> {
        let failed = self.by_digest.get(&digest.0)?;
        (failed.key == key && failed.until > now).then(|| failed.error.clone())
    }

    /// Remembers one. What it takes the place of.
    #[must_use]
    pub(super) fn add(
        &mut self,
        digest: Digest,
        key: &Bytes,
        error: SharedError,
        until: Millis,
        now: Millis,
    ) -> Vec<Failed> {
        let mut gone: Vec<Failed> = self.remove(digest.0).into_iter().collect();
        while let Some(&(end, first)) = self.by_end.first()
            && (end <= now || self.len() >= MOST)
        {
            gone.extend(self.remove(first));
        }
        if key.len() <= MAX_KEY_BYTES {
            self.by_digest.insert(digest.0, Failed { key: key.clone(), error, until });
            self.by_end.insert((until, digest.0));
        }
        gone
    }

    /// It is over. It goes with the next that is added.
    pub(super) fn forget(&mut self, digest: Digest) {
        if let Some(failed) = self.by_digest.get_mut(&digest.0) {
            self.by_end.remove(&(failed.until, digest.0));
            failed.until = Millis(0);
            self.by_end.insert((failed.until, digest.0));
        }
    }

    /// Those of keys that begin so are over.
    pub(super) fn forget_prefix(&mut self, prefix: &[u8]) {
        let of_it = |(_, failed): &(&u64, &Failed)| failed.key.starts_with(prefix);
        let digests: Vec<u64> = self.by_digest.iter().filter(of_it).map(|(digest, _)| *digest).collect();
        digests.into_iter().for_each(|digest| self.forget(Digest(digest)));
    }

    fn remove(&mut self, digest: u64) -> Option<Failed> {
        let failed = self.by_digest.remove(&digest)?;
        self.by_end.remove(&(failed.until, digest));
        Some(failed)
    }
}
