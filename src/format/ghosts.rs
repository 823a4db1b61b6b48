//! What eviction dropped lately, as it is kept over a clean close: the value of an entry of the cache's own, under
//! [`KEY`]. A hint: whatever is wrong with it, nothing is served that should not be.
//!
//! Version (4 bytes, 1), then for each group of append streams: its tag as in segment headers (8), what its log of new
//! entries takes (8), the mean length of an entry (8), and two ghosts, that of new entries and the main log's: a number of
//! generations (4), newest first, each with the bytes of its entries (8), the number of fingerprints (4), and these (4 each).

use super::bytes::{u32_at, uint};

/// A key that no namespace has: its name would be empty.
pub const KEY: &[u8] = b"\xffeskrns\xfe\0ghosts";

const VERSION: u32 = 1;

/// Fingerprints of entries that were dropped about the same time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Generation {
    /// Bytes of the entries.
    pub bytes: u64,
    /// Their fingerprints.
    pub prints: Vec<u32>,
}

/// What is kept of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupGhosts {
    /// Whose, as in segment headers.
    pub tag: u64,
    /// What its log of new entries takes.
    pub new_bytes: u64,
    /// Mean length of what was dropped.
    pub mean_len_bytes: u64,
    /// Dropped from the log of new entries, newest first.
    pub of_new: Vec<Generation>,
    /// Dropped from the main log, newest first.
    pub of_main: Vec<Generation>,
}

/// The value.
pub fn encode(groups: &[GroupGhosts]) -> Vec<u8> {
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for group in groups {
        for number in [group.tag, group.new_bytes, group.mean_len_bytes] {
            bytes.extend(number.to_le_bytes());
        }
        for ghost in [&group.of_new, &group.of_main] {
            bytes.extend((ghost.len() as u32).to_le_bytes());
            for generation in ghost {
                bytes.extend(generation.bytes.to_le_bytes());
                bytes.extend((generation.prints.len() as u32).to_le_bytes());
                bytes.extend(generation.prints.iter().flat_map(|print| print.to_le_bytes()));
            }
        }
    }
    bytes
}

/// What a value says; `None` if it is of another version, or cut.
pub fn decode(bytes: &[u8]) -> Option<Vec<GroupGhosts>> {
    let mut rest = Rest(bytes);
    if rest.number::<4>()? != u64::from(VERSION) {
        return None;
    }
    let mut groups = Vec::new();
    while !rest.0.is_empty() {
        groups.push(GroupGhosts {
            tag: rest.number::<8>()?,
            new_bytes: rest.number::<8>()?,
            mean_len_bytes: rest.number::<8>()?,
            of_new: rest.ghost()?,
            of_main: rest.ghost()?,
        });
    }
    Some(groups)
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take(&mut self, len: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn number<const N: usize>(&mut self) -> Option<u64> {
        Some(uint::<N>(self.take(N)?, 0))
    }

    fn ghost(&mut self) -> Option<Vec<Generation>> {
        let count = self.number::<4>()?;
        // Nothing is made ahead for what a length only claims.
        (0..count).map(|_| self.generation()).collect()
    }

    fn generation(&mut self) -> Option<Generation> {
        let bytes = self.number::<8>()?;
        let count = usize::try_from(self.number::<4>()?).ok()?;
        let (prints, _) = self.take(count.checked_mul(4)?)?.as_chunks::<4>();
        Some(Generation { bytes, prints: prints.iter().map(|print| u32_at(print, 0)).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(tag: u64) -> GroupGhosts {
        let generation = |n: u32| Generation { bytes: u64::from(n) * 100, prints: (0..n).collect() };
        let (of_new, of_main) = (vec![generation(3), generation(0)], vec![generation(2)]);
        GroupGhosts { tag, new_bytes: 1 << 20, mean_len_bytes: 77, of_new, of_main }
    }

    #[test]
    fn what_was_kept_is_read_again_and_what_is_cut_is_not() {
        let groups = [group(0), group(9)];
        let bytes = encode(&groups);
        assert_eq!(decode(&bytes).as_deref(), Some(&groups[..]));
        let whole = [4, encode(&groups[..1]).len()];
        for len in (0..bytes.len()).filter(|len| !whole.contains(len)) {
            assert_eq!(decode(&bytes[..len]), None, "{len} bytes");
        }
        assert_eq!(decode(&[2, 0, 0, 0]), None, "another version");
    }

    #[test]
    fn no_claimed_length_is_believed() {
        let mut bytes = encode(&[GroupGhosts { of_new: Vec::new(), of_main: Vec::new(), ..group(0) }]);
        let at = bytes.len() - 8;
        bytes[at..at + 4].fill(0xff);
        assert_eq!(decode(&bytes), None);
    }
}
