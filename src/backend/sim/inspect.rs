//! The test's own hands on the disk: look, lay down, damage. None of it is an operation of the process, so no fault
//! strikes it and no counter counts it.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::fault::FaultPlan;
use super::inode::Inode;
use super::names::{Node, tidy};
use super::{OpCounts, Sim};

impl Sim {
    /// Replaces the fault plan; rules count from now on. The plan belongs to the disk, so it outlives a crash.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.with(|world| world.plan = plan);
        self.wake_all();
    }

    /// No faults from now on. Rot stays: see [`Sim::heal`].
    pub fn clear_faults(&self) {
        self.set_faults(FaultPlan::default());
    }

    /// What was done so far, over all processes.
    pub fn counts(&self) -> OpCounts {
        self.with(|world| world.counts)
    }

    /// Files that are open, each handle counted.
    pub fn files_open(&self) -> usize {
        self.with(|world| world.handles.len())
    }

    /// Operations that have not landed yet.
    pub fn ops_in_flight(&self) -> usize {
        self.with(|world| world.in_flight.len())
    }

    /// Bytes of all files that have a name or are open.
    pub fn used_bytes(&self) -> u64 {
        self.with(|world| world.used_bytes())
    }

    /// The most that [`Sim::used_bytes`] ever was.
    pub fn peak_bytes(&self) -> u64 {
        self.with(|world| world.peak_bytes)
    }

    /// Lands every operation whose future was dropped.
    pub fn settle(&self) {
        self.with(|world| {
            let orphans = world.in_flight.iter().filter(|(_, f)| f.orphan_ticks.is_some());
            let tickets: Vec<_> = orphans.map(|(&ticket, _)| ticket).collect();
            tickets.into_iter().for_each(|ticket| world.land_orphan(ticket));
        });
    }

    /// A file's bytes as a read would see them, rot included.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`.
    pub fn read_file(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        self.inode(path.as_ref(), |inode| inode.read(0, u64::MAX))
    }

    /// Lays down a file, and the directories above it, durably. Replaces what is there.
    ///
    /// # Errors
    /// `IsADirectory`, `NotADirectory`.
    pub fn write_file(&self, path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>) -> io::Result<()> {
        let path = tidy(path.as_ref())?;
        self.with(|world| {
            let seq = world.next_id();
            match world.names.get(&path) {
                Some(Node::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
                Some(Node::File(id)) => drop(world.inodes.insert(id, Inode::durable(bytes.into()))),
                None => {
                    world.names.create_dir_all(seq, path.parent().unwrap_or(Path::new("")))?;
                    world.names.bind(seq, &path, Node::File(seq))?;
                    world.inodes.insert(seq, Inode::durable(bytes.into()));
                }
            }
            world.names.sync_all();
            world.collect_garbage();
            Ok(())
        })
    }

    /// The files in a directory, with their paths, sorted.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`.
    pub fn list_files(&self, dir: impl AsRef<Path>) -> io::Result<Vec<PathBuf>> {
        let dir = tidy(dir.as_ref())?;
        let names = self.with(|world| world.names.list(&dir))?;
        let files = names.into_iter().filter(|(_, node)| matches!(node, Node::File(_)));
        Ok(files.map(|(name, _)| dir.join(name)).collect())
    }

    /// Whether a file has changes that power loss may take.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`.
    pub fn has_unsynced(&self, path: impl AsRef<Path>) -> io::Result<bool> {
        self.inode(path.as_ref(), |inode| inode.has_pending())
    }

    /// Turns one bit of the byte at `offset` over, beneath device and page cache alike. A write heals it.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`.
    pub fn flip_bit(&self, path: impl AsRef<Path>, offset: u64) -> io::Result<()> {
        let mask = self.with(|world| 1 << world.chance.below(8));
        self.inode(path.as_ref(), |inode| inode.damage(offset, mask))
    }

    /// Turns the bytes in `range` to zero, as [`Sim::flip_bit`] does.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`.
    pub fn zero(&self, path: impl AsRef<Path>, range: Range<u64>) -> io::Result<()> {
        self.inode(path.as_ref(), |inode| {
            let seen = inode.read(range.start, range.end.saturating_sub(range.start));
            (range.start..).zip(seen).for_each(|(offset, byte)| inode.damage(offset, byte));
        })
    }

    /// Takes all rot of a file away: its pristine bytes show again.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`.
    pub fn heal(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.inode(path.as_ref(), Inode::heal)
    }

    /// Cuts a file to `len` bytes, on the device too. This cannot be healed.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`.
    pub fn truncate(&self, path: impl AsRef<Path>, len: u64) -> io::Result<()> {
        self.inode(path.as_ref(), |inode| inode.truncate(len))
    }

    /// Evicts the page cache: reads see what the device has, or will get. After a failed sync that is not the same.
    pub fn evict_page_cache(&self) {
        self.with(|world| world.inodes.values_mut().for_each(Inode::evict_page_cache));
    }

    fn inode<T>(&self, path: &Path, act: impl FnOnce(&mut Inode) -> T) -> io::Result<T> {
        let path = tidy(path)?;
        self.with(|world| {
            let id = world.names.file(&path)?;
            world.inodes.get_mut(&id).map(act).ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }
}
