//! The end of an open segment: records that are appended but not written, in buffers that writes take whole.
//!
//! A buffer is *open* while records are copied in, then *queued* until its write has landed; readers look into both.
//! A flush closes the open buffer at a block boundary (with a pad record), so that every block is written once
//! (DESIGN.md, trap 12) and no buffer changes while its write is in flight.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::backend::{BufferPool, PoolBuf, WriteBuf};
use crate::format::footer::{self, Row};
use crate::format::record;
use crate::types::{BLOCK_BYTES, Millis, SegmentId};

/// Length of a full write, in bytes: what FINDINGS.md shows to reach the disk's bandwidth.
const WRITE_BYTES: u64 = 1 << 20;
/// A segment is at least so many writes, so that small segments too have several in flight.
const WRITES_A_SEGMENT: u64 = 16;

struct Open {
    start: u64,
    buf: PoolBuf,
    len: usize,
    debit: u32,
}

/// A buffer that waits for its write to land.
#[derive(Clone)]
pub struct Queued {
    /// Where it goes.
    pub start: u64,
    /// The bytes, whole blocks.
    pub buf: WriteBuf,
    /// What its records took from the byte budget.
    pub debit: u32,
}

/// See the module's documentation.
pub struct Tail {
    open: Option<Open>,
    queued: VecDeque<Queued>,
    /// One row a record, for the footer.
    pub rows: Vec<Row>,
    /// Where the next record goes.
    end: u64,
    segment_len_bytes: u64,
    /// Length of a full write.
    write_bytes: usize,
    closed: bool,
    /// The newest creation time of its records.
    pub newest: Millis,
    /// Padding since it was last counted, in bytes.
    pub padded_bytes: u64,
}

impl Tail {
    /// The tail of a fresh segment of this length, whose next byte goes to offset 0.
    pub fn new(segment_len_bytes: u64) -> Self {
        Self {
            open: None,
            queued: VecDeque::new(),
            rows: Vec::new(),
            end: 0,
            segment_len_bytes,
            write_bytes: write_bytes(segment_len_bytes),
            closed: false,
            newest: Millis(0),
            padded_bytes: 0,
        }
    }

    /// The tail of a segment that takes no more records.
    pub fn closed() -> Self {
        Self { closed: true, ..Self::new(0) }
    }

    /// Where the next record goes.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Whether a record of `len` bytes, a pad and the footer still fit.
    pub fn fits(&self, len: u64) -> bool {
        let with_pad = (self.end + len).next_multiple_of(BLOCK_BYTES);
        !self.closed && with_pad + footer::footer_bytes(self.rows.len() + 1) <= self.segment_len_bytes
    }

    /// Bytes that still fit, each record's row in the footer included.
    pub fn room_bytes(&self) -> u64 {
        if self.closed {
            return 0;
        }
        let taken = self.end.next_multiple_of(BLOCK_BYTES) + footer::footer_bytes(self.rows.len());
        self.segment_len_bytes.saturating_sub(taken)
    }

    /// Takes no more records; what is open is queued. Idempotent.
    pub fn close(&mut self, segment: SegmentId, synced: u64) {
        self.closed = true;
        self.queue_open(segment, synced);
    }

    /// Whether it takes no more records.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether there is nothing to write.
    pub fn is_clean(&self) -> bool {
        self.open.is_none() && self.queued.is_empty()
    }

    /// Bytes that are not written yet.
    pub fn unwritten_bytes(&self) -> u64 {
        let queued: usize = self.queued.iter().map(|q| q.buf.len()).sum();
        (queued + self.open.as_ref().map_or(0, |o| o.len)) as u64
    }

