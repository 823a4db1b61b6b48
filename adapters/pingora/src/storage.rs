//! The storage: what pingora asks of one, in terms of Esker.

use std::any::Any;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use esker::{DiskCache, Durability, EntryReader, SetOptions};
use pingora_cache::storage::{HitHandler, MissHandler, PurgeOutcome, PurgeTarget, PurgeType, Storage};
use pingora_cache::trace::SpanHandle;
use pingora_cache::{CacheEntryId, CacheEntryKey, CacheKey, CacheMeta};
use pingora_error::Result;

use crate::counts::{Counters, Counts, add_one};
use crate::error::{cannot_read, cannot_write};
use crate::fill::Fill;
use crate::fills::Fills;
use crate::hit::EskerHit;
use crate::key::{EntryKey, entry_key, is_of};
use crate::locks::KeyLocks;
use crate::miss::EskerMiss;
use crate::names::Names;
use crate::options::Options;
use crate::stored::Stored;

/// An Esker cache as pingora's storage. See the crate's page.
pub struct EskerStorage {
    pub(crate) cache: DiskCache,
    pub(crate) dir: PathBuf,
    options: Options,
    pub(crate) fills: Fills,
    pub(crate) names: Names,
    pub(crate) locks: KeyLocks,
    /// Held while the names are rebuilt.
    pub(crate) rebuilding: tokio::sync::Mutex<()>,
    pub(crate) counters: Arc<Counters>,
    next_id: AtomicU64,
}

/// Which version of an entry a `CacheMeta` belongs to. Travels in the meta's extensions, which pingora hands on from a hit to
/// the update that follows its revalidation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version(u64);

/// What a purge is about.
struct Aim {
    key: EntryKey,
    /// Only the version with this id.
    id: Option<u64>,
}

impl EskerStorage {
    /// A storage over `cache`, whose directory is `dir`; [`EskerStorage::reindex`] looks into that.
    pub fn new(cache: DiskCache, dir: impl Into<PathBuf>, options: Options) -> Self {
        Self {
            cache,
            dir: dir.into(),
            options,
            fills: Fills::default(),
            names: Names::default(),
            locks: KeyLocks::new(),
            rebuilding: tokio::sync::Mutex::new(()),
            counters: Arc::default(),
            // Chance from the operating system, so that no two lives of a directory share ids.
            next_id: AtomicU64::new(RandomState::new().hash_one(0)),
        }
    }

