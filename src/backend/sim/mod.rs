//! The simulated disk: in memory, seeded, with a fault plan. This page is the fault model.
//!
//! Every choice is drawn from one seeded stream in the order in which operations land, so the same operations in the
//! same order give the same disk.
//!
//! # What is durable
//! - A file has *durable* bytes and a list of *pending* changes (writes and lengths). Reads see pending over durable,
//!   as through a page cache. `sync_data` makes durable what had completed before it was called.
//! - Names (creations, renames, removals, directories too) are pending until `sync_dir` of their directory. What hangs
//!   below a directory that was lost is lost. A name that was never durable takes its file with it.
//! - [`Sim::crash_process`] loses no completed change. [`Sim::power_loss`] keeps of the pending changes of each file any
//!   subset of blocks (4,096 bytes), torn ones included (any subset of their sectors of 512 bytes), and any subset of
//!   the pending names; or a prefix of all changes in the order in which they were made, the last one torn. A rename
//!   keeps the old name or the new one, never neither. A file may keep the length that a lost write gave it: there it
//!   shows zeros, or with [`FaultPlan::stale_bytes`] what a removed file held. Space that was allocated shows zeros. This is more than journals of today's
//!   file systems allow, and no more than they promise.
//! - An operation whose future is dropped goes on and lands within a few further operations. One that is in flight at
//!   a crash has happened or not, a write maybe in part, or late ([`FaultPlan::late_write`]): then it lands under the
//!   next process, and holds the lock of its file until then.
//!
//! # What goes wrong
//! Set by [`Sim::set_faults`], an overlay over a disk that itself is perfect:
//! - Planned faults ([`Rule`]): the nth operation of a kind or of any, each, or some, on all files or some, fails with
//!   an error ([`DiskError`]) or is short. A write that fails with EIO may have written any number of its first blocks.
//! - A `sync_data` that fails (but for EINTR) does so as on Linux: once; the writes it was to make durable never reach the device,
//!   while reads go on showing them until [`Sim::evict_page_cache`] or the next power loss; the next sync says Ok.
//! - Short reads and writes; a device that is full (a write that fits in part is short first, then ENOSPC).
//! - Misdirected writes: reported as done, landed at another block of the same file.
//! - Rot: [`Sim::flip_bit`], [`Sim::zero`], [`Sim::truncate`]. All but the last lie over the pristine bytes and
//!   [`Sim::heal`] takes them away.
//! - Delays: operations need a seeded number of polls, so that they overtake each other; or stall until told.
//! - A disk that lies about syncs: no cache can stand that, so a test of durability must catch it.
//!
//! # What is checked
//! Direct writes must be whole blocks, writes need a writable handle, renames stay within a directory, the empty path
//! names nothing. A lock is exclusive between open handles.
//!
//! # What is not modelled
//! Links, permissions and owners; a read that sees half of a write; damage to names; the order in which a real device
//! or journal would persist.

use std::future::{Future, poll_fn};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Backend, DirEntry, DiskFile, IoFuture, OpenMode};
use crate::sync::Mutex;
use crate::types::BackendKind;

mod chance;
mod crash;
mod fault;
mod file;
mod handle;
mod inode;
mod inspect;
mod names;
mod op;
mod world;

pub use fault::{DiskError, Effect, FaultPlan, OpKind, ReadNow, Rule, When};

use file::SimFile;
use op::{Landed, Op};
use world::{Ticket, World, dead};

/// A process's view of the simulated disk. A cheap handle: clones see the same disk.
#[derive(Clone)]
pub struct Sim {
    world: Arc<Mutex<World>>,
    epoch: u64,
}

