//! A segment: a fixed-size file, and while it is open the bytes of it that are not written yet.
//!
//! A file keeps its place (its *slot*) for ever; the [`SegmentId`] in its header says which life of it this is.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::backend::{DiskFile, exact};
use crate::format::footer::Row;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};
use crate::types::{Group, RecordKind, SegmentId, Sequence};

mod doubt;
pub mod identity;
pub mod scan;
pub mod set;
pub mod tail;

pub use doubt::{Doubt, Extent};
pub use set::SegmentSet;
pub use tail::Tail;

/// The append streams that each group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    /// New entries and delete markers.
    New = 0,
    /// What eviction rewrites.
    Reinserted = 1,
    /// New entries that expire soon.
    ShortLived = 2,
    /// New entries that eviction had dropped, and that were wanted again: they belong to what has proved its worth.
    Main = 3,
    /// What eviction rewrites that expires: apart from what does not, so that its segments can go as a whole.
    Expiring = 4,
}

impl Stream {
    /// How many there are.
    pub const COUNT: usize = 5;
    /// All of them, in the order of their numbers.
    pub const ALL: [Stream; Stream::COUNT] =
        [Stream::New, Stream::Reinserted, Stream::ShortLived, Stream::Main, Stream::Expiring];

    /// The stream of this number in a segment's header; of a number that no header has, that of new entries.
    pub fn of_number(number: u8) -> Self {
        Self::ALL.into_iter().find(|stream| *stream as u8 == number).unwrap_or(Self::New)
    }

    /// This stream of a group.
    pub fn of(self, group: Group) -> StreamId {
        StreamId { group, stream: self }
    }

    /// Whether its segments are the main log: of entries that were wanted more than once.
    pub fn is_main(self) -> bool {
        matches!(self, Self::Reinserted | Self::Main | Self::Expiring)
    }

    /// Whether eviction moves records here, with the sequences that they have: elsewhere sequences ascend with offsets.
    pub fn is_moved(self) -> bool {
        matches!(self, Self::Reinserted | Self::Expiring)
    }
}

/// An append stream of a group: each has its own open segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamId {
    /// Whose.
    pub group: Group,
    /// Which of them.
    pub stream: Stream,
}

/// No part of the segment was lost.
const NOTHING_LOST: u64 = u64::MAX;

/// What a segment holds, known once it is sealed.
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    /// The smallest sequence in it; the largest there is if it holds nothing.
    pub min_sequence: u64,
    /// The largest sequence in it; 0 if it holds nothing.
    pub max_sequence: u64,
    /// When its last entry expires, in unix seconds; `u32::MAX` if one never does; while counting, 0 if there is none.
    pub last_expiry_s: u32,
    /// Deletes, markers and purges in it.
    pub markers: u32,
    /// The disk failed before any of its records was on the device, and they are all copies or markers: what they stand
    /// for is still on disk or owed.
    pub is_void: bool,
}

impl Summary {
    /// Of no records.
    pub const EMPTY: Self =
        Self { min_sequence: Sequence::MAX.0, max_sequence: 0, last_expiry_s: 0, markers: 0, is_void: false };

    /// Counts a record in.
    pub fn add(&mut self, row: &Row) {
        self.min_sequence = self.min_sequence.min(row.sequence.0);
        self.max_sequence = self.max_sequence.max(row.sequence.0);
        match row.kind {
            RecordKind::Put | RecordKind::Chunk | RecordKind::Head => {
                let expiry_s = if row.expires_s == 0 { u32::MAX } else { row.expires_s };
                self.last_expiry_s = self.last_expiry_s.max(expiry_s);
            }
            RecordKind::Delete | RecordKind::Marker | RecordKind::Purge => self.markers += 1,
            RecordKind::Pad => {}
        }
    }
}

/// Which segment it is.
#[derive(Debug, Clone)]
pub struct Name {
    /// Which life of the file.
    pub id: SegmentId,
    /// Which file.
    pub slot: u16,
    /// Which stream filled it.
    pub stream: StreamId,
    /// The file's path.
    pub path: PathBuf,
}

/// A segment in use.
pub struct Segment {
    /// Which life of the file.
    pub id: SegmentId,
    /// Which file.
    pub slot: u16,
    /// Which stream filled it.
    pub stream: StreamId,
    /// The file's path.
    pub path: PathBuf,
    file: RwLock<Arc<dyn DiskFile>>,
    /// Bytes that are not written yet, and the rows of the footer.
    pub tail: Mutex<Tail>,
    written: AtomicU64,
    synced: AtomicU64,
    lost_from: AtomicU64,
    sealed: AtomicBool,
    horizon: AtomicU64,
    summary: Mutex<Summary>,
}

