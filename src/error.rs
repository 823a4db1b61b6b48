//! Few kinds of errors; each says what to do.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// What can go wrong. A refused write is not an error: see `SetOutcome`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller gave a key, metadata or option out of its limits.
    #[error("{0}")]
    InvalidInput(String),
    /// The configuration cannot work; the text names the option and a value that does.
    #[error("invalid configuration: {0}")]
    InvalidConfig(String),
    /// The directory holds files, but no cache of ours.
    #[error("{path} is not an Esker cache ({why}); choose an empty or new directory. Nothing was changed")]
    NotACache {
        /// The directory.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// The directory was written by a newer version.
    #[error(
        "{path} has format version {found}, this build reads up to {supported}; upgrade Esker or choose another \
         directory. Nothing was changed"
    )]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// Its format version.
        found: u32,
        /// The newest format version that this build reads.
        supported: u32,
    },
    /// Another process, or another cache in this one, has the directory (or a dead process's writes still land).
    #[error("{path} is in use by another process; close it there, or choose another directory")]
    Locked {
        /// The locked file.
        path: PathBuf,
    },
    /// The directory belongs to someone else.
    #[error("{path} is owned by user {owner}, not by {us}; run as that user or choose another directory")]
    NotOwned {
        /// The directory.
        path: PathBuf,
        /// The owner's user id.
        owner: u32,
        /// Our effective user id.
        us: u32,
    },
    /// The requested backend cannot run here.
    #[error("backend {kind} cannot run here: {why}; use `BackendKind::Auto` to fall back by itself")]
    BackendUnavailable {
        /// The backend.
        kind: crate::types::BackendKind,
        /// Why not.
        why: String,
    },
    /// The operating system refused.
    #[error("cannot {op} {path}: {source}{}", remedy(source))]
    Io {
        /// What was tried, a verb.
        op: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// What was asked to be made durable was lost: the disk failed. It was removed from the cache.
    #[error("the disk failed while writing; the entry was dropped. Check the disk; the cache goes on by itself")]
    WriteFailed,
    /// What was read of a large value ends here: a part of it was evicted, or the cache was cleared, meanwhile.
    #[error("the entry was evicted while it was read; get it from where it came from")]
    Evicted,
    /// What was read of a large value ends here: its writer was dropped, or refused, before it was finished.
    #[error("the entry's writer gave up before all was written; get it from where it came from")]
    Aborted,
    /// What was read of a large value ends here: the next part is damaged. The entry was dropped.
    #[error("a part of the entry is damaged; the entry was dropped. Check the disk")]
    Damaged,
    /// A fetch of `DiskCache::get_or_fetch` failed, this caller's or the one that it waited for: the fetch's own error, which
    /// all who waited for it share. `downcast_ref` tells which it is. Nothing was stored.
    #[error("the fetch failed: {0}")]
    Fetch(SharedError),
    /// The origin of an [`OriginCache`](crate::OriginCache) failed at a write: its own error; `downcast_ref` tells which it is.
    #[error("the origin did not {op}: {source}; the next get asks it what it has")]
    Origin {
        /// What was asked of it, a verb.
        op: &'static str,
        /// What it said.
        source: BoxError,
    },
    /// A [`Typed`](crate::Typed) view could not turn a key or a value into bytes, or what it had just made back into a value.
    #[error("cannot {op} {what}: {source}; change the type, or take a codec that can")]
    Codec {
        /// What was tried, a verb.
        op: &'static str,
        /// The name of the type.
        what: &'static str,
        /// What the codec said.
        source: BoxError,
    },
    /// The cache could not be opened in the background (see `Config::index_in_background`).
    #[error("the cache did not open: {0}")]
    OpenFailed(Arc<Error>),
    /// The cache was closed.
    #[error("the cache is closed; open it again")]
    Closed,
}

/// An error of any kind.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// An error of any kind that several share.
pub type SharedError = Arc<dyn std::error::Error + Send + Sync>;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Wraps an I/O error with what was tried and where.
    pub(crate) fn io(op: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { op, path, source }
    }
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free space on that disk or lower `capacity_bytes`"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; remount it writable or choose another directory",
        io::ErrorKind::PermissionDenied => "; give this user read and write access or choose another directory",
        io::ErrorKind::NotADirectory => "; choose a directory",
        _ => "",
    }
}
