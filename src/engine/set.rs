//! The way in.

use std::sync::Arc;

use bytes::Bytes;

use super::Engine;
use crate::entry::{RefuseReason, SetOptions, SetOutcome};
use crate::error::{Error, Result};
use crate::evict::Split;
use crate::flight::Flight;
use crate::format::record::{self, Flags};
use crate::format::tags;
use crate::log::{Appended, Entry, Order, Ticket};
use crate::segment::{Stream, StreamId};
use crate::types::{Digest, Durability, Group, MAX_METADATA_BYTES, MAX_TAG_BYTES, MAX_TAGS, Millis, RecordKind};

/// From when to when an entry lives, and where it goes.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) created: Millis,
    pub(super) expires: Option<Millis>,
    pub(super) stream: StreamId,
}

/// A value on its way in, all of it at hand.
pub(super) struct Put<'a> {
    pub(super) digest: Digest,
    pub(super) key: &'a [u8],
    pub(super) value: Bytes,
    pub(super) options: &'a SetOptions,
    /// The metadata field, if it has tags.
    pub(super) tagged: Option<Bytes>,
    pub(super) times: Times,
    /// Whether it waits for room.
    pub(super) wait: bool,
    /// The flight that fetched it: it is stored only if that is not outdated.
    pub(super) flight: Option<&'a Arc<Flight>>,
}

impl Put<'_> {
    /// Flags and metadata field of its record.
    pub(super) fn metadata(&self) -> (Flags, &Bytes) {
        field(self.tagged.as_ref(), &self.options.metadata)
    }

    /// Bytes of key, metadata field and value.
    pub(super) fn payload_bytes(&self) -> usize {
        self.key.len() + self.metadata().1.len() + self.value.len()
    }
}

/// How far a write has come.
pub(super) enum Begun {
    /// The log has it.
    Accepted(Ticket),
    /// There is nothing more to wait for.
    Over(SetOutcome),
}