impl Segment {
    /// An open segment.
    pub fn open(name: Name, file: Arc<dyn DiskFile>, tail: Tail) -> Self {
        let Name { id, slot, stream, path } = name;
        Self {
            id,
            slot,
            stream,
            path,
            file: RwLock::new(file),
            tail: Mutex::new(tail),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            lost_from: AtomicU64::new(NOTHING_LOST),
            sealed: AtomicBool::new(false),
            horizon: AtomicU64::new(u64::MAX),
            summary: Mutex::new(Summary::EMPTY),
        }
    }

    /// A segment that was sealed in an earlier run.
    pub fn sealed(name: Name, file: Arc<dyn DiskFile>, summary: Summary) -> Self {
        let this = Self::open(name, file, Tail::closed());
        this.seal(summary);
        this
    }

    /// The file.
    pub fn file(&self) -> Arc<dyn DiskFile> {
        self.file.read().clone()
    }

    /// Nothing is written to this segment any more.
    pub fn seal(&self, mut summary: Summary) {
        // Without entries there is nothing that expires.
        if summary.last_expiry_s == 0 {
            summary.last_expiry_s = u32::MAX;
        }
        *self.summary.lock() = summary;
        self.written.store(u64::MAX, Ordering::Release);
        self.synced.store(u64::MAX, Ordering::Release);
        self.sealed.store(true, Ordering::Release);
    }

    /// Replaces the handle by one that only reads, which closes the writing descriptor.
    pub fn read_only(&self, file: Arc<dyn DiskFile>) {
        *self.file.write() = file;
    }

    /// The newest segment when this one took its last record: what its records replaced is in no younger one.
    pub fn horizon(&self) -> SegmentId {
        SegmentId(self.horizon.load(Ordering::Acquire))
    }

    /// It takes no more records, and this is the newest segment now.
    pub fn set_horizon(&self, newest: SegmentId) {
        self.horizon.store(newest.0, Ordering::Release);
    }

    /// Whether it takes no more records, and is not sealed yet.
    pub fn is_sealing(&self) -> bool {
        !self.is_sealed() && self.tail.lock().is_closed()
    }

    /// Whether nothing is written to it any more.
    pub fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    /// What it holds; meaningful once sealed.
    pub fn summary(&self) -> Summary {
        *self.summary.lock()
    }

    /// Everything before this offset is in the kernel.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Everything before this offset is on the device.
    pub fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// Notes that everything before `offset` is in the kernel.
    pub fn set_written(&self, offset: u64) {
        self.written.fetch_max(offset, Ordering::AcqRel);
    }

    /// Notes that everything before `offset` is on the device.
    pub fn set_synced(&self, offset: u64) {
        self.synced.fetch_max(offset, Ordering::AcqRel);
    }

    /// The disk failed: what is not synced is lost. Returns where the loss begins.
    pub fn set_lost(&self) -> u64 {
        let from = self.synced();
        self.lost_from.fetch_min(from, Ordering::AcqRel);
        from
    }

    /// Whether the byte before `end` was lost to a failing disk.
    pub fn is_lost(&self, end: u64) -> bool {
        end > self.lost_from.load(Ordering::Acquire)
    }

    /// Copies `len` bytes at `offset` without waiting for the disk, and says whether some of them are not written yet.
    /// `None`: the disk is needed.
    pub fn read_now(&self, offset: u64, len: usize) -> Option<(Vec<u8>, bool)> {
        let mut buf = vec![0; len];
        if offset + len as u64 > self.written() {
            let prefix = self.tail.lock().copy_out(offset, &mut buf);
            return match prefix {
                0 => Some((buf, true)),
                n if n < len => exact::read_exact_now(&*self.file(), offset, &mut buf[..n]).then_some((buf, true)),
                // Written meanwhile.
                _ => exact::read_exact_now(&*self.file(), offset, &mut buf).then_some((buf, false)),
            };
        }
        exact::read_exact_now(&**self.file.read(), offset, &mut buf).then_some((buf, false))
    }

    /// Reads `len` bytes at `offset`, from the disk where they are there.
    ///
    /// # Errors
    /// The disk's, and `UnexpectedEof` if the file is shorter.
    pub async fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = self.file();
        if offset + len as u64 > self.written() {
            let mut buf = vec![0; len];
            let prefix = self.tail.lock().copy_out(offset, &mut buf);
            if prefix > 0 {
                buf[..prefix].copy_from_slice(&exact::read_exact_at(&*file, offset, prefix).await?);
            }
            return Ok(buf);
        }
        exact::read_exact_at(&*file, offset, len).await
    }
}

/// What a sealed segment holds.
pub fn summarize(rows: impl IntoIterator<Item = Row>) -> Summary {
    let mut summary = Summary::EMPTY;
    rows.into_iter().for_each(|row| summary.add(&row));
    summary
}
