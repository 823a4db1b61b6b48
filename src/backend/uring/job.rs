//! What travels to a ring and back: an operation that owns its file, its buffer and the way to answer.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::backend::WriteBuf;
use crate::backend::os::OsFile;
use crate::backend::queue::Reply;

/// An operation. It lives in the ring's table from submission until the kernel's answer (P8).
pub(super) enum Job {
    /// A positional read of up to `len` bytes.
    Read {
        file: Arc<OsFile>,
        offset: u64,
        /// Empty, with room for `len` bytes; the kernel fills it.
        buf: Vec<u8>,
        len: u32,
        reply: Reply<Vec<u8>>,
    },
    /// A positional write of (a prefix of) `buf`.
    Write { file: Arc<OsFile>, offset: u64, buf: WriteBuf, reply: Reply<usize> },
    /// `fdatasync`.
    Sync { file: Arc<OsFile>, reply: Reply<()> },
    /// The read of the eventfd that wakes the thread: its buffer has room for the counter's 8 bytes.
    Wake { eventfd: Arc<File>, buf: Vec<u8> },
    /// Nothing: shows that the ring answers.
    Nop,
}

impl Job {
    /// The descriptor to work on; `None` if the operation needs none.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Read { file, .. } => Some(file.read.as_fd()),
            // A file opened to read is refused before it gets here; the kernel would say EBADF.
            Self::Write { file, .. } | Self::Sync { file, .. } => {
                Some(file.write.as_ref().unwrap_or(&file.read).as_fd())
            }
            Self::Wake { eventfd, .. } => Some(eventfd.as_fd()),
            Self::Nop => None,
        }
    }

    /// Answers with the kernel's result: a count, or a negated errno. File and write buffer are let go first, so
    /// that whoever waits finds them released.
    pub(super) fn finish(self, result: i32) {
        let result = match usize::try_from(result) {
            Ok(count) => Ok(count),
            Err(_) => Err(io::Error::from_raw_os_error(result.wrapping_neg())),
        };
        match self {
            Self::Read { file, buf, reply, .. } => {
                drop(file);
                reply.send(result.map(|_| buf));
            }
            Self::Write { file, buf, reply, .. } => {
                drop((file, buf));
                reply.send(result);
            }
            Self::Sync { file, reply } => {
                drop(file);
                reply.send(result.map(|_| ()));
            }
            Self::Wake { .. } | Self::Nop => {}
        }
    }

    /// Answers with an error, and leaks file and buffer: the ring is lost while the kernel may still use them.
    pub(super) fn abandon(self) {
        match self {
            Self::Read { file, buf, reply, .. } => {
                std::mem::forget((file, buf));
                reply.send(Err(gone()));
            }
            Self::Write { file, buf, reply, .. } => {
                std::mem::forget((file, buf));
                reply.send(Err(gone()));
            }
            Self::Sync { file, reply } => {
                std::mem::forget(file);
                reply.send(Err(gone()));
            }
            Self::Wake { eventfd, buf } => std::mem::forget((eventfd, buf)),
            Self::Nop => {}
        }
    }
}

/// What operations get once their ring thread has died.
pub(super) fn gone() -> io::Error {
    io::Error::other("the io_uring thread is gone; open the cache again")
}
