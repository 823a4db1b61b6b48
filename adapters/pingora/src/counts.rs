//! What is counted of the requests that reach the storage.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The live counters.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $($(#[$doc])* pub(crate) $name: AtomicU64),* }

        /// Counts since the storage was made.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
        pub struct Counts { $($(#[$doc])* pub $name: u64),* }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed)),* }
            }
        }
    };
}

counters! {
    /// Lookups that found an entry, or one that is being filled.
    hits,
    /// Of these, lookups that follow a fill.
    hits_attached,
    /// Lookups that found nothing.
    misses,
    /// Of these, lookups of entries whose metadata could not be used: damaged, foreign, or of another header dictionary.
    misses_unusable,
    /// Of these, lookups that met another key with the same hash.
    misses_collision,
    /// Of these, lookups that failed: the disk, or the cache was closed.
    misses_failed,
    /// Fills that were begun.
    fills,
    /// Of these, fills that became entries.
    fills_stored,
    /// Of these, fills that Esker refused: too large, or the disk is full or fails.
    fills_refused,
    /// Of these, fills that were given up: the origin failed, or the body is not as long as its header says.
    fills_aborted,
    /// Of these, fills that were purged before they were finished.
    fills_purged,
    /// Reads that went on in memory, since the cache refused or lost what they followed.
    relayed,
    /// Entries whose metadata was replaced after a revalidation.
    renewed,
    /// Entries that were marked stale.
    expired,
    /// Entries that were purged.
    purged,
}

/// One more.
pub(crate) fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
