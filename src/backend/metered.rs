//! A backend around a backend: it counts operations, failures by class and open files, and ends waits that take too
//! long.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Backend, DirEntry, DiskFile, IoFuture, OpenMode, WriteBuf};
use crate::stats::{Counter, Counters};
use crate::sync::{AsyncMutex, task, time};
use crate::types::BackendKind;

/// Counts into `Counters`, and answers `TimedOut` for operations that take longer than the limit. Such an operation goes
/// on in the background with its file and buffer; what it wrote is unknown, as after any failed write. Needs a runtime
/// with tokio's time enabled.
///
/// Changes of names (creations, renames, removals) and opens to write happen one at a time. One that nobody waits for any
/// more ends before the next begins: a rename that comes late must not move the file that the next attempt is writing.
pub struct Metered {
    inner: Arc<dyn Backend>,
    meter: Meter,
    /// Held while a name changes.
    names: Arc<AsyncMutex<()>>,
}

#[derive(Clone)]
struct Meter {
    counters: Arc<Counters>,
    io_timeout: Duration,
}

/// Where a failure is counted.
type Class = fn(&Counters) -> &Counter;

impl Metered {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Backend>, counters: Arc<Counters>, io_timeout: Duration) -> Self {
        Self { inner, meter: Meter { counters, io_timeout }, names: Arc::default() }
    }

    /// Changes a name, after the change before has ended. Begun, it ends by itself; not begun, it never does.
    fn in_turn<T: Send + 'static>(
        &self,
        begin: impl FnOnce(&dyn Backend) -> IoFuture<T> + Send + 'static,
    ) -> IoFuture<T> {
        let (inner, names) = (self.inner.clone(), self.names.clone());
        Box::pin(async move {
            let turn = names.lock_owned().await;
            let change = task::spawn(async move {
                let outcome = begin(&*inner).await;
                drop(turn);
                outcome
            });
            change.await.unwrap_or_else(|e| Err(io::Error::other(e)))
        })
    }
}

impl Meter {
    /// Counts a failure of `operation`, and a wait longer than the limit as one.
    fn limit<T: Send + 'static>(&self, operation: IoFuture<T>, failures: Class) -> IoFuture<T> {
        self.limit_unless(operation, failures, |_| false)
    }

    /// As [`Meter::limit`], but a file that is not there is an answer, not a failure.
    fn limit_or_absent<T: Send + 'static>(&self, operation: IoFuture<T>, failures: Class) -> IoFuture<T> {
        self.limit_unless(operation, failures, |e| e.kind() == io::ErrorKind::NotFound)
    }

    fn limit_unless<T: Send + 'static>(
        &self,
        operation: IoFuture<T>,
        failures: Class,
        is_answer: fn(&io::Error) -> bool,
    ) -> IoFuture<T> {
        let Self { counters, io_timeout } = self.clone();
        Box::pin(async move {
            let outcome = time::timeout(io_timeout, operation).await.unwrap_or_else(|_| {
                counters.failures_timed_out.add_one();
                Err(io::ErrorKind::TimedOut.into())
            });
            outcome.inspect_err(|e| {
                if !is_answer(e) {
                    failures(&counters).add_one();
                }
            })
        })
    }
}

impl Backend for Metered {
    fn kind(&self) -> BackendKind {
        self.inner.kind()
    }

    fn open(&self, path: &Path, mode: OpenMode) -> IoFuture<Arc<dyn DiskFile>> {
        let opening = if mode == OpenMode::Read {
            self.inner.open(path, mode)
        } else {
            let path = path.to_owned();
            self.in_turn(move |inner| inner.open(&path, mode))
        };
        let (opening, meter) = (self.meter.limit_or_absent(opening, |c| &c.failures_open), self.meter.clone());
        Box::pin(async move {
            let inner = opening.await?;
            meter.counters.open_files.add_one();
            Ok(Arc::new(MeteredFile { inner, meter }) as Arc<dyn DiskFile>)
        })
    }

    fn create_dir_all(&self, path: &Path) -> IoFuture<()> {
        self.meter.limit(self.inner.create_dir_all(path), |c| &c.failures_open)
    }

    fn list(&self, dir: &Path) -> IoFuture<Vec<DirEntry>> {
        self.meter.limit_or_absent(self.inner.list(dir), |c| &c.failures_read)
    }

