//! Values that go in and come out in one piece or piece by piece: what every harness proves of the one way, it proves of the
//! other.

use bytes::Bytes;
use esker::{
    DiskCache, Durability, EntryReader, EntryWriter, Error, Hit, Namespace, PinOutcome, SetOptions, SetOutcome,
};

/// Neither the chunks' length nor a divisor of it.
const PIECE_BYTES: usize = 1_500;

/// Where a key goes in and comes out: the cache, or a namespace of it.
#[derive(Debug, Clone)]
pub enum Door {
    /// A plain key.
    Plain(DiskCache),
    /// A key in a namespace.
    Named(Namespace),
}

impl From<&DiskCache> for Door {
    fn from(cache: &DiskCache) -> Self {
        Self::Plain(cache.clone())
    }
}

macro_rules! both {
    ($door:expr, $way:ident($($argument:expr),*)) => {
        match $door {
            Door::Plain(cache) => cache.$way($($argument),*).await,
            Door::Named(namespace) => namespace.$way($($argument),*).await,
        }
    };
}

impl Door {
    /// To the namespace of this name.
    ///
    /// # Errors
    /// The cache's.
    pub fn named(cache: &DiskCache, name: &str) -> esker::Result<Self> {
        cache.namespace(name).map(Self::Named)
    }

    async fn get(&self, key: &[u8]) -> esker::Result<Option<Hit>> {
        both!(self, get(key))
    }

    /// The values of keys.
    ///
    /// # Errors
    /// The cache's.
    pub async fn get_many(&self, keys: Vec<Vec<u8>>) -> esker::Result<Vec<esker::Result<Option<Hit>>>> {
        both!(self, get_many(keys))
    }

    async fn reader(&self, key: &[u8]) -> esker::Result<Option<EntryReader>> {
        both!(self, reader(key))
    }

    /// A writer.
    ///
    /// # Errors
    /// The cache's.
    pub async fn writer(&self, key: &[u8], options: SetOptions) -> esker::Result<EntryWriter> {
        both!(self, writer(key, options))
    }

    /// A set.
    ///
    /// # Errors
    /// The cache's.
    pub async fn set_with(&self, key: &[u8], value: Bytes, options: SetOptions) -> esker::Result<SetOutcome> {
        both!(self, set_with(key, value, options))
    }

    /// New metadata.
    ///
    /// # Errors
    /// The cache's.
    pub async fn set_metadata(
        &self,
        key: &[u8],
        metadata: Vec<u8>,
        durability: Durability,
    ) -> esker::Result<Option<SetOutcome>> {
        both!(self, set_metadata(key, metadata, durability))
    }

    /// A pin.
    ///
    /// # Errors
    /// The cache's.
    pub async fn pin(&self, key: &[u8]) -> esker::Result<PinOutcome> {
        both!(self, pin(key))
    }

    /// The end of a pin.
    ///
    /// # Errors
    /// The cache's.
    pub async fn unpin(&self, key: &[u8]) -> esker::Result<bool> {
        both!(self, unpin(key))
    }

    /// A delete.
    ///
    /// # Errors
    /// The cache's.
    pub async fn delete(&self, key: &[u8]) -> esker::Result<bool> {
        both!(self, delete(key))
    }

    /// A purge of a prefix; of the empty one, of a whole namespace.
    ///
    /// # Errors
    /// The cache's.
    pub async fn purge(&self, prefix: &[u8]) -> esker::Result<()> {
        match self {
            Self::Named(namespace) if prefix.is_empty() => namespace.purge().await,
            _ => both!(self, purge_prefix(prefix)),
        }
    }
}

/// Stores a value in pieces.
///
/// # Errors
/// The writer's.
pub async fn stream(door: impl Into<Door>, key: &[u8], value: Bytes, options: SetOptions) -> esker::Result<SetOutcome> {
    let mut writer = door.into().writer(key, options).await?;
    for piece in value.chunks(PIECE_BYTES) {
        writer.write_bytes(value.slice_ref(piece)).await?;
    }
    writer.finish().await
}

/// Stores a value: every third version in pieces.
///
/// # Errors
/// The cache's.
pub async fn put(
    door: impl Into<Door>,
    key: &[u8],
    version: u32,
    value: Vec<u8>,
    options: SetOptions,
) -> esker::Result<SetOutcome> {
    if version.is_multiple_of(3) {
        stream(door, key, value.into(), options).await
    } else {
        door.into().set_with(key, value.into(), options).await
    }
}

/// Value and metadata of a key: of one with an even number piece by piece.
///
/// # Errors
/// The cache's; and a clean end before the end.
pub async fn take(door: impl Into<Door>, n: u32, key: &[u8]) -> Result<Option<(Vec<u8>, Bytes)>, String> {
    let door = door.into();
    if !n.is_multiple_of(2) {
        let hit = door.get(key).await.map_err(|e| format!("get: {e}"))?;
        return Ok(hit.map(|hit| (hit.value().to_vec(), hit.metadata().clone())));
    }
    let reader = door.reader(key).await.map_err(|e| format!("reader: {e}"))?;
    let Some(mut reader) = reader else { return Ok(None) };
    let mut value = Vec::new();
    loop {
        match reader.next_bytes().await {
            Ok(Some(bytes)) => value.extend_from_slice(&bytes),
            Ok(None) if reader.len_bytes() == Some(value.len() as u64) => {
                return Ok(Some((value, reader.metadata().clone())));
            }
            Ok(None) => return Err(format!("a clean end after {} bytes of {reader:?}", value.len())),
            // What a get would call a miss.
            Err(Error::Evicted | Error::Damaged | Error::WriteFailed | Error::Io { .. }) => return Ok(None),
            Err(other) => return Err(other.to_string()),
        }
    }
}
