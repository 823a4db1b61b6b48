//! What a purge record covers: its key says it. Every entry that it fits and that is older than the record is dead.

use bytes::Bytes;

use super::bytes::uint;
use crate::types::{Digest, MAX_KEY_BYTES, Millis};

/// The longest prefix, in bytes: the record's key has a byte more.
pub const MAX_PREFIX_BYTES: usize = MAX_KEY_BYTES - 1;

const PREFIX: u8 = 1;
const OLDER_THAN: u8 = 2;
const TAG: u8 = 3;

/// Which entries are purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// Those whose key begins with this, which is not empty.
    Prefix(Bytes),
    /// Those that were set before this.
    OlderThan(Millis),
    /// Those that have this tag: see [`tags`](super::tags).
    Tag(Digest),
}

impl Selector {
    /// The key of the purge record.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Prefix(prefix) => [&[PREFIX], &prefix[..]].concat(),
            Self::OlderThan(time) => [&[OLDER_THAN], &time.0.to_le_bytes()[..]].concat(),
            Self::Tag(tag) => [&[TAG], &tag.0.to_le_bytes()[..]].concat(),
        }
    }

    /// Decodes the key of a purge record; `None` if it is none of this format.
    pub fn decode(key: &[u8]) -> Option<Self> {
        match key.split_first()? {
            (&PREFIX, prefix) if !prefix.is_empty() => Some(Self::Prefix(Bytes::copy_from_slice(prefix))),
            (&OLDER_THAN, time) if time.len() == 8 => {
                let time = Millis(uint::<8>(time, 0));
                (time <= Millis::MAX).then_some(Self::OlderThan(time))
            }
            (&TAG, tag) if tag.len() == 8 => Some(Self::Tag(Digest(uint::<8>(tag, 0)))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_the_key_of_its_record() {
        let prefix = Selector::Prefix(Bytes::from_static(b"user/"));
        assert_eq!(prefix.encode(), b"\x01user/");
        let older = Selector::OlderThan(Millis(0x0102_0304_0506));
        assert_eq!(older.encode(), b"\x02\x06\x05\x04\x03\x02\x01\0\0");
        let tag = Selector::Tag(Digest(0x0102_0304_0506_0708));
        assert_eq!(tag.encode(), b"\x03\x08\x07\x06\x05\x04\x03\x02\x01");
        for selector in [prefix, older, tag] {
            assert_eq!(Selector::decode(&selector.encode()), Some(selector));
        }
        for key in [
            &b""[..],
            b"\x01",
            b"\x02",
            b"\x02\0\0\0\0\0\0\0",
            b"\x02\0\0\0\0\0\0\0\0\0",
            b"\x03x",
            b"\x03\0\0\0\0\0\0\0\0\0",
            b"\x04\0\0\0\0\0\0\0\0",
            b"\x02\0\0\0\0\0\0\x01\0",
        ] {
            assert_eq!(Selector::decode(key), None, "{key:?}");
        }
    }
}
