//! A part of the cache on disk, with keys of its own.

use std::future::Future;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{
    BoxFuture, Cache, DiskCache, EntryReader, EntryWriter, FetchOptions, Fetched, Hit, Origin, OriginCache, PinOutcome,
    SetOptions, SetOutcome, WriteBack, WriteMode,
};
use crate::config::check_name;
use crate::error::{BoxError, Error, Result};
use crate::format::namespace::prefix;
use crate::stats::{NamespaceStats, Stats};
use crate::types::Durability;

impl DiskCache {
    /// The part of the cache that has this name, whether it was ever used or not. Keys are the namespace's own: equal ones in
    /// two namespaces, or of the cache itself, are different entries.
    ///
    /// [`Config::namespaces`](crate::Config::namespaces) gives a namespace a time to live, room and statistics of its own;
    /// one that is not named there has what plain keys have, and shares their room.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), esker::Error> {
    /// use esker::{DiskCache, NamespaceConfig};
    ///
    /// let tenant = NamespaceConfig {
    ///     name: "tenant-a".into(),
    ///     share_bytes: 200 << 20,
    ///     quota_bytes: Some(400 << 20),
    ///     ..NamespaceConfig::default()
    /// };
    /// let cache = DiskCache::builder("cache").capacity_bytes(2 << 30).namespace(tenant).open().await?;
    /// let tenant = cache.namespace("tenant-a")?;
    /// tenant.set(b"key", "value").await?;
    /// tenant.purge().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` unless the name has 1 to 64 bytes.
    pub fn namespace(&self, name: &str) -> Result<Namespace> {
        check_name(name).map_err(Error::InvalidInput)?;
        let prefix = prefix(name).map(Arc::from);
        Ok(Namespace { cache: DiskCache { engine: self.engine.clone(), prefix }, name: name.into() })
    }
}

/// A part of a [`DiskCache`]: see [`DiskCache::namespace`]. A handle: clones, and others of the same name, share the entries.
///
/// A key, and what the name takes of it (9 bytes and the name), have [`MAX_KEY_BYTES`](crate::MAX_KEY_BYTES) at most. As a
/// [`Cache`] it is cleared by a purge, and its statistics are those of the whole cache.
#[derive(Clone)]
pub struct Namespace {
    /// Its keys have the prefix.
    pub(super) cache: DiskCache,
    name: Arc<str>,
}

impl Namespace {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As [`DiskCache::get`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Hit>> {
        self.cache.get(key).await
    }

    /// As [`DiskCache::get_range`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn get_range(&self, key: impl AsRef<[u8]>, range: impl RangeBounds<u64>) -> Result<Option<Hit>> {
        self.cache.get_range(key, range).await
    }

    /// As [`DiskCache::contains`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.cache.contains(key).await
    }

    /// As [`DiskCache::set`]; the time to live is the namespace's. Waits for room below its quota too.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn set(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<SetOutcome> {
        self.cache.set(key, value).await
    }

    /// As [`DiskCache::set_with`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn set_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        self.cache.set_with(key, value, options).await
    }

    /// As [`DiskCache::try_set`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn try_set(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<SetOutcome> {
        self.cache.try_set(key, value).await
    }

    /// As [`DiskCache::set_metadata`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn set_metadata(
        &self,
        key: impl AsRef<[u8]>,
        metadata: impl Into<Bytes>,
        durability: Durability,
    ) -> Result<Option<SetOutcome>> {
        self.cache.set_metadata(key, metadata, durability).await
    }

    /// As [`DiskCache::delete`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.cache.delete(key).await
    }

    /// As [`DiskCache::pin`]. The bound is that of the whole cache; within a quota no more stays than fits.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn pin(&self, key: impl AsRef<[u8]>) -> Result<PinOutcome> {
        self.cache.pin(key).await
    }

    /// As [`DiskCache::unpin`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn unpin(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.cache.unpin(key).await
    }

    /// As [`DiskCache::with_origin`]; the origin sees the namespace's own keys.
    pub fn with_origin(&self, origin: Arc<dyn Origin>, mode: WriteMode, fetch: FetchOptions) -> OriginCache {
        self.cache.with_origin(origin, mode, fetch)
    }

    /// As [`DiskCache::with_write_back`]; the origin sees the namespace's own keys.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn with_write_back(
        &self,
        origin: Arc<dyn Origin>,
        options: WriteBack,
        fetch: FetchOptions,
    ) -> Result<OriginCache> {
        self.cache.with_write_back(origin, options, fetch).await
    }

    /// As [`DiskCache::writer`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn writer(&self, key: impl AsRef<[u8]>, options: SetOptions) -> Result<EntryWriter> {
        self.cache.writer(key, options).await
    }

    /// As [`DiskCache::reader`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn reader(&self, key: impl AsRef<[u8]>) -> Result<Option<EntryReader>> {
        self.cache.reader(key).await
    }

    /// As [`DiskCache::get_or_fetch`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn get_or_fetch<F, Fut, E>(&self, key: impl AsRef<[u8]>, options: FetchOptions, fetch: F) -> Result<Hit>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = std::result::Result<Fetched, E>> + Send,
        E: Into<BoxError>,
    {
        self.cache.get_or_fetch(key, options, fetch).await
    }

    /// As [`DiskCache::get_or_refresh`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn get_or_refresh<F, Fut, E>(
        &self,
        key: impl AsRef<[u8]>,
        stale_for: Duration,
        options: FetchOptions,
        fetch: F,
    ) -> Result<Hit>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = std::result::Result<Fetched, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.cache.get_or_refresh(key, stale_for, options, fetch).await
    }

    /// Removes every entry of the namespace whose key begins with `prefix`, as [`DiskCache::purge_prefix`] does.
    ///
    /// # Errors
    /// As there; `InvalidInput` for an empty prefix: [`Namespace::purge`] removes everything.
    ///
    /// # Panics
    /// As there.
    pub async fn purge_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<()> {
        self.cache.purge_prefix(prefix).await
    }

    /// Removes every entry of the namespace, durably once this returns: at once and in constant time, as
    /// [`DiskCache::purge_prefix`] does.
    ///
    /// Cancel safe as that is.
    ///
    /// # Errors
    /// `Closed`; `WriteFailed` as there.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn purge(&self) -> Result<()> {
        let all = self.cache.key(b"")?;
        self.cache.engine.wait().await?.purge_prefix(&all).await
    }

    /// Statistics now; `None` if the namespace is not configured.
    pub fn stats(&self) -> Option<NamespaceStats> {
        self.cache.engine.namespace_stats(&self.name)
    }
}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Namespace").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Cache for Namespace {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Hit>>> {
        Box::pin(Namespace::get(self, key))
    }

    fn set<'a>(&'a self, key: &'a [u8], value: Bytes) -> BoxFuture<'a, Result<SetOutcome>> {
        Box::pin(Namespace::set(self, key, value))
    }

    fn delete<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<bool>> {
        Box::pin(Namespace::delete(self, key))
    }

    fn clear(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.purge())
    }

    fn stats(&self) -> Stats {
        self.cache.stats()
    }
}
