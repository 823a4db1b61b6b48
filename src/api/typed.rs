//! A view of a cache in which keys and values have a type.

use std::any::type_name;
use std::future::Future;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{DiskCache, FetchOptions, Fetched, Hit, SetOptions, SetOutcome};
use crate::codec::{Bincode, Codec};
use crate::error::{BoxError, Error, Result};

/// A part of a cache whose keys are of the type `K` and whose values of the type `V`, turned into bytes by a codec.
///
/// A view has a **name**, which all its keys begin with on disk (the name, a zero byte, the encoded key). So several views
/// share a cache and its capacity, and do not see each other's entries. Two views of one name are one view: give the name
/// a number, and the next one when `K` or `V` changes, or the codec.
///
/// **An entry that does not decode is a miss.** It was written when the type was another one, and a cache may forget: the next
/// `set`, or the fetch of `get_or_fetch`, replaces it. An error would fail each get until the entry expires, though nothing is
/// wrong but its age. Each is counted, as `hits_undecoded` in [`Stats`](crate::Stats): a count that does not come to rest
/// after a new version was rolled out says that something is. A codec that does not describe its types, as [`Bincode`], may
/// take the bytes of one type for a value of another, which nothing can notice: that is what the number in the name is for.
///
/// ```no_run
/// # use esker::{Codec, BoxError};
/// # #[derive(Clone)] struct Json;
/// # impl Codec for Json {
/// #     fn encode<T: serde::Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, BoxError> { Ok(serde_json::to_vec(value)?) }
/// #     fn decode<T: serde::de::DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, BoxError> { Ok(serde_json::from_slice(bytes)?) }
/// # }
/// # async fn example(cache: esker::DiskCache) -> Result<(), esker::Error> {
/// use esker::{FetchOptions, SetOptions, Typed};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct User { name: String }
///
/// // `Typed::new(cache, "users 1")` takes the codec `Bincode` (feature `bincode`).
/// let users: Typed<u64, User, _> = Typed::with_codec(cache, "users 1", Json)?;
/// users.set(&7, &User { name: "Ada".into() }).await?;
/// let ada: Option<User> = users.get(&7).await?;
/// let eve: User = users.get_or_fetch(&8, FetchOptions::new(), || async {
///     Ok::<_, std::io::Error>((User { name: "Eve".into() }, SetOptions::new()))
/// }).await?;
/// # Ok(())
/// # }
/// ```
pub struct Typed<K: ?Sized, V, C = Bincode> {
    cache: DiskCache,
    name: Bytes,
    codec: C,
    types: PhantomData<fn(&K) -> V>,
}

#[cfg(feature = "bincode")]
impl<K: Serialize + ?Sized, V> Typed<K, V> {
    /// The view of this name, with the codec [`Bincode`].
    ///
    /// # Errors
    /// `InvalidInput` for a name that is empty or has a zero byte.
    pub fn new(cache: DiskCache, name: &str) -> Result<Self> {
        Self::with_codec(cache, name, Bincode)
    }
}

impl<K: Serialize + ?Sized, V, C: Codec> Typed<K, V, C> {
    /// The view of this name, with a codec of one's own.
    ///
    /// # Errors
    /// `InvalidInput` for a name that is empty or has a zero byte.
    pub fn with_codec(cache: DiskCache, name: &str, codec: C) -> Result<Self> {
        if name.is_empty() || name.contains('\0') {
            return Err(Error::InvalidInput("the view's name is empty or has a zero byte; take a word".into()));
        }
        Ok(Self { cache, name: Bytes::copy_from_slice(name.as_bytes()), codec, types: PhantomData })
    }

    /// The cache that this is a view of.
    pub fn cache(&self) -> &DiskCache {
        &self.cache
    }

    /// The newest accepted value of this key, or `None`, also if what is there does not decode.
    ///
    /// Cancel safe: nothing is changed.
    ///
    /// # Errors
    /// `Codec` if the key cannot be encoded; else as [`DiskCache::get`].
    ///
    /// # Panics
    /// Outside of a tokio runtime; and if the codec does.
    pub async fn get(&self, key: &K) -> Result<Option<V>>
    where
        V: DeserializeOwned,
    {
        let hit = self.cache.get(self.key(key)?).await?;
        Ok(hit.and_then(|hit| self.cache.engine.readable(&hit, |hit| self.decode(hit))))
    }

