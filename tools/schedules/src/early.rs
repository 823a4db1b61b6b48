//! The planted fault of the cache's scenarios: a disk that says that a write to a segment is done before
//! its bytes are there.

use std::path::Path;
use std::sync::Arc;

use esker::BackendKind;
use esker::backend::{Backend, DiskFile, IoFuture, OpenMode, WriteBuf};
use esker::sync::task;

#[path = "../../../tests/common/forward.rs"]
mod forward;

use forward::{forward_file, forward_names};

/// See the module's documentation.
pub struct Early(pub Arc<dyn Backend>);

struct EarlyFile(Arc<dyn DiskFile>);

impl Backend for Early {
    fn kind(&self) -> BackendKind {
        self.0.kind()
    }

    fn open(&self, path: &Path, mode: OpenMode) -> IoFuture<Arc<dyn DiskFile>> {
        let opening = self.0.open(path, mode);
        if !path.to_string_lossy().contains("seg-") {
            return opening;
        }
        Box::pin(async move { Ok(Arc::new(EarlyFile(opening.await?)) as Arc<dyn DiskFile>) })
    }

    forward_names!(0);
}

impl DiskFile for EarlyFile {
    fn read_at(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        self.0.read_at(offset, len)
    }

    fn write_at(&self, offset: u64, buf: WriteBuf) -> IoFuture<usize> {
        let (file, len) = (self.0.clone(), buf.len());
        drop(task::spawn(async move { file.write_at(offset, buf).await }));
        Box::pin(std::future::ready(Ok(len)))
    }

    forward_file!(0);
}
