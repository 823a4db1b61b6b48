//! Keys in namespaces: a prefix that no plain key begins with, then the user's key.

use crate::types::{MAX_KEY_BYTES, MAX_NAMESPACE_NAME_BYTES};

/// What the keys of all namespaces begin with. The first and the last byte occur in no UTF-8 text, so that no key that is
/// text begins with it.
pub const MAGIC: &[u8; 8] = b"\xffeskrns\xfe";

/// A key in a namespace, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split<'a> {
    /// The namespace's name.
    pub name: &'a str,
    /// The user's key; of a namespace's prefix alone it is empty.
    pub key: &'a [u8],
}

/// The prefix of a namespace's keys; `None` unless the name has 1 to [`MAX_NAMESPACE_NAME_BYTES`] bytes.
pub fn prefix(name: &str) -> Option<Vec<u8>> {
    let len =
        u8::try_from(name.len()).ok().filter(|&len| (1..=MAX_NAMESPACE_NAME_BYTES).contains(&usize::from(len)))?;
    Some([MAGIC, &[len][..], name.as_bytes()].concat())
}

/// Whether a key begins as those in namespaces do: then it is no plain one, whether it can be split or not.
pub fn is_reserved(key: &[u8]) -> bool {
    key.starts_with(MAGIC)
}

/// Whether some key in a namespace begins with this.
pub fn may_begin(prefix: &[u8]) -> bool {
    prefix.starts_with(MAGIC) || MAGIC.starts_with(prefix)
}

/// Namespace and user's key; `None` for a plain key.
pub fn split(key: &[u8]) -> Option<Split<'_>> {
    let (&len, rest) = key.strip_prefix(MAGIC)?.split_first()?;
    let (name, key) = rest.split_at_checked(usize::from(len))?;
    let name = std::str::from_utf8(name).ok().filter(|name| (1..=MAX_NAMESPACE_NAME_BYTES).contains(&name.len()))?;
    Some(Split { name, key })
}

/// The longest key of a user in a namespace with this prefix, in bytes.
pub fn longest_key_bytes(prefix: &[u8]) -> usize {
    MAX_KEY_BYTES.saturating_sub(prefix.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_a_namespace_is_magic_length_name_and_key() {
        let prefix = prefix("tenant-a").unwrap();
        assert_eq!(prefix, b"\xff\x65\x73\x6b\x72\x6e\x73\xfe\x08tenant-a");
        let key = [&prefix[..], b"user/7"].concat();
        assert_eq!(split(&key), Some(Split { name: "tenant-a", key: b"user/7" }));
        assert_eq!(split(&prefix), Some(Split { name: "tenant-a", key: b"" }));
        assert_eq!(longest_key_bytes(&prefix), 65_536 - 17);
    }

    #[test]
    fn a_name_is_a_word_of_1_to_64_bytes() {
        assert_eq!((prefix(""), prefix(&"n".repeat(65))), (None, None));
        let longest = "é".repeat(32);
        let key = prefix(&longest).unwrap();
        assert_eq!(split(&key), Some(Split { name: &longest, key: b"" }));
    }

    #[test]
    fn what_is_no_key_in_a_namespace_is_not_split() {
        let bad: [&[u8]; 8] = [
            b"",
            b"key",
            &MAGIC[..7],
            MAGIC,
            b"\xffeskrns\xfe\0key",
            b"\xffeskrns\xfe\x04abc",
            b"\xffeskrns\xfe\x01\xffkey",
            &[&MAGIC[..], &[65], &[b'n'; 70]].concat(),
        ];
        for key in bad {
            assert_eq!(split(key), None, "{key:?}");
        }
        // They are refused as plain keys all the same.
        assert!(bad[3..].iter().all(|key| is_reserved(key)) && bad[..3].iter().all(|key| !is_reserved(key)));
    }

    #[test]
    fn a_prefix_that_reaches_into_namespaces_is_known() {
        for reaching in [&b"\xff"[..], b"\xffesk", MAGIC, b"\xffeskrns\xfe\x01a"] {
            assert!(may_begin(reaching), "{reaching:?}");
        }
        for plain in [&b"e"[..], b"\xfe", b"\xffeskx", b"user/"] {
            assert!(!may_begin(plain), "{plain:?}");
        }
    }
}
