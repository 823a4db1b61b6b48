//! Values that go in and come out in one piece or piece by piece: what every harness proves of the one way, it proves of the
//! other.

use bytes::Bytes;
use esker::{DiskCache, Error, SetOptions, SetOutcome};

/// Neither the chunks' length nor a divisor of it.
const PIECE_BYTES: usize = 1_500;

/// Stores a value in pieces.
///
/// # Errors
/// The writer's.
pub async fn stream(cache: &DiskCache, key: &[u8], value: Bytes, options: SetOptions) -> esker::Result<SetOutcome> {
    let mut writer = cache.writer(key, options).await?;
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
    cache: &DiskCache,
    key: &[u8],
    version: u32,
    value: Vec<u8>,
    options: SetOptions,
) -> esker::Result<SetOutcome> {
    if version.is_multiple_of(3) {
        stream(cache, key, value.into(), options).await
    } else {
        cache.set_with(key, value, options).await
    }
}

/// Value and metadata of a key: of one with an even number piece by piece.
///
/// # Errors
/// The cache's; and a clean end before the end.
pub async fn take(cache: &DiskCache, n: u32, key: &[u8]) -> Result<Option<(Vec<u8>, Bytes)>, String> {
    if !n.is_multiple_of(2) {
        let hit = cache.get(key).await.map_err(|e| format!("get: {e}"))?;
        return Ok(hit.map(|hit| (hit.value().to_vec(), hit.metadata().clone())));
    }
    let reader = cache.reader(key).await.map_err(|e| format!("reader: {e}"))?;
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
