//! The way in.

use std::sync::Arc;

use bytes::Bytes;

use super::Engine;
use crate::entry::{RefuseReason, SetOptions, SetOutcome};
use crate::error::{Error, Result};
use crate::flight::Flight;
use crate::format::record;
use crate::log::{Appended, Entry, Order};
use crate::segment::Stream;
use crate::types::{Digest, MAX_METADATA_BYTES, Millis, RecordKind};

/// From when to when an entry lives, and where it goes.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) created: Millis,
    pub(super) expires: Option<Millis>,
    pub(super) stream: Stream,
}

/// A value on its way in, all of it at hand.
pub(super) struct Put<'a> {
    pub(super) digest: Digest,
    pub(super) key: &'a [u8],
    pub(super) value: Bytes,
    pub(super) options: &'a SetOptions,
    pub(super) times: Times,
    /// Whether it waits for room.
    pub(super) wait: bool,
    /// The flight that fetched it: it is stored only if that is not outdated.
    pub(super) flight: Option<&'a Arc<Flight>>,
}

impl Put<'_> {
    /// Bytes of key, metadata and value.
    pub(super) fn payload_bytes(&self) -> usize {
        self.key.len() + self.options.metadata.len() + self.value.len()
    }
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
        let times = self.times(&options, 0)?;
        self.put(Put { digest, key, value, options: &options, times, wait, flight: None }).await
    }

    pub(super) async fn put(self: &Arc<Self>, put: Put<'_>) -> Result<SetOutcome> {
        let Put { digest, key, ref value, options, times, wait, flight } = put;
        if value.len() as u64 > self.max_value_bytes() {
            return Ok(self.refuse(digest, RefuseReason::TooLarge, flight));
        }
        let len_bytes = record::record_len(key.len(), options.metadata.len(), value.len());
        let len_bytes = len_bytes.map_or(value.len() as u64, |class| class.len_bytes());
        if let Some(outcome) = self.admit_write(&put, len_bytes) {
            return Ok(outcome);
        }
        let value_crc = record::value_crc(&options.metadata, value);
        let Times { created, expires, stream } = times;
        let stream = self.placed(stream, digest, len_bytes);
        let (kind, metadata, object) = (RecordKind::Put, &options.metadata, None);
        let flight = flight.map(|flight| &**flight);
        let entry = Entry { kind, digest, key, metadata, value, value_crc, created, expires, object, flight };
        let ticket = match self.append(stream, &entry, Order::Newest, wait).await? {
            Ok(Appended::Done(placed)) => placed.ticket,
            // Only what was fetched can be.
            Ok(Appended::Stale) => return Ok(SetOutcome::Refused { reason: RefuseReason::Evicted }),
            Err(RefuseReason::TooLarge) => {
                return self.set_in_chunks(Put { times: Times { stream, ..times }, ..put }).await;
            }
            Err(reason) => return Ok(self.refuse(digest, reason, put.flight)),
        };
        self.counters.sets.add_one();
        self.counters.bytes_admitted.add(put.payload_bytes() as u64);
        self.log.wait(&ticket, options.durability).await?;
        Ok(SetOutcome::Stored { durability: options.durability })
    }

    /// The longest value that may be stored at all, in bytes.
    pub(super) fn max_value_bytes(&self) -> u64 {
        self.config.max_value_bytes.unwrap_or(u64::MAX).min(self.config.capacity_bytes)
    }

    /// When an entry that is set now expires, and which stream it goes to. An entry that expires does so later by
    /// `longer_ms`, within the retention.
    pub(super) fn times(&self, options: &SetOptions, longer_ms: u64) -> Result<Times> {
        check_metadata(&options.metadata)?;
        let created = self.clock.now();
        let ttl_ms = options.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let ttl_ms = ttl_ms.or(self.config.default_ttl_ms).map(|ttl| ttl.saturating_add(longer_ms));
        let ttl_ms = ttl_ms.into_iter().chain(self.config.retention_ms).min();
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

    /// A refused update leaves no older value behind (P2, trap 4). What was fetched, and is outdated, is no update.
    pub(super) fn refuse(&self, digest: Digest, reason: RefuseReason, flight: Option<&Arc<Flight>>) -> SetOutcome {
        let refused = SetOutcome::Refused { reason };
        if flight.is_some_and(|flight| flight.is_outdated()) {
            return refused;
        }
        match reason {
            RefuseReason::TooLarge => self.counters.refused_too_large.add_one(),
            RefuseReason::NotAdmitted => self.counters.refused_not_admitted.add_one(),
            RefuseReason::Busy => self.counters.refused_busy.add_one(),
            RefuseReason::DiskFull => self.counters.refused_disk_full.add_one(),
            RefuseReason::Evicted => self.counters.refused_evicted.add_one(),
            RefuseReason::DiskFailed => self.counters.refused_disk_failed.add_one(),
        }
        match flight {
            Some(flight) => self.log.forget_owing_unless_outdated(digest, flight),
            None => self.forget_refused(digest),
        }
        refused
    }
}

pub(super) fn check_metadata(metadata: &Bytes) -> Result<()> {
    if metadata.len() > MAX_METADATA_BYTES {
        let len = metadata.len();
        return Err(Error::InvalidInput(format!("the metadata has {len} bytes; at most {MAX_METADATA_BYTES}")));
    }
    Ok(())
}