    fn rename(&self, from: &Path, to: &Path) -> IoFuture<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.meter.limit(self.in_turn(move |inner| inner.rename(&from, &to)), |c| &c.failures_rename)
    }

    fn remove(&self, path: &Path) -> IoFuture<()> {
        let path = path.to_owned();
        self.meter.limit_or_absent(self.in_turn(move |inner| inner.remove(&path)), |c| &c.failures_remove)
    }

    fn sync_dir(&self, dir: &Path) -> IoFuture<()> {
        self.meter.limit(self.inner.sync_dir(dir), |c| &c.failures_sync)
    }
}

struct MeteredFile {
    inner: Arc<dyn DiskFile>,
    meter: Meter,
}

impl Drop for MeteredFile {
    fn drop(&mut self) {
        self.meter.counters.open_files.sub_one();
    }
}

impl DiskFile for MeteredFile {
    fn read_at(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        self.meter.limit(self.inner.read_at(offset, len), |c| &c.failures_read)
    }

    /// Not counted: whoever is refused asks again with `read_at`.
    fn read_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read_now(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: WriteBuf) -> IoFuture<usize> {
        self.meter.counters.writes.add_one();
        self.meter.limit(self.inner.write_at(offset, buf), |c| &c.failures_write)
    }

    fn sync_data(&self) -> IoFuture<()> {
        self.meter.counters.syncs.add_one();
        self.meter.limit(self.inner.sync_data(), |c| &c.failures_sync)
    }

    fn allocate(&self, len: u64) -> IoFuture<()> {
        self.meter.limit(self.inner.allocate(len), |c| &c.failures_allocate)
    }

    fn len(&self) -> IoFuture<u64> {
        self.meter.limit(self.inner.len(), |c| &c.failures_read)
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.inner.try_lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::BufferPool;
    use crate::backend::sim::{FaultPlan, OpKind, Sim};
    use io::ErrorKind;

    /// A disk on which everything fails with this kind of error, or never ends.
    #[derive(Clone, Copy)]
    struct Bad(Option<ErrorKind>);

    impl Bad {
        fn answer<T: Send + 'static>(self) -> IoFuture<T> {
            match self.0 {
                Some(kind) => Box::pin(std::future::ready(Err(kind.into()))),
                None => Box::pin(std::future::pending()),
            }
        }
    }

    impl Backend for Bad {
        fn kind(&self) -> BackendKind {
            BackendKind::Sim
        }
        fn open(&self, path: &Path, _mode: OpenMode) -> IoFuture<Arc<dyn DiskFile>> {
            let file = Arc::new(*self) as Arc<dyn DiskFile>;
            if path.ends_with("good") { Box::pin(std::future::ready(Ok(file))) } else { self.answer() }
        }
        fn create_dir_all(&self, _path: &Path) -> IoFuture<()> {
            self.answer()
        }
        fn list(&self, _dir: &Path) -> IoFuture<Vec<DirEntry>> {
            self.answer()
        }
        fn rename(&self, _from: &Path, _to: &Path) -> IoFuture<()> {
            self.answer()
        }
        fn remove(&self, _path: &Path) -> IoFuture<()> {
            self.answer()
        }
        fn sync_dir(&self, _dir: &Path) -> IoFuture<()> {
            self.answer()
        }
    }

