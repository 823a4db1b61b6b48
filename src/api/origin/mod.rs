//! A cache in front of the place where its values come from.

mod back;
mod turns;
mod write;

use std::sync::Arc;

use bytes::Bytes;

use super::{BoxFuture, DiskCache, FetchOptions, Fetched, Hit, SetOptions, SetOutcome};
use crate::error::{BoxError, Error, Result};
use back::Back;
pub use back::WriteBack;
use turns::Turns;
use write::Change;

/// Where the values of a cache come from and go to: a database, an object store, a service.
///
/// What each method returns is boxed, and so is its error, which is the origin's own: `downcast_ref` tells which it is.
/// Each should have a time limit: as long as it takes, whoever wants the same key waits. A `store` or a `remove` that gave an
/// error must not take effect later on its own: the next write of the key would be lost under it. None may ask the
/// [`OriginCache`] that it is the origin of for the key that it was called for: it would wait for itself.
pub trait Origin: Send + Sync + 'static {
    /// The value of a key, and how it is to be cached; `None` if there is none.
    ///
    /// # Errors
    /// The origin's own. Nothing is cached.
    fn load<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Fetched>, BoxError>>;

    /// Takes a value. Once this returns, `load` gives it. May be asked more than once for the same value.
    ///
    /// # Errors
    /// The origin's own.
    fn store<'a>(&'a self, key: &'a [u8], value: Bytes, metadata: Bytes) -> BoxFuture<'a, Result<(), BoxError>>;

    /// Forgets a key; that there is none is no error.
    ///
    /// # Errors
    /// The origin's own.
    fn remove<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<(), BoxError>>;
}

/// What a write does to the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteMode {
    /// The origin takes it, and the cache forgets what it had: the next get loads it. For what is written more often than
    /// it is read.
    Around,
    /// The origin takes it, then the cache.
    Through,
}

/// A cache and its origin: what is not in the cache is loaded, what is written goes to the origin. A handle: clones share
/// one cache, and wait for each other. Made by [`DiskCache::with_origin`].
///
/// **The cache is never ahead of the origin, and never behind it.** A write first forgets what the cache has of the key,
/// durably; then the origin takes it; then, in mode [`WriteMode::Through`], the cache. So whatever happens between, a crash
/// included, no get shows a value that the origin refused, nor one older than what it took. The price: a write of a key that
/// is cached waits for one sync of the disk, which many writers share.
///
/// **One write a key at a time.** Writes of one key reach the origin in their order. A get that misses while its key is being
/// written waits for that write.
///
/// **What is written past the handle** (with the [`DiskCache`] itself, at the origin, or with another handle of the same
/// cache) it does not know of: then the cache may be behind the origin until the entry expires or is deleted.
///
/// ```no_run
/// use std::sync::Arc;
/// use bytes::Bytes;
/// use esker::{BoxError, BoxFuture, DiskCache, FetchOptions, Fetched, Origin, WriteMode};
/// # #[derive(Clone)] struct Client;
/// # impl Client {
/// #     async fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, std::io::Error> { Ok(None) }
/// #     async fn write(&self, key: &[u8], value: Bytes) -> Result<(), std::io::Error> { Ok(()) }
/// #     async fn erase(&self, key: &[u8]) -> Result<(), std::io::Error> { Ok(()) }
/// # }
///
/// struct Database(Client);
///
/// impl Origin for Database {
///     fn load<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Fetched>, BoxError>> {
///         Box::pin(async move { Ok(self.0.read(key).await?.map(Fetched::new)) })
///     }
///     fn store<'a>(&'a self, key: &'a [u8], value: Bytes, _: Bytes) -> BoxFuture<'a, Result<(), BoxError>> {
///         Box::pin(async move { Ok(self.0.write(key, value).await?) })
///     }
///     fn remove<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<(), BoxError>> {
///         Box::pin(async move { Ok(self.0.erase(key).await?) })
///     }
/// }
///
/// # async fn example(cache: DiskCache, client: Client) -> Result<(), esker::Error> {
/// let users = cache.with_origin(Arc::new(Database(client)), WriteMode::Through, FetchOptions::new());
/// users.set("ada", "lovelace").await?;
/// let hit = users.get("ada").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct OriginCache {
    shared: Arc<Shared>,
}

