//! Positional I/O on tokio's blocking pool: the backend of every platform, and the fallback of the others.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::os::{self, OsFile};
use super::{Backend, DiskFile, IoFuture, OpenMode, WriteBuf};
use crate::types::BackendKind;

/// The backend over tokio's blocking pool.
#[derive(Debug, Default, Clone, Copy)]
pub struct TokioFs;

struct PoolFile(Arc<OsFile>);

impl Backend for TokioFs {
    fn kind(&self) -> BackendKind {
        BackendKind::TokioFs
    }

    fn open(&self, path: &Path, mode: OpenMode) -> IoFuture<Arc<dyn DiskFile>> {
        let opening = os::open(path, mode);
        Box::pin(async move { Ok(Arc::new(PoolFile(opening.await?)) as Arc<dyn DiskFile>) })
    }

    os::names!();
}

impl DiskFile for PoolFile {
    fn read_at(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        let file = self.0.clone();
        os::blocking(move || file.read_at(offset, len))
    }

    fn read_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_now(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: WriteBuf) -> IoFuture<usize> {
        let file = self.0.clone();
        os::blocking(move || file.write_at(offset, &buf))
    }

    fn sync_data(&self) -> IoFuture<()> {
        let file = self.0.clone();
        os::blocking(move || file.sync_data())
    }

    fn allocate(&self, len: u64) -> IoFuture<()> {
        let file = self.0.clone();
        os::blocking(move || file.allocate(len))
    }

    fn len(&self) -> IoFuture<u64> {
        let file = self.0.clone();
        os::blocking(move || file.len_bytes())
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.0.try_lock()
    }
}
