//! The way in.

use std::sync::Arc;

use bytes::Bytes;

use super::Engine;
use crate::entry::{RefuseReason, SetOptions, SetOutcome};
use crate::error::{Error, Result};
use crate::format::record;
use crate::log::{Appended, Entry, Order};
use crate::segment::Stream;
use crate::types::{Digest, MAX_METADATA_BYTES, Millis, RecordKind};

/// From when to when an entry lives, and where it goes.
pub(super) struct Times {
    pub(super) created: Millis,
    pub(super) expires: Option<Millis>,
    pub(super) stream: Stream,
}

impl Engine {
    /// Stores a value; waits for room if `wait`.
    pub async fn set(
        self: &Arc<Self>,
        key: &[u8],
        value: Bytes,
        options: SetOptions,
        wait: bool,
    ) -> Result<SetOutcome> {
        let digest = self.check_key(key)?;
        let Times { created, expires, stream } = self.times(&options)?;
        if value.len() as u64 > self.max_value_bytes() {
            return Ok(self.refuse(digest, RefuseReason::TooLarge));
        }
        let value_crc = record::value_crc(&options.metadata, &value);
        let (kind, metadata) = (RecordKind::Put, &options.metadata);
        let entry = Entry { kind, digest, key, metadata, value: &value, value_crc, created, expires, object: None };
        let len_bytes = entry.class().map_or(0, |class| class.len_bytes());
        let stream = self.placed(stream, digest, len_bytes);
        let ticket = match self.log.append(stream, &entry, Order::Newest, wait).await? {
            Ok(Appended::Done(ticket, _)) => ticket,
            Ok(Appended::Stale) => return Err(Error::Closed),
            Err(RefuseReason::TooLarge) => {
                return self.set_in_chunks(key, value, &options, wait).await;
            }
            Err(reason) => return Ok(self.refuse(digest, reason)),
        };
        self.counters.sets.add_one();
        self.counters.bytes_admitted.add((key.len() + options.metadata.len() + value.len()) as u64);
        self.log.wait(&ticket, options.durability).await?;
        Ok(SetOutcome::Stored { durability: options.durability })
    }

    /// The longest value that may be stored at all, in bytes.
    pub(super) fn max_value_bytes(&self) -> u64 {
        self.config.max_value_bytes.unwrap_or(u64::MAX).min(self.config.capacity_bytes)
    }

    /// When an entry that is set now expires, and which stream it goes to.
    pub(super) fn times(&self, options: &SetOptions) -> Result<Times> {
        check_metadata(&options.metadata)?;
        let created = self.clock.now();
        let ttl_ms = options.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let ttl_ms = ttl_ms.or(self.config.default_ttl_ms);
        Ok(Times { created, expires: ttl_ms.map(|ttl| created.after_ms(ttl)), stream: self.stream_of(ttl_ms) })
    }

    /// The stream of what lives so long.
    pub(super) fn stream_of(&self, ttl_ms: Option<u64>) -> Stream {
        match ttl_ms {
            Some(ttl) if ttl <= self.config.short_ttl_ms => Stream::ShortLived,
            _ => Stream::New,
        }
    }

    /// The stream of an entry of this length that comes now: if eviction dropped it a while ago, the main log's.
    pub(super) fn placed(&self, stream: Stream, digest: Digest, len_bytes: u64) -> Stream {
        let is_recalled = stream == Stream::New && self.split.recalls(digest, len_bytes);
        if is_recalled { Stream::Main } else { stream }
    }

    /// A refused update leaves no older value behind (P2, trap 4).
    pub(super) fn refuse(&self, digest: Digest, reason: RefuseReason) -> SetOutcome {
        match reason {
            RefuseReason::TooLarge => self.counters.refused_too_large.add_one(),
            RefuseReason::Busy => self.counters.refused_busy.add_one(),
            RefuseReason::DiskFull => self.counters.refused_disk_full.add_one(),
            RefuseReason::Evicted => self.counters.refused_evicted.add_one(),
            RefuseReason::DiskFailed => self.counters.refused_disk_failed.add_one(),
        }
        self.forget_refused(digest);
        SetOutcome::Refused { reason }
    }
}

pub(super) fn check_metadata(metadata: &Bytes) -> Result<()> {
    if metadata.len() > MAX_METADATA_BYTES {
        let len = metadata.len();
        return Err(Error::InvalidInput(format!("the metadata has {len} bytes; at most {MAX_METADATA_BYTES}")));
    }
    Ok(())
}
