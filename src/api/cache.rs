//! The trait, and the cache on disk.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use super::{Builder, Hit, PinOutcome, SetOptions, SetOutcome};
use crate::engine::Starting;
use crate::error::{Error, Result};
use crate::evict::Evictions;
use crate::format::namespace;
use crate::stats::{RecoveryProgress, RecoveryReport, Stats};
use crate::types::{AdmissionPolicy, BackendKind, Durability};

/// A boxed future, as the object-safe trait returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A cache, usable as `Arc<dyn Cache>`. Every future is `Send` and safe to drop.
///
/// A cache on disk needs a tokio runtime: its futures panic outside of one.
pub trait Cache: Send + Sync {
    /// The newest value of `key`, or `None`. Cancel safe: nothing is changed.
    ///
    /// # Errors
    /// `InvalidInput` for an empty or overlong key, `Closed`.
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Hit>>>;
    /// Stores `value` under `key` with the default options. Cancel safe: the write is then either accepted or has not
    /// begun.
    ///
    /// # Errors
    /// As `get`. A refused write is `Ok(Refused)`.
    fn set<'a>(&'a self, key: &'a [u8], value: Bytes) -> BoxFuture<'a, Result<SetOutcome>>;
    /// Removes `key`; whether there was an entry. Cancel safe: the key is then either removed or not.
    ///
    /// # Errors
    /// As `get`; `WriteFailed` if the removal could not be made durable.
    fn delete<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<bool>>;
    /// Removes every entry. Cancel safe: once polled, they are gone.
    ///
    /// # Errors
    /// `Closed`; `Io` if it could not be made durable.
    fn clear(&self) -> BoxFuture<'_, Result<()>>;
    /// Statistics now. Never waits.
    fn stats(&self) -> Stats;
    /// Writes out what is accepted and ends the cache's work: later calls give `Closed`. A cache that keeps nothing but
    /// memory has nothing to close, and goes on. Cancel safe: another call goes on from there.
    ///
    /// # Errors
    /// `WriteFailed` if some of it was lost to a failing disk.
    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The cache on disk. A handle: clones share one cache.
///
/// Dropping the last handle without [`DiskCache::close`] stops the background work at once: what was `Written` is
/// there at the next open, what was only `Buffered` may not be.
#[derive(Clone)]
pub struct DiskCache {
    pub(crate) engine: Arc<Starting>,
    /// What all keys begin with, on disk, in the handle that a [`Namespace`](super::Namespace) works through.
    pub(super) prefix: Option<Arc<[u8]>>,
}

impl DiskCache {
    /// Settings for a cache in `dir`, which is made if it does not exist.
    pub fn builder(dir: impl AsRef<std::path::Path>) -> Builder {
        Builder::new(dir.as_ref())
    }

    pub(super) fn new(engine: Arc<Starting>) -> Self {
        Self { engine, prefix: None }
    }

