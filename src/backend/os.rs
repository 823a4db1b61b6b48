//! What all real backends share: opening, names, locks and the read that does not wait. Blocking calls here run on
//! the blocking pool ([`blocking`]), but for `read_now` and `try_lock`, which never wait.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{DirEntry, IoFuture, OpenMode};

/// An open file of the operating system: one descriptor for reads through the page cache, and for a writable file one
/// for writes, which may be direct. A lock belongs to the writing descriptor, since writes in flight keep it.
#[derive(Debug)]
pub struct OsFile {
    /// Reads go here.
    pub read: File,
    /// Writes, syncs and the lock go here; `None` for a file opened to read.
    pub write: Option<File>,
}

impl OsFile {
    /// The writing descriptor.
    pub fn writer(&self) -> io::Result<&File> {
        self.write.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::PermissionDenied))
    }

    /// The descriptor that a lock belongs to.
    fn lockable(&self) -> &File {
        self.write.as_ref().unwrap_or(&self.read)
    }

    /// See [`super::DiskFile::try_lock`].
    pub fn try_lock(&self) -> io::Result<bool> {
        match self.lockable().try_lock() {
            Ok(()) => Ok(true),
            Err(std::fs::TryLockError::WouldBlock) => Ok(false),
            Err(std::fs::TryLockError::Error(e)) => Err(e),
        }
    }

    /// See [`super::DiskFile::read_now`].
    #[cfg(target_os = "linux")]
    pub fn read_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut iov = [io::IoSliceMut::new(buf)];
        rustix::io::preadv2(&self.read, &mut iov, offset, rustix::io::ReadWriteFlags::NOWAIT).map_err(io::Error::from)
    }

    /// See [`super::DiskFile::read_now`].
    #[cfg(not(target_os = "linux"))]
    pub fn read_now(&self, _offset: u64, _buf: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Blocking: one positional read into a fresh buffer.
    pub fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut buf = vec![0; len];
        let n = pread(&self.read, &mut buf, offset)?;
        buf.truncate(n);
        Ok(buf)
    }

    /// Blocking: one positional write.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        pwrite(self.writer()?, bytes, offset)
    }

    /// Blocking: `fdatasync`.
    pub fn sync_data(&self) -> io::Result<()> {
        self.writer()?.sync_data()
    }

    /// Blocking: disk space and length.
    pub fn allocate(&self, len: u64) -> io::Result<()> {
        let file = self.writer()?;
        #[cfg(target_os = "linux")]
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(e) => return Err(e.into()),
        }
        file.set_len(len)
    }
}

#[cfg(unix)]
fn pread(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, offset)
}

#[cfg(windows)]
fn pread(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buf, offset)
}

#[cfg(unix)]
fn pwrite(file: &File, buf: &[u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, buf, offset)
}

#[cfg(windows)]
fn pwrite(file: &File, buf: &[u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, buf, offset)
}

/// Runs a blocking call on tokio's blocking pool. It runs to its end even if the future is dropped (P8).
pub fn blocking<T: Send + 'static>(call: impl FnOnce() -> io::Result<T> + Send + 'static) -> IoFuture<T> {
    let handle = tokio::task::spawn_blocking(call);
    Box::pin(async move { handle.await.unwrap_or_else(|e| Err(io::Error::other(e))) })
}

fn options(write: bool, create: bool, direct: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(write).create_new(create);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let mut flags = rustix::fs::OFlags::NOFOLLOW;
        #[cfg(target_os = "linux")]
        if direct {
            flags |= rustix::fs::OFlags::DIRECT;
        }
        options.mode(0o600).custom_flags(flags.bits() as i32);
    }
    let _ = direct;
    options
}

/// Blocking: opens `path` as `mode` says. A file system without direct I/O gets buffered writes.
pub fn open_file(path: &Path, mode: OpenMode) -> io::Result<OsFile> {
    let (create, direct) = match mode {
        OpenMode::Read => return Ok(OsFile { read: options(false, false, false).open(path)?, write: None }),
        OpenMode::ReadWrite { direct } => (false, direct),
        OpenMode::CreateNew { direct } => (true, direct),
    };
    let read = options(create, create, false).open(path)?;
    let write = match options(true, false, direct).open(path) {
        Err(e) if direct && e.kind() == io::ErrorKind::InvalidInput => options(true, false, false).open(path)?,
        other => other?,
    };
    Ok(OsFile { read, write: Some(write) })
}

/// Opens a file on the blocking pool.
pub fn open(path: &Path, mode: OpenMode) -> IoFuture<Arc<OsFile>> {
    let path = path.to_owned();
    blocking(move || open_file(&path, mode).map(Arc::new))
}

/// See [`super::Backend::create_dir_all`].
pub fn create_dir_all(path: &Path) -> IoFuture<()> {
    let path = path.to_owned();
    blocking(move || {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)
    })
}

/// See [`super::Backend::list`].
pub fn list(dir: &Path) -> IoFuture<Vec<DirEntry>> {
    let dir = dir.to_owned();
    blocking(move || {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let meta = match std::fs::symlink_metadata(entry.path()) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            names.push(DirEntry { name: entry.file_name(), len_bytes: meta.len(), is_file: meta.is_file() });
        }
        Ok(names)
    })
}

/// See [`super::Backend::rename`].
pub fn rename(from: &Path, to: &Path) -> IoFuture<()> {
    let (from, to) = (from.to_owned(), to.to_owned());
    blocking(move || std::fs::rename(from, to))
}

/// See [`super::Backend::remove`].
pub fn remove(path: &Path) -> IoFuture<()> {
    let path: PathBuf = path.to_owned();
    blocking(move || std::fs::remove_file(path))
}

/// See [`super::Backend::sync_dir`]. Windows has no such call: names are durable there with the file.
pub fn sync_dir(dir: &Path) -> IoFuture<()> {
    let dir = dir.to_owned();
    blocking(move || if cfg!(windows) { Ok(()) } else { File::open(dir)?.sync_all() })
}
