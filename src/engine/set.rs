//! The way in.

use bytes::Bytes;

use super::Engine;
use crate::entry::{RefuseReason, SetOptions, SetOutcome};
use crate::error::{Error, Result};
use crate::format::record;
use crate::log::{Appended, Entry, Order};
use crate::segment::Stream;
use crate::types::{Digest, MAX_METADATA_BYTES, RecordKind};

impl Engine {
    /// Stores a value; waits for room if `wait`.
    pub async fn set(&self, key: &[u8], value: Bytes, options: SetOptions, wait: bool) -> Result<SetOutcome> {
        let digest = self.check_key(key)?;
        if options.metadata.len() > MAX_METADATA_BYTES {
            let len = options.metadata.len();
            return Err(Error::InvalidInput(format!("the metadata has {len} bytes; at most {MAX_METADATA_BYTES}")));
        }
        if self.config.max_value_bytes.is_some_and(|most| value.len() as u64 > most) {
            return self.refuse(digest, RefuseReason::TooLarge).await;
        }
        let created = self.clock.now();
        let ttl_ms = options.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let ttl_ms = ttl_ms.or(self.config.default_ttl_ms);
        let stream = match ttl_ms {
            Some(ttl) if ttl <= self.config.short_ttl_ms => Stream::ShortLived,
            _ => Stream::New,
        };
        let entry = Entry {
            kind: RecordKind::Put,
            digest,
            key,
            metadata: &options.metadata,
            value: &value,
            value_crc: record::value_crc(&options.metadata, &value),
            created,
            expires: ttl_ms.map(|ttl| created.after_ms(ttl)),
        };
        let ticket = match self.log.append(stream, &entry, Order::Newest, wait).await? {
            Ok(Appended::Done(ticket, _)) => ticket,
            Ok(Appended::Stale) => return Err(Error::Closed),
            Err(reason) => return self.refuse(digest, reason).await,
        };
        self.counters.sets.add_one();
        self.counters.bytes_admitted.add((key.len() + options.metadata.len() + value.len()) as u64);
        self.log.wait(&ticket, options.durability).await?;
        Ok(SetOutcome::Stored { durability: options.durability })
    }

    /// A refused update leaves no older value behind (P2, trap 4).
    async fn refuse(&self, digest: Digest, reason: RefuseReason) -> Result<SetOutcome> {
        match reason {
            RefuseReason::TooLarge => self.counters.refused_too_large.add_one(),
            RefuseReason::Busy => self.counters.refused_busy.add_one(),
            RefuseReason::DiskFull => self.counters.refused_disk_full.add_one(),
            RefuseReason::DiskFailed => self.counters.refused_disk_failed.add_one(),
        }
        self.forget_refused(digest);
        Ok(SetOutcome::Refused { reason })
    }
}
