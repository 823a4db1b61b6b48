//! What was tried, counted.

/// The counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Cuts on ext4, survived.
    pub ext4: u64,
    /// Cuts on xfs, survived.
    pub xfs: u64,
    /// Of these, cuts while the cache was being opened.
    pub opening: u64,
    /// What writers did.
    pub deeds: u64,
    /// Lives at whose end a deed was under way and failed.
    pub interrupted: u64,
    /// Keys judged.
    pub judged: u64,
    /// Of these, hits.
    pub hits: u64,
    /// Segments that recovery walked, for want of a footer.
    pub scanned: u64,
    /// Bytes that recovery cut off.
    pub torn_bytes: u64,
    /// Segments evicted.
    pub evicted: u64,
}

impl Tally {
    /// All counts with their names.
    pub fn named(&self) -> Vec<(String, u64)> {
        [
            ("ext4 cuts", self.ext4),
            ("xfs cuts", self.xfs),
            ("cuts of an open", self.opening),
            ("deeds", self.deeds),
            ("cuts of a deed", self.interrupted),
            ("keys judged", self.judged),
            ("hits", self.hits),
            ("segments scanned", self.scanned),
            ("torn bytes", self.torn_bytes),
            ("segments evicted", self.evicted),
        ]
        .map(|(name, count)| (name.to_owned(), count))
        .to_vec()
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.ext4 += other.ext4;
        self.xfs += other.xfs;
        self.opening += other.opening;
        self.deeds += other.deeds;
        self.interrupted += other.interrupted;
        self.judged += other.judged;
        self.hits += other.hits;
        self.scanned += other.scanned;
        self.torn_bytes += other.torn_bytes;
        self.evicted += other.evicted;
    }
}
