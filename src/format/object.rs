//! Large values: chunk records, each with its own CRC, and a head record that is published last.
//!
//! A chunk's key is not a user's key but names the chunk; a user's key may consist of the same 16 bytes, so the kind
//! must be compared too. The head has the user's key and metadata; its value is the layout below.

use super::bytes::{put, u32_at, uint};
use super::record;
use crate::types::Sequence;

/// Length of a chunk's key.
pub const CHUNK_KEY_BYTES: usize = 16;
/// Length of a head's value.
pub const HEAD_VALUE_BYTES: usize = 28;

/// Which chunk of which object a chunk record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkKey {
    /// The object: a sequence of its own.
    pub object: Sequence,
    /// The chunk's place in the object, from 0.
    pub index: u64,
}

impl ChunkKey {
    /// The 16 bytes.
    pub fn encode(&self) -> [u8; CHUNK_KEY_BYTES] {
        let mut bytes = [0; CHUNK_KEY_BYTES];
        put::<8>(&mut bytes, 0, self.object.0);
        put::<8>(&mut bytes, 8, self.index);
        bytes
    }

    /// Decodes the key of a chunk record; `None` if it is not 16 bytes long, the object is not a sequence, or the index
    /// is one that no head can count.
    pub fn decode(key: &[u8]) -> Option<Self> {
        let bytes: &[u8; CHUNK_KEY_BYTES] = key.try_into().ok()?;
        let chunk = Self { object: Sequence(uint::<8>(bytes, 0)), index: uint::<8>(bytes, 8) };
        (chunk.object <= Sequence::MAX && chunk.index < u64::from(u32::MAX)).then_some(chunk)
    }
}

/// What a head record says of its object. Every chunk but the last is `chunk_len_bytes` long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectHead {
    /// The object: a sequence of its own.
    pub object: Sequence,
    /// Length of the whole value in bytes, at least 1.
    pub total_len_bytes: u64,
    /// Length of a chunk's value in bytes.
    pub chunk_len_bytes: u32,
    /// Number of chunks.
    pub chunk_count: u32,
}

impl ObjectHead {
    /// The head of an object of `total_len_bytes` in chunks of `chunk_len_bytes`; `None` if one of them is 0, a chunk
    /// does not fit a record, the chunks do not fit 32 bits, or the object is not a sequence.
    pub fn new(object: Sequence, total_len_bytes: u64, chunk_len_bytes: u32) -> Option<Self> {
        record::record_len(CHUNK_KEY_BYTES, 0, usize::try_from(chunk_len_bytes).ok()?)?;
        if object > Sequence::MAX || total_len_bytes == 0 || chunk_len_bytes == 0 {
            return None;
        }
        let chunk_count = u32::try_from(total_len_bytes.div_ceil(u64::from(chunk_len_bytes))).ok()?;
        Some(Self { object, total_len_bytes, chunk_len_bytes, chunk_count })
    }

    /// Length of the value of the chunk at `index`, in bytes; `None` if there is no such chunk.
    pub fn chunk_bytes(&self, index: u64) -> Option<u32> {
        let start = index.checked_mul(u64::from(self.chunk_len_bytes))?;
        let rest = self.total_len_bytes.checked_sub(start).filter(|rest| *rest > 0)?;
        Some(u32::try_from(rest).unwrap_or(u32::MAX).min(self.chunk_len_bytes))
    }

    /// The 28 bytes of the head record's value.
    pub fn encode(&self) -> [u8; HEAD_VALUE_BYTES] {
        let mut bytes = [0; HEAD_VALUE_BYTES];
        put::<8>(&mut bytes, 0, self.object.0);
        put::<8>(&mut bytes, 8, self.total_len_bytes);
        put::<4>(&mut bytes, 16, u64::from(self.chunk_len_bytes));
        put::<4>(&mut bytes, 20, u64::from(self.chunk_count));
        bytes
    }

    /// Decodes the value of a head record; `None` if it is not 28 bytes long, a flag is set, or the lengths and the
    /// count contradict one another or the limits of [`ObjectHead::new`].
    pub fn decode(value: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEAD_VALUE_BYTES] = value.try_into().ok()?;
        let head = Self::new(Sequence(uint::<8>(bytes, 0)), uint::<8>(bytes, 8), u32_at(bytes, 16))?;
        (head.chunk_count == u32_at(bytes, 20) && u32_at(bytes, 24) == 0).then_some(head)
    }
}
