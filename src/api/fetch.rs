//! Getting what may not be there yet.

use std::future::Future;
use std::time::Duration;

use super::{DiskCache, FetchOptions, Fetched, Hit};
use crate::error::{BoxError, Result};

impl DiskCache {
    /// The entry, or what `fetch` gives, which is then stored.
    ///
    /// **One flight a key.** Of all calls for a key that is not there, over all handles of the cache, one fetches, in its own
    /// task; the others wait for it and get the same bytes, not copied, or the same error ([`Error::Fetch`](crate::Error::Fetch)).
    /// What comes of the others' `fetch` is nothing: it is dropped without being called. They need not wait until the value
    /// is stored.
    ///
    /// **Nothing older is stored over anything newer.** If the key is set, deleted, purged by its prefix or given new metadata,
    /// or the cache cleared, or anything purged by a tag, after the fetch began, the fetched value is given to those who asked before that, and is not
    /// stored. Who asks afterwards does not join that flight.
    ///
    /// **The value counts, not the cache.** If it is not stored, since the disk is full, say, the call is a success all the
    /// same: `fetches_unstored` in [`Stats`](crate::Stats) counts it. As after any refused write an older value of the
    /// key is then gone.
    ///
    /// Errors are not cached, unless [`FetchOptions::negative_ttl`] says so. A fetch should have a time limit, since as long as
    /// it takes all wait; and it must not ask for its own key: it would wait for itself. Waits until the segments are indexed, if that happens in the background.
    ///
    /// ```no_run
    /// # async fn example(cache: esker::DiskCache) -> Result<(), esker::Error> {
    /// use std::time::Duration;
    /// use esker::{FetchOptions, Fetched, SetOptions};
    ///
    /// let hit = cache.get_or_fetch(b"key", FetchOptions::new(), || async {
    ///     let body = std::future::ready(b"from the origin".to_vec()).await;
    ///     Ok::<_, std::io::Error>(Fetched::new(body).options(SetOptions::new().ttl(Duration::from_secs(60))))
    /// }).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cancel safe: a call that is dropped while it fetches hands over to one of those who wait, who then makes its own fetch;
    /// none of them fails for it. Dropped later, the value is then an entry or not.
    ///
    /// # Errors
    /// `Fetch` with the error of the fetch, this call's or the one that it waited for, or with `InvalidInput` if the
    /// fetched metadata or tags are out of limits; `InvalidInput` for an empty or overlong key; `Closed` after `close`.
    ///
    /// # Panics
    /// Outside of a tokio runtime; and if `fetch` panics, which hands over as a dropped call does.
    pub async fn get_or_fetch<F, Fut, E>(&self, key: impl AsRef<[u8]>, options: FetchOptions, fetch: F) -> Result<Hit>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = std::result::Result<Fetched, E>> + Send,
        E: Into<BoxError>,
    {
        let engine = self.engine.wait().await?;
        let key = self.key(key.as_ref())?;
        let wanted = engine.wanted(&key, options, Duration::ZERO)?;
        engine.get_or_fetch(&wanted, |hit| Ok(hit.clone()), fetch).await
    }

    /// As [`DiskCache::get_or_fetch`], but an entry is served for `stale_for` beyond its time to live, while it is fetched anew
    /// in the background (stale while revalidate).
    ///
    /// What is fetched here, in the foreground or in the background, expires `stale_for` after its time to live
    /// ([`SetOptions::ttl`](crate::SetOptions::ttl), or the cache's default); without one it never does, and is never stale.
    /// An entry that has at least `stale_for` to live is given as it is. One that has less is given at once too, and one
    /// background task fetches it anew, unless a fetch of its key is going on or has failed and is remembered. An entry that
    /// has expired altogether is a miss: the call waits for a fetch.
    ///
    /// So it does not matter how an entry came to be: one that was stored by `set` counts as stale for the last `stale_for`
    /// of its life. `get`, and `get_or_fetch`, serve an entry until it expires, and do not know of `stale_for`.
    ///
    /// An error of a background fetch is seen by nobody but those who came to wait for it; it is logged, and counted as
    /// `fetches_failed`. Until the entry has expired the next call tries again; after that long only with
    /// [`FetchOptions::negative_ttl`].
    ///
    /// Cancel safe as `get_or_fetch` is; a fetch in the background goes on. It does not keep a cache open that nobody holds
    /// any more; what it gives is then dropped.
    ///
    /// # Errors
    /// As [`DiskCache::get_or_fetch`].
    ///
    /// # Panics
    /// As [`DiskCache::get_or_fetch`]; but a `fetch` that panics in the background ends its own task alone.
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
        let engine = self.engine.wait().await?;
        let key = self.key(key.as_ref())?;
        let wanted = engine.wanted(&key, options, stale_for)?;
        match engine.get_stale(&wanted).await? {
            Some((hit, is_stale)) => {
                if is_stale {
                    engine.refresh(&wanted, fetch);
                }
                Ok(hit)
            }
            None => engine.fetch_missing(&wanted, |hit| Ok(hit.clone()), fetch).await,
        }
    }
}
