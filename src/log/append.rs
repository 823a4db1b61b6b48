//! Appending one record.

use std::sync::Arc;

use super::{Log, Ticket};
use crate::entry::RefuseReason;
use crate::error::{Error, Result};
use crate::flight::Flight;
use crate::format::footer::{self, Row};
use crate::format::length::LengthClass;
use crate::format::record::{self, Flags, Header};
use crate::format::tags::{self, Tags};
use crate::index::{Found, Location};
use crate::object::Object;
use crate::segment::StreamId;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{SemaphorePermit, TryAcquireError, task};
use crate::types::{Digest, Millis, RecordKind, SegmentId, Sequence, UNIT_BYTES};

/// What a record says; its sequence and place are the log's.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// What it is; not a pad.
    pub kind: RecordKind,
    /// Of the key.
    pub digest: Digest,
    /// The key; for a marker the digest's bytes.
    pub key: &'a [u8],
    /// The record's.
    pub flags: Flags,
    /// The metadata field: the tags, if the flags say so, and the user's metadata.
    pub metadata: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// Over metadata and value.
    pub value_crc: u32,
    /// When the entry was set.
    pub created: Millis,
    /// When it expires.
    pub expires: Option<Millis>,
    /// What a chunk or a head belongs to, or a value that was written piece by piece and is short.
    pub object: Option<&'a Arc<Object>>,
    /// The flight that fetched the value: it is published only if that is not outdated.
    pub flight: Option<&'a Flight>,
}

impl<'a> Entry<'a> {
    /// A record that deletes `key`.
    pub fn delete(digest: Digest, key: &'a [u8], created: Millis) -> Self {
        let kind = RecordKind::Delete;
        // The horizon, once it is known.
        let value = &[0; 8];
        let (flags, object, flight) = (Flags::NONE, None, None);
        Self { kind, digest, key, flags, metadata: &[], value, value_crc: 0, created, expires: None, object, flight }
    }

    /// A delete that knows only the digest.
    pub fn marker(digest: Digest, digest_bytes: &'a [u8; 8], created: Millis) -> Self {
        Self { kind: RecordKind::Marker, ..Self::delete(digest, digest_bytes, created) }
    }

    /// A record that purges what a selector, of which `key` is the encoding, selects.
    pub fn purge(digest: Digest, key: &'a [u8], created: Millis) -> Self {
        Self { kind: RecordKind::Purge, ..Self::delete(digest, key, created) }
    }

    /// Its tags.
    pub fn tags(&self) -> Tags<'a> {
        tags::split(self.flags, self.metadata).unwrap_or_default().0
    }

    /// Its length on disk, in bytes.
    pub fn class(&self) -> Option<LengthClass> {
        record::record_len(self.key.len(), self.metadata.len(), self.value.len())
    }
}

/// How a record takes its place among the others of its key.
#[derive(Debug, Clone, Copy)]
pub enum Order {
    /// It is newer than all before it.
    Newest,
    /// It is newer than the record that stands at a place, of the same value: only if the index still points there.
    Renewed {
        /// The place.
        from: Location,
        /// Of the record there.
        sequence: Sequence,
    },
    /// It is the record that stands at a place, moved: published only if the index still points there (trap 2).
    Moved {
        /// The place.
        from: Location,
        /// The record's own.
        sequence: Sequence,
        /// What it has from now on.
        hits: u8,
    },
    /// It is a marker for what was dropped at this sequence, and covers no segment younger than this one: not published.
    Marker(Sequence, SegmentId),
    /// It was held in memory, with this sequence, and is written now: only if it is held still.
    Held(Sequence),
    /// It is newer than the record that stands at this place, and takes it out of the index: only if it stands there
    /// still, and the place is still in this segment.
    Bury(Location, SegmentId),
}

/// Where a record stands now.
pub struct Placed {
    /// To wait with until it is durable.
    pub ticket: Ticket,
    /// Where in the segment it begins, in units of 16 bytes.
    pub offset_units: u32,
    /// Its place in the order.
    pub sequence: Sequence,
    /// What the index held before.
    pub before: Option<Found>,
}

/// What came of an append.
pub enum Appended {
    /// It is in the log.
    Done(Placed),
    /// The index no longer points at the place it was moved from, or its object has ended, or its flight is outdated,
    /// or it is not held any more.
    Stale,
}

enum Attempt {
    Appended(Appended),
    /// The stream has no open segment, or it has no room for this record.
    NoRoom,
}

