//! The canary's backend: every lock is there for the asking, so nobody waits for a dead writer.

use std::io;
use std::path::Path;
use std::sync::Arc;

use esker::BackendKind;
use esker::backend::{Backend, DiskFile, IoFuture, OpenMode, WriteBuf};

use crate::common::forward::forward_names;

/// The backend.
#[derive(Clone)]
pub struct Unlocked {
    /// Of which the locks are ignored.
    pub inner: Arc<dyn Backend>,
}

struct UnlockedFile(Arc<dyn DiskFile>);

impl Backend for Unlocked {
    fn kind(&self) -> BackendKind {
        self.inner.kind()
    }

    fn open(&self, path: &Path, mode: OpenMode) -> IoFuture<Arc<dyn DiskFile>> {
        let opening = self.inner.open(path, mode);
        Box::pin(async move { Ok(Arc::new(UnlockedFile(opening.await?)) as Arc<dyn DiskFile>) })
    }

    forward_names!(inner);
}

impl DiskFile for UnlockedFile {
    fn read_at(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        self.0.read_at(offset, len)
    }

    fn read_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_now(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: WriteBuf) -> IoFuture<usize> {
        self.0.write_at(offset, buf)
    }

    fn sync_data(&self) -> IoFuture<()> {
        self.0.sync_data()
    }

    fn allocate(&self, len: u64) -> IoFuture<()> {
        self.0.allocate(len)
    }

    fn len(&self) -> IoFuture<u64> {
        self.0.len()
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }
}
