//! What an entry's metadata holds: everything about a response but its body.
//!
//! | bytes | |
//! |---|---|
//! | 0..4 | `EPG1`: what this is, and which version of it |
//! | 4..12 | the entry's id |
//! | 12..16 | CRC-32 of what the response header says: see [`check_of`] |
//! | 16..18 | length of the primary key |
//! | 18..20 | length of the internal part of the `CacheMeta` |
//! | 20..22 | length of its header part |
//! | 22.. | primary key, internal part, header part |
//!
//! Numbers are little-endian. The bytes as such are under the CRC of Esker's record. The check of the header is about their
//! meaning: pingora compresses headers with a dictionary that belongs to the process, and what was compressed with one and
//! is unpacked with another need not fail, it may come out as another header.

use bytes::Bytes;
use esker::MAX_METADATA_BYTES;
use pingora_cache::CacheMeta;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;

const MAGIC: [u8; 4] = *b"EPG1";
const FIXED_BYTES: usize = 22;

/// An entry's metadata, taken apart but not yet understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// What tells this version of the entry from all others; stays when the metadata is updated.
    pub(crate) id: u64,
    /// The key as the user gave it.
    pub(crate) primary: Bytes,
    header_check: u32,
    internal: Bytes,
    header: Bytes,
}

impl Stored {
    /// What `meta` is as bytes.
    ///
    /// # Errors
    /// If it does not fit, or pingora cannot make bytes of it that it reads again.
    pub(crate) fn encode(id: u64, primary: &[u8], meta: &CacheMeta) -> Result<Bytes> {
        let (internal, header) = meta.serialize()?;
        // Of the header as it is read, which is not always what was given: names lose their case, folded lines their folds.
        let header_check = check_of(CacheMeta::deserialize(&internal, &header)?.response_header());
        let len = FIXED_BYTES + primary.len() + internal.len() + header.len();
        if len > MAX_METADATA_BYTES {
            let text = format!("key and header take {len} bytes, at most {MAX_METADATA_BYTES} can be stored");
            return Error::e_explain(ErrorType::FileWriteError, text);
        }
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&id.to_le_bytes());
        bytes.extend_from_slice(&header_check.to_le_bytes());
        for part in [primary, &internal, &header] {
            // All of it is shorter than this number can say.
            bytes.extend_from_slice(&(part.len() as u16).to_le_bytes());
        }
        for part in [primary, &internal, &header] {
            bytes.extend_from_slice(part);
        }
        Ok(bytes.into())
    }

    /// Takes bytes apart; `None` for those that [`Stored::encode`] did not make.
    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        let fixed = bytes.get(..FIXED_BYTES)?;
        let length = |at: usize| usize::from(u16::from_le_bytes([fixed[at], fixed[at + 1]]));
        let (primary_len, internal_len, header_len) = (length(16), length(18), length(20));
        let is_whole = bytes.len() == FIXED_BYTES + primary_len + internal_len + header_len;
        if fixed[..4] != MAGIC || !is_whole {
            return None;
        }
        let (primary_end, internal_end) = (FIXED_BYTES + primary_len, FIXED_BYTES + primary_len + internal_len);
        Some(Self {
            id: u64::from_le_bytes(fixed[4..12].try_into().ok()?),
            header_check: u32::from_le_bytes(fixed[12..16].try_into().ok()?),
            primary: bytes.slice(FIXED_BYTES..primary_end),
            internal: bytes.slice(primary_end..internal_end),
            header: bytes.slice(internal_end..),
        })
    }

    /// The response's metadata; `None` if it does not read as what it was when it was written.
    pub(crate) fn meta(&self) -> Option<CacheMeta> {
        let meta = CacheMeta::deserialize(&self.internal, &self.header).ok()?;
        (check_of(meta.response_header()) == self.header_check).then_some(meta)
    }
}

/// A number of what a header says: its status, its names and values.
fn check_of(header: &ResponseHeader) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header.status.as_u16().to_le_bytes());
    for (name, value) in &header.headers {
        hasher.update(name.as_str().as_bytes());
        hasher.update(b":");
        hasher.update(value.as_bytes());
        hasher.update(b"\n");
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn meta() -> CacheMeta {
        let mut header = ResponseHeader::build(200, None).unwrap();
        header.append_header("Content-Type", "text/plain").unwrap();
        header.append_header("ETag", "\"1\"").unwrap();
        let created = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        CacheMeta::new(created + Duration::from_secs(60), created, 10, 20, header)
    }

    #[test]
    fn what_goes_in_comes_out() {
        let bytes = Stored::encode(7, b"host/path", &meta()).unwrap();
        let stored = Stored::decode(&bytes).unwrap();
        assert_eq!((stored.id, &stored.primary[..]), (7, &b"host/path"[..]));
        let read = stored.meta().unwrap();
        assert_eq!(read.response_header().headers, meta().response_header().headers);
        assert_eq!((read.fresh_until(), read.created()), (meta().fresh_until(), meta().created()));
        assert_eq!((read.stale_while_revalidate_sec(), read.stale_if_error_sec()), (10, 20));
    }

    #[test]
    fn the_fixed_part_is_as_documented() {
        let bytes = Stored::encode(0x0102_0304_0506_0708, b"key", &meta()).unwrap();
        assert_eq!(bytes[..4], *b"EPG1");
        assert_eq!(bytes[4..12], [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(bytes[16..18], [3, 0]);
        assert_eq!(bytes[22..25], *b"key");
    }

    /// No cut and no flipped bit panics, or gives another header than the one that was written.
    #[test]
    fn damage_is_nothing_or_the_same_header() {
        let bytes = Stored::encode(7, b"key", &meta()).unwrap();
        for len in 0..bytes.len() {
            assert_eq!(Stored::decode(&bytes.slice(..len)), None, "cut at {len}");
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(Stored::decode(&longer.into()), None);
        let mut refused = 0;
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            match Stored::decode(&damaged.into()).and_then(|stored| stored.meta()) {
                Some(read) => assert_eq!(read.response_header().headers, meta().response_header().headers, "bit {bit}"),
                None => refused += 1,
            }
        }
        assert!(refused > 200, "{refused} of {} bits were noticed", bytes.len() * 8);
    }

    /// Stands for another dictionary: the header part reads well, and says something else.
    #[test]
    fn a_header_that_reads_as_another_is_refused() {
        let mut other = meta();
        other.response_header_mut().insert_header("Content-Type", "text/html").unwrap();
        let (ours, theirs) = (Stored::encode(7, b"key", &meta()).unwrap(), Stored::encode(7, b"key", &other).unwrap());
        let (ours, theirs) = (Stored::decode(&ours).unwrap(), Stored::decode(&theirs).unwrap());
        assert!(ours.meta().is_some());
        assert!(Stored { header: theirs.header, ..ours }.meta().is_none());
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert!(Stored::encode(7, &vec![b'x'; MAX_METADATA_BYTES], &meta()).is_err());
        assert!(Stored::encode(7, &vec![b'x'; MAX_METADATA_BYTES - 500], &meta()).is_ok());
    }
}