/// How often each operation landed, well or not, since the disk was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpCounts {
    /// Files opened or created.
    pub opens: u64,
    /// `read_at`s, and `read_now`s that were served.
    pub reads: u64,
    /// `read_now`s.
    pub reads_now: u64,
    /// `write_at`s.
    pub writes: u64,
    /// `sync_data`s.
    pub syncs: u64,
    /// `allocate`s.
    pub allocates: u64,
    /// `rename`s.
    pub renames: u64,
    /// `remove`s.
    pub removes: u64,
    /// `sync_dir`s.
    pub dir_syncs: u64,
    /// Bytes that reads returned.
    pub bytes_read: u64,
    /// Bytes that writes took.
    pub bytes_written: u64,
    /// Operations that a planned fault could have struck.
    pub faultable: u64,
    /// Planned errors and misdirections that struck.
    pub faults: u64,
}

impl Sim {
    /// An empty, perfect disk. All its choices follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { world: Arc::new(Mutex::new(World::new(seed))), epoch: 0 }
    }

    fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.world.lock())
    }

    /// Wakes what waits for a stall to end, outside the lock: a waker may drop its task, and that an operation.
    fn wake_all(&self) {
        let wakers = self.with(|world| std::mem::take(&mut world.wakers));
        wakers.into_iter().for_each(|waker| waker.wake());
    }

    /// Acts for a process that must not be dead.
    fn alive<T>(&self, act: impl FnOnce(&mut World) -> io::Result<T>) -> io::Result<T> {
        self.with(|world| if world.epoch == self.epoch { act(world) } else { Err(dead()) })
    }

    /// Puts an operation in flight now; the future waits for it.
    fn submit<T>(&self, op: Op, pick: fn(Landed) -> Option<T>) -> IoFuture<T>
    where
        T: Send + 'static,
    {
        let flight = self.alive(|world| Ok(Flight { sim: self.clone(), ticket: world.begin(op) }));
        Box::pin(async move { pick(flight?.landed().await?).ok_or_else(|| io::ErrorKind::Other.into()) })
    }

    fn submit_unit(&self, op: Op) -> IoFuture<()> {
        self.submit(op, |_| Some(()))
    }
}

/// An operation in flight. Dropped before it landed, it goes on by itself.
struct Flight {
    sim: Sim,
    ticket: Ticket,
}

impl Flight {
    fn landed(&self) -> impl Future<Output = io::Result<Landed>> + '_ {
        poll_fn(|cx: &mut Context<'_>| {
            let poll = self.sim.alive(|world| Ok(world.poll(self.ticket, cx.waker())));
            match poll.transpose() {
                Some(landed) => Poll::Ready(landed.and_then(|landed| landed)),
                None => Poll::Pending,
            }
        })
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let epoch = self.sim.epoch;
        self.sim.with(|world| {
            if world.epoch == epoch {
                world.abandon(self.ticket);
            }
        });
    }
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sim").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Backend for Sim {
    fn kind(&self) -> BackendKind {
        BackendKind::Sim
    }

    fn open(&self, path: &Path, mode: OpenMode) -> IoFuture<Arc<dyn DiskFile>> {
        let sim = self.clone();
        let opening = self.submit(Op::Open { path: path.to_owned(), mode }, |landed| match landed {
            Landed::Opened(id) => Some(id),
            _ => None,
        });
        Box::pin(async move { Ok(Arc::new(SimFile { id: opening.await?, sim }) as Arc<dyn DiskFile>) })
    }

    fn create_dir_all(&self, path: &Path) -> IoFuture<()> {
        self.submit_unit(Op::CreateDir(path.to_owned()))
    }

    fn list(&self, dir: &Path) -> IoFuture<Vec<DirEntry>> {
        self.submit(Op::List(dir.to_owned()), |landed| match landed {
            Landed::Names(names) => Some(names),
            _ => None,
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> IoFuture<()> {
        self.submit_unit(Op::Rename { from: from.to_owned(), to: to.to_owned() })
    }

    fn remove(&self, path: &Path) -> IoFuture<()> {
        self.submit_unit(Op::Remove(path.to_owned()))
    }

    fn sync_dir(&self, dir: &Path) -> IoFuture<()> {
        self.submit_unit(Op::SyncDir(dir.to_owned()))
    }
}
