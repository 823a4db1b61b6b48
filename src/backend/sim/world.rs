//! The machine: names, files, open handles and operations in flight, and what each operation does when it lands.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::task::Waker;

use super::OpCounts;
use super::chance::Chance;
use super::fault::{Effect, FaultPlan, OpKind, ReadNow};
use super::handle::Handle;
use super::inode::Inode;
use super::names::{FileId, Names, Node, tidy};
use super::op::{HandleId, Landed, Op};
use crate::backend::DirEntry;

/// An operation whose future was dropped lands within this many further operations.
const MAX_ORPHAN_TICKS: u64 = 8;

pub(super) type Ticket = u64;

#[derive(Debug, Clone)]
pub(super) struct InFlight {
    pub(super) op: Op,
    /// Polls until it may land.
    yields: u64,
    /// Nobody waits for it any more; it lands after this many further operations.
    pub(super) orphan_ticks: Option<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct World {
    /// Which process lives; handles of earlier ones are dead.
    pub(super) epoch: u64,
    pub(super) chance: Chance,
    pub(super) names: Names,
    pub(super) inodes: BTreeMap<FileId, Inode>,
    pub(super) handles: BTreeMap<HandleId, Handle>,
    pub(super) locks: BTreeMap<FileId, HandleId>,
    pub(super) in_flight: BTreeMap<Ticket, InFlight>,
    pub(super) plan: FaultPlan,
    pub(super) counts: OpCounts,
    pub(super) peak_bytes: u64,
    /// What the file that was forgotten last had on the device: a new one may be given its blocks.
    pub(super) recycled: Arc<Vec<u8>>,
    /// Futures that wait for a stall to end.
    pub(super) wakers: Vec<Waker>,
    last_id: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            epoch: 0,
            chance: Chance::new(seed),
            names: Names::default(),
            inodes: BTreeMap::new(),
            handles: BTreeMap::new(),
            locks: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            plan: FaultPlan::default(),
            counts: OpCounts::default(),
            peak_bytes: 0,
            recycled: Arc::default(),
            wakers: Vec::new(),
            last_id: 0,
        }
    }

    /// A number never given before: for files, handles, tickets and the order of changes alike.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn begin(&mut self, op: Op) -> Ticket {
        self.tick();
        let ticket = self.next_id();
        let yields = self.chance.below(u64::from(self.plan.max_yields) + 1);
        self.in_flight.insert(ticket, InFlight { op, yields, orphan_ticks: None });
        ticket
    }

    /// One poll: `None` while it has to wait.
    pub(super) fn poll(&mut self, ticket: Ticket, waker: &Waker) -> Option<io::Result<Landed>> {
        let Some(flight) = self.in_flight.get_mut(&ticket) else { return Some(Err(dead())) };
        if self.plan.stalled.contains(&flight.op.kind()) {
            self.wakers.push(waker.clone());
            return None;
        }
        if flight.yields > 0 {
            flight.yields -= 1;
            waker.wake_by_ref();
            return None;
        }
        let InFlight { op, .. } = self.in_flight.remove(&ticket)?;
        let handle = op.handle();
        let landed = self.land(op, ticket);
        self.reap(handle);
        Some(landed)
    }

    /// Its future was dropped: it lands by itself, later.
    pub(super) fn abandon(&mut self, ticket: Ticket) {
        if let Some(flight) = self.in_flight.get_mut(&ticket) {
            flight.orphan_ticks = Some(self.chance.below(MAX_ORPHAN_TICKS) + 1);
        }
    }

    /// Time passes for operations that nobody waits for.
    pub(super) fn tick(&mut self) {
        let mut due = Vec::new();
        for (&ticket, flight) in &mut self.in_flight {
            let Some(ticks) = &mut flight.orphan_ticks else { continue };
            if self.plan.stalled.contains(&flight.op.kind()) {
                continue;
            }
            *ticks -= 1;
            if *ticks == 0 {
                due.push(ticket);
            }
        }
        due.into_iter().for_each(|ticket| self.land_orphan(ticket));
    }

    /// Lands an operation that nobody waits for.
    pub(super) fn land_orphan(&mut self, ticket: Ticket) {
        let Some(InFlight { op, .. }) = self.in_flight.remove(&ticket) else { return };
        let handle = op.handle();
        if let Ok(Landed::Opened(opened)) = self.land(op, ticket) {
            self.close(opened);
        }
        self.reap(handle);
    }

    pub(super) fn close(&mut self, id: HandleId) {
        if let Some(handle) = self.handles.get_mut(&id) {
            handle.closed = true;
        }
        self.reap(Some(id));
    }

    /// Forgets a closed handle, and its lock, once its last operation has landed.
    pub(super) fn reap(&mut self, id: Option<HandleId>) {
        let Some(id) = id else { return };
        if self.handles.get(&id).is_some_and(|h| h.closed)
            && !self.in_flight.values().any(|f| f.op.handle() == Some(id))
        {
            self.handles.remove(&id);
            self.locks.retain(|_, holder| *holder != id);
            self.collect_garbage();
        }
    }

    /// Forgets files that have no name, will get none, and are not open.
    pub(super) fn collect_garbage(&mut self) {
        let (names, handles, recycled) = (&self.names, &self.handles, &mut self.recycled);
        self.inodes.retain(|&id, inode| {
            let stays = handles.values().any(|h| h.file == id) || names.may_name(id);
            if !stays && inode.len() > 0 {
                *recycled = inode.on_device();
            }
            stays
        });
    }

    pub(super) fn try_lock(&mut self, id: HandleId) -> io::Result<bool> {
        self.tick();
        let file = self.handle(id)?.file;
        Ok(*self.locks.entry(file).or_insert(id) == id)
    }

    pub(super) fn read_now(&mut self, id: HandleId, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.tick();
        self.counts.reads_now += 1;
        match self.plan.read_now {
            ReadNow::Serve => {}
            ReadNow::ServeWithProbability(p) if self.chance.hits(p) => {}
            ReadNow::ServeWithProbability(_) | ReadNow::WouldBlock => return Err(io::ErrorKind::WouldBlock.into()),
            ReadNow::Unsupported => return Err(io::ErrorKind::Unsupported.into()),
        }
        let bytes = self.read(id, offset, buf.len())?;
        buf[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    /// Bytes of all files that have a name or are open.
    pub(super) fn used_bytes(&self) -> u64 {
        let counts = |id: &FileId| self.names.is_linked(*id) || self.handles.values().any(|h| h.file == *id);
        self.inodes.iter().filter(|(id, _)| counts(id)).map(|(_, inode)| inode.len()).sum()
    }

    pub(super) fn strike(&mut self, op: OpKind, path: &Path) -> Option<Effect> {
        let struck = self.plan.strike(op, path, &mut self.chance);
        self.counts.faultable += 1;
        self.counts.faults += u64::from(struck.is_some());
        struck
    }

    /// For operations that cannot be short.
    pub(super) fn check(&mut self, op: OpKind, path: &Path) -> io::Result<()> {
        match self.strike(op, path) {
            Some(Effect::Fail(error)) => Err(error.to_io()),
            Some(Effect::Short) | None => Ok(()),
        }
    }

    fn land(&mut self, op: Op, ticket: Ticket) -> io::Result<Landed> {
        let seq = self.next_id();
        match op {
            Op::Open { path, mode } => self.open(seq, &path, mode).map(Landed::Opened),
            Op::CreateDir(path) => {
                self.check(OpKind::CreateDir, &path)?;
                self.names.create_dir_all(seq, &tidy(&path)?).map(|()| Landed::Done)
            }
            Op::List(dir) => self.list(&dir).map(Landed::Names),
            Op::Rename { from, to } => {
                self.counts.renames += 1;
                self.check(OpKind::Rename, &from)?;
                self.names.rename(seq, &tidy(&from)?, &tidy(&to)?)?;
                self.collect_garbage();
                Ok(Landed::Done)
            }
            Op::Remove(path) => {
                self.counts.removes += 1;
                self.check(OpKind::Remove, &path)?;
                self.names.remove(seq, &tidy(&path)?)?;
                self.collect_garbage();
                Ok(Landed::Done)
            }
            Op::SyncDir(dir) => {
                self.counts.dir_syncs += 1;
                self.check(OpKind::SyncDir, &dir)?;
                let dir = tidy(&dir)?;
                if self.plan.lie_about_sync {
                    self.names.check_dir(&dir)?;
                } else {
                    self.names.sync(ticket, &dir)?;
                    self.collect_garbage();
                }
                Ok(Landed::Done)
            }
            Op::Read { handle, offset, len } => self.read(handle, offset, len).map(Landed::Bytes),
            Op::Write { handle, offset, buf } => self.write(seq, handle, offset, &buf).map(Landed::Count),
            Op::Sync(handle) => self.sync(ticket, handle).map(|()| Landed::Done),
            Op::Allocate { handle, len } => self.allocate(seq, handle, len).map(|()| Landed::Done),
            Op::Len(id) => {
                let handle = self.handle(id)?.clone();
                self.check(OpKind::Len, &handle.path)?;
                Ok(Landed::Len(self.inode(handle.file)?.len()))
            }
        }
    }

    pub(super) fn inode(&mut self, id: FileId) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&mut self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.check(OpKind::List, dir)?;
        let entry = |(name, node)| match node {
            Node::File(id) => DirEntry { name, len_bytes: self.inodes.get(&id).map_or(0, Inode::len), is_file: true },
            Node::Dir => DirEntry { name, len_bytes: 0, is_file: false },
        };
        Ok(self.names.list(&tidy(dir)?)?.into_iter().map(entry).collect())
    }
}

/// What operations of a killed process answer.
pub(super) fn dead() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the simulated process is dead")
}