    impl DiskFile for Bad {
        fn read_at(&self, _offset: u64, _len: usize) -> IoFuture<Vec<u8>> {
            self.answer()
        }
        fn read_now(&self, _offset: u64, _buf: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::WouldBlock.into())
        }
        fn write_at(&self, _offset: u64, _buf: WriteBuf) -> IoFuture<usize> {
            self.answer()
        }
        fn sync_data(&self) -> IoFuture<()> {
            self.answer()
        }
        fn allocate(&self, _len: u64) -> IoFuture<()> {
            self.answer()
        }
        fn len(&self) -> IoFuture<u64> {
            self.answer()
        }
        fn try_lock(&self) -> io::Result<bool> {
            Ok(true)
        }
    }

    fn metered(bad: Bad) -> (Metered, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        (Metered::new(Arc::new(bad), counters.clone(), Duration::from_millis(20)), counters)
    }

    fn window() -> io::Result<WriteBuf> {
        Ok(WriteBuf::new(Arc::new(BufferPool::new(0).take(4096)?), 4096))
    }

    #[tokio::test]
    async fn each_failure_is_counted_in_its_class() -> io::Result<()> {
        let (disk, counters) = metered(Bad(Some(ErrorKind::StorageFull)));
        let path = Path::new("good");
        let file = disk.open(path, OpenMode::Read).await?;
        assert!(disk.open(Path::new("bad"), OpenMode::Read).await.is_err());
        assert_eq!(file.read_at(0, 1).await.map_err(|e| e.kind()), Err(ErrorKind::StorageFull));
        assert!(file.write_at(0, window()?).await.is_err());
        assert!(file.sync_data().await.is_err() && disk.sync_dir(path).await.is_err());
        assert!(file.allocate(1).await.is_err());
        assert!(disk.rename(path, path).await.is_err());
        assert!(disk.remove(path).await.is_err());
        let expected = crate::stats::Counts {
            writes: 1,
            syncs: 1,
            failures_open: 1,
            failures_read: 1,
            failures_write: 1,
            failures_sync: 2,
            failures_allocate: 1,
            failures_rename: 1,
            failures_remove: 1,
            ..Default::default()
        };
        assert_eq!(counters.snapshot(), expected);
        assert_eq!(counters.open_files.get(), 1, "the one that failed to open is not open");
        drop(file);
        assert_eq!(counters.open_files.get(), 0);
        Ok(())
    }

    #[tokio::test]
    async fn a_missing_file_is_no_failure() {
        let (disk, counters) = metered(Bad(Some(ErrorKind::NotFound)));
        assert!(disk.open(Path::new("bad"), OpenMode::Read).await.is_err());
        assert_eq!(counters.failures_open.get(), 0);
    }

    #[tokio::test]
    async fn a_stuck_disk_times_out() -> io::Result<()> {
        let (disk, counters) = metered(Bad(None));
        let file = disk.open(Path::new("good"), OpenMode::Read).await?;
        let (timed_out, path) = (Some(ErrorKind::TimedOut), Path::new("stuck"));
        let create = OpenMode::CreateNew { direct: false };
        assert_eq!(file.read_at(0, 1).await.err().map(|e| e.kind()), timed_out);
        assert_eq!(file.write_at(0, window()?).await.err().map(|e| e.kind()), timed_out);
        assert_eq!(file.sync_data().await.err().map(|e| e.kind()), timed_out);
        assert_eq!(file.allocate(1).await.err().map(|e| e.kind()), timed_out);
        assert_eq!(file.len().await.err().map(|e| e.kind()), timed_out);
        assert_eq!(disk.open(path, OpenMode::Read).await.err().map(|e| e.kind()), timed_out);
        assert_eq!(disk.create_dir_all(path).await.err().map(|e| e.kind()), timed_out);
        assert_eq!(disk.list(path).await.err().map(|e| e.kind()), timed_out);
        assert_eq!(disk.sync_dir(path).await.err().map(|e| e.kind()), timed_out);
        // The first to change a name hangs, the others wait for it.
        assert_eq!(disk.open(path, create).await.err().map(|e| e.kind()), timed_out);
        assert_eq!(disk.rename(path, path).await.err().map(|e| e.kind()), timed_out);
        assert_eq!(disk.remove(path).await.err().map(|e| e.kind()), timed_out);
        let expected = crate::stats::Counts {
            writes: 1,
            syncs: 1,
            failures_open: 3,
            failures_read: 3,
            failures_write: 1,
            failures_sync: 2,
            failures_allocate: 1,
            failures_rename: 1,
            failures_remove: 1,
            failures_timed_out: 12,
            ..Default::default()
        };
        assert_eq!(counters.snapshot(), expected);
        Ok(())
    }

    // On paused time, which goes on only when all wait: a busy machine takes none for stuck.
    #[tokio::test(start_paused = true)]
    async fn a_rename_that_comes_late_comes_before_what_is_asked_later() -> io::Result<()> {
        let (sim, counters) = (Sim::new(1), Arc::new(Counters::default()));
        let disk = Metered::new(Arc::new(sim.clone()), counters, Duration::from_millis(20));
        let (from, to) = (Path::new("/d/from"), Path::new("/d/to"));
        sim.write_file(from, "first")?;
        sim.set_faults(FaultPlan { stalled: vec![OpKind::Rename], ..FaultPlan::default() });
        assert_eq!(disk.rename(from, to).await.err().map(|e| e.kind()), Some(ErrorKind::TimedOut));
        assert_eq!(disk.remove(from).await.err().map(|e| e.kind()), Some(ErrorKind::TimedOut), "it waits its turn");
        assert!(sim.read_file(from).is_ok(), "removed before the rename has ended");
        sim.clear_faults();
        disk.open(from, OpenMode::CreateNew { direct: false }).await?;
        assert_eq!((sim.read_file(from)?, sim.read_file(to)?), (Vec::new(), b"first".to_vec()));
        Ok(())
    }
}
