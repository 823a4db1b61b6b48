//! A backend, a directory of its own, and bytes that say where they belong.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use esker::backend::exact::{read_exact_at, write_all_at};
use esker::backend::{Backend, BufferPool, DiskFile, OpenMode, WriteBuf};

/// Makes the backend under test.
pub(crate) type Make = fn() -> io::Result<Arc<dyn Backend>>;

/// New and to be written through the page cache.
pub(crate) const NEW: OpenMode = OpenMode::CreateNew { direct: false };
/// Existing, to be written through the page cache.
pub(crate) const OLD: OpenMode = OpenMode::ReadWrite { direct: false };

/// What each check gets.
pub(crate) struct Fixture {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) root: PathBuf,
    pool: BufferPool,
    _dir: tempfile::TempDir,
}

/// Runs a check on a runtime of two workers. Where the kernel refuses the backend, the check is passed over and says
/// so; any other refusal fails it.
pub(crate) fn run(make: Make, check: impl FnOnce(Fixture) -> Pin<Box<dyn Future<Output = ()>>>) {
    let backend = match make() {
        Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
            eprintln!("passed over, the kernel refuses: {e}");
            return;
        }
        made => made.expect("a backend"),
    };
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let root = dir.path().join("root");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        backend.create_dir_all(&root).await.expect("the root directory");
        let fixture = Fixture { backend, root, pool: BufferPool::new(64 << 20), _dir: dir };
        tokio::time::timeout(Duration::from_secs(60), check(fixture)).await.expect("no check takes a minute");
    });
}

impl Fixture {
    /// A path in the root directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A new, empty file.
    pub(crate) async fn create(&self, name: &str) -> Arc<dyn DiskFile> {
        self.backend.open(&self.path(name), NEW).await.expect("a new file")
    }

    /// A new file with this content.
    pub(crate) async fn create_with(&self, name: &str, content: &[u8]) -> Arc<dyn DiskFile> {
        let file = self.create(name).await;
        self.write(&*file, 0, content).await;
        file
    }

    /// An aligned buffer holding these bytes.
    pub(crate) fn buf(&self, bytes: &[u8]) -> WriteBuf {
        let mut buf = self.pool.take(bytes.len().max(1)).expect("memory");
        buf[..bytes.len()].copy_from_slice(bytes);
        WriteBuf::new(Arc::new(buf), bytes.len())
    }

    /// Writes all of it.
    pub(crate) async fn write(&self, file: &dyn DiskFile, offset: u64, bytes: &[u8]) {
        write_all_at(file, offset, self.buf(bytes)).await.expect("a write");
    }

    /// How many buffers rest in the pool, in bytes: those that no operation owns any more.
    pub(crate) fn idle_bytes(&self) -> usize {
        self.pool.idle_bytes()
    }
}

/// Reads exactly this much.
pub(crate) async fn read(file: &dyn DiskFile, offset: u64, len: usize) -> Vec<u8> {
    read_exact_at(file, offset, len).await.expect("a read")
}

/// Bytes that depend on `seed` and on their place.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let word = |n: usize| (seed << 32 ^ n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
    (0..len.div_ceil(8)).flat_map(|n| word(n).to_le_bytes()).take(len).collect()
}

/// Waits until `condition` holds, ten seconds at most.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..1000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen within ten seconds");
}

/// The kind of error that `outcome` is.
pub(crate) fn refused<T>(outcome: io::Result<T>) -> io::ErrorKind {
    match outcome {
        Ok(_) => panic!("this must be refused"),
        Err(e) => e.kind(),
    }
}