    /// As pingora wants it: for as long as the process lives. Close its cache with [`EskerStorage::close`], since it is never
    /// dropped.
    pub fn leak(self) -> &'static Self {
        Box::leak(Box::new(self))
    }

    /// The cache beneath. Entries set there by others are misses here.
    pub fn cache(&self) -> &DiskCache {
        &self.cache
    }

    /// What was counted since this was made.
    pub fn counts(&self) -> Counts {
        self.counters.snapshot()
    }

    /// Primary keys that a purge by prefix looks through, those of entries that were evicted since included.
    pub fn names(&self) -> u64 {
        self.names.len() as u64
    }

    /// Writes everything out and closes the cache: lookups then miss, and fills fail before they begin.
    ///
    /// # Errors
    /// If something was lost to a failing disk.
    pub async fn close(&self) -> Result<()> {
        self.cache.close().await.map_err(cannot_write)
    }

    /// The entry that is there, whoever fills the key now, and what its metadata says. Nothing if it is not one of ours.
    async fn stored(&self, key: &EntryKey) -> Result<Option<Stored>> {
        let reader = self.cache.reader(key).await.map_err(cannot_read)?;
        // With `attach_to_writers` this may follow a fill, which is no entry yet.
        let is_entry = |stored: &Stored| self.fills.get(key, stored.id).is_none();
        Ok(reader.and_then(|reader| Stored::decode(reader.metadata())).filter(is_entry))
    }

    /// What a reader found, as pingora wants it; `None` if it is not what was asked for.
    fn hit(&self, key: &CacheKey, reader: EntryReader) -> Option<(CacheMeta, HitHandler)> {
        let usable = Stored::decode(reader.metadata()).and_then(|stored| Some((stored.meta()?, stored)));
        let Some((mut meta, stored)) = usable else {
            add_one(&self.counters.misses_unusable);
            return None;
        };
        if !is_of(key, &stored.primary) {
            add_one(&self.counters.misses_collision);
            return None;
        }
        let fill = self.fills.get(&entry_key(key), stored.id);
        if fill.as_ref().is_some_and(|fill| fill.is_purged()) {
            return None;
        }
        meta.extensions_mut().insert(Version(stored.id));
        let place = fill.map(|fill| fill.follow());
        if place.is_some() {
            add_one(&self.counters.hits_attached);
        }
        let hit = EskerHit::new(reader, stored.id, place, self.counters.clone());
        Some((meta, Box::new(hit)))
    }

    async fn find(&self, key: &CacheKey) -> Option<(CacheMeta, HitHandler)> {
        let entry_key = entry_key(key);
        let failed = |error: esker::Error| {
            add_one(&self.counters.misses_failed);
            tracing::warn!(%error, "a lookup failed");
        };
        let reader = self.cache.reader_attached(entry_key).await.map_err(failed).ok()??;
        // A fill that was purged hides an entry only if that was purged as well, or came later.
        let is_purged = Stored::decode(reader.metadata())
            .and_then(|stored| self.fills.get(&entry_key, stored.id))
            .is_some_and(|fill| fill.is_purged());
        let reader = match is_purged {
            true => self.cache.reader(entry_key).await.map_err(failed).ok()??,
            false => reader,
        };
        self.hit(key, reader)
    }

    fn count(&self, found: Option<(CacheMeta, HitHandler)>) -> Option<(CacheMeta, HitHandler)> {
        add_one(if found.is_some() { &self.counters.hits } else { &self.counters.misses });
        found
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.options.clock.now().0)
    }

    /// How long an entry with this meta may stay.
    fn set_options(&self, meta: &CacheMeta, metadata: bytes::Bytes) -> SetOptions {
        let options = SetOptions::new().metadata(metadata);
        let Some(keep_stale) = self.options.keep_stale else { return options };
        let fresh = meta.fresh_until().duration_since(self.now()).unwrap_or_default();
        let stale = meta.stale_while_revalidate_sec().max(meta.stale_if_error_sec());
        options.ttl(fresh.saturating_add(Duration::from_secs(stale.into())).saturating_add(keep_stale))
    }

    /// Purges what is there and what is being filled, or only the version with this id; the id of what went.
    pub(crate) async fn purge_one(&self, key: EntryKey, id: Option<u64>) -> Result<Option<u64>> {
        let _lock = self.locks.lock(&key).await;
        // First, so that no lookup finds the fill once this has returned.
        let fill = self.fills.purge(&key, id);
        let stored = self.stored(&key).await?;
        let is_it = id.is_none_or(|id| stored.as_ref().is_some_and(|stored| stored.id == id));
        // What is not ours is a miss already: an active purge removes it all the same, and says that there was no entry.
        let is_gone = is_it && self.cache.delete(key).await.map_err(cannot_write)? && stored.is_some();
        if is_gone || (fill.is_some() && id.is_none()) {
            self.names.remove(&key);
        }
        let gone = if is_gone { stored.map(|stored| stored.id).or(fill) } else { fill };
        if gone.is_some() {
            add_one(&self.counters.purged);
        }
        Ok(gone)
    }

    /// Replaces the meta of the entry that is there, if it is the version that is meant.
    async fn replace_meta(&self, key: &EntryKey, stored: &Stored, meta: &CacheMeta) -> Result<bool> {
        let metadata = Stored::encode(stored.id, &stored.primary, meta)?;
        let outcome = self.cache.set_metadata(key, metadata, Durability::Buffered).await.map_err(cannot_write)?;
        Ok(outcome.is_some_and(|outcome| outcome.is_stored()))
    }
}

impl Aim {
    /// `None` for an exact target without an id, which no entry here is.
    fn of(target: PurgeTarget<'_>) -> Option<Self> {
        match target {
            PurgeTarget::Active(key) => Some(Self { key: entry_key(key), id: None }),
            PurgeTarget::Exact(CacheEntryKey::Identified { key, id }) => {
                Some(Self { key: entry_key(key), id: Some(id.get()) })
            }
            PurgeTarget::Exact(CacheEntryKey::KeyOnly(_)) => None,
        }
    }
}

#[async_trait]
impl Storage for EskerStorage {
    /// The newest fill under way, else the entry. Whatever cannot be used is a miss. Cancel safe: nothing is changed.
    async fn lookup(&'static self, key: &CacheKey, _trace: &SpanHandle) -> Result<Option<(CacheMeta, HitHandler)>> {
        Ok(self.count(self.find(key).await))
    }

