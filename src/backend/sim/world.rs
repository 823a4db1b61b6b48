//! The machine: names, files, open handles and operations in flight, and what each operation does when it lands.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::task::Waker;

use super::chance::Chance;
use super::fault::{FaultPlan, OpKind, ReadNow};
use super::inode::{BLOCK, Inode};
use super::names::{FileId, Names, Node, tidy};
use super::op::{HandleId, Landed, Op};
use super::{DiskError, OpCounts};
use crate::backend::{DirEntry, OpenMode};

/// The longest file, in bytes: a length from a damaged record must not fill the machine's memory.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// An operation whose future was dropped lands within this many further operations.
const MAX_ORPHAN_TICKS: u64 = 8;

pub(super) type Ticket = u64;

#[derive(Debug, Clone)]
pub(super) struct Handle {
    file: FileId,
    path: PathBuf,
    writable: bool,
    direct: bool,
    /// Its owner let go of it; it lives until its last operation has landed.
    closed: bool,
}

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
        let (names, handles) = (&self.names, &self.handles);
        self.inodes.retain(|&id, _| handles.values().any(|h| h.file == id) || names.may_name(id));
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

    fn handle(&self, id: HandleId) -> io::Result<&Handle> {
        self.handles.get(&id).ok_or_else(dead)
    }

    fn strike(&mut self, op: OpKind, path: &Path) -> Option<DiskError> {
        let struck = self.plan.strike(op, path, &mut self.chance);
        self.counts.faults += u64::from(struck.is_some());
        struck
    }

    fn check(&mut self, op: OpKind, path: &Path) -> io::Result<()> {
        self.strike(op, path).map_or(Ok(()), |e| Err(e.to_io()))
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

    fn inode(&mut self, id: FileId) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn open(&mut self, seq: u64, path: &Path, mode: OpenMode) -> io::Result<HandleId> {
        self.counts.opens += 1;
        self.check(OpKind::Open, path)?;
        let path = tidy(path)?;
        let (writable, direct, file) = match mode {
            OpenMode::Read => (false, false, self.names.file(&path)?),
            OpenMode::ReadWrite { direct } => (true, direct, self.names.file(&path)?),
            OpenMode::CreateNew { direct } => {
                self.names.bind(seq, &path, Node::File(seq))?;
                self.inodes.insert(seq, Inode::default());
                (true, direct, seq)
            }
        };
        let id = self.next_id();
        self.handles.insert(id, Handle { file, path, writable, direct, closed: false });
        Ok(id)
    }

    fn list(&mut self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.check(OpKind::List, dir)?;
        let entry = |(name, node)| match node {
            Node::File(id) => DirEntry { name, len_bytes: self.inodes.get(&id).map_or(0, Inode::len), is_file: true },
            Node::Dir => DirEntry { name, len_bytes: 0, is_file: false },
        };
        Ok(self.names.list(&tidy(dir)?)?.into_iter().map(entry).collect())
    }

    fn read(&mut self, id: HandleId, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.counts.reads += 1;
        let handle = self.handle(id)?.clone();
        self.check(OpKind::Read, &handle.path)?;
        if i64::try_from(offset).is_err() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut bytes = self.inode(handle.file)?.read(offset, len as u64);
        if bytes.len() > 1 && self.chance.hits(self.plan.short_read) {
            bytes.truncate(1 + self.chance.below(bytes.len() as u64 - 1) as usize);
        }
        self.counts.bytes_read += bytes.len() as u64;
        Ok(bytes)
    }

    fn writer(&self, id: HandleId) -> io::Result<Handle> {
        let handle = self.handle(id)?;
        if handle.writable { Ok(handle.clone()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }

    fn write(&mut self, seq: u64, id: HandleId, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.counts.writes += 1;
        let handle = self.writer(id)?;
        let len = bytes.len() as u64;
        if handle.direct && !(offset.is_multiple_of(BLOCK) && len.is_multiple_of(BLOCK)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a direct write that is not whole blocks"));
        }
        if offset.saturating_add(len) > MAX_FILE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        match self.strike(OpKind::Write, &handle.path) {
            Some(DiskError::Eio) => {
                // A failed write says nothing about its bytes: some blocks may have been written.
                let blocks = self.chance.below(len / BLOCK + 2);
                let landed = (blocks * BLOCK).min(len) as usize;
                self.inode(handle.file)?.write(seq, offset, &bytes[..landed]);
                return Err(DiskError::Eio.to_io());
            }
            Some(error) => return Err(error.to_io()),
            None => {}
        }
        let unit = if handle.direct { BLOCK } else { 1 };
        let mut taken = len;
        if len > unit && self.chance.hits(self.plan.short_write) {
            taken = unit * (1 + self.chance.below(len / unit - 1));
        }
        let old_len = self.inode(handle.file)?.len();
        let room = old_len.saturating_add(self.room_bytes());
        if offset + taken > room && len > 0 {
            taken = room.saturating_sub(offset) / unit * unit;
            if taken == 0 {
                return Err(DiskError::Enospc.to_io());
            }
        }
        let mut at = offset;
        if self.chance.hits(self.plan.misdirect) {
            at = self.chance.below(old_len.saturating_sub(taken) / BLOCK + 1) * BLOCK;
            self.counts.faults += 1;
        }
        self.inode(handle.file)?.write(seq, at, &bytes[..taken as usize]);
        self.counts.bytes_written += taken;
        self.note_peak();
        Ok(taken as usize)
    }

    fn sync(&mut self, ticket: Ticket, id: HandleId) -> io::Result<()> {
        self.counts.syncs += 1;
        let handle = self.writer(id)?;
        let struck = self.strike(OpKind::Sync, &handle.path);
        if self.plan.lie_about_sync {
            return Ok(());
        }
        let inode = self.inode(handle.file)?;
        match struck {
            Some(error) => {
                inode.lose(ticket);
                Err(error.to_io())
            }
            None => {
                inode.sync(ticket);
                Ok(())
            }
        }
    }

    fn allocate(&mut self, seq: u64, id: HandleId, len: u64) -> io::Result<()> {
        self.counts.allocates += 1;
        let handle = self.writer(id)?;
        self.check(OpKind::Allocate, &handle.path)?;
        if len > MAX_FILE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let room = self.room_bytes();
        let inode = self.inode(handle.file)?;
        if len > inode.len().saturating_add(room) {
            return Err(DiskError::Enospc.to_io());
        }
        inode.set_len(seq, len);
        self.note_peak();
        Ok(())
    }

    fn room_bytes(&self) -> u64 {
        self.plan.capacity_bytes.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used_bytes()))
    }

    fn note_peak(&mut self) {
        self.peak_bytes = self.peak_bytes.max(self.used_bytes());
    }
}

/// What operations of a killed process answer.
pub(super) fn dead() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the simulated process is dead")
}
