//! Two planted faults: a buffer that changes hands while the kernel still fills it, and one that is read after it was
//! freed.
#![expect(unsafe_code, reason = "what is tried here is what safe code cannot do")]

use std::io::{self, Write};
use std::os::fd::AsRawFd;

use io_uring::types::Fd;
use io_uring::{IoUring, opcode};

use super::traps::Traps;

const LEN: usize = 5000;

/// Reads from a pipe into a buffer that is somebody else's before anything is in the pipe: the traps', as the allocator
/// would have it sooner or later. Whether they saw it.
///
/// # Errors
/// There is no ring, or no pipe.
pub fn read_into_memory_of_others() -> io::Result<bool> {
    let mut ring = IoUring::new(8)?;
    let (from, mut to) = io::pipe()?;
    let mut buf: Vec<u8> = Vec::with_capacity(LEN);
    let read = opcode::Read::new(Fd(from.as_raw_fd()), buf.as_mut_ptr(), LEN as u32).offset(u64::MAX).build();
    // SAFETY: the memory lives until the kernel has answered, since the traps keep it; that they own it by then is the
    // fault that is planted.
    unsafe { ring.submission().push(&read) }.map_err(io::Error::other)?;
    ring.submit()?;
    let mut traps = Traps::default();
    traps.take(buf, LEN);
    to.write_all(&[0xee; LEN])?;
    ring.submit_and_wait(1)?;
    Ok(!traps.are_untouched())
}

/// Reads a byte of a buffer that was freed.
pub fn read_freed_memory() -> u8 {
    let buf = vec![1u8; LEN];
    let place = std::hint::black_box(buf.as_ptr());
    drop(buf);
    // SAFETY: none: the buffer is freed. A sanitizer ends the process here; without one the byte is any byte.
    unsafe { place.add(LEN / 2).read_volatile() }
}
