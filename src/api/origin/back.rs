//! Write-back: the cache takes a value, the origin gets it later.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;

use super::{FetchOptions, Mode, Origin, OriginCache, Shared};
use crate::api::DiskCache;
use crate::dirty::Owner;
use crate::engine::Due;
use crate::entry::{SetOptions, SetOutcome};
use crate::error::{Error, Result};
use crate::sync::task::{self, JoinSet};
use crate::sync::{AsyncMutex, Notify, time};
use crate::types::{Digest, Durability};

/// Without a bound of its own no more than this is dirty.
const MOST_DIRTY_BYTES: u64 = 64 << 20;
/// So many values are brought to the origin at a time.
const STORES_IN_FLIGHT: usize = 16;
/// The longest pause after a flush that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How much the cache may be ahead of its origin, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct WriteBack {
    max_dirty_bytes: Option<u64>,
    flush_interval: Duration,
}

impl Default for WriteBack {
    fn default() -> Self {
        Self { max_dirty_bytes: None, flush_interval: Duration::from_secs(1) }
    }
}

impl WriteBack {
    /// At most 64 MiB, or what the capacity allows, for a second.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the origin does not have takes no more than this on disk: a write that would make it more goes through to the origin.
    #[must_use]
    pub fn max_dirty_bytes(mut self, bytes: u64) -> Self {
        self.max_dirty_bytes = Some(bytes);
        self
    }

    /// How long after a write its value is brought to the origin. After a flush that failed the pause doubles, up to a minute.
    #[must_use]
    pub fn flush_interval(mut self, interval: Duration) -> Self {
        self.flush_interval = interval;
        self
    }
}

/// What write-back needs.
pub(super) struct Back {
    max_dirty_bytes: u64,
    flush_interval: Duration,
    /// Wakes the background flush before its time.
    wake: Arc<Notify>,
    /// One flush of all at a time.
    flushing: AsyncMutex<()>,
    _owner: Owner,
}

impl DiskCache {
    /// This cache in front of an origin that gets what is written later (write-back, or write-behind): a `set` returns when the
    /// cache has the value, `Written` at least, and brings it to the origin in the background.
    ///
    /// **Dirty is what the origin does not have.** Eviction does not drop it, a kill of the process does not lose it, and the next
    /// handle that is made so goes on with it; a power cut loses what was not `Synced`. The origin gets the values of a key in
    /// their order, but not each: of those that are replaced before their time only the newest. After a kill it may get one
    /// more than once. [`OriginCache::flush`] brings all of it there at once: call it before [`DiskCache::close`], or it waits on
    /// disk.
    ///
    /// **Writes that go through** to the origin first, as with [`WriteMode::Through`](crate::WriteMode::Through): those that expire
    /// (by their own time to live, the cache's, the namespace's or its retention), values that fit no segment, what the cache
    /// refuses, and what would pass [`WriteBack::max_dirty_bytes`]. So do deletes. Each first brings there what is dirty of its
    /// key.
    ///
    /// A purge, a `clear`, and what is written or deleted past the handle, drop what is dirty as they drop all else.
    ///
    /// # Errors
    /// `InvalidInput` if the flush interval is zero, the bound is more than the capacity allows, or there is another such handle
    /// for the same keys. As [`DiskCache::get`] while the cache opens.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn with_write_back(
        &self,
        origin: Arc<dyn Origin>,
        options: WriteBack,
        fetch: FetchOptions,
    ) -> Result<OriginCache> {
        let engine = self.engine.wait().await?;
        let WriteBack { max_dirty_bytes, flush_interval } = options;
        if flush_interval.is_zero() {
            return Err(Error::InvalidInput("the flush interval is zero; a millisecond is the shortest".into()));
        }
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let most = engine.most_dirty_bytes(prefix);
        if let Some(bytes) = max_dirty_bytes.filter(|bytes| *bytes > most) {
            return Err(Error::InvalidInput(format!(
                "max_dirty_bytes is {bytes}; with this capacity or quota, and beside what may be pinned, at most {most}"
            )));
        }
        let Some(owner) = engine.own_dirty(prefix) else {
            return Err(Error::InvalidInput(
                "there is another write-back handle for these keys; clone that one, or drop it first".into(),
            ));
        };
        let back = Back {
            max_dirty_bytes: max_dirty_bytes.unwrap_or(MOST_DIRTY_BYTES.min(most)),
            flush_interval,
            wake: Arc::default(),
            flushing: AsyncMutex::default(),
            _owner: owner,
        };
        let cache = OriginCache::new(self, origin, Mode::Back(back), fetch);
        task::spawn(run(Arc::downgrade(&cache.shared)));
        Ok(cache)
    }
}

