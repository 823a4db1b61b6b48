//! From values of a type to bytes and back, for a typed view. What a codec makes is bytes of a key or a value like any
//! others: the format on disk knows no codec.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::BoxError;

/// Makes bytes of what serde can serialize, and the other way round.
///
/// Equal keys must make equal bytes, in every process that opens the cache. Bytes may be those of another type, or of an
/// earlier version of it, whatever their checksum says: `decode` must take none for valid that it can tell from a value
/// (bytes left over, say), and must not allocate what a length among them asks for before it has compared it with theirs.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no codec in this build",
    note = "turn on esker's feature `bincode`, or give the view a codec of your own (`Typed::with_codec`)"
)]
pub trait Codec: Send + Sync {
    /// The bytes of a key or a value.
    ///
    /// # Errors
    /// What the type has and the encoding does not.
    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, BoxError>;

    /// The value that these bytes are, all of them.
    ///
    /// # Errors
    /// They are not a value of this type.
    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, BoxError>;
}

/// The codec over the crate `bincode`, with the feature of that name: compact, quick, and not self-describing, so that types
/// which need to look ahead (`#[serde(untagged)]`, `serde_json::Value`) cannot be decoded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bincode;

#[cfg(feature = "bincode")]
mod over_bincode {
    use super::*;
    use bincode::config::{self, Config};
    use bincode::serde::{decode_from_slice, encode_to_vec};

    /// A number takes a byte at least, and counts as 16 at most.
    const COUNTED_A_BYTE: usize = 16;
    /// What a value's parts may count together. A limit is a part of a type, so that there are few: the next that is enough
    /// for the bytes that there are. It keeps a string whose length is another type's number from taking all memory.
    const SHORT: usize = 64 << 10;
    const MIDDLING: usize = 16 << 20;
    const LONG: usize = 1 << 30;
    const LONGEST: usize = u32::MAX as usize;

    impl Codec for Bincode {
        fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, BoxError> {
            Ok(encode_to_vec(value, config::standard())?)
        }

        fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, BoxError> {
            let standard = config::standard();
            match bytes.len().saturating_mul(COUNTED_A_BYTE) {
                counted if counted <= SHORT => whole(bytes, standard.with_limit::<SHORT>()),
                counted if counted <= MIDDLING => whole(bytes, standard.with_limit::<MIDDLING>()),
                counted if counted <= LONG => whole(bytes, standard.with_limit::<LONG>()),
                _ => whole(bytes, standard.with_limit::<LONGEST>()),
            }
        }
    }

    fn whole<T: DeserializeOwned>(bytes: &[u8], config: impl Config) -> Result<T, BoxError> {
        let (value, len) = decode_from_slice(bytes, config)?;
        match bytes.len() - len {
            0 => Ok(value),
            left => Err(format!("{left} bytes are left over").into()),
        }
    }
}
