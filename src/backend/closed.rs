//! What stands in the place of a file that was closed.

use std::io;

use super::{DiskFile, IoFuture, WriteBuf};

/// A file on which everything fails.
#[derive(Debug, Clone, Copy)]
pub struct Closed;

fn error() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the cache was closed")
}

fn failed<T: Send + 'static>() -> IoFuture<T> {
    Box::pin(std::future::ready(Err(error())))
}

impl DiskFile for Closed {
    fn read_at(&self, _offset: u64, _len: usize) -> IoFuture<Vec<u8>> {
        failed()
    }

    fn read_now(&self, _offset: u64, _buf: &mut [u8]) -> io::Result<usize> {
        Err(error())
    }

    fn write_at(&self, _offset: u64, _buf: WriteBuf) -> IoFuture<usize> {
        failed()
    }

    fn sync_data(&self) -> IoFuture<()> {
        failed()
    }

    fn allocate(&self, _len: u64) -> IoFuture<()> {
        failed()
    }

    fn len(&self) -> IoFuture<u64> {
        failed()
    }

    fn try_lock(&self) -> io::Result<bool> {
        Err(error())
    }
}
