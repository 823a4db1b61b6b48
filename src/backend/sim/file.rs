//! An open file of the simulated disk.

use std::io;

use super::Sim;
use super::op::{HandleId, Landed, Op};
use crate::backend::{DiskFile, IoFuture, WriteBuf};

#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) sim: Sim,
    pub(super) id: HandleId,
}

impl DiskFile for SimFile {
    fn read_at(&self, offset: u64, len: usize) -> IoFuture<Vec<u8>> {
        self.sim.submit(Op::Read { handle: self.id, offset, len }, |landed| match landed {
            Landed::Bytes(bytes) => Some(bytes),
            _ => None,
        })
    }

    fn read_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.sim.alive(|world| world.read_now(self.id, offset, buf))
    }

    fn write_at(&self, offset: u64, buf: WriteBuf) -> IoFuture<usize> {
        self.sim.submit(Op::Write { handle: self.id, offset, buf }, |landed| match landed {
            Landed::Count(n) => Some(n),
            _ => None,
        })
    }

    fn sync_data(&self) -> IoFuture<()> {
        self.sim.submit_unit(Op::Sync(self.id))
    }

    fn allocate(&self, len: u64) -> IoFuture<()> {
        self.sim.submit_unit(Op::Allocate { handle: self.id, len })
    }

    fn len(&self) -> IoFuture<u64> {
        self.sim.submit(Op::Len(self.id), |landed| match landed {
            Landed::Len(len) => Some(len),
            _ => None,
        })
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.sim.alive(|world| world.try_lock(self.id))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.sim.with(|world| world.close(self.id));
    }
}
