//! Long-lived `io_uring` threads of our own (feature `io-uring`, Linux 5.10+): reads, writes and syncs go through a
//! ring, in batches; names and space go through the blocking pool.

use std::io;
use std::path::Path;
use std::sync::Arc;

use self::job::{Job, gone};
use self::reactor::Handle;
use super::os::{self, OsFile};
use super::queue::{Queue, Reply};
use super::{Backend, DiskFile, IoFuture, OpenMode, WriteBuf};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::types::BackendKind;

mod job;
#[cfg(shuttle)]
pub mod kernel;
mod reactor;
mod ring;
#[cfg(test)]
mod tests;

/// The backend over rings. Its threads end when it and the last of its files are dropped, after what is in flight.
#[derive(Clone)]
pub struct Uring(Arc<Rings>);

struct Rings {
    handles: Vec<Handle>,
    next: AtomicUsize,
    queue: Queue,
}

impl Uring {
    /// One ring, one thread. The ring has answered once when this returns.
    ///
    /// # Errors
    /// What the kernel answers: `PermissionDenied` or `Unsupported` where io_uring is switched off (a container's
    /// seccomp profile, a sysctl) or lacks an operation, `OutOfMemory` for a low memlock limit before Linux 5.12.
    pub fn new() -> io::Result<Self> {
        Self::with_threads(1)
    }

    /// `threads` rings (at least one), each with a thread; operations go round.
    ///
    /// # Errors
    /// As for [`Uring::new`].
    pub fn with_threads(threads: usize) -> io::Result<Self> {
        let handles =
            (0..threads.max(1)).map(|n| Handle::start(format!("esker-uring-{n}"))).collect::<io::Result<_>>()?;
        Ok(Self(Arc::new(Rings { handles, next: AtomicUsize::new(0), queue: Queue::default() })))
    }
}

#[cfg(shuttle)]
impl Uring {
    /// A file that is open already, on this ring.
    pub fn adopt(&self, file: Arc<OsFile>) -> Arc<dyn DiskFile> {
        Arc::new(RingFile { file, rings: self.0.clone() })
    }
}

impl Rings {
    fn submit(&self, job: Job) {
        let turn = if self.handles.len() > 1 { self.next.fetch_add(1, Ordering::Relaxed) } else { 0 };
        self.handles[turn % self.handles.len()].submit(job);
    }

    /// Queues the job that `make` builds around the reply; the future waits for it.
    fn run<T: Send + 'static>(self: &Arc<Self>, make: impl FnOnce(Reply<T>) -> Job + Send + 'static) -> IoFuture<T> {
        let rings = self.clone();
        self.queue.run(move |reply| rings.submit(make(reply)), gone)
    }
}

fn ready<T: Send + 'static>(outcome: io::Result<T>) -> IoFuture<T> {
    Box::pin(std::future::ready(outcome))
}

impl Backend for Uring {
    fn kind(&self) -> BackendKind {
        BackendKind::Uring
    }

    fn open(&self, path: &Path, mode: OpenMode) -> IoFuture<Arc<dyn DiskFile>> {
        let (opening, rings) = (os::open(path, mode), self.0.clone());
        Box::pin(async move { Ok(Arc::new(RingFile { file: opening.await?, rings }) as Arc<dyn DiskFile>) })
    }

    os::names!();
}

struct RingFile {
    file: Arc<OsFile>,
    rings: Arc<Rings>,
}

impl DiskFile for RingFile {
    fn read_at(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        if len == 0 {
            return ready(Ok(Vec::new()));
        }
        let len = ring::length(len);
        let buf = match os::check_offset(offset).and_then(|()| os::buffer_for(len as usize)) {
            Ok(buf) => buf,
            Err(e) => return ready(Err(e)),
        };
        let file = self.file.clone();
        self.rings.run(move |reply| Job::Read { file, offset, buf, len, reply })
    }

    fn read_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read_now(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: WriteBuf) -> IoFuture<usize> {
        if let Err(e) = self.file.writer().and_then(|_| os::check_offset(offset)) {
            return ready(Err(e));
        }
        if buf.is_empty() {
            return ready(Ok(0));
        }
        let file = self.file.clone();
        self.rings.run(move |reply| Job::Write { file, offset, buf, reply })
    }

    fn sync_data(&self) -> IoFuture<()> {
        if let Err(e) = self.file.writer() {
            return ready(Err(e));
        }
        let file = self.file.clone();
        self.rings.run(move |reply| Job::Sync { file, reply })
    }

    fn allocate(&self, len: u64) -> IoFuture<()> {
        let file = self.file.clone();
        os::blocking(move || file.allocate(len))
    }

    fn len(&self) -> IoFuture<u64> {
        let file = self.file.clone();
        os::blocking(move || file.len_bytes())
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
}
