//! Under which key an entry is in the cache.

use pingora_cache::CacheKey;
use pingora_cache::key::{CacheHashKey, HashBinary, hash_key};

/// The hash of primary key and variance: all that a purge is told. The user tag is no part of it, as in pingora's own
/// storage.
pub(crate) type EntryKey = HashBinary;

pub(crate) fn entry_key(key: &impl CacheHashKey) -> EntryKey {
    key.combined_bin()
}

/// Whether an entry found under the hash of `key` is that of `key`. A primary key other than the one asked for is only right
/// if the user gave the hash (`CacheKey::set_primary_bin_override`).
pub(crate) fn is_of(key: &CacheKey, primary: &[u8]) -> bool {
    key.primary_key() == primary || hash_key(key.primary_key()) != key.primary_bin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_primary_key_is_right_only_under_a_hash_that_was_given() {
        let mut key = CacheKey::new("a", "");
        assert!(is_of(&key, b"a"));
        assert!(!is_of(&key, b"b"));
        key.set_primary_bin_override([1; 16]);
        assert!(is_of(&key, b"b"));
    }

    #[test]
    fn variance_is_part_of_it_and_the_user_tag_is_not() {
        let mut key = CacheKey::new("a", "tag");
        assert_eq!(entry_key(&key), entry_key(&CacheKey::new("a", "")));
        assert_eq!(entry_key(&key), entry_key(&key.to_compact()));
        key.set_variance_key([1; 16]);
        assert_ne!(entry_key(&key), entry_key(&CacheKey::new("a", "")));
        assert_eq!(entry_key(&key), entry_key(&key.to_compact()));
    }
}