    /// Makes sure that the next `len` bytes can be pushed without needing memory, so that a push cannot fail half way.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn reserve(&mut self, pool: &BufferPool, len: u64) -> io::Result<Vec<PoolBuf>> {
        let size = self.write_bytes;
        let room = self.open.as_ref().map_or(0, |o| size - o.len);
        let missing = (len as usize).saturating_sub(room);
        (0..missing.div_ceil(size)).map(|_| pool.take(size)).collect()
    }

    /// Appends the parts of one record, zero-padded to `len` bytes, using `spare` buffers from [`Tail::reserve`].
    /// `debit` returns to the byte budget once the last byte is written. Returns whether a buffer became full.
    pub fn push(&mut self, parts: &[&[u8]], len: u64, debit: u32, spare: Vec<PoolBuf>) -> bool {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut spare = spare.into_iter();
        let queued_before = self.queued.len();
        let mut zeros = len as usize;
        for part in parts {
            zeros -= part.len();
            self.copy_in(part, &mut spare);
        }
        while zeros > 0 {
            let n = zeros.min(ZEROS.len());
            self.copy_in(&ZEROS[..n], &mut spare);
            zeros -= n;
        }
        match (&mut self.open, self.queued.back_mut()) {
            (Some(open), _) => open.debit += debit,
            (None, Some(last)) => last.debit += debit,
            (None, None) => {}
        }
        self.queued.len() > queued_before
    }

    fn copy_in(&mut self, mut part: &[u8], spare: &mut impl Iterator<Item = PoolBuf>) {
        while !part.is_empty() {
            if self.open.is_none() {
                // `reserve` counted the buffers, so there is one.
                let Some(buf) = spare.next() else { return };
                self.open = Some(Open { start: self.end, buf, len: 0, debit: 0 });
            }
            let Some(open) = &mut self.open else { return };
            let full = self.write_bytes;
            let n = part.len().min(full - open.len);
            open.buf[open.len..open.len + n].copy_from_slice(&part[..n]);
            open.len += n;
            self.end += n as u64;
            part = &part[n..];
            if open.len == full
                && let Some(open) = self.open.take()
            {
                let buf = WriteBuf::new(Arc::new(open.buf), open.len);
                self.queued.push_back(Queued { start: open.start, buf, debit: open.debit });
            }
        }
    }

    /// Queues what is open, padded to a block. The pad says that the segment is on the device up to `synced`.
    pub fn queue_open(&mut self, segment: SegmentId, synced: u64) {
        let Some(open) = &mut self.open else { return };
        let pad = (open.len.next_multiple_of(BLOCK_BYTES as usize) - open.len) as u64;
        let at = open.len;
        open.buf[at..at + pad as usize].fill(0);
        if let Some(header) = record::encode_pad(pad, segment, self.end, synced) {
            open.buf[at..at + header.len()].copy_from_slice(&header);
        }
        open.len += pad as usize;
        self.end += pad;
        self.padded_bytes += pad;
        if let Some(open) = self.open.take() {
            let buf = WriteBuf::new(Arc::new(open.buf), open.len);
            self.queued.push_back(Queued { start: open.start, buf, debit: open.debit });
        }
    }

    /// The `n`th buffer that waits to be written. It stays readable here until [`Tail::written`].
    pub fn queued(&self, n: usize) -> Option<Queued> {
        self.queued.get(n).cloned()
    }

    /// The first queued buffer has landed.
    pub fn written(&mut self) {
        self.queued.pop_front();
    }

    /// Gives up everything that is not written; what it took from the byte budget.
    pub fn abandon(&mut self) -> u32 {
        self.closed = true;
        let open = self.open.take().map_or(0, |o| o.debit);
        self.queued.drain(..).map(|q| q.debit).sum::<u32>() + open
    }

    /// Copies what is here of `[offset, offset + to.len())` into `to`; returns the length of the part before it that
    /// is written already, and must come from the file.
    pub fn copy_out(&self, offset: u64, to: &mut [u8]) -> usize {
        let mut missing = to.len();
        let windows = self.queued.iter().map(|q| (q.start, &q.buf[..]));
        let open = self.open.iter().map(|o| (o.start, &o.buf[..o.len]));
        for (start, bytes) in windows.chain(open) {
            let from = start.max(offset);
            let until = (start + bytes.len() as u64).min(offset + to.len() as u64);
            if from < until {
                let (a, b) = ((from - offset) as usize, (until - offset) as usize);
                to[a..b].copy_from_slice(&bytes[(from - start) as usize..(until - start) as usize]);
                missing = missing.min(a);
            }
        }
        missing
    }
}

/// A power of four of blocks, as the buffer pool's classes are.
fn write_bytes(segment_len_bytes: u64) -> usize {
    let most = (segment_len_bytes / WRITES_A_SEGMENT).clamp(BLOCK_BYTES, WRITE_BYTES);
    let mut len = BLOCK_BYTES;
    while len * 4 <= most {
        len *= 4;
    }
    len as usize
}