/// What a write does.
enum Mode {
    Forward(WriteMode),
    Back(Back),
}

struct Shared {
    cache: DiskCache,
    origin: Arc<dyn Origin>,
    mode: Mode,
    fetch: FetchOptions,
    /// Of writing a key.
    turns: Arc<Turns>,
    /// Of bringing a key to the origin: who writes one waits for that only where the origin is asked.
    stores: Arc<Turns>,
}

/// The origin has no value of a key: for those who share the load, and for who remembers it.
#[derive(Debug, thiserror::Error)]
#[error("the origin has no such key")]
struct Absent;

impl DiskCache {
    /// This cache in front of an origin. `fetch` says whether failed loads are remembered, and with them that the origin has
    /// no value of a key ([`FetchOptions::negative_ttl`]).
    pub fn with_origin(&self, origin: Arc<dyn Origin>, mode: WriteMode, fetch: FetchOptions) -> OriginCache {
        OriginCache::new(self, origin, Mode::Forward(mode), fetch)
    }
}

impl OriginCache {
    fn new(cache: &DiskCache, origin: Arc<dyn Origin>, mode: Mode, fetch: FetchOptions) -> Self {
        let (turns, stores) = Default::default();
        let shared = Shared { cache: cache.clone(), origin, mode, fetch, turns, stores };
        Self { shared: Arc::new(shared) }
    }

    /// The cache.
    pub fn cache(&self) -> &DiskCache {
        &self.shared.cache
    }

    /// The value of a key: the cache's, or the origin's, which is loaded once for all who ask, and stored unless the key is
    /// written meanwhile (see [`DiskCache::get_or_fetch`]). `None` if the origin has none; in the statistics that counts as a
    /// fetch that failed.
    ///
    /// Cancel safe as [`DiskCache::get_or_fetch`] is.
    ///
    /// # Errors
    /// `Fetch` with the origin's error; else as [`DiskCache::get`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Hit>> {
        let (shared, key) = (&self.shared, key.as_ref());
        if let Mode::Back(_) = shared.mode {
            // Until the index is there every get is a miss, and the origin may have less than the cache.
            shared.cache.engine.wait().await?;
        }
        let load = || async {
            // Now that the flight is known: a write that begins later outdates it, one that has begun is waited for.
            shared.turns.passed(key).await;
            shared.origin.load(key).await.and_then(|loaded| loaded.ok_or_else(|| Absent.into()))
        };
        match shared.cache.get_or_fetch(key, shared.fetch, load).await {
            Err(Error::Fetch(error)) if error.is::<Absent>() => Ok(None),
            got => got.map(Some),
        }
    }

    /// Writes a value with the default options; see [`OriginCache::set_with`].
    ///
    /// # Errors
    /// As [`OriginCache::set_with`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn set(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<Option<SetOutcome>> {
        self.set_with(key, value, SetOptions::new()).await
    }

    /// Writes a value. Once this is `Ok` the origin has it; what the cache made of it, or `None` if it was not asked
    /// ([`WriteMode::Around`]): if the cache refused it, or lost it to a failing disk, the next get loads it. The origin gets
    /// the metadata too; the time to live and the durability are the cache's alone.
    ///
    /// Cancel safe: a write that has begun is done to its end, in the background, before the next one of its key.
    ///
    /// # Errors
    /// `Origin` with the origin's error: the cache has nothing of the key, and the next get asks the origin what it has.
    /// `WriteFailed` if the disk failed and what was cached cannot be forgotten durably: the origin was not asked. `InvalidInput` and
    /// `Closed` as [`DiskCache::set_with`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn set_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        options: SetOptions,
    ) -> Result<Option<SetOutcome>> {
        self.change(key.as_ref(), Change::Set(value.into(), options)).await
    }

    /// Removes a key from the cache and from the origin.
    ///
    /// Cancel safe as [`OriginCache::set_with`] is.
    ///
    /// # Errors
    /// As [`OriginCache::set_with`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.change(key.as_ref(), Change::Delete).await.map(drop)
    }
}

impl std::fmt::Debug for OriginCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mode: &dyn std::fmt::Debug = match &self.shared.mode {
            Mode::Forward(mode) => mode,
            Mode::Back(_) => &"Back",
        };
        f.debug_struct("OriginCache").field("mode", mode).finish_non_exhaustive()
    }
}