impl OriginCache {
    /// Brings everything there that the origin does not have when this is called; without write-back there is nothing.
    ///
    /// Cancel safe: what is on its way arrives.
    ///
    /// # Errors
    /// The first error: `Origin` with the origin's, `Io` if a value cannot be read now, `Closed`. The others are brought there all
    /// the same.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn flush(&self) -> Result<()> {
        let shared = self.shared.clone();
        to_its_end(async move { shared.flush_all().await }).await
    }

    /// As [`OriginCache::flush`], for these keys.
    ///
    /// # Errors
    /// As there; `InvalidInput` for a key that is none.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn flush_keys<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Result<()> {
        let engine = self.shared.cache.engine.wait().await?;
        let mut digests = Vec::new();
        for key in keys {
            digests.push(engine.check_key(&self.shared.cache.key(key.as_ref())?)?);
        }
        let shared = self.shared.clone();
        to_its_end(async move { shared.flush_each(digests).await }).await
    }
}

/// In a task of its own: what the origin was asked for must not take effect after this was given up.
async fn to_its_end(flush: impl Future<Output = Result<usize>> + Send + 'static) -> Result<()> {
    match task::spawn(flush).await {
        Ok(flushed) => flushed.map(drop),
        // Lost only with the runtime.
        Err(_) => Err(Error::Closed),
    }
}

/// The background flush, as long as there is a handle and the cache is open.
async fn run(shared: Weak<Shared>) {
    let mut pause = Duration::ZERO;
    while let Some(this) = shared.upgrade() {
        let Mode::Back(back) = &this.mode else { return };
        let (interval, wake) = (back.flush_interval, back.wake.clone());
        let flushed = this.flush_all().await;
        // The handle may go while this rests.
        drop(this);
        match flushed {
            Ok(_) => {
                pause = Duration::ZERO;
                let _ = time::timeout(interval, wake.notified()).await;
            }
            Err(Error::Closed) => return,
            Err(error) => {
                tracing::warn!(%error, "the origin does not take everything; it is tried again");
                pause = (2 * pause).min(LONGEST_PAUSE).max(interval);
                time::sleep(pause).await;
            }
        }
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

impl Shared {
    /// Writes a value that the origin gets later, in the turn of its key. `None`: this one goes through.
    pub(super) async fn write_back(
        &self,
        key: &Bytes,
        value: &Bytes,
        options: &SetOptions,
    ) -> Result<Option<SetOutcome>> {
        let Mode::Back(back) = &self.mode else { return Ok(None) };
        let engine = self.cache.engine.wait().await?;
        let Some(len_bytes) = engine.dirty_len(&self.cache.key(key)?, value, options)? else { return Ok(None) };
        if engine.dirty_bytes() + len_bytes > back.max_dirty_bytes {
            back.wake.notify_one();
            return Ok(None);
        }
        let durability = options.durability.max(Durability::Written);
        let options = SetOptions { is_dirty: true, durability, ..options.clone() };
        let _begun = engine.begin_dirty();
        match self.cache.set_with(key, value.clone(), options).await {
            Ok(stored @ SetOutcome::Stored { .. }) => Ok(Some(stored)),
            Ok(_) | Err(Error::WriteFailed) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Brings all there; how many there were.
    async fn flush_all(self: &Arc<Self>) -> Result<usize> {
        let Mode::Back(back) = &self.mode else { return Ok(0) };
        let _one = back.flushing.lock().await;
        let engine = self.cache.engine.wait().await?;
        let flushed = self.flush_each(engine.dirty()).await?;
        if flushed > 0
            && let Err(error) = engine.write_stored().await
        {
            tracing::warn!(%error, "cannot write the manifest; after a restart the origin gets some values once more");
        }
        Ok(flushed)
    }

    /// Brings these there, if they are dirty and of this handle; how many were.
    async fn flush_each(self: &Arc<Self>, digests: Vec<Digest>) -> Result<usize> {
        let mut digests = digests.into_iter();
        let (mut stores, mut flushed, mut outcome) = (JoinSet::new(), 0, Ok(()));
        loop {
            while stores.len() < STORES_IN_FLIGHT
                && let Some(digest) = digests.next()
            {
                let this = self.clone();
                stores.spawn(async move { this.flush_one(digest).await });
            }
            match stores.join_next().await {
                None => return outcome.map(|()| flushed),
                Some(Ok(Ok(is_flushed))) => flushed += usize::from(is_flushed),
                Some(Ok(Err(error))) => outcome = outcome.and(Err(error)),
                // By a panic of the origin.
                Some(Err(e)) => outcome = outcome.and(Err(Error::Origin { op: "end its work", source: e.into() })),
            }
        }
    }

    async fn flush_one(&self, digest: Digest) -> Result<bool> {
        let Some(due) = self.cache.engine.wait().await?.due(digest).await? else { return Ok(false) };
        let Some(key) = self.cache.own_key(&due.key) else { return Ok(false) };
        let _store = self.stores.take(&key).await;
        self.flush_key(&key).await
    }

    /// Brings what is dirty of a key to the origin, whose turn it is to do so. Whether there was anything.
    pub(super) async fn flush_key(&self, key: &Bytes) -> Result<bool> {
        if !matches!(self.mode, Mode::Back(_)) {
            return Ok(false);
        }
        let engine = self.cache.engine.wait().await?;
        let Some(due) = engine.due_of(&self.cache.key(key)?).await? else { return Ok(false) };
        let Due { value, metadata, .. } = &due;
        self.store(key, value.clone(), metadata.clone()).await?;
        engine.is_stored(&due);
        Ok(true)
    }
}