    /// The fill that this tag names, which is there from `get_miss_handler` on until it is finished or dropped; then the entry
    /// that it became, if that is still there. Not counted: it is no request. Cancel safe as `lookup` is, but the fill's own
    /// reader may be gone with it.
    async fn lookup_streaming_write(
        &'static self,
        key: &CacheKey,
        streaming_write_tag: Option<&[u8]>,
        trace: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        let Some(tag) = streaming_write_tag else { return self.lookup(key, trace).await };
        let Ok(id) = tag.try_into().map(u64::from_be_bytes) else { return Ok(None) };
        let entry_key = entry_key(key);
        if let Some(fill) = self.fills.get(&entry_key, id)
            && let Some(reader) = fill.take_own_reader()
        {
            let Some(stored) = Stored::decode(reader.metadata()) else { return Ok(None) };
            let Some(meta) = stored.meta() else { return Ok(None) };
            let hit = EskerHit::new(reader, id, Some(fill.follow()), self.counters.clone());
            return Ok(Some((meta, Box::new(hit))));
        }
        let reader = self.cache.reader_attached(entry_key).await.map_err(cannot_read)?;
        let is_it = |reader: &EntryReader| Stored::decode(reader.metadata()).is_some_and(|stored| stored.id == id);
        Ok(reader.filter(is_it).and_then(|reader| self.hit(key, reader)))
    }

    /// Begins a fill.
    ///
    /// # Errors
    /// If header and key do not fit an entry's metadata (64 KiB): pingora then serves the response without storing it. If the
    /// cache was closed.
    async fn get_miss_handler(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _trace: &SpanHandle,
    ) -> Result<MissHandler> {
        let (entry_key, primary) = (entry_key(key), key.primary_key());
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let options = self.set_options(meta, Stored::encode(id, primary, meta)?);
        let writer = self.cache.writer(entry_key, options).await.map_err(cannot_write)?;
        let fill = Arc::new(Fill::new(id, writer.reader(), self.options.relay_bytes));
        self.fills.add(entry_key, fill.clone());
        self.names.add(entry_key, primary);
        add_one(&self.counters.fills);
        Ok(Box::new(EskerMiss::new(self, (entry_key, primary), meta, fill, writer)))
    }

    /// Removes the entry, durably once this returns, and hides what is being filled: that goes on for those who follow it
    /// already, and is not stored. An exact target is only met with its id.
    ///
    /// Cancel safe: the entry is then either removed, maybe not durably yet, or not.
    ///
    /// # Errors
    /// If the disk fails: the entry is gone, but may return at a restart.
    async fn purge(
        &'static self,
        target: PurgeTarget<'_>,
        _purge_type: PurgeType,
        _trace: &SpanHandle,
    ) -> Result<PurgeOutcome> {
        let Some(Aim { key, id }) = Aim::of(target) else { return Ok(PurgeOutcome::NotFound) };
        let gone = self.purge_one(key, id).await?;
        Ok(gone.map_or(PurgeOutcome::NotFound, |id| PurgeOutcome::Purged(Some(CacheEntryId::new(id)))))
    }

    /// Marks the entry stale by writing its meta again; its body stays. What is being filled is left alone, as pingora's own
    /// storage does. An entry whose meta cannot be used, or written, is removed.
    async fn expire(&'static self, target: PurgeTarget<'_>, _trace: &SpanHandle) -> Result<PurgeOutcome> {
        let Some(Aim { key, id }) = Aim::of(target) else { return Ok(PurgeOutcome::NotFound) };
        let _lock = self.locks.lock(&key).await;
        let stored = self.stored(&key).await?.filter(|stored| id.is_none_or(|id| stored.id == id));
        let Some(stored) = stored else { return Ok(PurgeOutcome::NotFound) };
        if let Some(mut meta) = stored.meta() {
            meta.expire_at(self.now());
            if self.replace_meta(&key, &stored, &meta).await.unwrap_or(false) {
                add_one(&self.counters.expired);
                return Ok(PurgeOutcome::Expired);
            }
        }
        self.cache.delete(key).await.map_err(cannot_write)?;
        self.names.remove(&key);
        add_one(&self.counters.purged);
        Ok(PurgeOutcome::Purged(Some(CacheEntryId::new(stored.id))))
    }

    /// Replaces the entry's meta. `false` if there is no entry, or another one than that which was revalidated: a body never
    /// gets another body's header.
    async fn update_meta(&'static self, key: &CacheKey, meta: &CacheMeta, _trace: &SpanHandle) -> Result<bool> {
        let entry_key = entry_key(key);
        let _lock = self.locks.lock(&entry_key).await;
        let Some(stored) = self.stored(&entry_key).await?.filter(|stored| is_of(key, &stored.primary)) else {
            return Ok(false);
        };
        if meta.extensions().get::<Version>().is_some_and(|version| version.0 != stored.id) {
            return Ok(false);
        }
        let is_replaced = self.replace_meta(&entry_key, &stored, meta).await?;
        if is_replaced {
            add_one(&self.counters.renewed);
        }
        Ok(is_replaced)
    }

    /// Yes: clients are served while the origin still sends.
    fn support_streaming_partial_write(&self) -> bool {
        true
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync + 'static) {
        self
    }
}

impl std::fmt::Debug for EskerStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EskerStorage").field("dir", &self.dir).field("counts", &self.counts()).finish_non_exhaustive()
    }
}
