//! Over the `tokio-uring` crate (feature `tokio-uring`, Linux 5.11+), on a thread of its own: its futures and files
//! are bound to one thread, so operations travel there by channel and come back by oneshot.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc as std_mpsc};

use tokio::sync::{Semaphore, mpsc};
use tokio_uring::buf::BoundedBuf;
use tokio_uring::fs::File;

use super::os::{self, OsFile};
use super::queue::{Queue, Reply};
use super::{Backend, DiskFile, IoFuture, OpenMode, WriteBuf};
use crate::types::BackendKind;

/// Operations given to the ring at a time; what is more waits in the channel.
const IN_FLIGHT: usize = 256;

/// The most that Linux moves at once; longer operations become short ones.
const MOST_BYTES: usize = 0x7fff_f000;

/// The backend over `tokio-uring`. Its thread ends when it and the last of its files are dropped, after what is in
/// flight. The thread has descriptors of its own, so an open file takes twice as many as with the other backends.
pub struct TokioUring {
    requests: mpsc::UnboundedSender<Request>,
    next_id: AtomicU64,
    queue: Queue,
}

enum Request {
    /// Descriptors of a newly opened file, for the thread to keep.
    Opened { id: u64, read: std::fs::File, write: Option<std::fs::File> },
    /// An operation on a file that it keeps open.
    Run { file: Arc<Shared>, operation: Operation },
    /// The last handle is gone and the last operation done. The sender keeps the thread going until it has closed.
    Closed { id: u64, requests: mpsc::UnboundedSender<Request> },
}

enum Operation {
    /// `buf` is empty and has room for `len` bytes.
    Read {
        offset: u64,
        buf: Vec<u8>,
        len: usize,
        reply: Reply<Vec<u8>>,
    },
    Write {
        offset: u64,
        buf: WriteBuf,
        reply: Reply<usize>,
    },
    Sync {
        reply: Reply<()>,
    },
}

/// An open file as our side sees it: shared by its handle and every operation in flight.
struct Shared {
    os: OsFile,
    id: u64,
    locked: AtomicBool,
    requests: mpsc::UnboundedSender<Request>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.locked.load(Ordering::Relaxed) {
            // The thread's descriptor is the same open file and closes a moment later; the lock ends now, as every
            // operation is done.
            let _ = self.os.unlock();
        }
        let _ = self.requests.send(Request::Closed { id: self.id, requests: self.requests.clone() });
    }
}

impl TokioUring {
    /// Starts the thread and its ring.
    ///
    /// # Errors
    /// What the kernel answers where io_uring is switched off.
    pub fn new() -> io::Result<Self> {
        let (requests, inbox) = mpsc::unbounded_channel();
        let (started, outcome) = std_mpsc::channel();
        std::thread::Builder::new().name("esker-tokio-uring".to_owned()).spawn(move || {
            let mut builder = tokio_uring::builder();
            builder.entries(IN_FLIGHT as u32);
            match tokio_uring::Runtime::new(&builder) {
                Ok(runtime) => {
                    let _ = started.send(Ok(()));
                    runtime.block_on(serve(inbox));
                }
                Err(e) => {
                    let _ = started.send(Err(e));
                }
            }
        })?;
        outcome.recv().unwrap_or_else(|_| Err(gone()))?;
        Ok(Self { requests, next_id: AtomicU64::new(0), queue: Queue::default() })
    }
}

fn gone() -> io::Error {
    io::Error::other("the tokio-uring thread is gone; open the cache again")
}

/// A file as the thread sees it.
struct Files {
    read: File,
    write: Option<File>,
}

impl Files {
    fn writer(&self) -> io::Result<&File> {
        self.write.as_ref().ok_or_else(|| io::ErrorKind::PermissionDenied.into())
    }
}

/// Serves requests until nobody can send any: the backend, its files and their operations are all gone.
async fn serve(mut inbox: mpsc::UnboundedReceiver<Request>) {
    let mut files: HashMap<u64, Rc<Files>> = HashMap::new();
    let permits = Arc::new(Semaphore::new(IN_FLIGHT));
    while let Some(request) = inbox.recv().await {
        match request {
            Request::Opened { id, read, write } => {
                files.insert(id, Rc::new(Files { read: File::from_std(read), write: write.map(File::from_std) }));
            }
            Request::Closed { id, requests } => {
                if let Some(file) = files.remove(&id) {
                    tokio_uring::spawn(close(file, requests));
                }
            }
            Request::Run { file, operation } => {
                // A file is known from its opening to its closing, and the semaphore is never closed.
                let Some(known) = files.get(&file.id).cloned() else { continue };
                let Ok(permit) = permits.clone().acquire_owned().await else { return };
                tokio_uring::spawn(async move {
                    let answer = perform(&known, operation).await;
                    // In this order: the file may close, and whoever waits finds it and its lock released.
                    drop(known);
                    drop(file);
                    drop(permit);
                    answer.send();
                });
            }
        }
    }
}

