//! A kernel for shuttle's scheduler, in place of the `io-uring` crate: as much of it as `ring.rs` asks for. It answers what
//! is in flight in any order, late, short or with an error, and works on descriptors and memory by their bare numbers, as
//! the real one does: when it answers, not when it is asked.
#![expect(
    unsafe_code,
    reason = "it works on memory and descriptors that it knows by their numbers only, as a kernel does"
)]
#![expect(clippy::new_without_default, reason = "no more than the crate has that it stands for")]

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use shuttle::rand::{Rng, thread_rng};

use crate::sync::thread;

thread_local! {
    static LOSES_BELL: Cell<bool> = const { Cell::new(false) };
}

/// Plants a fault in the kernels of this thread: now and then one swallows what would wake its ring.
pub fn lose_the_bell(yes: bool) {
    LOSES_BELL.set(yes);
}

fn one_in(n: u32) -> bool {
    thread_rng().gen_range(0..n) == 0
}

/// What an entry asks for.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Nop,
    Read { fd: RawFd, at: *mut u8, len: u32, offset: u64 },
    Write { fd: RawFd, at: *const u8, len: u32, offset: u64 },
    Sync { fd: RawFd },
}

/// Entries of the submission queue.
pub mod squeue {
    /// As the crate's.
    #[derive(Debug, Clone, Copy)]
    pub struct Entry {
        pub(super) ask: super::Ask,
        pub(super) user_data: u64,
    }

    /// As the crate's.
    #[derive(Debug, Clone, Copy)]
    pub enum Flags {
        /// Without meaning here: everything is late.
        ASYNC,
    }

    impl Entry {
        /// As the crate's.
        pub fn user_data(mut self, data: u64) -> Self {
            self.user_data = data;
            self
        }

        /// As the crate's.
        pub fn flags(self, _flags: Flags) -> Self {
            self
        }
    }
}

/// Words of the entries.
pub mod types {
    /// As the crate's.
    #[derive(Debug, Clone, Copy)]
    pub struct Fd(pub std::os::fd::RawFd);

    /// As the crate's.
    #[derive(Debug, Clone, Copy)]
    pub enum FsyncFlags {
        /// `fdatasync`.
        DATASYNC,
    }
}

/// Operations.
pub mod opcode {
    use super::Ask;
    use super::squeue::Entry;
    use super::types::{Fd, FsyncFlags};

    macro_rules! operation {
        ($name:ident, $code:literal) => {
            /// As the crate's.
            pub struct $name(Ask);

            impl $name {
                /// Its number.
                pub const CODE: u8 = $code;

                /// As the crate's.
                pub fn build(self) -> Entry {
                    Entry { ask: self.0, user_data: 0 }
                }
            }
        };
    }

    operation!(Nop, 0);
    operation!(Read, 22);
    operation!(Write, 23);
    operation!(Fsync, 3);

    impl Nop {
        /// As the crate's.
        pub fn new() -> Self {
            Self(Ask::Nop)
        }
    }

    impl Read {
        /// As the crate's.
        pub fn new(fd: Fd, at: *mut u8, len: u32) -> Self {
            Self(Ask::Read { fd: fd.0, at, len, offset: 0 })
        }

        /// As the crate's.
        pub fn offset(mut self, to: u64) -> Self {
            if let Ask::Read { offset, .. } = &mut self.0 {
                *offset = to;
            }
            self
        }
    }

    impl Write {
        /// As the crate's.
        pub fn new(fd: Fd, at: *const u8, len: u32) -> Self {
            Self(Ask::Write { fd: fd.0, at, len, offset: 0 })
        }

        /// As the crate's.
        pub fn offset(mut self, to: u64) -> Self {
            if let Ask::Write { offset, .. } = &mut self.0 {
                *offset = to;
            }
            self
        }
    }

    impl Fsync {
        /// As the crate's.
        pub fn new(fd: Fd) -> Self {
            Self(Ask::Sync { fd: fd.0 })
        }

        /// As the crate's.
        pub fn flags(self, _flags: FsyncFlags) -> Self {
            self
        }
    }
}

/// What the kernel knows.
pub struct Probe;

impl Probe {
    /// As the crate's.
    pub fn new() -> Self {
        Self
    }

    /// Everything that is asked for.
    pub fn is_supported(&self, _code: u8) -> bool {
        true
    }
}

/// As the crate's.
pub struct Builder;

impl Builder {
    /// As the crate's.
    pub fn dontfork(&mut self) -> &mut Self {
        self
    }

    /// As the crate's.
    pub fn setup_single_issuer(&mut self) -> &mut Self {
        self
    }

    /// As the crate's.
    pub fn setup_coop_taskrun(&mut self) -> &mut Self {
        self
    }

    /// As the crate's.
    pub fn setup_defer_taskrun(&mut self) -> &mut Self {
        self
    }

