//! Open files of the machine, and what the operations on one do when they land.

use std::io;
use std::path::{Path, PathBuf};

use super::DiskError;
use super::fault::{Effect, OpKind};
use super::inode::{BLOCK, Inode, SECTOR};
use super::names::{FileId, Node, tidy};
use super::op::HandleId;
use super::world::{Ticket, World, dead};
use crate::backend::OpenMode;

/// The longest file, in bytes: a length from a damaged record must not fill the machine's memory.
const MAX_FILE_BYTES: u64 = 1 << 30;

#[derive(Debug, Clone)]
pub(super) struct Handle {
    pub(super) file: FileId,
    pub(super) path: PathBuf,
    pub(super) writable: bool,
    pub(super) direct: bool,
    /// Its owner let go of it; it lives until its last operation has landed.
    pub(super) closed: bool,
}

impl World {
    pub(super) fn handle(&self, id: HandleId) -> io::Result<&Handle> {
        self.handles.get(&id).ok_or_else(dead)
    }

    pub(super) fn open(&mut self, seq: u64, path: &Path, mode: OpenMode) -> io::Result<HandleId> {
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

    pub(super) fn read(&mut self, id: HandleId, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.counts.reads += 1;
        let handle = self.handle(id)?.clone();
        let struck = self.strike(OpKind::Read, &handle.path);
        if let Some(Effect::Fail(error)) = struck {
            return Err(error.to_io());
        }
        if i64::try_from(offset).is_err() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut bytes = self.inode(handle.file)?.read(offset, len as u64);
        if bytes.len() > 1 && self.chance.hits(self.plan.short_read) {
            bytes.truncate(1 + self.chance.below(bytes.len() as u64 - 1) as usize);
        }
        if struck == Some(Effect::Short) {
            bytes.truncate(bytes.len().div_ceil(2));
        }
        self.counts.bytes_read += bytes.len() as u64;
        Ok(bytes)
    }

    fn writer(&self, id: HandleId) -> io::Result<Handle> {
        let handle = self.handle(id)?;
        if handle.writable { Ok(handle.clone()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }

    pub(super) fn write(&mut self, seq: u64, id: HandleId, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.counts.writes += 1;
        let handle = self.writer(id)?;
        let len = bytes.len() as u64;
        if handle.direct && !(offset.is_multiple_of(BLOCK) && len.is_multiple_of(BLOCK)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a direct write that is not whole blocks"));
        }
        if offset.saturating_add(len) > MAX_FILE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let struck = self.strike(OpKind::Write, &handle.path);
        match struck {
            Some(Effect::Fail(DiskError::Eio)) => {
                // A failed write says nothing about its bytes: some blocks may have been written.
                let blocks = self.chance.below(len / BLOCK + 2);
                let landed = (blocks * BLOCK).min(len) as usize;
                self.inode(handle.file)?.write(seq, offset, &bytes[..landed]);
                return Err(DiskError::Eio.to_io());
            }
            Some(Effect::Fail(error)) => return Err(error.to_io()),
            Some(Effect::Short) | None => {}
        }
        let unit = if handle.direct { BLOCK } else { 1 };
        let mut taken = len;
        if len > unit && self.chance.hits(self.plan.short_write) {
            taken = unit * (1 + self.chance.below(len / unit - 1));
        }
        if struck == Some(Effect::Short) && taken > SECTOR {
            taken = (taken / 2).next_multiple_of(SECTOR);
        }
        let old_len = self.inode(handle.file)?.len();
        let grows = len > 0 && offset + taken > old_len;
        if grows {
            let room = old_len.saturating_add(self.room_bytes()).saturating_sub(offset);
            if taken > room {
                taken = room / unit * unit;
            }
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
        if grows {
            self.note_peak();
        }
        Ok(taken as usize)
    }

    pub(super) fn sync(&mut self, ticket: Ticket, id: HandleId) -> io::Result<()> {
        self.counts.syncs += 1;
        let handle = self.writer(id)?;
        let struck = self.strike(OpKind::Sync, &handle.path);
        if self.plan.lie_about_sync {
            return Ok(());
        }
        let inode = self.inode(handle.file)?;
        match struck {
            // A signal stops a sync before it begins, so nothing is lost by it.
            Some(Effect::Fail(error)) => {
                if error != DiskError::Eintr {
                    inode.lose(ticket);
                }
                Err(error.to_io())
            }
            Some(Effect::Short) | None => {
                inode.sync(ticket);
                Ok(())
            }
        }
    }

    pub(super) fn allocate(&mut self, seq: u64, id: HandleId, len: u64) -> io::Result<()> {
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
