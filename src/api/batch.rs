//! Many keys with one call.

use bytes::Bytes;

use super::{DiskCache, Hit, Namespace, SetOptions, SetOutcome};
use crate::error::Result;

impl DiskCache {
    /// As [`DiskCache::get`] for each of these keys, in their order. Records that stand near each other are read together, and up
    /// to 64 reads wait for the disk at a time.
    ///
    /// Cancel safe: nothing is changed.
    ///
    /// # Errors
    /// `Closed`, `OpenFailed`; for each key as [`DiskCache::get`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Result<Option<Hit>>>> {
        let keys: Vec<K> = keys.into_iter().collect();
        let own = keys.iter().map(|key| self.key(key.as_ref()));
        match self.engine.now() {
            Some(engine) => engine?.get_many(own.collect()).await,
            None => Ok(own.map(|key| self.engine.miss(&key?, true)).collect()),
        }
    }

    /// As [`DiskCache::set_with`] for each of these keys and values, in their order, with the same options; waits for their
    /// durability together.
    ///
    /// Dropped before it is done, some may be accepted and the others not, each as [`DiskCache::set`] says.
    ///
    /// # Errors
    /// `Closed`, `OpenFailed`; for each key as [`DiskCache::set_with`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn set_many<K: AsRef<[u8]>, V: Into<Bytes>>(
        &self,
        items: impl IntoIterator<Item = (K, V)>,
        options: SetOptions,
    ) -> Result<Vec<Result<SetOutcome>>> {
        let items: Vec<(K, Bytes)> = items.into_iter().map(|(key, value)| (key, value.into())).collect();
        let own = items.iter().map(|(key, value)| (self.key(key.as_ref()), value.clone()));
        self.engine.wait().await?.set_many(own.collect(), &options).await
    }

    /// As [`DiskCache::delete`] for each of these keys, made durable together; how many there were. All are tried, whatever
    /// becomes of one.
    ///
    /// Dropped before it is done, some may be removed and the others not, each as [`DiskCache::delete`] says.
    ///
    /// # Errors
    /// `Closed`, `OpenFailed`; the first of what [`DiskCache::delete`] gives for the keys.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn delete_many<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Result<u64> {
        let keys: Vec<K> = keys.into_iter().collect();
        let own = keys.iter().map(|key| self.key(key.as_ref())).collect();
        let deleted = self.engine.wait().await?.delete_many(own).await?;
        deleted.into_iter().try_fold(0, |count, was_there| Ok(count + u64::from(was_there?)))
    }
}

impl Namespace {
    /// As [`DiskCache::get_many`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Result<Option<Hit>>>> {
        self.cache.get_many(keys).await
    }

    /// As [`DiskCache::set_many`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn set_many<K: AsRef<[u8]>, V: Into<Bytes>>(
        &self,
        items: impl IntoIterator<Item = (K, V)>,
        options: SetOptions,
    ) -> Result<Vec<Result<SetOutcome>>> {
        self.cache.set_many(items, options).await
    }

    /// As [`DiskCache::delete_many`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub async fn delete_many<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Result<u64> {
        self.cache.delete_many(keys).await
    }
}