    /// As the crate's.
    pub fn build(&self, entries: u32) -> io::Result<IoUring> {
        let (pushed, in_flight, done) = (Vec::new(), Vec::new(), VecDeque::new());
        Ok(IoUring { entries: entries as usize, pushed, in_flight, done, is_up: false })
    }
}

/// An answer.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    user_data: u64,
    result: i32,
}

impl Answer {
    /// As the crate's.
    pub fn user_data(&self) -> u64 {
        self.user_data
    }

    /// As the crate's.
    pub fn result(&self) -> i32 {
        self.result
    }
}

/// There is no room in the submission queue.
#[derive(Debug, Clone, Copy)]
pub struct Full;

/// A ring.
pub struct IoUring {
    entries: usize,
    pushed: Vec<squeue::Entry>,
    in_flight: Vec<squeue::Entry>,
    done: VecDeque<Answer>,
    /// It has answered once: from then on it may be short of memory.
    is_up: bool,
}

// SAFETY: the addresses in the entries are used by the thread that owns the ring, as `Ring::push` promises they may be.
unsafe impl Send for IoUring {}

impl IoUring {
    /// As the crate's.
    pub fn builder() -> Builder {
        Builder
    }

    /// As the crate's.
    pub fn submitter(&self) -> &Self {
        self
    }

    /// As the crate's.
    pub fn register_probe(&self, _probe: &mut Probe) -> io::Result<()> {
        Ok(())
    }

    /// As the crate's.
    pub fn submission(&mut self) -> &mut Self {
        self
    }

    /// As the crate's: refused if the queue is full.
    ///
    /// # Safety
    /// What the entry names must stay until the answer.
    // SAFETY: the caller keeps what is said above; nothing is used here yet.
    pub unsafe fn push(&mut self, entry: &squeue::Entry) -> Result<(), Full> {
        if self.pushed.len() >= self.entries {
            return Err(Full);
        }
        self.pushed.push(*entry);
        Ok(())
    }

    /// As the crate's; others run meanwhile. A signal may come, or memory be short.
    pub fn submit_and_wait(&mut self, want: usize) -> io::Result<usize> {
        if self.is_up && one_in(12) {
            return Err([Errno::INTR, Errno::AGAIN, Errno::BUSY][thread_rng().gen_range(0..3)].into());
        }
        self.in_flight.append(&mut self.pushed);
        loop {
            let mut n = 0;
            while n < self.in_flight.len() {
                if one_in(2)
                    && let Some(answer) = act(self.in_flight[n])
                {
                    self.in_flight.swap_remove(n);
                    self.done.extend(answer);
                } else {
                    n += 1;
                }
            }
            if self.done.len() >= want {
                self.is_up = true;
                return Ok(0);
            }
            thread::yield_now();
        }
    }

    /// As the crate's.
    pub fn completion(&mut self) -> impl Iterator<Item = Answer> + '_ {
        self.done.drain(..)
    }
}

/// Does what an entry asks for. `None`: there is nothing to read yet. `Some(None)`: the planted fault.
fn act(entry: squeue::Entry) -> Option<Option<Answer>> {
    let outcome = match entry.ask {
        Ask::Nop => Ok(0),
        Ask::Read { fd, at, len, offset } => {
            // SAFETY: whoever pushed the entry keeps file and memory until the answer.
            let (fd, buf) = unsafe { (BorrowedFd::borrow_raw(fd), std::slice::from_raw_parts_mut(at, len as usize)) };
            if !is_readable(fd) {
                return None;
            }
            let len = shorter(buf.len());
            match rustix::io::pread(fd, &mut buf[..len], offset) {
                // A bell has no offsets.
                Err(Errno::SPIPE) => {
                    let rung = rustix::io::read(fd, buf);
                    if LOSES_BELL.get() && one_in(4) {
                        return Some(None);
                    }
                    rung
                }
                read => read,
            }
        }
        Ask::Write { fd, at, len, offset } => {
            // SAFETY: as above.
            let (fd, buf) = unsafe { (BorrowedFd::borrow_raw(fd), std::slice::from_raw_parts(at, len as usize)) };
            rustix::io::pwrite(fd, &buf[..shorter(buf.len())], offset)
        }
        Ask::Sync { fd } => {
            // SAFETY: as above. Whether the file is open still is all that is asked of it here.
            rustix::io::fcntl_getfd(unsafe { BorrowedFd::borrow_raw(fd) }).map(|_| 0)
        }
    };
    let is_operation = !matches!(entry.ask, Ask::Nop | Ask::Read { len: 8, .. });
    let outcome = if is_operation && one_in(12) { outcome.and(Err(Errno::IO)) } else { outcome };
    let result = outcome.map_or_else(|errno| -errno.raw_os_error(), |count| count as i32);
    Some(Some(Answer { user_data: entry.user_data, result }))
}

fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
}

/// Now and then an operation does a part only.
fn shorter(len: usize) -> usize {
    if len > 8 && one_in(8) { len / 2 } else { len }
}