impl Log {
    /// Appends a record and publishes it. Waits for room in the write buffer and for a free segment, if `wait`.
    /// `Ok(Err(reason))` if it was refused. Cancel safe: nothing was appended if the future is dropped.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn append(
        self: &Arc<Self>,
        stream: StreamId,
        entry: &Entry<'_>,
        order: Order,
        wait: bool,
    ) -> Result<std::result::Result<Appended, RefuseReason>> {
        self.check_running()?;
        // An append that never waits would keep its worker thread from everything else, the log's own writer included.
        task::coop::consume_budget().await;
        let Some(class) = entry.class().filter(|c| self.fits_a_segment(c.len_bytes())) else {
            return Ok(Err(RefuseReason::TooLarge));
        };
        // Eviction's own records take no budget: writers that hold it may be waiting for the room that eviction makes.
        let budget = if matches!(order, Order::Newest | Order::Renewed { .. } | Order::Held(_)) {
            self.config.write_buffer_bytes
        } else {
            0
        };
        let debit = u32::try_from(class.len_bytes().min(budget)).unwrap_or(u32::MAX);
        loop {
            self.check_running()?;
            let permit = match self.budget.try_acquire_many(debit) {
                Ok(permit) => permit,
                Err(TryAcquireError::NoPermits) if !wait => return Ok(Err(RefuseReason::Busy)),
                Err(_) => self.wait_for_budget(debit).await?,
            };
            match self.try_append(stream, entry, class, order, debit) {
                Ok(Attempt::Appended(appended)) => {
                    if let Appended::Done(..) = appended {
                        permit.forget();
                    }
                    return Ok(Ok(appended));
                }
                Ok(Attempt::NoRoom) => {
                    // Whoever waits for a segment, maybe below its namespace's quota, holds up nobody else.
                    drop(permit);
                    if let Err(reason) = self.rotate(stream, class.len_bytes(), wait).await? {
                        return Ok(Err(reason));
                    }
                }
                Err(_) if !wait => return Ok(Err(RefuseReason::Busy)),
                Err(source) => {
                    return Err(Error::Io { op: "get memory to write to", path: self.segments.dir().into(), source });
                }
            }
        }
    }

    /// Waits until the writers have given back enough. They write out at once what they would let rest meanwhile.
    async fn wait_for_budget(&self, debit: u32) -> Result<SemaphorePermit<'_>> {
        struct Starving<'a>(&'a AtomicUsize);
        impl Drop for Starving<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.starved.fetch_add(1, Ordering::SeqCst);
        let _starving = Starving(&self.starved);
        self.stream_ids().for_each(|stream| self.stream(stream).wake.notify_one());
        self.budget.acquire_many(debit).await.map_err(|_| Error::Closed)
    }

    /// Whether a record of this length fits an empty segment.
    pub fn fits_a_segment(&self, len_bytes: u64) -> bool {
        let data = crate::format::segment_header::DATA_START;
        (data + len_bytes).next_multiple_of(crate::types::BLOCK_BYTES) + footer::footer_bytes(1)
            <= self.segments.segment_len_bytes()
    }

    fn try_append(
        &self,
        stream: StreamId,
        entry: &Entry<'_>,
        class: LengthClass,
        order: Order,
        debit: u32,
    ) -> std::io::Result<Attempt> {
        let log = self.stream(stream);
        let active = log.active.lock();
        let Some(segment) = active.as_ref() else { return Ok(Attempt::NoRoom) };
        let mut tail = segment.tail.lock();
        let len = class.len_bytes();
        if !tail.fits(len) {
            return Ok(Attempt::NoRoom);
        }
        let spare = tail.reserve(&self.pool, len)?;
        let offset = tail.end();
        let offset_units = (offset / UNIT_BYTES) as u32;
        let location = Location { slot: segment.slot, offset_units, class: class.bits() };
        let Some((sequence, before)) = self.publish(entry, order, location) else {
            return Ok(Attempt::Appended(Appended::Stale));
        };
        let horizon = self.horizon(order).0.to_le_bytes();
        let is_delete = matches!(entry.kind, RecordKind::Delete | RecordKind::Marker | RecordKind::Purge);
        let value = if is_delete { &horizon } else { entry.value };
        let value_crc = if is_delete { record::value_crc(&[], value) } else { entry.value_crc };
        let header = Header {
            kind: entry.kind,
            flags: entry.flags,
            key_len: entry.key.len() as u32,
            metadata_len: entry.metadata.len() as u16,
            value_len: value.len() as u32,
            sequence,
            created: entry.created,
            expires: entry.expires,
            value_crc,
        };
        let head = record::encode_head(&header, entry.key, segment.id, offset);
        // The header alone is not dirt: the first record is.
        let was_clean = tail.rows.is_empty() || tail.is_clean();
        let filled = tail.push(&[&head, entry.key, entry.metadata, value], len, debit, spare);
        let expires_s = footer::expires_seconds(entry.expires);
        let Entry { digest, kind, .. } = *entry;
        let is_dirty = entry.flags.is_dirty();
        tail.rows.push(Row { digest, sequence, offset_units, class, kind, is_dirty, expires_s });
        tail.newest = tail.newest.max(entry.created);
        let end = tail.end();
        drop(tail);
        if filled || was_clean {
            log.wake.notify_one();
        }
        let ticket = Ticket { segment: segment.clone(), end, stream };
        Ok(Attempt::Appended(Appended::Done(Placed { ticket, offset_units, sequence, before })))
    }

    /// The newest segment that a delete covers: now that it is published, what it covers does not move any more.
    fn horizon(&self, order: Order) -> SegmentId {
        match order {
            Order::Marker(_, horizon) => horizon,
            _ => self.segments.newest_id(),
        }
    }
}