    /// A key as it stands on disk.
    ///
    /// # Errors
    /// `InvalidInput` for a plain key that looks like one in a namespace.
    pub(super) fn key<'a>(&self, key: &'a [u8]) -> Result<Cow<'a, [u8]>> {
        match &self.prefix {
            Some(prefix) => Ok(Cow::Owned([prefix, key].concat())),
            None if namespace::is_reserved(key) => Err(Error::InvalidInput(format!(
                "the key begins with {}, as keys in namespaces do; see `DiskCache::namespace`",
                namespace::MAGIC.escape_ascii()
            ))),
            None => Ok(Cow::Borrowed(key)),
        }
    }

    /// What the user calls the entry of this key on disk, if it is one of this handle's.
    pub(super) fn own_key(&self, key: &Bytes) -> Option<Bytes> {
        match &self.prefix {
            Some(prefix) => key.starts_with(prefix).then(|| key.slice(prefix.len()..)),
            None => (!namespace::is_reserved(key)).then(|| key.clone()),
        }
    }

    /// The newest accepted value of exactly this key, or `None` (P1).
    ///
    /// Cancel safe: nothing is changed. What is in the page cache, or not written yet, is answered without leaving the
    /// caller's thread.
    ///
    /// # Errors
    /// `InvalidInput` for an empty or overlong key, `Closed` after `close`. A damaged record or a failed read is a
    /// miss, counted in [`Stats`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Hit>> {
        match self.engine.now() {
            Some(engine) => engine?.get(&self.key(key.as_ref())?).await,
            None => self.engine.miss(&self.key(key.as_ref())?, true),
        }
    }

    /// Whether [`DiskCache::get`] would find the key now; reads the record to be sure of the key, of a value in chunks the
    /// head alone.
    ///
    /// Cancel safe: nothing is changed.
    ///
    /// # Errors
    /// As `get`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        match self.engine.now() {
            Some(engine) => engine?.has(&self.key(key.as_ref())?).await,
            None => Ok(self.engine.miss(&self.key(key.as_ref())?, false)?.is_some()),
        }
    }

    /// Stores a value with the default options. Waits while the write pipeline is full.
    ///
    /// Cancel safe: the write is then either accepted, or has not begun and an older value stays.
    ///
    /// # Errors
    /// `InvalidInput` for a key, metadata or tags out of limits, `Closed` after `close`. A refused write is `Ok(Refused)`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn set(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<SetOutcome> {
        self.set_with(key, value, SetOptions::new()).await
    }

    /// Stores a value with options: time to live, metadata, tags, durability.
    ///
    /// Cancel safe as [`DiskCache::set`] is: an entry that was accepted stays, however durable it is by then.
    ///
    /// # Errors
    /// As [`DiskCache::set`]; `WriteFailed` if a `Written` or `Synced` write was lost to a failing disk.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn set_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        self.engine.wait().await?.set(&self.key(key.as_ref())?, value.into(), options, true).await
    }

    /// Replaces the metadata of the entry that is there; its value, its tags and its times stay. `None`: there is none. Of a
    /// value in chunks only the head is written again.
    ///
    /// Cancel safe as [`DiskCache::set`] is.
    ///
    /// # Errors
    /// As [`DiskCache::set_with`]; `InvalidInput` too if the metadata do not fit beside the entry's tags. A refused update is `Some(Refused)`, and the entry is gone.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn set_metadata(
        &self,
        key: impl AsRef<[u8]>,
        metadata: impl Into<Bytes>,
        durability: Durability,
    ) -> Result<Option<SetOutcome>> {
        self.engine.wait().await?.set_metadata(&self.key(key.as_ref())?, metadata.into(), durability).await
    }

    /// As [`DiskCache::set`], but `Refused { Busy }` instead of waiting. An older value of the key is then gone too
    /// (P2).
    ///
    /// Cancel safe as [`DiskCache::set`] is.
    ///
    /// # Errors
    /// As [`DiskCache::set`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn try_set(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<SetOutcome> {
        if self.engine.now().is_none()
            && let Some(refused) = self.engine.refuse(&self.key(key.as_ref())?)?
        {
            return Ok(refused);
        }
        self.engine.wait().await?.set(&self.key(key.as_ref())?, value.into(), SetOptions::new(), false).await
    }

    /// Removes the key, durably once this returns; whether there was an entry.
    ///
    /// Cancel safe: the key is then either removed, maybe not durably yet, or not.
    ///
    /// # Errors
    /// `InvalidInput`, `Closed`; `WriteFailed` if the disk failed: the key is gone now, but may return at restart.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.engine.wait().await?.delete(&self.key(key.as_ref())?).await
    }

    /// Removes every entry, durably once this returns.
    ///
    /// Cancel safe: either nothing is removed, or everything, and that is made durable in the background.
    ///
    /// # Errors
    /// `Io` if the manifest cannot be written: the entries are gone now, but may return at the next open. It is
    /// tried again in the background; until it succeeds no room is made.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn clear(&self) -> Result<()> {
        self.engine.wait().await?.clear().await
    }

    /// Removes every entry whose key begins with `prefix`, durably once this returns: at once and in constant time, however
    /// many there are. They are not served again, also after a crash; the room they take comes back as their segments go,
    /// and until then they count in [`Stats::entries`] unless a get meets them. What is set afterwards stays.
    ///
    /// A purge is remembered as long as what it covers may be on disk: 131,072 at most, and whoever makes more removes with
    /// it all that is as old as the older half of them.
    ///
    /// Cancel safe: either nothing is removed, or everything, and that is made durable in the background.
    ///
    /// # Errors
    /// `InvalidInput` for an empty or overlong prefix, or one with which keys in namespaces begin; `Closed`; `WriteFailed` if the disk failed: they are gone now, but may
    /// return at restart unless the disk recovers before, since it is tried again in the background.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn purge_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<()> {
        let prefix = prefix.as_ref();
        let is_empty = prefix.is_empty();
        let prefix = match &self.prefix {
            Some(own) if !is_empty => Cow::Owned([own, prefix].concat()),
            None if !is_empty && namespace::may_begin(prefix) => {
                return Err(Error::InvalidInput(
                    "keys in namespaces begin with this prefix; see `Namespace::purge_prefix`".into(),
                ));
            }
            _ => Cow::Borrowed(prefix),
        };
        self.engine.wait().await?.purge_prefix(&prefix).await
    }

    /// Removes every entry that was set with this tag ([`SetOptions::tags`]), as [`DiskCache::purge_prefix`] does. What is being
    /// fetched now, with whatever tags, is given to who waits for it and not stored. The format keeps 64 bits of a hash of each
    /// tag: of two tags that agree in them, which chance makes of one pair in 10^19, either removes what has the other too.
    ///
    /// Cancel safe as that is.
    ///
    /// # Errors
    /// `InvalidInput` for an empty or overlong tag, `Closed`; `WriteFailed` as there.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn purge_tag(&self, tag: impl AsRef<[u8]>) -> Result<()> {
        self.engine.wait().await?.purge_tag(tag.as_ref()).await
    }

    /// Removes every entry that was set more than `age` ago, as [`DiskCache::purge_prefix`] does.
    ///
    /// Cancel safe as that is.
    ///
    /// # Errors
    /// `Closed`; `WriteFailed` as there.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn purge_older_than(&self, age: std::time::Duration) -> Result<()> {
        self.engine.wait().await?.purge_older_than(age).await
    }

    /// Pins the entry of a key: eviction rewrites it before anything else, so that it stays while others go. Where the disk
    /// gives no room to rewrite it, it goes all the same (`pins_dropped` in [`Stats`]).
    ///
    /// The pin is the entry's, not the key's: it ends when the entry is replaced, deleted, purged, cleared or has expired
    /// ([`DiskCache::set_metadata`] keeps it), at [`DiskCache::unpin`], and with the process: pins are in memory, and who warms
    /// a cache after its start pins again. At most `pinned_bytes` of the configuration are pinned, chunks counted; a further
    /// pin is refused as [`PinOutcome::Full`].
    ///
    /// An entry that waits for its second use ([`AdmissionPolicy::SecondUse`]) is written to disk first.
    ///
    /// Cancel safe: the entry is then either pinned or not.
    ///
    /// # Errors
    /// As [`DiskCache::get`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn pin(&self, key: impl AsRef<[u8]>) -> Result<PinOutcome> {
        self.engine.wait().await?.pin(&self.key(key.as_ref())?).await
    }

    /// Ends the pin of a key's entry; whether there was one.
    ///
    /// Cancel safe: the pin has then either ended or not.
    ///
    /// # Errors
    /// As [`DiskCache::get`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn unpin(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.engine.wait().await?.unpin(&self.key(key.as_ref())?)
    }

    /// Everything accepted before is `Written` once this returns.
    ///
    /// Cancel safe: everything is still written, only nobody is told when.
    ///
    /// # Errors
    /// `WriteFailed` if some of it was lost to a failing disk, now or since the last `flush` or `sync`: each loss is told
    /// once, also where a write that waited for its durability told of it. What is lost is gone, and so is any older
    /// value of its key; another call is about the rest.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn flush(&self) -> Result<()> {
        self.engine.wait().await?.flush().await
    }

    /// Everything accepted before is `Synced` once this returns.
    ///
    /// Cancel safe: nothing is lost, but nothing is synced for its sake any more.
    ///
    /// # Errors
    /// As [`DiskCache::flush`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn sync(&self) -> Result<()> {
        self.engine.wait().await?.sync().await
    }

    /// Writes everything out, seals the open segments, stops the background work and unlocks the directory. Later
    /// calls on any handle give `Closed`. Closing twice does nothing; a second call at the same time waits for the first.
    ///
    /// Cancel safe: a dropped call may have closed a part, and the next one goes on from there.
    ///
    /// # Errors
    /// As [`DiskCache::flush`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn close(&self) -> Result<()> {
        self.engine.wait().await?.close().await
    }

    /// What is written to disk from now on. What is held already waits on for its second use.
    ///
    /// Cancel safe: nothing is changed, or all.
    ///
    /// # Errors
    /// `InvalidConfig`, `Closed`.
    pub async fn set_admission(&self, policy: AdmissionPolicy) -> Result<()> {
        self.engine.wait().await?.set_admission(policy)
    }

    /// What eviction drops from now on: key, reason, age and hits of each entry. Nothing waits for who listens, who may
    /// miss some ([`Evictions::missed`]). Costs nothing as long as nobody listens; then eviction reads what it drops.
    /// Waits for the indexing ([`DiskCache::ready`]).
    ///
    /// Cancel safe: nothing is changed.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn evictions(&self) -> Result<Evictions> {
        self.engine.wait().await?.evictions()
    }

    /// Waits until the segments are indexed: at once, unless that happens in the background
    /// ([`Builder::index_in_background`]).
    ///
    /// Cancel safe: nothing is changed.
    ///
    /// # Errors
    /// `OpenFailed` with what `open` would have given.
    pub async fn ready(&self) -> Result<()> {
        self.engine.wait().await.map(|_| ())
    }

    /// How far the indexing is.
    pub fn recovery_progress(&self) -> RecoveryProgress {
        self.engine.recovery_progress()
    }

    /// Statistics now.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// What the open found, kept and dropped; empty until the segments are indexed.
    pub fn recovery_report(&self) -> RecoveryReport {
        self.engine.recovery_report()
    }

    /// Which backend runs. Never `Auto`.
    pub fn backend(&self) -> BackendKind {
        self.engine.backend_kind()
    }
}

impl std::fmt::Debug for DiskCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskCache").field("backend", &self.backend()).finish_non_exhaustive()
    }
}

impl Cache for DiskCache {
    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(DiskCache::close(self))
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Hit>>> {
        Box::pin(DiskCache::get(self, key))
    }

    fn set<'a>(&'a self, key: &'a [u8], value: Bytes) -> BoxFuture<'a, Result<SetOutcome>> {
        Box::pin(DiskCache::set(self, key, value))
    }

    fn delete<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<bool>> {
        Box::pin(DiskCache::delete(self, key))
    }

    fn clear(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(DiskCache::clear(self))
    }

    fn stats(&self) -> Stats {
        self.engine.stats()
    }
}
