//! What all real backends share: opening, names, locks and the read that does not wait. Blocking calls here run on
//! the blocking pool ([`blocking`]), but for `read_now` and `try_lock`, which never wait.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use super::queue::Queue;
use super::{DirEntry, IoFuture, OpenMode};
use crate::sync::task;

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

    /// Gives the lock up.
    pub fn unlock(&self) -> io::Result<()> {
        self.lockable().unlock()
    }

    /// The length in bytes. Blocking, in theory.
    pub fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.read.metadata()?.len())
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
        check_offset(offset)?;
        let mut buf = buffer_for(len)?;
        if len == 0 {
            return Ok(buf);
        }
        pread(&self.read, &mut buf, len, offset)?;
        Ok(buf)
    }

    /// Blocking: one positional write.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        check_offset(offset)?;
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
        if len > 0 {
            let none = rustix::fs::FallocateFlags::empty();
            match rustix::io::retry_on_intr(|| rustix::fs::fallocate(file, none, 0, len)) {
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
                Err(e) => return Err(e.into()),
                // It lengthens a file, but does not shorten one.
                Ok(()) if file.metadata()?.len() == len => return Ok(()),
                Ok(()) => {}
            }
        }
        file.set_len(len)
    }
}

/// Offsets are signed for the kernel, and the largest means "the current position" to a ring and "the end" to Windows.
///
/// # Errors
/// `InvalidInput` for what no file reaches.
pub fn check_offset(offset: u64) -> io::Result<()> {
    i64::try_from(offset).map(|_| ()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// An empty vector with room for `len` bytes. `OutOfMemory` where `vec![0; len]` would end the process.
pub(super) fn buffer_for(len: usize) -> io::Result<Vec<u8>> {
    let mut buf = Vec::new();
    buf.try_reserve_exact(len).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    Ok(buf)
}

/// Reads into the room of an empty `buf`, on Unix without filling it with zeros first.
#[cfg(unix)]
fn pread(file: &File, buf: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<()> {
    rustix::io::pread(file, rustix::buffer::spare_capacity(buf), offset)?;
    // The room may be larger than was asked for.
    buf.truncate(len);
    Ok(())
}

#[cfg(windows)]
fn pread(file: &File, buf: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<()> {
    buf.resize(len, 0);
    let n = std::os::windows::fs::FileExt::seek_read(file, buf, offset)?;
    buf.truncate(n);
    Ok(())
}

#[cfg(unix)]
fn pwrite(file: &File, buf: &[u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, buf, offset)
}

#[cfg(windows)]
fn pwrite(file: &File, buf: &[u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, buf, offset)
}

/// What waits for the blocking pool, or runs there: the pool is the process's, and so is this limit.
static BLOCKING: LazyLock<Queue> = LazyLock::new(Queue::default);

/// Runs a blocking call on tokio's blocking pool. Begun, it runs to its end even if the future is dropped (P8).
pub fn blocking<T: Send + 'static>(call: impl FnOnce() -> io::Result<T> + Send + 'static) -> IoFuture<T> {
    let lost = || io::Error::other("a disk operation panicked, or the runtime is shutting down");
    BLOCKING.run(move |reply| drop(task::spawn_blocking(move || reply.send(call()))), lost)
}

/// Opens without following a link. On Linux reads then leave no access time behind, which no cache needs, where the
/// file is ours.
fn open_once(path: &Path, write: bool, create: bool, direct: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(write).create_new(create);
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        let flags = OFlags::NOFOLLOW | if direct { OFlags::DIRECT } else { OFlags::empty() };
        options.mode(0o600).custom_flags((flags | OFlags::NOATIME).bits() as i32);
        match options.open(path) {
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) => {
                options.custom_flags(flags.bits() as i32);
            }
            opened => return opened,
        }
    }
    #[cfg(all(unix, not(target_os = "linux")))]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
    }
    #[cfg(windows)]
    {
        /// Opens a link itself instead of what it points to.
        const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;
        std::os::windows::fs::OpenOptionsExt::custom_flags(&mut options, FILE_FLAG_OPEN_REPARSE_POINT);
    }
    let file = options.open(path)?;
    if cfg!(windows) && file.metadata()?.is_symlink() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a symbolic link is not followed"));
    }
    // Only Linux opens differently for direct writes.
    let _ = direct;
    Ok(file)
}

/// Blocking: opens `path` as `mode` says. A file system without direct I/O gets buffered writes.
///
/// Only direct writes need an open of their own. Else both descriptors are one open file: on Windows a lock keeps
/// every other open out, our own included.
pub fn open_file(path: &Path, mode: OpenMode) -> io::Result<OsFile> {
    let (create, direct) = match mode {
        OpenMode::Read => {
            let read = open_once(path, false, false, false)?;
            // What is wanted is known: the kernel's guess of what comes next is read, and kept, in vain.
            #[cfg(target_os = "linux")]
            let _ = rustix::fs::fadvise(&read, 0, None, rustix::fs::Advice::Random);
            return Ok(OsFile { read, write: None });
        }
        OpenMode::ReadWrite { direct } => (false, direct),
        OpenMode::CreateNew { direct } => (true, direct),
    };
    // Buffered first: where direct I/O is refused, a direct creation would fail and leave the file behind.
    let read = open_once(path, true, create, false)?;
    let opened = if direct && cfg!(target_os = "linux") {
        match open_once(path, true, false, true) {
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => read.try_clone(),
            other => other,
        }
    } else {
        read.try_clone()
    };
    match opened {
        Ok(write) => Ok(OsFile { read, write: Some(write) }),
        Err(e) => {
            if create {
                // Out of descriptors, say: what we made a moment ago must not stay, or a retry finds it existing.
                let _ = std::fs::remove_file(path);
            }
            Err(e)
        }
    }
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

/// The operations of [`super::Backend`] on names, for a backend whose names are the operating system's.
macro_rules! names {
    () => {
        fn create_dir_all(&self, path: &std::path::Path) -> $crate::backend::IoFuture<()> {
            $crate::backend::os::create_dir_all(path)
        }

        fn list(&self, dir: &std::path::Path) -> $crate::backend::IoFuture<Vec<$crate::backend::DirEntry>> {
            $crate::backend::os::list(dir)
        }

        fn rename(&self, from: &std::path::Path, to: &std::path::Path) -> $crate::backend::IoFuture<()> {
            $crate::backend::os::rename(from, to)
        }

        fn remove(&self, path: &std::path::Path) -> $crate::backend::IoFuture<()> {
            $crate::backend::os::remove(path)
        }

        fn sync_dir(&self, dir: &std::path::Path) -> $crate::backend::IoFuture<()> {
            $crate::backend::os::sync_dir(dir)
        }
    };
}
pub(crate) use names;
