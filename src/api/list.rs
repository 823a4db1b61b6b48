//! What is in the cache, without the values.

use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;

use super::{BoxFuture, DiskCache, EntryStats, Namespace};
use crate::engine::{Listed, Listing};
use crate::error::Result;

impl DiskCache {
    /// What is known of a key's entry; `None` if a get would miss. The beginning of its record is read, never the value, so
    /// that damage to the value does not show. Leaves no trace in the statistics that eviction uses.
    ///
    /// Cancel safe: nothing is changed.
    ///
    /// # Errors
    /// As [`DiskCache::get`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn entry_stats(&self, key: impl AsRef<[u8]>) -> Result<Option<EntryStats>> {
        self.engine.wait().await?.entry_stats(&self.key(key.as_ref())?).await
    }

    /// As [`DiskCache::entry_stats`] for each of these keys; those that have no entry are not in the map.
    ///
    /// Cancel safe: nothing is changed.
    ///
    /// # Errors
    /// As [`DiskCache::get`], for the first key that has one.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn entry_stats_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<HashMap<Bytes, EntryStats>> {
        let engine = self.engine.wait().await?;
        let mut all = HashMap::new();
        for key in keys.into_iter().collect::<Vec<K>>() {
            if let Some(stats) = engine.entry_stats(&self.key(key.as_ref())?).await? {
                all.insert(Bytes::copy_from_slice(key.as_ref()), stats);
            }
        }
        Ok(all)
    }

    /// The entries whose keys begin with `prefix`, in no particular order. Those of namespaces have keys of their own:
    /// [`Namespace::entries`].
    ///
    /// It is steady while the cache works: an entry that is there all the time, unchanged, is listed once, wherever eviction moves
    /// it; one that comes or goes meanwhile is listed or not. What is held in memory (`AdmissionPolicy::SecondUse`) is not listed. It takes
    /// up to 2 MiB, or 32 bytes for each entry of a shard of the index if that is more.
    ///
    /// # Errors
    /// `Closed`, `OpenFailed`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn entries(&self, prefix: impl AsRef<[u8]>) -> Result<Entries> {
        // Empty, it would be the beginning of keys in namespaces too.
        let own = [self.prefix.as_deref().unwrap_or_default(), prefix.as_ref()].concat();
        let listing = self.engine.wait().await?.list(own.into());
        Ok(Entries { cache: self.clone(), state: State::Idle(Box::new(listing)) })
    }

    /// The keys of [`DiskCache::entries`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn keys(&self, prefix: impl AsRef<[u8]>) -> Result<Keys> {
        Ok(Keys(self.entries(prefix).await?))
    }
}

impl Namespace {
    /// As [`DiskCache::entry_stats`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn entry_stats(&self, key: impl AsRef<[u8]>) -> Result<Option<EntryStats>> {
        self.cache.entry_stats(key).await
    }

    /// As [`DiskCache::entries`], of this namespace.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn entries(&self, prefix: impl AsRef<[u8]>) -> Result<Entries> {
        self.cache.entries(prefix).await
    }

    /// As [`DiskCache::keys`], of this namespace.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn keys(&self, prefix: impl AsRef<[u8]>) -> Result<Keys> {
        self.cache.keys(prefix).await
    }
}

/// An entry of a list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListedEntry {
    /// Its key.
    pub key: Bytes,
    /// What is known of it.
    pub stats: EntryStats,
}

/// The entries of a cache, or of a part of it: see [`DiskCache::entries`]. An error ends it.
pub struct Entries {
    cache: DiskCache,
    state: State,
}

type Next = (Box<Listing>, Result<Option<Listed>>);

enum State {
    Idle(Box<Listing>),
    Reading(BoxFuture<'static, Next>),
    Over,
}

impl Entries {
    /// The next entry; `None` at the end.
    ///
    /// Cancel safe: what a dropped call would have given, the next one gives.
    ///
    /// # Errors
    /// `Closed`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn next_entry(&mut self) -> Result<Option<ListedEntry>> {
        std::future::poll_fn(|cx| self.poll_entry(cx)).await
    }

    fn poll_entry(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<ListedEntry>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Idle(mut listing) => {
                    self.state = State::Reading(Box::pin(async move {
                        let next = listing.next().await;
                        (listing, next)
                    }));
                }
                State::Reading(mut reading) => {
                    let Poll::Ready((listing, next)) = reading.as_mut().poll(cx) else {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    let Some(Listed { key, stats }) = next? else { return Poll::Ready(Ok(None)) };
                    self.state = State::Idle(listing);
                    if let Some(key) = self.cache.own_key(&key) {
                        return Poll::Ready(Ok(Some(ListedEntry { key, stats })));
                    }
                }
                State::Over => return Poll::Ready(Ok(None)),
            }
        }
    }
}

impl Stream for Entries {
    type Item = Result<ListedEntry>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_entry(cx).map(Result::transpose)
    }
}

impl std::fmt::Debug for Entries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entries").finish_non_exhaustive()
    }
}

/// The keys of a cache, or of a part of it: see [`DiskCache::keys`]. An error ends it.
#[derive(Debug)]
pub struct Keys(Entries);

impl Keys {
    /// The next key; `None` at the end.
    ///
    /// Cancel safe: what a dropped call would have given, the next one gives.
    ///
    /// # Errors
    /// As [`Entries::next_entry`].
    ///
    /// # Panics
    /// As there.
    pub async fn next_key(&mut self) -> Result<Option<Bytes>> {
        Ok(self.0.next_entry().await?.map(|entry| entry.key))
    }
}

impl Stream for Keys {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let entry = ready!(self.0.poll_entry(cx)).transpose();
        Poll::Ready(entry.map(|entry| entry.map(|entry| entry.key)))
    }
}
