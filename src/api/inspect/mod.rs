//! Looks into a cache directory without changing it: what it holds, what is damaged, why a key is not served.
//!
//! Nothing here locks, creates or writes, so it works on a directory that another process is using. What is still in
//! that process's memory is not seen; a segment that is freed or begun anew while it is read is read once more, and
//! reported as [`SegmentState::Changing`] if that did not help. Of a directory in use the figures are of no one moment.
//!
//! A key is served, or not, by the rules of recovery: these functions say what [`DiskCache`](crate::DiskCache) would
//! serve if it opened the directory now. A large value, an *object*, is one thing here: its head stands for it, and it is
//! whole if each of its chunks is on disk.
//!
//! ```no_run
//! # async fn example() -> Result<(), esker::Error> {
//! use std::sync::Arc;
//! use esker::inspect::Inspector;
//! use esker::{backend::tokio_fs::TokioFs, clock::{Clock, SystemClock}};
//!
//! let inspector = Inspector::new(Arc::new(TokioFs), "/var/cache/app", SystemClock.now());
//! let summary = inspector.summary().await?;
//! println!("{} entries in {} bytes", summary.entries, summary.live_bytes);
//! # Ok(())
//! # }
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backend::Backend;
use crate::catalog;
use crate::error::{Error, Result};
use crate::format::file_name::parse_segment_name;
use crate::format::manifest::Manifest;
use crate::types::Millis;

mod contents;
mod entries;
mod escape;
mod examine;
mod explain;
mod find;
mod fold;
mod object;
mod records;
mod report;
mod summary;
mod value;
mod verify;

pub use crate::marks::PurgedBy;
pub use contents::{Contents, Entries};
pub use entries::{EntryInfo, EntryState};
pub use escape::escape;
pub use explain::{Explanation, Version};
pub use find::{Finding, Verdict};
pub use object::ObjectInfo;
pub use records::{Listing, RecordInfo};
pub use report::{SegmentState, SegmentSummary, Summary};
pub use value::{ChunkFault, Piece, Value};
pub use verify::{DamageInfo, Note, Progress, VerifyReport};

/// Reads one cache directory.
#[derive(Clone)]
pub struct Inspector {
    backend: Arc<dyn Backend>,
    dir: PathBuf,
    now: Millis,
}

impl Inspector {
    /// An inspector of `dir`, to which it is `now`: what has expired by then is not served.
    pub fn new(backend: Arc<dyn Backend>, dir: impl Into<PathBuf>, now: Millis) -> Self {
        Self { backend, dir: dir.into(), now }
    }

    async fn manifest(&self) -> Result<Manifest> {
        catalog::read_manifest(&*self.backend, &self.dir).await
    }

    /// Slots that have a file, in their order, and the other names.
    async fn names(&self) -> Result<(Vec<u16>, Vec<std::ffi::OsString>)> {
        let names = self.backend.list(&self.dir).await.map_err(Error::io("open", &self.dir))?;
        let mut slots = Vec::new();
        let mut others = Vec::new();
        for entry in names {
            match parse_segment_name(&entry.name) {
                Some(slot) if entry.is_file => slots.push(slot),
                _ => others.push(entry.name),
            }
        }
        slots.sort_unstable();
        others.sort_unstable();
        Ok((slots, others))
    }
}

/// An error on a file; `None` for a file that is gone by now.
fn unless_gone<T>(result: io::Result<T>, op: &'static str, path: &Path) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(op, path)(e)),
    }
}
