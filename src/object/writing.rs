//! An object that is being written: what its readers see of it before it is an entry.

use bytes::{Bytes, BytesMut};

use super::{Inner, Object, Stage};
use crate::types::Millis;

/// What is known of an entry before its value is whole.
#[derive(Debug, Clone)]
pub struct About {
    /// The key.
    pub key: Bytes,
    /// The user's metadata.
    pub metadata: Bytes,
    /// When its writer was opened.
    pub created: Millis,
    /// When it expires.
    pub expires: Option<Millis>,
}

impl Object {
    /// Adds what was written, and shows it to the readers; nothing, if it has ended.
    pub fn add(&self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let mut inner = self.inner.lock();
        if inner.stage != Stage::Writing {
            return;
        }
        inner.rest_bytes += bytes.len();
        inner.written_bytes += bytes.len() as u64;
        inner.rest.push(bytes);
        drop(inner);
        self.progress.notify_waiters();
    }

    /// Bytes that are in memory only.
    pub fn rest_bytes(&self) -> usize {
        self.inner.lock().rest_bytes
    }

    /// Bytes written to it so far.
    pub fn written_bytes(&self) -> u64 {
        self.inner.lock().written_bytes
    }

    /// The next chunk's bytes, fewer only if there are no more. They stay readable here until the log has them.
    pub fn next_chunk(&self) -> Bytes {
        let inner = self.inner.lock();
        let len = inner.rest_bytes.min(self.chunk_len_bytes as usize);
        if let Some(first) = inner.rest.first().filter(|first| first.len() >= len) {
            return first.slice(..len);
        }
        let mut chunk = BytesMut::with_capacity(len);
        for bytes in &inner.rest {
            chunk.extend_from_slice(&bytes[..bytes.len().min(len - chunk.len())]);
        }
        chunk.freeze()
    }

    /// The value is complete, and all of it in memory: it is an entry of one record now. Whether it is: it may have ended.
    pub fn complete(&self) -> bool {
        let mut inner = self.inner.lock();
        let is_whole = inner.stage == Stage::Writing && inner.chunks.is_empty();
        if is_whole {
            (inner.stage, inner.is_complete) = (Stage::Whole { head: None }, true);
        }
        is_whole
    }
}

impl Inner {
    /// The log has so many bytes more: they are not needed here any more.
    pub(super) fn drop_front(&mut self, mut len: usize) {
        self.rest_bytes -= len;
        let mut gone = 0;
        for bytes in &mut self.rest {
            let n = len.min(bytes.len());
            let _ = bytes.split_to(n);
            len -= n;
            if !bytes.is_empty() {
                break;
            }
            gone += 1;
        }
        self.rest.drain(..gone);
    }
}