/// Flags and metadata field of a record, which is this one if it has tags.
pub(super) fn field<'a>(tagged: Option<&'a Bytes>, metadata: &'a Bytes) -> (Flags, &'a Bytes) {
    tagged.map_or((Flags::NONE, metadata), |field| (Flags::TAGGED, field))
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
        self.put(self.put_of(key, value, &options, wait)?).await
    }

    /// The write of a value that was not fetched.
    pub(super) fn put_of<'a>(
        &self,
        key: &'a [u8],
        value: Bytes,
        options: &'a SetOptions,
        wait: bool,
    ) -> Result<Put<'a>> {
        let digest = self.check_key(key)?;
        let times = self.times(key, options, 0)?;
        let tagged = self.tagged(options);
        Ok(Put { digest, key, value, options, tagged, times, wait, flight: None })
    }

    pub(super) async fn put(self: &Arc<Self>, put: Put<'_>) -> Result<SetOutcome> {
        let durability = put.options.durability;
        match self.begin_set(put).await? {
            Begun::Over(outcome) => Ok(outcome),
            Begun::Accepted(ticket) => self.end_set(&ticket, durability).await,
        }
    }

    /// Waits until an accepted write is as durable as was asked for.
    pub(super) async fn end_set(&self, ticket: &Ticket, durability: Durability) -> Result<SetOutcome> {
        self.log.wait(ticket, durability).await?;
        Ok(SetOutcome::Stored { durability })
    }

    /// Gives a value to the log, or holds or refuses it.
    pub(super) async fn begin_set(self: &Arc<Self>, put: Put<'_>) -> Result<Begun> {
        let Put { digest, key, ref value, options, times, wait, flight, .. } = put;
        if value.len() as u64 > self.max_value_bytes() {
            return Ok(Begun::Over(self.refuse(digest, RefuseReason::TooLarge, flight)));
        }
        let (flags, metadata) = put.metadata();
        let flags = flags.with_dirty(options.is_dirty);
        let len_bytes = record::record_len(key.len(), metadata.len(), value.len());
        let len_bytes = len_bytes.map_or(value.len() as u64, |class| class.len_bytes());
        if let Some(outcome) = self.admit_write(&put, len_bytes) {
            return Ok(Begun::Over(outcome));
        }
        let value_crc = record::value_crc(metadata, value);
        let Times { created, expires, stream } = times;
        let stream = self.placed(stream, digest, len_bytes);
        let (kind, object) = (RecordKind::Put, None);
        let flight = flight.map(|flight| &**flight);
        let entry = Entry { kind, digest, key, flags, metadata, value, value_crc, created, expires, object, flight };
        let ticket = match self.append(stream, &entry, Order::Newest, wait).await? {
            Ok(Appended::Done(placed)) => placed.ticket,
            // Only what was fetched can be.
            Ok(Appended::Stale) => return Ok(Begun::Over(SetOutcome::Refused { reason: RefuseReason::Evicted })),
            Err(RefuseReason::TooLarge) => {
                return self.set_in_chunks(Put { times: Times { stream, ..times }, ..put }).await.map(Begun::Over);
            }
            // Who writes back brings what is there to the origin first.
            Err(reason) if options.is_dirty => return Ok(Begun::Over(SetOutcome::Refused { reason })),
            Err(reason) => return Ok(Begun::Over(self.refuse(digest, reason, put.flight))),
        };
        self.count_set(key);
        self.counters.bytes_admitted.add(put.payload_bytes() as u64);
        Ok(Begun::Accepted(ticket))
    }

    /// The metadata field of an entry, if it has tags.
    pub(super) fn tagged(&self, options: &SetOptions) -> Option<Bytes> {
        tags::field(&self.seed, &options.tags, &options.metadata)
    }

    /// The longest value that may be stored at all, in bytes.
    pub(super) fn max_value_bytes(&self) -> u64 {
        self.config.max_value_bytes.unwrap_or(u64::MAX).min(self.config.capacity_bytes)
    }

    /// When an entry that is set now expires, and which stream it goes to. An entry that expires does so later by
    /// `longer_ms`, within the retention.
    pub(super) fn times(&self, key: &[u8], options: &SetOptions, longer_ms: u64) -> Result<Times> {
        check_options(options)?;
        let created = self.clock.now();
        let ttl_ms = options.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let default_ms = || self.namespaces.default_ttl_ms(key).or(self.config.default_ttl_ms);
        let ttl_ms = ttl_ms.or_else(default_ms).map(|ttl| ttl.saturating_add(longer_ms));
        let ttl_ms = ttl_ms.into_iter().chain(self.config.retention_ms).min();
        Ok(Times { created, expires: ttl_ms.map(|ttl| created.after_ms(ttl)), stream: self.stream_of(key, ttl_ms) })
    }

    /// The stream of an entry of this key that lives so long.
    pub(super) fn stream_of(&self, key: &[u8], ttl_ms: Option<u64>) -> StreamId {
        let stream = match ttl_ms {
            Some(ttl) if ttl <= self.config.short_ttl_ms => Stream::ShortLived,
            _ => Stream::New,
        };
        stream.of(self.namespaces.group_of_key(key))
    }

    /// What tells what eviction dropped of a group, and how its room is split.
    pub(super) fn split(&self, group: Group) -> &Split {
        &self.splits[usize::from(group.0)]
    }

    /// The stream of an entry of this length that comes now: if eviction dropped it a while ago, the main log's.
    pub(super) fn placed(&self, to: StreamId, digest: Digest, len_bytes: u64) -> StreamId {
        let is_recalled = to.stream == Stream::New && self.split(to.group).recalls(digest, len_bytes);
        if is_recalled { Stream::Main.of(to.group) } else { to }
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

pub(super) fn check_options(options: &SetOptions) -> Result<()> {
    check_tags(&options.tags)?;
    check_metadata(&options.metadata, options.tags.len())
}

fn check_tags(texts: &[Bytes]) -> Result<()> {
    if texts.len() > MAX_TAGS {
        let count = texts.len();
        return Err(Error::InvalidInput(format!("the entry has {count} tags; at most {MAX_TAGS}")));
    }
    texts.iter().try_for_each(|text| check_tag(text))
}

pub(super) fn check_tag(text: &[u8]) -> Result<()> {
    if text.is_empty() || text.len() > MAX_TAG_BYTES {
        let len = text.len();
        return Err(Error::InvalidInput(format!("a tag has {len} bytes; it must have 1 to {MAX_TAG_BYTES}")));
    }
    Ok(())
}

/// Whether metadata have room beside so many tags.
pub(super) fn check_metadata(metadata: &[u8], tags: usize) -> Result<()> {
    let (len, most) = (metadata.len(), MAX_METADATA_BYTES - tags::tags_bytes(tags));
    if len <= most {
        return Ok(());
    }
    let beside = if tags == 0 { String::new() } else { format!(" beside {tags} tags") };
    Err(Error::InvalidInput(format!("the metadata has {len} bytes; at most {most}{beside}")))
}
