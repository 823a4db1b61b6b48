//! The disk, as a trait of few verbs with owned buffers. It knows no format.
//!
//! # Contract
//! - Every future is `'static` and owns its file and its buffer until the kernel has answered (P8): dropping it at
//!   any point is safe, and the operation then goes on in the background.
//! - A backend takes on 4,096 operations at a time (those of the blocking pool: in the whole process). More wait with
//!   whoever asks, and one that is dropped while it waits never begins: a disk that hangs fills no memory (P5).
//! - `read_at` and `write_at` may be short; exactness is written once, in [`exact`].
//! - `write_at` on a file opened with `direct` needs offset and length in whole blocks of 4,096 bytes. Where the file
//!   system refuses direct I/O the backend falls back to buffered writes by itself.
//! - A completed `write_at` survives the death of the process; a completed `sync_data` survives power loss for all
//!   writes completed before it was called; `sync_dir` does so for names.
//! - Errors carry the operating system's errno. After a failed `write_at` or `sync_data` the caller must not trust
//!   the file's unsynced part, nor retry (fsyncgate).
//! - A backend never follows a symbolic link in the last part of a path, and creates files 0600, directories 0700.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use crate::types::BackendKind;

pub mod buffer;
pub mod closed;
pub mod descriptors;
pub mod exact;
pub mod lock;
pub mod metered;
pub mod os;
pub mod probe;
mod queue;
pub mod sim;
pub mod tokio_fs;
#[cfg(has_tokio_uring)]
pub mod tokio_uring;
#[cfg(has_uring)]
pub mod uring;

pub use buffer::{BufferPool, PoolBuf, WriteBuf};

/// What every operation returns.
pub type IoFuture<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'static>>;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write; writes go past the page cache if `direct`.
    ReadWrite {
        /// Ask for O_DIRECT on the writing descriptor.
        direct: bool,
    },
    /// A new file, which must not exist.
    CreateNew {
        /// Ask for O_DIRECT on the writing descriptor.
        direct: bool,
    },
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The file's name, without the directory.
    pub name: std::ffi::OsString,
    /// Its length in bytes.
    pub len_bytes: u64,
    /// Whether it is a regular file (not a directory, link or device).
    pub is_file: bool,
}

/// A way to the disk: opens files and keeps names.
pub trait Backend: Send + Sync + 'static {
    /// Which one this is. Never `Auto`.
    fn kind(&self) -> BackendKind;
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> IoFuture<Arc<dyn DiskFile>>;
    /// Makes a directory (0700) and its missing parents. No error if it is there already.
    fn create_dir_all(&self, path: &Path) -> IoFuture<()>;
    /// The names in a directory, in no particular order. `NotFound` if it does not exist.
    fn list(&self, dir: &Path) -> IoFuture<Vec<DirEntry>>;
    /// Renames a file within a directory, replacing what is there.
    fn rename(&self, from: &Path, to: &Path) -> IoFuture<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> IoFuture<()>;
    /// Makes names durable: creations, renames and removals completed before.
    fn sync_dir(&self, dir: &Path) -> IoFuture<()>;
}

/// An open file. Dropping the last handle, once its operations are done, closes it.
#[expect(clippy::len_without_is_empty, reason = "asking costs a future; nobody asks whether a file is empty")]
pub trait DiskFile: Send + Sync + 'static {
    /// Reads up to `len` bytes at `offset`; short at the end of the file, empty beyond it.
    fn read_at(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>>;
    /// Reads what is at hand without waiting for the disk (`RWF_NOWAIT`): the bytes copied, maybe fewer than asked;
    /// `WouldBlock` if none is, `Unsupported` where the platform or the file system (tmpfs) has no such call.
    fn read_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    /// Writes a prefix of `buf` at `offset` and says how long a prefix.
    fn write_at(&self, offset: u64, buf: WriteBuf) -> IoFuture<usize>;
    /// `fdatasync`.
    fn sync_data(&self) -> IoFuture<()>;
    /// Gives the file `len` bytes of disk space and exactly that length, be it longer or shorter than before. Where
    /// space cannot be reserved, it sets the length only.
    fn allocate(&self, len: u64) -> IoFuture<()>;
    /// The file's length in bytes.
    fn len(&self) -> IoFuture<u64>;
    /// Takes an exclusive lock on the open file, held until it is closed *and its last write has landed*. `false` if
    /// another process has it, and on Windows if this file has it already.
    fn try_lock(&self) -> io::Result<bool>;
}
