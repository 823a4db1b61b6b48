//! A backend around the simulated disk that tells a watcher whenever an operation was begun and when it has landed.

use std::io;
use std::path::Path;
use std::sync::Arc;

use esker::BackendKind;
use esker::backend::sim::{OpKind, Sim};
use esker::backend::{Backend, DirEntry, DiskFile, IoFuture, OpenMode, WriteBuf};

/// Where an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It is in flight: whoever crashes the disk now leaves open whether it happened.
    Begun,
    /// It was done, well or not.
    Landed,
}

/// Told of every operation but `read_now` and `try_lock`, which wait for nothing.
pub type Watcher = Arc<dyn Fn(OpKind, Moment) + Send + Sync>;

/// The backend.
#[derive(Clone)]
pub struct Watched {
    /// The disk.
    pub sim: Sim,
    /// Who watches.
    pub watcher: Watcher,
}

struct WatchedFile {
    inner: Arc<dyn DiskFile>,
    watcher: Watcher,
}

/// The operation is in flight already: the simulated disk begins it when it is asked, not when it is polled.
fn watch<T: 'static>(watcher: &Watcher, kind: OpKind, operation: IoFuture<T>) -> IoFuture<T> {
    watcher(kind, Moment::Begun);
    let watcher = watcher.clone();
    Box::pin(async move {
        let landed = operation.await;
        watcher(kind, Moment::Landed);
        landed
    })
}

impl Watched {
    fn watch<T: 'static>(&self, kind: OpKind, operation: IoFuture<T>) -> IoFuture<T> {
        watch(&self.watcher, kind, operation)
    }
}

impl Backend for Watched {
    fn kind(&self) -> BackendKind {
        self.sim.kind()
    }

    fn open(&self, path: &Path, mode: OpenMode) -> IoFuture<Arc<dyn DiskFile>> {
        let opening = self.watch(OpKind::Open, self.sim.open(path, mode));
        let watcher = self.watcher.clone();
        Box::pin(async move { Ok(Arc::new(WatchedFile { inner: opening.await?, watcher }) as Arc<dyn DiskFile>) })
    }

    fn create_dir_all(&self, path: &Path) -> IoFuture<()> {
        self.watch(OpKind::CreateDir, self.sim.create_dir_all(path))
    }

    fn list(&self, dir: &Path) -> IoFuture<Vec<DirEntry>> {
        self.watch(OpKind::List, self.sim.list(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> IoFuture<()> {
        self.watch(OpKind::Rename, self.sim.rename(from, to))
    }

    fn remove(&self, path: &Path) -> IoFuture<()> {
        self.watch(OpKind::Remove, self.sim.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> IoFuture<()> {
        self.watch(OpKind::SyncDir, self.sim.sync_dir(dir))
    }
}

impl DiskFile for WatchedFile {
    fn read_at(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        watch(&self.watcher, OpKind::Read, self.inner.read_at(offset, len))
    }

    fn read_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read_now(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: WriteBuf) -> IoFuture<usize> {
        watch(&self.watcher, OpKind::Write, self.inner.write_at(offset, buf))
    }

    fn sync_data(&self) -> IoFuture<()> {
        watch(&self.watcher, OpKind::Sync, self.inner.sync_data())
    }

    fn allocate(&self, len: u64) -> IoFuture<()> {
        watch(&self.watcher, OpKind::Allocate, self.inner.allocate(len))
    }

    fn len(&self) -> IoFuture<u64> {
        watch(&self.watcher, OpKind::Len, self.inner.len())
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.inner.try_lock()
    }
}