    /// Stores a value with the default options.
    ///
    /// Cancel safe as [`DiskCache::set`] is.
    ///
    /// # Errors
    /// `Codec` if key or value cannot be encoded: an older value stays; else as [`DiskCache::set`].
    ///
    /// # Panics
    /// Outside of a tokio runtime; and if the codec does.
    pub async fn set(&self, key: &K, value: &V) -> Result<SetOutcome>
    where
        V: Serialize,
    {
        self.set_with(key, value, SetOptions::new()).await
    }

    /// Stores a value with options: time to live, metadata, tags, durability.
    ///
    /// Cancel safe as [`DiskCache::set_with`] is.
    ///
    /// # Errors
    /// `Codec` if key or value cannot be encoded: an older value stays; else as [`DiskCache::set_with`].
    ///
    /// # Panics
    /// Outside of a tokio runtime; and if the codec does.
    pub async fn set_with(&self, key: &K, value: &V, options: SetOptions) -> Result<SetOutcome>
    where
        V: Serialize,
    {
        // Not in the future: so that it is `Send` whatever the value is.
        let (key, value) = (self.key(key)?, self.encode(value)?);
        self.cache.set_with(key, value, options).await
    }

    /// Removes the key, durably once this returns; whether there was an entry.
    ///
    /// Cancel safe as [`DiskCache::delete`] is.
    ///
    /// # Errors
    /// `Codec` if the key cannot be encoded; else as [`DiskCache::delete`].
    ///
    /// # Panics
    /// Outside of a tokio runtime; and if the codec does.
    pub async fn delete(&self, key: &K) -> Result<bool> {
        self.cache.delete(self.key(key)?).await
    }

    /// The value of this key, or what `fetch` gives, which is then stored as the options beside it say: see
    /// [`DiskCache::get_or_fetch`]. Whoever waits for a fetch decodes its bytes; so does who fetched, so that all get the same.
    ///
    /// Cancel safe as [`DiskCache::get_or_fetch`] is.
    ///
    /// # Errors
    /// `Codec` if the key cannot be encoded, or if what was just encoded does not decode; `Fetch` with the error of the fetch,
    /// or with a `Codec` error if its value cannot be encoded; else as [`DiskCache::get_or_fetch`].
    ///
    /// # Panics
    /// As [`DiskCache::get_or_fetch`]; and if the codec does.
    pub async fn get_or_fetch<F, Fut, E>(&self, key: &K, options: FetchOptions, fetch: F) -> Result<V>
    where
        V: Serialize + DeserializeOwned,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = std::result::Result<(V, SetOptions), E>> + Send,
        E: Into<BoxError>,
    {
        let key = self.key(key)?;
        let fetch = || async {
            let (value, options) = fetch().await.map_err(Into::into)?;
            Ok::<_, BoxError>(Fetched::new(self.encode(&value)?).options(options))
        };
        let engine = self.cache.engine.wait().await?;
        let wanted = engine.wanted(&key, options, std::time::Duration::ZERO)?;
        engine.get_or_fetch(&wanted, |hit| self.decode(hit), fetch).await
    }

    fn key(&self, key: &K) -> Result<Vec<u8>> {
        let encoded = self.codec.encode(key).map_err(codec::<K>("encode"))?;
        Ok([&self.name[..], b"\0", &encoded].concat())
    }

    fn encode(&self, value: &V) -> Result<Vec<u8>>
    where
        V: Serialize,
    {
        self.codec.encode(value).map_err(codec::<V>("encode"))
    }

    fn decode(&self, hit: &Hit) -> Result<V>
    where
        V: DeserializeOwned,
    {
        self.codec.decode(&hit.value).map_err(codec::<V>("decode"))
    }
}

fn codec<T: ?Sized>(op: &'static str) -> impl FnOnce(BoxError) -> Error {
    move |source| Error::Codec { op, what: type_name::<T>(), source }
}

impl<K: ?Sized, V, C: Clone> Clone for Typed<K, V, C> {
    fn clone(&self) -> Self {
        let (cache, name, codec) = (self.cache.clone(), self.name.clone(), self.codec.clone());
        Self { cache, name, codec, types: PhantomData }
    }
}

impl<K: ?Sized, V, C> std::fmt::Debug for Typed<K, V, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Typed").field("name", &self.name).finish_non_exhaustive()
    }
}
