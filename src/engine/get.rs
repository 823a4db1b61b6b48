//! The way out.

use std::ops::Range;
use std::sync::Arc;

use super::batch::Ahead;
use super::{Engine, Opened, turn};
use crate::entry::{Hit, Source};
use crate::error::{Error, Result};
use crate::format::record::Header;
use crate::index::{Found, Location};
use crate::log::{Entry, Order};
use crate::read::{self, Failure, Fetched};
use crate::segment::Stream;
use crate::stats::Counter;
use crate::sync::join;
use crate::types::{Digest, EvictionPolicy, Group, Millis, RecordKind, SegmentId};

/// How often an entry is looked up again when it moved while it was read.
pub(super) const ATTEMPTS: usize = 8;

/// What was found.
pub(super) enum Answer {
    Hit(Hit),
    Object(Opened),
}

impl Engine {
    /// The newest value of a key.
    pub async fn get(self: &Arc<Self>, key: &[u8]) -> Result<Option<Hit>> {
        let digest = self.check_key(key)?;
        self.hit(digest, key, true, None).await
    }

    /// As [`Engine::get`]; unless it counts, a value that is found leaves no trace in the statistics.
    pub(super) async fn hit(
        self: &Arc<Self>,
        digest: Digest,
        key: &[u8],
        counts: bool,
        ahead: Option<Ahead>,
    ) -> Result<Option<Hit>> {
        turn::give_way().await;
        let answer = self.find(digest, key, counts, ahead).await?;
        if counts {
            self.namespaces.count_get(key, answer.is_some());
        }
        let hit = match answer {
            Some(Answer::Hit(hit)) => Some(hit),
            Some(Answer::Object(opened)) => self.assemble(opened, 0..u64::MAX).await?,
            None => None,
        };
        turn::count_copied(hit.as_ref().map_or(0, |hit| hit.value.len()));
        Ok(hit)
    }

    /// A part of the newest value of a key; what is behind its end is left out.
    pub async fn get_range(self: &Arc<Self>, key: &[u8], range: Range<u64>) -> Result<Option<Hit>> {
        let digest = self.check_key(key)?;
        turn::give_way().await;
        // Where the chunks are is known before the head is read: the first one is read beside it.
        let (found, first) = join!(self.find(digest, key, true, None), self.chunk_at(digest, &range));
        let found = found?;
        self.namespaces.count_get(key, found.is_some());
        let hit = match found {
            Some(Answer::Hit(hit)) => Some(within(hit, &range)),
            Some(Answer::Object(opened)) => self.assemble(opened.beginning_with(first), range).await?,
            None => None,
        };
        turn::count_copied(hit.as_ref().map_or(0, |hit| hit.value.len()));
        Ok(hit)
    }

    /// Whether a key can be got; leaves no trace in the statistics that eviction uses.
    pub async fn has(self: &Arc<Self>, key: &[u8]) -> Result<bool> {
        let digest = self.check_key(key)?;
        Ok(self.find(digest, key, false, None).await?.is_some())
    }

    /// An entry whose value is read piece by piece. If `attach`, one that is being written goes before one that is there.
    pub async fn open_reader(self: &Arc<Self>, key: &[u8], attach: bool) -> Result<Option<Opened>> {
        let digest = self.check_key(key)?;
        turn::give_way().await;
        if let Some((object, about)) = self.objects.writing(key).filter(|_| attach) {
            return Ok(Some(Opened::attached(self, object, about)));
        }
        let found = self.find(digest, key, true, None).await?;
        self.namespaces.count_get(key, found.is_some());
        Ok(found.map(|answer| match answer {
            Answer::Hit(hit) => Opened::of_hit(hit),
            Answer::Object(opened) => opened,
        }))
    }

