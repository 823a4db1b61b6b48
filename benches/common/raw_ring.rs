//! A bare `io_uring` loop on one thread: as much as this kernel gives, with nothing around it.
#![expect(unsafe_code, reason = "submission entries carry raw pointers")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode, types::Fd};
use memmap2::MmapMut;

use super::Random;

/// Where an operation goes: the number of the file, and the offset in it.
pub type Place = (usize, u64);

/// What to do at each place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Read `len` bytes.
    Read,
    /// Write `len` bytes.
    Write,
}

/// Does `verb` on `len` bytes at every place in turn, `depth` at a time; how long that took. The buffers are aligned to
/// pages, one for each operation in flight.
///
/// # Errors
/// What the kernel answers; a short operation is `UnexpectedEof`.
pub fn run(verb: Verb, files: &[File], places: &[Place], len: usize, depth: usize) -> io::Result<Duration> {
    let mut builder = <IoUring>::builder();
    builder.setup_single_issuer().setup_coop_taskrun().setup_defer_taskrun();
    let mut ring = builder.build(depth.next_power_of_two() as u32)?;
    let stride = len.next_multiple_of(4096);
    let mut memory = MmapMut::map_anon(stride * depth)?;
    if verb == Verb::Write {
        fill_randomly(&mut memory);
    }
    let began = Instant::now();
    let mut todo = places.iter();
    let mut idle: Vec<usize> = (0..depth).collect();
    loop {
        while let (Some(slot), true) = (idle.last().copied(), todo.len() > 0) {
            let Some(&(file, offset)) = todo.next() else { break };
            idle.pop();
            let fd = Fd(files[file].as_raw_fd());
            let buf = memory[slot * stride..][..len].as_mut_ptr();
            let entry = match verb {
                Verb::Read => opcode::Read::new(fd, buf, len as u32).offset(offset).build(),
                Verb::Write => opcode::Write::new(fd, buf, len as u32).offset(offset).build(),
            };
            // SAFETY: `buf` points to `len` bytes of `memory`, which outlives the ring's use of it: the loop ends only
            // once every slot is idle again. No two operations in flight share a slot. On an early return the map
            // is leaked by `abandon`.
            let pushed = unsafe { ring.submission().push(&entry.user_data(slot as u64)) };
            if let Err(e) = pushed {
                return Err(abandon(memory, io::Error::other(e)));
            }
        }
        if idle.len() == depth {
            return Ok(began.elapsed());
        }
        if let Err(e) = ring.submit_and_wait(1) {
            return Err(abandon(memory, e));
        }
        let mut failure = None;
        for answer in ring.completion() {
            idle.push(answer.user_data() as usize);
            match usize::try_from(answer.result()) {
                Ok(n) if n == len => {}
                Ok(_) => failure = Some(io::ErrorKind::UnexpectedEof.into()),
                Err(_) => failure = Some(io::Error::from_raw_os_error(-answer.result())),
            }
        }
        if let Some(e) = failure {
            return Err(abandon(memory, e));
        }
    }
}

/// No storage below shall find the bytes easy to compress.
pub fn fill_randomly(memory: &mut [u8]) {
    let mut random = Random::new(11);
    for chunk in memory.chunks_mut(8) {
        chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]);
    }
}

/// The kernel may still work on the memory.
fn abandon(memory: MmapMut, error: io::Error) -> io::Error {
    std::mem::forget(memory);
    error
}
