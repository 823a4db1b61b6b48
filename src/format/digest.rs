//! What the index works on.

use sha2::{Digest as _, Sha256};

use super::bytes::uint;
use crate::types::Digest;

/// The first eight bytes, little-endian, of SHA-256 over the directory's seed and the key. Who does not know the seed
/// cannot choose keys that collide; collisions by chance are told apart by the full key.
pub fn digest(seed: &[u8; 16], key: &[u8]) -> Digest {
    let hash = Sha256::new().chain_update(seed).chain_update(key).finalize();
    Digest(uint::<8>(&hash, 0))
}

/// Before a tag's text; the same byte says in the key of a purge that a tag follows.
const TAG_DOMAIN: u8 = 3;

/// A tag as the format knows it: the first eight bytes, little-endian, of SHA-256 over the directory's seed, a byte 3 and
/// the tag's text.
pub fn tag_digest(seed: &[u8; 16], text: &[u8]) -> Digest {
    let hash = Sha256::new().chain_update(seed).chain_update([TAG_DOMAIN]).chain_update(text).finalize();
    Digest(uint::<8>(&hash, 0))
}