/// Closes both descriptors through the ring. `_requests` keeps the thread going until that is done.
async fn close(file: Rc<Files>, _requests: mpsc::UnboundedSender<Request>) {
    // Always the last reference: a file is closed after its operations. What close says of written data, the
    // writes and syncs have said before.
    if let Ok(file) = Rc::try_unwrap(file) {
        let _ = file.read.close().await;
        if let Some(write) = file.write {
            let _ = write.close().await;
        }
    }
}

/// An outcome, on its way back.
enum Answer {
    Read(io::Result<Vec<u8>>, Reply<Vec<u8>>),
    Write(io::Result<usize>, Reply<usize>),
    Sync(io::Result<()>, Reply<()>),
}

impl Answer {
    fn send(self) {
        match self {
            Self::Read(outcome, reply) => reply.send(outcome),
            Self::Write(outcome, reply) => reply.send(outcome),
            Self::Sync(outcome, reply) => reply.send(outcome),
        }
    }
}

async fn perform(file: &Files, operation: Operation) -> Answer {
    match operation {
        Operation::Read { offset, buf, len, reply } => {
            let (outcome, slice) = file.read.read_at(buf.slice(..len), offset).await;
            Answer::Read(outcome.map(|_| slice.into_inner()), reply)
        }
        Operation::Write { offset, buf, reply } => {
            let len = buf.len().min(MOST_BYTES);
            let outcome = match file.writer() {
                Ok(writer) => writer.write_at(buf.slice(..len), offset).submit().await.0,
                Err(e) => Err(e),
            };
            Answer::Write(outcome, reply)
        }
        Operation::Sync { reply } => {
            let outcome = match file.writer() {
                Ok(writer) => writer.sync_data().await,
                Err(e) => Err(e),
            };
            Answer::Sync(outcome, reply)
        }
    }
}

/// Opens a file and hands descriptors of it to the thread. Blocking.
fn open(path: &Path, mode: OpenMode, id: u64, requests: mpsc::UnboundedSender<Request>) -> io::Result<Arc<Shared>> {
    let os = os::open_file(path, mode)?;
    let clones =
        os.read.try_clone().and_then(|r| Ok((r, os.write.as_ref().map(std::fs::File::try_clone).transpose()?)));
    let (read, write) = clones.inspect_err(|_| {
        if matches!(mode, OpenMode::CreateNew { .. }) {
            // Made a moment ago, and useless: a retry must not find it existing.
            let _ = std::fs::remove_file(path);
        }
    })?;
    requests.send(Request::Opened { id, read, write }).map_err(|_| gone())?;
    Ok(Arc::new(Shared { os, id, locked: AtomicBool::new(false), requests }))
}

impl Backend for TokioUring {
    fn kind(&self) -> BackendKind {
        BackendKind::TokioUring
    }

    fn open(&self, path: &Path, mode: OpenMode) -> IoFuture<Arc<dyn DiskFile>> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (path, requests) = (path.to_owned(), self.requests.clone());
        let (opening, queue) = (os::blocking(move || open(&path, mode, id, requests)), self.queue.clone());
        Box::pin(async move { Ok(Arc::new(TokioUringFile { file: opening.await?, queue }) as Arc<dyn DiskFile>) })
    }

    os::names!();
}

struct TokioUringFile {
    file: Arc<Shared>,
    queue: Queue,
}

impl TokioUringFile {
    fn run<T: Send + 'static>(&self, make: impl FnOnce(Reply<T>) -> Operation + Send + 'static) -> IoFuture<T> {
        let file = self.file.clone();
        // If the thread is gone, the request is dropped here with its reply.
        let begin = move |reply| drop(file.requests.clone().send(Request::Run { file, operation: make(reply) }));
        self.queue.run(begin, gone)
    }
}

fn ready<T: Send + 'static>(outcome: io::Result<T>) -> IoFuture<T> {
    Box::pin(std::future::ready(outcome))
}

impl DiskFile for TokioUringFile {
    fn read_at(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        if len == 0 {
            return ready(Ok(Vec::new()));
        }
        let len = len.min(MOST_BYTES);
        let buf = match os::check_offset(offset).and_then(|()| os::buffer_for(len)) {
            Ok(buf) => buf,
            Err(e) => return ready(Err(e)),
        };
        self.run(move |reply| Operation::Read { offset, buf, len, reply })
    }

    fn read_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.file.os.read_now(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: WriteBuf) -> IoFuture<usize> {
        if let Err(e) = self.file.os.writer().and_then(|_| os::check_offset(offset)) {
            return ready(Err(e));
        }
        if buf.is_empty() {
            return ready(Ok(0));
        }
        self.run(move |reply| Operation::Write { offset, buf, reply })
    }

    fn sync_data(&self) -> IoFuture<()> {
        self.run(move |reply| Operation::Sync { reply })
    }

    fn allocate(&self, len: u64) -> IoFuture<()> {
        let file = self.file.clone();
        os::blocking(move || file.os.allocate(len))
    }

    fn len(&self) -> IoFuture<u64> {
        let file = self.file.clone();
        os::blocking(move || file.os.len_bytes())
    }

    fn try_lock(&self) -> io::Result<bool> {
        let locked = self.file.os.try_lock()?;
        if locked {
            self.file.locked.store(true, Ordering::Relaxed);
        }
        Ok(locked)
    }
}
