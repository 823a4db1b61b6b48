//! A backend around a backend whose syncs go through a hand, which may count them, fail them or leave them out.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use esker::BackendKind;
use esker::backend::{Backend, DirEntry, DiskFile, IoFuture, OpenMode, WriteBuf};

/// A sync that is asked for: begins each time it is called.
pub type Sync = Box<dyn Fn() -> IoFuture<()> + Send + std::marker::Sync>;

/// Through which syncs go.
pub trait Hand: Send + std::marker::Sync + 'static {
    /// A file, as it was opened, or a directory is to be synced.
    fn sync(&self, what: &Arc<PathBuf>, really: Sync) -> IoFuture<()>;
    /// Something is written to a file, as it was opened.
    fn writes(&self, what: &Arc<PathBuf>) {
        let _ = what;
    }
}

/// Says that everything is synced, and does nothing: the fault that a test of durability must catch.
#[derive(Debug)]
pub struct Liar;

impl Hand for Liar {
    fn sync(&self, _: &Arc<PathBuf>, _: Sync) -> IoFuture<()> {
        Box::pin(async { Ok(()) })
    }
}

/// The backend.
#[derive(Clone)]
pub struct Steered {
    /// What does the work.
    pub inner: Arc<dyn Backend>,
    /// The hand.
    pub hand: Arc<dyn Hand>,
}

struct SteeredFile {
    inner: Arc<dyn DiskFile>,
    // Each opening has its own: what is known of a file ends with it.
    path: Arc<PathBuf>,
    hand: Arc<dyn Hand>,
}

impl Backend for Steered {
    fn kind(&self) -> BackendKind {
        self.inner.kind()
    }

    fn open(&self, path: &Path, mode: OpenMode) -> IoFuture<Arc<dyn DiskFile>> {
        let (opening, path, hand) = (self.inner.open(path, mode), Arc::new(path.to_owned()), self.hand.clone());
        Box::pin(async move { Ok(Arc::new(SteeredFile { inner: opening.await?, path, hand }) as Arc<dyn DiskFile>) })
    }

    fn create_dir_all(&self, path: &Path) -> IoFuture<()> {
        self.inner.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> IoFuture<Vec<DirEntry>> {
        self.inner.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> IoFuture<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> IoFuture<()> {
        self.inner.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> IoFuture<()> {
        let (inner, dir) = (self.inner.clone(), Arc::new(dir.to_owned()));
        self.hand.sync(&dir.clone(), Box::new(move || inner.sync_dir(&dir)))
    }
}

impl DiskFile for SteeredFile {
    fn read_at(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        self.inner.read_at(offset, len)
    }

    fn read_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read_now(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: WriteBuf) -> IoFuture<usize> {
        self.hand.writes(&self.path);
        self.inner.write_at(offset, buf)
    }

    fn sync_data(&self) -> IoFuture<()> {
        let inner = self.inner.clone();
        self.hand.sync(&self.path, Box::new(move || inner.sync_data()))
    }

    fn allocate(&self, len: u64) -> IoFuture<()> {
        self.inner.allocate(len)
    }

    fn len(&self) -> IoFuture<u64> {
        self.inner.len()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.inner.try_lock()
    }
}
