//! A backend around a backend that lets a test step in before an operation begins.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use esker::BackendKind;
use esker::backend::sim::OpKind;
use esker::backend::{Backend, DiskFile, IoFuture, OpenMode, WriteBuf};

use super::forward::{forward_file, forward_names};

/// Asked before every open and `read_at`: what happens before it.
pub type Hook = Arc<dyn Fn(OpKind, &Path) -> Option<IoFuture<()>> + Send + Sync>;

#[derive(Clone)]
pub struct Hooked {
    pub inner: Arc<dyn Backend>,
    pub hook: Hook,
    /// How long a file stays open, and locked, after it was let go of: as a ring does it.
    pub linger: Duration,
}

struct HookedFile {
    inner: Arc<dyn DiskFile>,
    path: PathBuf,
    hook: Hook,
    linger: Duration,
}

impl Drop for HookedFile {
    fn drop(&mut self) {
        if self.linger > Duration::ZERO {
            let (inner, linger) = (self.inner.clone(), self.linger);
            tokio::spawn(async move {
                tokio::time::sleep(linger).await;
                drop(inner);
            });
        }
    }
}

impl Backend for Hooked {
    fn kind(&self) -> BackendKind {
        self.inner.kind()
    }

    fn open(&self, path: &Path, mode: OpenMode) -> IoFuture<Arc<dyn DiskFile>> {
        let (this, path) = (self.clone(), path.to_owned());
        Box::pin(async move {
            if let Some(before) = (this.hook)(OpKind::Open, &path) {
                before.await?;
            }
            let inner = this.inner.open(&path, mode).await?;
            Ok(Arc::new(HookedFile { inner, path, hook: this.hook, linger: this.linger }) as Arc<dyn DiskFile>)
        })
    }

    forward_names!(inner);
}

impl DiskFile for HookedFile {
    fn read_at(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        let Some(before) = (self.hook)(OpKind::Read, &self.path) else { return self.inner.read_at(offset, len) };
        let inner = self.inner.clone();
        Box::pin(async move {
            before.await?;
            inner.read_at(offset, len).await
        })
    }

    fn write_at(&self, offset: u64, buf: WriteBuf) -> IoFuture<usize> {
        self.inner.write_at(offset, buf)
    }

    forward_file!(inner);
}