    /// The value of an object, or a part of it.
    async fn assemble(&self, opened: Opened, range: Range<u64>) -> Result<Option<Hit>> {
        match opened.into_hit(range).await {
            Ok(hit) => Ok(Some(hit)),
            Err(Error::Damaged) => {
                self.counters.misses_damaged.add_one();
                Ok(None)
            }
            Err(Error::Evicted | Error::WriteFailed) => {
                self.counters.misses_evicted.add_one();
                Ok(None)
            }
            Err(Error::Io { .. }) => {
                self.counters.misses_io.add_one();
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    async fn find(
        self: &Arc<Self>,
        digest: Digest,
        key: &[u8],
        counts: bool,
        mut ahead: Option<Ahead>,
    ) -> Result<Option<Answer>> {
        let missed = |counter: &Counter| {
            if counts {
                counter.add_one();
            }
            Ok(None)
        };
        for _ in 0..ATTEMPTS {
            let given_up = self.log.marks.given_up();
            // Plain FIFO does not ask.
            let counts_hit = counts && self.config.eviction != EvictionPolicy::Fifo;
            let found = if counts_hit { self.index.lookup_hit(digest) } else { self.index.lookup(digest) };
            let Some(Found { location, .. }) = found else {
                return match self.find_held(digest, key, counts, given_up).await {
                    Some(held) => Ok(Some(held)),
                    None => missed(&self.counters.misses_unknown),
                };
            };
            let now = self.clock.now();
            if let Some(hit) = self.in_memory(digest, location, key, now)
                && self.log.marks.given_up() == given_up
            {
                if counts {
                    self.counters.hits_memory.add_one();
                }
                return Ok(Some(Answer::Hit(hit)));
            }
            match self.fetch(location, ahead.take()).await {
                Ok(record) if !is_entry(record.header.kind) || record.key() != key => {
                    return missed(&self.counters.misses_collision);
                }
                Ok(record) if record.is_expired(now) => {
                    self.bury(digest, location, record.segment).await?;
                    return missed(&self.counters.misses_expired);
                }
                Ok(record) if self.is_purged(&record) => {
                    self.bury(digest, location, record.segment).await?;
                    return missed(&self.counters.misses_purged);
                }
                // What kept it dead may be gone, with the file that it was read from.
                Ok(_) if self.log.marks.given_up() != given_up => {}
                Ok(record) if record.header.kind == RecordKind::Head => match self.objects.at(location) {
                    Some(object) => {
                        let head = hit(record, now, counts.then_some(&*self.counters));
                        return Ok(Some(Answer::Object(Opened::of_object(self, object, head))));
                    }
                    // Moved or replaced meanwhile.
                    None if self.index.lookup(digest).map(|f| f.location) != Some(location) => {}
                    None => {
                        self.bury(digest, location, record.segment).await?;
                        return missed(&self.counters.misses_evicted);
                    }
                },
                Ok(record) => {
                    if counts {
                        self.fill_on_read(digest, location, &record);
                    }
                    return Ok(Some(Answer::Hit(hit(record, now, counts.then_some(&*self.counters)))));
                }
                // Evicted while it was read: it may have been rewritten elsewhere.
                Err(_) if self.index.lookup(digest).map(|f| f.location) != Some(location) => {}
                Err(Failure::Gone) => {}
                // Its place was used again, for a newer entry of the same key.
                Err(Failure::Damaged(segment, _)) if !self.segments.holds(location.slot, segment.id) => {}
                Err(failure) => return missed(self.unreadable(digest, location, failure).await?),
            }
        }
        missed(&self.counters.misses_evicted)
    }

    /// The record at a place; if it was read ahead, that one.
    async fn fetch(&self, location: Location, ahead: Option<Ahead>) -> std::result::Result<Fetched, Failure> {
        // A segment is never written twice at one place: what was read there is what is there.
        let is_it = |a: &Ahead| a.location == location && self.segments.holds(location.slot, a.record.segment);
        match ahead.filter(is_it) {
            Some(ahead) => Ok(ahead.record),
            None => read::fetch(&self.segments, location).await,
        }
    }

    /// Whether a purge covers the entry of this record.
    pub(super) fn is_purged(&self, record: &Fetched) -> bool {
        let Header { sequence, created, .. } = record.header;
        self.log.marks.cover(record.key(), record.tags(), sequence, created)
    }

    /// An entry cannot be read, and stays lost: which kind of miss it is.
    async fn unreadable(&self, digest: Digest, location: Location, failure: Failure) -> Result<&Counter> {
        match failure {
            Failure::Gone => Ok(&self.counters.misses_evicted),
            Failure::Io(segment, error) => {
                // A close takes the files away.
                self.check_open()?;
                tracing::warn!(path = %segment.path.display(), %error, "cannot read a segment");
                Ok(&self.counters.misses_io)
            }
            Failure::Damaged(segment, defect) => {
                let offset = location.offset();
                tracing::warn!(path = %segment.path.display(), offset, %defect, "dropped a damaged record");
                self.counters.entries_damaged.add_one();
                self.bury(digest, location, segment.id).await?;
                Ok(&self.counters.misses_damaged)
            }
        }
    }

    /// Takes an entry that cannot be served, and was read from this segment, out of the index. If an older copy of it may
    /// be on disk, a marker keeps that one dead. A newer entry of the key may stand at the same place of the next segment
    /// in the slot: that one stays.
    pub(super) async fn bury(&self, digest: Digest, location: Location, segment: SegmentId) -> Result<()> {
        let is_here = |f: &Found| f.location == location && self.segments.holds(location.slot, segment);
        let Some(found) = self.index.lookup(digest).filter(is_here) else { return Ok(()) };
        if !found.older {
            self.log.forget(digest, location);
            return Ok(());
        }
        let key = digest.0.to_le_bytes();
        let marker = Entry::marker(digest, &key, self.clock.now());
        match self.log.append(Stream::New.of(Group::COMMON), &marker, Order::Bury(location, segment), false).await? {
            Ok(_) => self.counters.markers_written.add_one(),
            Err(_) if self.segments.holds(location.slot, segment) => {
                self.log.forget_owing(digest, Some(location));
            }
            Err(_) => {}
        }
        Ok(())
    }
}

fn hit(record: Fetched, now: Millis, counters: Option<&crate::stats::Counters>) -> Hit {
    let source = if record.from_buffer { Source::Buffer } else { Source::Disk };
    if let Some(counters) = counters {
        match source {
            Source::Buffer => counters.hits_buffer.add_one(),
            _ => counters.hits_disk.add_one(),
        }
    }
    let Header { created, expires, sequence, .. } = record.header;
    let (metadata, value) = record.into_parts();
    let len_bytes = value.len() as u64;
    Hit { value, metadata, created, expires, now, source, len_bytes, sequence }
}

fn is_entry(kind: RecordKind) -> bool {
    matches!(kind, RecordKind::Put | RecordKind::Head)
}

/// The hit with a part of its value.
fn within(mut hit: Hit, range: &Range<u64>) -> Hit {
    let end = range.end.min(hit.len_bytes);
    let start = range.start.min(end);
    hit.value = hit.value.slice(start as usize..end as usize);
    hit
}
