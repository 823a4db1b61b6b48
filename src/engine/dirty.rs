//! Write-back: entries that are written before the origin has them.

use bytes::Bytes;

use super::Engine;
use super::get::ATTEMPTS;
use crate::config;
use crate::dirty::{Begun, Owner};
use crate::entry::SetOptions;
use crate::error::{Error, Result};
use crate::format::record;
use crate::format::tags;
use crate::index::Change;
use crate::read::{self, Failure};
use crate::types::{Digest, Durability, Sequence};

/// What is to be brought to the origin.
pub struct Due {
    /// As on disk, with a namespace's prefix.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// The user's.
    pub metadata: Bytes,
    digest: Digest,
    sequence: Sequence,
}

impl Engine {
    /// Whoever brings the keys with this prefix to an origin; `None` if somebody else does.
    pub fn own_dirty(&self, prefix: &[u8]) -> Option<Owner> {
        Owner::new(self.log.dirty.clone(), prefix)
    }

    /// What a value would take on disk, if it can be written as dirty: one that expires could be gone before the origin has it, and
    /// one in chunks could lose some.
    ///
    /// # Errors
    /// `InvalidInput`.
    pub fn dirty_len(&self, key: &[u8], value: &[u8], options: &SetOptions) -> Result<Option<u64>> {
        let times = self.times(key, options, 0)?;
        let metadata_len = options.metadata.len() + tags::tags_bytes(options.tags.len());
        let class = record::record_len(key.len(), metadata_len, value.len()).map(|class| class.len_bytes());
        let is_short = value.len() as u64 <= self.max_value_bytes();
        Ok(class.filter(|&len| times.expires.is_none() && is_short && self.log.fits_a_segment(len)))
    }

    /// What is dirty takes so many bytes on disk.
    pub fn dirty_bytes(&self) -> u64 {
        self.log.dirty.bytes()
    }

    /// To be held while a dirty value is being written.
    pub fn begin_dirty(&self) -> Begun<'_> {
        self.log.dirty.begin(self.log.last_sequence())
    }

    /// The most bytes of records that may be dirty of keys with this prefix: what is pinned and what is dirty must leave eviction
    /// room, in the cache and within a namespace's quota.
    pub fn most_dirty_bytes(&self, prefix: &[u8]) -> u64 {
        let segment_len_bytes = self.segments.segment_len_bytes();
        let group = self.namespaces.group_of_key(&[prefix, b"any"].concat());
        let segments = self.segments.quota(group).unwrap_or(u64::MAX).min(self.segments.limit());
        let most = config::most_kept_bytes(segments, segment_len_bytes);
        most.saturating_sub(self.config.pinned_bytes(segment_len_bytes))
    }

    /// What the origin does not have, oldest first.
    pub fn dirty(&self) -> Vec<Digest> {
        self.log.dirty.digests()
    }

    /// The dirty entry of a digest, if there is one, and it does not move all the time.
    ///
    /// # Errors
    /// `Closed`; `Io` if it cannot be read now.
    pub async fn due(&self, digest: Digest) -> Result<Option<Due>> {
        self.check_open()?;
        for _ in 0..ATTEMPTS {
            let Some(found) = self.index.lookup(digest) else { return Ok(None) };
            let Some(sequence) = self.log.dirty.at(found.location) else { return Ok(None) };
            match read::fetch(&self.segments, found.location).await {
                Ok(record) if record.header.sequence == sequence && self.is_purged(&record) => {
                    self.log.dirty.end_if(found.location, sequence);
                }
                Ok(record) if record.header.sequence == sequence => {
                    let key = Bytes::copy_from_slice(record.key());
                    let (metadata, value) = record.into_parts();
                    return Ok(Some(Due { key, value, metadata, digest, sequence }));
                }
                // Moved or replaced meanwhile.
                Ok(_) | Err(Failure::Gone) => {}
                Err(Failure::Damaged(..)) => {
                    if self.log.dirty.end(found.location) {
                        self.counters.origin_lost.add_one();
                    }
                }
                Err(Failure::Io(segment, source)) => {
                    return Err(Error::Io {
                        op: "read what the origin shall have from",
                        path: segment.path.clone(),
                        source,
                    });
                }
            }
        }
        Ok(None)
    }

    /// The dirty entry of a key, if there is one: on the device, so that no power cut leaves the cache behind the origin.
    ///
    /// # Errors
    /// As [`Engine::due`]; `WriteFailed`.
    pub async fn due_of(&self, key: &[u8]) -> Result<Option<Due>> {
        let due = self.due(self.check_key(key)?).await?.filter(|due| due.key == key);
        if due.is_some() {
            self.log.settle_written(Durability::Synced).await?;
        }
        Ok(due)
    }

    /// The origin has it.
    pub fn is_stored(&self, due: &Due) {
        self.index.update(due.digest, |found| {
            if let Some(found) = found {
                self.log.dirty.end_if(found.location, due.sequence);
            }
            (Change::Keep, ())
        });
    }

    /// Says on disk what the origin has: what is not said is brought there again after a restart.
    ///
    /// # Errors
    /// `WriteFailed`, `Io`.
    pub async fn write_stored(&self) -> Result<()> {
        self.log.write_stored().await
    }
}
