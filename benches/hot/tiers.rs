//! The hot tier, and what could take its place: each maps a digest to an item and the tag of its record.

use std::hash::{BuildHasherDefault, Hasher};

use esker::memory::{Bounded, HotTier, Item, Tag};
use esker::{Digest, Hit, MemoryFill, Millis};

/// What the cache needs of a tier.
pub trait Tier: Send + Sync {
    /// Its name in the report.
    const NAME: &'static str;
    /// A tier of so many bytes.
    fn new(capacity_bytes: u64) -> Self;
    /// Takes an item.
    fn put(&self, d: Digest, tag: Tag, item: Item);
    /// What a get gives, if the item is there, of this record and key.
    fn get(&self, d: Digest, tag: Tag, key: &[u8]) -> Option<Hit>;
    /// Does what was put off.
    fn settle(&self) {}
}

/// The same without items: what stays, by cost.
pub trait Model {
    /// A tier of so many bytes.
    fn new(capacity_bytes: u64) -> Self;
    /// Whether it is there; counts as a use.
    fn has(&self, d: Digest) -> bool;
    /// Takes what costs so many bytes.
    fn put(&self, d: Digest, cost_bytes: u64);
    /// Drops it.
    fn remove(&self, d: Digest);
}

/// Digests are as good as random.
#[derive(Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

type Hash = BuildHasherDefault<AsItIs>;

fn served(found: Option<(Tag, Item)>, tag: Tag, key: &[u8]) -> Option<Hit> {
    let (_, item) = found.filter(|(of, item)| *of == tag && item.key() == key)?;
    Some(item.hit(Millis(1)))
}

/// This project's.
pub struct Ours(HotTier);

impl Tier for Ours {
    const NAME: &'static str = "ours";
    fn new(capacity_bytes: u64) -> Self {
        Self(HotTier::new(capacity_bytes, None, MemoryFill::Both))
    }
    fn put(&self, d: Digest, tag: Tag, item: Item) {
        self.0.admit(d, tag, item);
    }
    fn get(&self, d: Digest, tag: Tag, key: &[u8]) -> Option<Hit> {
        self.0.get(d, tag, key, |item| Some(item.hit(Millis(1))))
    }
}

impl Model for Bounded<()> {
    fn new(capacity_bytes: u64) -> Self {
        Self::new(capacity_bytes)
    }
    fn has(&self, d: Digest) -> bool {
        self.get(d, |()| esker::memory::Verdict::Serve(())).is_some()
    }
    fn put(&self, d: Digest, cost_bytes: u64) {
        self.put(d, (), cost_bytes, |()| true);
    }
    fn remove(&self, d: Digest) {
        self.remove_if(d, |()| true);
    }
}

/// `moka` (W-TinyLFU).
pub struct Moka(moka::sync::Cache<u64, (Tag, Item), Hash>);

impl Tier for Moka {
    const NAME: &'static str = "moka";
    fn new(capacity_bytes: u64) -> Self {
        let weigher = |_: &u64, (_, item): &(Tag, Item)| item.cost_bytes() as u32;
        let builder = moka::sync::Cache::builder().max_capacity(capacity_bytes).weigher(weigher);
        Self(builder.build_with_hasher(Hash::default()))
    }
    fn put(&self, d: Digest, tag: Tag, item: Item) {
        self.0.insert(d.0, (tag, item));
    }
    fn get(&self, d: Digest, tag: Tag, key: &[u8]) -> Option<Hit> {
        served(self.0.get(&d.0), tag, key)
    }
    fn settle(&self) {
        self.0.run_pending_tasks();
    }
}

/// The same without items.
pub struct MokaModel(moka::sync::Cache<u64, u64, Hash>);

impl Model for MokaModel {
    fn new(capacity_bytes: u64) -> Self {
        let weigher = |_: &u64, cost_bytes: &u64| *cost_bytes as u32;
        let builder = moka::sync::Cache::builder().max_capacity(capacity_bytes).weigher(weigher);
        Self(builder.build_with_hasher(Hash::default()))
    }
    fn has(&self, d: Digest) -> bool {
        self.0.get(&d.0).is_some()
    }
    fn put(&self, d: Digest, cost_bytes: u64) {
        self.0.insert(d.0, cost_bytes);
    }
    fn remove(&self, d: Digest) {
        self.0.invalidate(&d.0);
    }
}

#[derive(Clone)]
struct ByCost;

impl quick_cache::Weighter<u64, (Tag, Item)> for ByCost {
    fn weight(&self, _: &u64, (_, item): &(Tag, Item)) -> u64 {
        item.cost_bytes()
    }
}

impl quick_cache::Weighter<u64, u64> for ByCost {
    fn weight(&self, _: &u64, cost_bytes: &u64) -> u64 {
        *cost_bytes
    }
}

/// Entries that `quick_cache` makes room for at first, of a mean length like that of the traces.
const MEAN_BYTES: u64 = 1_000;

type Quick<V> = quick_cache::sync::Cache<u64, V, ByCost, Hash>;

fn quick<V: Clone>(capacity_bytes: u64) -> Quick<V>
where
    ByCost: quick_cache::Weighter<u64, V>,
{
    let entries = (capacity_bytes / MEAN_BYTES).max(16) as usize;
    Quick::with(entries, capacity_bytes, ByCost, Hash::default(), Default::default())
}

/// `quick_cache` (S3-FIFO).
pub struct QuickCache(Quick<(Tag, Item)>);

impl Tier for QuickCache {
    const NAME: &'static str = "quick_cache";
    fn new(capacity_bytes: u64) -> Self {
        Self(quick(capacity_bytes))
    }
    fn put(&self, d: Digest, tag: Tag, item: Item) {
        self.0.insert(d.0, (tag, item));
    }
    fn get(&self, d: Digest, tag: Tag, key: &[u8]) -> Option<Hit> {
        served(self.0.get(&d.0), tag, key)
    }
}

/// The same without items.
pub struct QuickCacheModel(Quick<u64>);

impl Model for QuickCacheModel {
    fn new(capacity_bytes: u64) -> Self {
        Self(quick(capacity_bytes))
    }
    fn has(&self, d: Digest) -> bool {
        self.0.get(&d.0).is_some()
    }
    fn put(&self, d: Digest, cost_bytes: u64) {
        self.0.insert(d.0, cost_bytes);
    }
    fn remove(&self, d: Digest) {
        self.0.remove(&d.0);
    }
}
