//! A backend around the simulated disk that tells a watcher whenever an operation was begun and when it has landed.

use std::io;
use std::path::{Path, PathBuf};
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

/// What is told of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Which.
    pub kind: OpKind,
    /// On which file or directory.
    pub path: &'a Path,
    /// Where in the file, of a read or write.
    pub offset: Option<u64>,
    /// Begun or landed.
    pub moment: Moment,
    /// It landed and was not done.
    pub failed: bool,
}

/// Told of every operation but `read_now` and `try_lock`, which wait for nothing.
pub type Watcher = Arc<dyn Fn(Event<'_>) + Send + Sync>;

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
    path: PathBuf,
    watcher: Watcher,
}

/// The operation is in flight already: the simulated disk begins it when it is asked, not when it is polled.
fn watch<T: 'static>(
    watcher: &Watcher,
    kind: OpKind,
    path: &Path,
    offset: Option<u64>,
    operation: IoFuture<T>,
) -> IoFuture<T> {
    watcher(Event { kind, path, offset, moment: Moment::Begun, failed: false });
    let (watcher, path) = (watcher.clone(), path.to_owned());
    Box::pin(async move {
        let landed = operation.await;
        watcher(Event { kind, path: &path, offset, moment: Moment::Landed, failed: landed.is_err() });
        landed
    })
}

impl Watched {
    fn watch<T: 'static>(&self, kind: OpKind, path: &Path, operation: IoFuture<T>) -> IoFuture<T> {
        watch(&self.watcher, kind, path, None, operation)
    }
}

impl WatchedFile {
    fn watch<T: 'static>(&self, kind: OpKind, offset: Option<u64>, operation: IoFuture<T>) -> IoFuture<T> {
        watch(&self.watcher, kind, &self.path, offset, operation)
    }
}

impl Backend for Watched {
    fn kind(&self) -> BackendKind {
        self.sim.kind()
    }

    fn open(&self, path: &Path, mode: OpenMode) -> IoFuture<Arc<dyn DiskFile>> {
        let opening = self.watch(OpKind::Open, path, self.sim.open(path, mode));
        let (path, watcher) = (path.to_owned(), self.watcher.clone());
        Box::pin(async move { Ok(Arc::new(WatchedFile { inner: opening.await?, path, watcher }) as Arc<dyn DiskFile>) })
    }

    fn create_dir_all(&self, path: &Path) -> IoFuture<()> {
        self.watch(OpKind::CreateDir, path, self.sim.create_dir_all(path))
    }

    fn list(&self, dir: &Path) -> IoFuture<Vec<DirEntry>> {
        self.watch(OpKind::List, dir, self.sim.list(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> IoFuture<()> {
        self.watch(OpKind::Rename, from, self.sim.rename(from, to))
    }

    fn remove(&self, path: &Path) -> IoFuture<()> {
        self.watch(OpKind::Remove, path, self.sim.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> IoFuture<()> {
        self.watch(OpKind::SyncDir, dir, self.sim.sync_dir(dir))
    }
}

impl DiskFile for WatchedFile {
    fn read_at(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        self.watch(OpKind::Read, Some(offset), self.inner.read_at(offset, len))
    }

    fn read_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read_now(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: WriteBuf) -> IoFuture<usize> {
        self.watch(OpKind::Write, Some(offset), self.inner.write_at(offset, buf))
    }

    fn sync_data(&self) -> IoFuture<()> {
        self.watch(OpKind::Sync, None, self.inner.sync_data())
    }

    fn allocate(&self, len: u64) -> IoFuture<()> {
        self.watch(OpKind::Allocate, None, self.inner.allocate(len))
    }

    fn len(&self) -> IoFuture<u64> {
        self.watch(OpKind::Len, None, self.inner.len())
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.inner.try_lock()
    }
}
