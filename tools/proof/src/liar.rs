//! A planted fault: a backend that says that a failed write or sync was done.

use std::path::Path;
use std::sync::Arc;

use esker::BackendKind;
use esker::backend::{Backend, DiskFile, IoFuture, OpenMode, WriteBuf};

use crate::common::forward::forward_names;

/// The backend.
pub struct Liar {
    /// The one that fails.
    pub inner: Arc<dyn Backend>,
}

struct LiarFile {
    inner: Arc<dyn DiskFile>,
}

impl Backend for Liar {
    fn kind(&self) -> BackendKind {
        self.inner.kind()
    }

    fn open(&self, path: &Path, mode: OpenMode) -> IoFuture<Arc<dyn DiskFile>> {
        let opening = self.inner.open(path, mode);
        Box::pin(async move { Ok(Arc::new(LiarFile { inner: opening.await? }) as Arc<dyn DiskFile>) })
    }

    forward_names!(inner);
}

impl DiskFile for LiarFile {
    fn read_at(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        self.inner.read_at(offset, len)
    }

    fn read_now(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        self.inner.read_now(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: WriteBuf) -> IoFuture<usize> {
        let (len, writing) = (buf.len(), self.inner.write_at(offset, buf));
        Box::pin(async move { Ok(writing.await.unwrap_or(len)) })
    }

    fn sync_data(&self) -> IoFuture<()> {
        let syncing = self.inner.sync_data();
        Box::pin(async move { syncing.await.or(Ok(())) })
    }

    fn allocate(&self, len: u64) -> IoFuture<()> {
        self.inner.allocate(len)
    }

    fn len(&self) -> IoFuture<u64> {
        self.inner.len()
    }

    fn try_lock(&self) -> std::io::Result<bool> {
        self.inner.try_lock()
    }
}
