//! What was tried, counted: a campaign that never evicted anything proves little about eviction.

use esker::{DiskCache, RecoveryReport};

/// The counts.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Crashes followed by a recovery whose every key was judged.
    pub points: u64,
    /// Of these, power losses.
    pub power_losses: u64,
    /// Of these, those whose first recovery was crashed too.
    pub second_crashes: u64,
    /// Keys judged after them.
    pub judged: u64,
    /// Of these, hits.
    pub hits: u64,
    /// Steps of lives.
    pub steps: u64,
    /// Purges by prefix.
    pub purges: u64,
    /// Of these, of a whole namespace.
    pub namespaces_purged: u64,
    /// Entries pinned.
    pub pinned: u64,
    /// Entries that an open found older than its retention.
    pub retained: u64,
    /// Reopens after a clean close.
    pub reopens: u64,
    /// Segments evicted.
    pub evicted: u64,
    /// Entries reinserted.
    pub reinserted: u64,
    /// Entries that waited in memory for a second use.
    pub held: u64,
    /// Gets answered from the hot tier.
    pub hot: u64,
    /// Values in chunks that a recovery found whole.
    pub objects: u64,
    /// Chunks that a recovery found without their object.
    pub orphans: u64,
    /// Segments that recovery walked, for want of a footer.
    pub scanned: u64,
}

impl Tally {
    /// All counts with their names.
    pub fn named(&self) -> Vec<(String, u64)> {
        [
            ("crash points", self.points),
            ("power losses", self.power_losses),
            ("second crashes", self.second_crashes),
            ("keys judged", self.judged),
            ("hits", self.hits),
            ("steps", self.steps),
            ("purges", self.purges),
            ("namespaces purged", self.namespaces_purged),
            ("entries pinned", self.pinned),
            ("entries older than the retention", self.retained),
            ("reopens", self.reopens),
            ("segments evicted", self.evicted),
            ("entries reinserted", self.reinserted),
            ("entries held", self.held),
            ("hits in the hot tier", self.hot),
            ("objects found whole", self.objects),
            ("chunks without an object", self.orphans),
            ("segments scanned", self.scanned),
        ]
        .map(|(name, count)| (name.to_owned(), count))
        .to_vec()
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.points += other.points;
        self.power_losses += other.power_losses;
        self.second_crashes += other.second_crashes;
        self.judged += other.judged;
        self.hits += other.hits;
        self.steps += other.steps;
        self.purges += other.purges;
        self.namespaces_purged += other.namespaces_purged;
        self.pinned += other.pinned;
        self.retained += other.retained;
        self.reopens += other.reopens;
        self.evicted += other.evicted;
        self.reinserted += other.reinserted;
        self.held += other.held;
        self.hot += other.hot;
        self.objects += other.objects;
        self.orphans += other.orphans;
        self.scanned += other.scanned;
    }

    /// A cache's life is over.
    pub fn lived(&mut self, cache: &DiskCache) {
        let counts = cache.stats().counts;
        self.evicted += counts.segments_evicted;
        self.reinserted += counts.entries_reinserted;
        self.held += counts.entries_held;
        self.hot += counts.hits_memory;
    }

    /// A cache was recovered.
    pub fn recovered(&mut self, report: &RecoveryReport) {
        self.objects += report.objects_kept;
        self.orphans += report.dropped_chunks;
        self.scanned += report.segments_scanned;
    }
}
