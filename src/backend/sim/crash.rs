//! The two deaths: of the process, and of the power.

use std::sync::Arc;

use super::Sim;
use super::chance::Chance;
use super::inode::{Inode, Survival};
use super::op::Op;
use super::world::{Ticket, World};
use crate::sync::Mutex;

impl Sim {
    /// What `kill -9` does. Every handle of this process is dead and its locks are released; completed writes stay
    /// (but are no more durable than before). An operation in flight has happened or not, a write also in part; with
    /// [`super::FaultPlan::late_write`] a write may land only later, and keeps the lock of its file until then.
    pub fn crash_process(&self) {
        self.with(|world| {
            let late_write = world.plan.late_write;
            world.die(late_write);
        });
        self.wake_all();
    }

    /// What pulling the plug does: [`Sim::crash_process`], and of all that was not synced each block and each name
    /// survives or does not. How much does is drawn first: nothing, all, what was changed before a drawn moment, or each
    /// for itself with a drawn probability. A block that does not survive may be torn: some of its 512-byte sectors are new.
    pub fn power_loss(&self) {
        self.with(|world| {
            world.die(0.0);
            let mut pending: Vec<u64> = world.names.pending_seqs().collect();
            pending.extend(world.inodes.values().flat_map(Inode::pending_seqs));
            let survival = Survival::draw(&mut pending, &mut world.chance);
            world.names.power_loss(survival, &mut world.chance);
            let stale = if world.plan.stale_bytes { world.recycled.clone() } else { Arc::default() };
            for inode in world.inodes.values_mut() {
                inode.power_loss(survival, &stale, &mut world.chance);
            }
            world.collect_garbage();
        });
        self.wake_all();
    }

    /// The same disk, for the next process. Ends the present one as [`Sim::crash_process`] does if it still lives.
    #[must_use]
    pub fn reopen(&self) -> Sim {
        let epoch = self.with(|world| {
            if world.epoch == self.epoch {
                let late_write = world.plan.late_write;
                world.die(late_write);
            }
            world.epoch
        });
        self.wake_all();
        Sim { world: self.world.clone(), epoch }
    }

    /// A copy of the machine as it stands, with other dice: to try many deaths from one moment. Open files and
    /// operations in flight are copied but belong to nobody, so crash the copy before using it.
    #[must_use]
    pub fn fork(&self, seed: u64) -> Sim {
        let mut world = self.with(|world| world.clone());
        world.chance = Chance::new(seed);
        world.wakers.clear();
        Sim { world: Arc::new(Mutex::new(world)), epoch: self.epoch }
    }
}

impl World {
    /// The process ends: what is in flight is decided, handles and locks go.
    fn die(&mut self, late_write: f64) {
        self.epoch += 1;
        let tickets: Vec<_> = self.in_flight.keys().copied().collect();
        for ticket in tickets {
            let Some(flight) = self.in_flight.get_mut(&ticket) else { continue };
            let is_write = matches!(flight.op, Op::Write { .. });
            if is_write && self.chance.hits(late_write) {
                flight.orphan_ticks = Some(self.chance.below(16) + 1);
            } else if self.chance.below(2) == 0 {
                self.land_in_part(ticket);
            } else {
                self.in_flight.remove(&ticket);
            }
        }
        let handles: Vec<_> = self.handles.keys().copied().collect();
        handles.into_iter().for_each(|handle| self.close(handle));
    }

    /// Lands an operation in flight; of a write maybe only a prefix of pages, as a kill leaves it.
    fn land_in_part(&mut self, ticket: Ticket) {
        let saved = self.plan.short_write;
        self.plan.short_write = 0.5;
        self.land_orphan(ticket);
        self.plan.short_write = saved;
    }
}
