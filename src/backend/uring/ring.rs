//! The ring itself, made safe: a table of jobs that own what the kernel works on. All `unsafe` of this backend.
#![expect(unsafe_code, reason = "submission entries carry raw pointers, and the kernel fills uninitialised memory")]

use std::io;
use std::os::fd::AsRawFd;

#[cfg(not(shuttle))]
use io_uring::types::{Fd, FsyncFlags};
#[cfg(not(shuttle))]
use io_uring::{IoUring, Probe, opcode, squeue};

use super::job::Job;
#[cfg(shuttle)]
use super::kernel::types::{Fd, FsyncFlags};
#[cfg(shuttle)]
use super::kernel::{IoUring, Probe, opcode, squeue};

/// Reads from this length on go to the kernel's worker threads at once: what they copy out of the page cache would hold
/// up everything else on this ring.
const LONG_READ_BYTES: u32 = 256 << 10;

/// A ring and the operations in flight on it. It belongs to the thread that made it (`SINGLE_ISSUER`).
pub(super) struct Ring {
    io: IoUring,
    /// Every operation that was pushed and not answered; the index is its `user_data`.
    jobs: Vec<Option<Job>>,
    free: Vec<usize>,
}

impl Ring {
    /// A ring for `entries` operations in flight.
    ///
    /// # Errors
    /// What the kernel (or a seccomp profile) answers; `Unsupported` if it lacks an operation we need.
    pub(super) fn new(entries: u32) -> io::Result<Self> {
        let io = build(entries)?;
        let mut probe = Probe::new();
        io.submitter().register_probe(&mut probe)?;
        let needed = [opcode::Nop::CODE, opcode::Read::CODE, opcode::Write::CODE, opcode::Fsync::CODE];
        if !needed.iter().all(|&code| probe.is_supported(code)) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this kernel's io_uring lacks read, write or fsync",
            ));
        }
        let slots = entries as usize;
        Ok(Self { io, jobs: (0..slots).map(|_| None).collect(), free: (0..slots).rev().collect() })
    }

    /// How many more operations fit.
    pub(super) fn room(&self) -> usize {
        self.free.len()
    }

    /// How many operations the kernel has not answered yet.
    pub(super) fn in_flight(&self) -> usize {
        self.jobs.len() - self.free.len()
    }

    /// Takes an operation; it goes to the kernel with the next [`Ring::submit_and_wait`]. Gives it back if the ring
    /// is full.
    pub(super) fn push(&mut self, job: Job) -> Result<(), Job> {
        let Some(slot) = self.free.pop() else { return Err(job) };
        let entry = entry(self.jobs[slot].insert(job)).user_data(slot as u64);
        // SAFETY: file descriptor and memory of the entry belong to the job, which stays in `jobs` until its
        // completion is reaped; the memory is on the heap or in a map, so moving the job does not move it. If the
        // ring is dropped before, the job is leaked.
        let pushed = unsafe { self.io.submission().push(&entry) };
        match (pushed, &mut self.jobs[slot]) {
            (Err(_), refused) => {
                self.free.push(slot);
                refused.take().map_or(Ok(()), Err)
            }
            (Ok(()), _) => Ok(()),
        }
    }

    /// Submits everything pushed and sleeps until at least one operation is answered (or a signal comes).
    pub(super) fn submit_and_wait(&mut self) -> io::Result<()> {
        self.io.submit_and_wait(1).map(|_| ())
    }

    /// Hands out each answered operation with the kernel's result.
    pub(super) fn reap(&mut self, mut each: impl FnMut(Job, i32)) {
        for cqe in self.io.completion() {
            let Ok(slot) = usize::try_from(cqe.user_data()) else { continue };
            let Some(mut job) = self.jobs.get_mut(slot).and_then(Option::take) else { continue };
            self.free.push(slot);
            if let (Job::Read { buf, len, .. }, Ok(filled)) = (&mut job, u32::try_from(cqe.result())) {
                // SAFETY: the buffer has room for `len` bytes, and the kernel has initialised the first `filled`.
                unsafe { buf.set_len(filled.min(*len) as usize) };
            }
            each(job, cqe.result());
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        for job in self.jobs.drain(..).flatten() {
            job.abandon();
        }
    }
}

/// Sets a ring up with what makes a single reactor thread cheap, where the kernel knows it (6.1, 5.19), else plainly.
fn build(entries: u32) -> io::Result<IoUring> {
    let mut best = IoUring::builder();
    best.dontfork().setup_single_issuer().setup_coop_taskrun().setup_defer_taskrun();
    let mut good = IoUring::builder();
    good.dontfork().setup_coop_taskrun();
    let mut plain = IoUring::builder();
    plain.dontfork();
    let unknown_flag = |e: &io::Error| e.kind() == io::ErrorKind::InvalidInput;
    match best.build(entries) {
        Err(e) if unknown_flag(&e) => match good.build(entries) {
            Err(e) if unknown_flag(&e) => plain.build(entries),
            other => other,
        },
        other => other,
    }
}

/// The submission entry of a job, pointing into the job's own memory.
fn entry(job: &mut Job) -> squeue::Entry {
    let fd = Fd(job.fd().map_or(-1, |fd| fd.as_raw_fd()));
    match job {
        Job::Read { offset, buf, len, .. } => {
            let read = opcode::Read::new(fd, buf.as_mut_ptr(), *len).offset(*offset).build();
            if *len >= LONG_READ_BYTES { read.flags(squeue::Flags::ASYNC) } else { read }
        }
        Job::Write { offset, buf, .. } => {
            opcode::Write::new(fd, buf.as_ptr(), length(buf.len())).offset(*offset).build()
        }
        Job::Sync { .. } => opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build(),
        Job::Wake { buf, .. } => opcode::Read::new(fd, buf.as_mut_ptr(), length(buf.capacity().min(8))).build(),
        Job::Nop => opcode::Nop::new().build(),
    }
}

/// A length as the kernel takes it: what does not fit becomes a short operation.
pub(super) fn length(bytes: usize) -> u32 {
    /// The most that Linux moves at once.
    const MOST: u32 = 0x7fff_f000;
    u32::try_from(bytes).map_or(MOST, |n| n.min(MOST))
}
