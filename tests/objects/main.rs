//! Large values from their user's side: streamed in and out, in parts, while they are written, through eviction, deletion,
//! a kill and a reopen.

#![allow(clippy::disallowed_methods, reason = "files are damaged behind the back of the library")]

#[path = "../common/mod.rs"]
mod common;

mod eviction;
mod following;
mod recovery;
mod streaming;

use std::path::Path;

use bytes::Bytes;
use esker::{BackendKind, Builder, Config, DiskCache, EntryReader, SetOptions, SetOutcome};

/// A value that differs at each position and from other values.
pub fn value(n: u64, len: usize) -> Bytes {
    let word = |at: u64| (at ^ n << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let words = (0..len.div_ceil(8) as u64).flat_map(|at| word(at).to_le_bytes());
    words.take(len).collect::<Vec<u8>>().into()
}

/// Segments of 256 KiB, chunks of 16 KiB.
pub fn small(dir: &Path) -> Builder {
    DiskCache::builder(dir).config(config())
}

/// Its settings.
pub fn config() -> Config {
    Config {
        capacity_bytes: 8 << 20,
        segment_len_bytes: Some(256 << 10),
        chunk_len_bytes: 16 << 10,
        backend: BackendKind::TokioFs,
        ..Config::default()
    }
}

/// Writes a value in pieces of this length.
pub async fn write(cache: &DiskCache, key: &str, value: &Bytes, piece_bytes: usize) -> SetOutcome {
    let mut writer = cache.writer(key, SetOptions::new()).await.unwrap();
    for piece in value.chunks(piece_bytes) {
        writer.write_bytes(value.slice_ref(piece)).await.unwrap();
    }
    writer.finish().await.unwrap()
}

/// All that a reader gives.
pub async fn read_all(reader: &mut EntryReader) -> esker::Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(bytes) = reader.next_bytes().await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

/// Handles go where tasks go.
const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<esker::EntryWriter>();
    is_send_and_sync::<EntryReader>();
};
