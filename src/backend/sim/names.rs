//! The tree of names: what a listing shows, what the device has, and the changes between.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::chance::Chance;
use super::inode::Survival;

/// A file, whatever its name.
pub(super) type FileId = u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    File(FileId),
}

#[derive(Debug, Clone)]
enum Change {
    Bind { path: PathBuf, node: Node },
    Unbind { path: PathBuf, node: Node },
    Move { from: PathBuf, to: PathBuf, node: Node },
}

#[derive(Debug, Clone)]
struct Pending {
    seq: u64,
    dir: PathBuf,
    change: Change,
}

type Map = BTreeMap<PathBuf, Node>;

#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    live: Map,
    durable: Map,
    pending: Vec<Pending>,
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<Node> {
        if is_root(path) { Some(Node::Dir) } else { self.live.get(path).copied() }
    }

    /// The file at `path`.
    pub(super) fn file(&self, path: &Path) -> io::Result<FileId> {
        match self.get(path) {
            Some(Node::File(id)) => Ok(id),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn dir(&self, path: &Path) -> io::Result<()> {
        match self.get(path) {
            Some(Node::Dir) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Gives a new node its name.
    pub(super) fn bind(&mut self, seq: u64, path: &Path, node: Node) -> io::Result<()> {
        let dir = parent(path);
        self.dir(&dir)?;
        if self.get(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(seq, dir, Change::Bind { path: path.to_owned(), node });
        Ok(())
    }

    pub(super) fn create_dir_all(&mut self, seq: u64, path: &Path) -> io::Result<()> {
        let mut made = PathBuf::new();
        for part in path.components() {
            made.push(part);
            match self.get(&made) {
                Some(Node::Dir) => {}
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => self.bind(seq, &made, Node::Dir)?,
            }
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, seq: u64, path: &Path) -> io::Result<()> {
        let node = Node::File(self.file(path)?);
        self.change(seq, parent(path), Change::Unbind { path: path.to_owned(), node });
        Ok(())
    }

    pub(super) fn rename(&mut self, seq: u64, from: &Path, to: &Path) -> io::Result<()> {
        let node = Node::File(self.file(from)?);
        let dir = parent(from);
        if parent(to) != dir {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a rename within a directory only"));
        }
        if self.get(to) == Some(Node::Dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if from != to {
            self.change(seq, dir, Change::Move { from: from.to_owned(), to: to.to_owned(), node });
        }
        Ok(())
    }

    /// The names in `dir`.
    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<(OsString, Node)>> {
        self.dir(dir)?;
        let inside = self.live.iter().filter(|(path, _)| parent(path) == dir && !is_root(path));
        Ok(inside.map(|(path, node)| (path.file_name().unwrap_or_default().to_owned(), *node)).collect())
    }

    /// Makes the changes in `dir` that were made before `seq` durable.
    pub(super) fn sync(&mut self, seq: u64, dir: &Path) -> io::Result<()> {
        self.check_dir(dir)?;
        for pending in std::mem::take(&mut self.pending) {
            if pending.dir == dir && pending.seq < seq {
                pending.change.apply(&mut self.durable);
            } else {
                self.pending.push(pending);
            }
        }
        Ok(())
    }

    /// `NotFound` or `NotADirectory` unless `dir` is a directory.
    pub(super) fn check_dir(&self, dir: &Path) -> io::Result<()> {
        self.dir(dir)
    }

    /// Makes every name durable.
    pub(super) fn sync_all(&mut self) {
        self.durable = self.live.clone();
        self.pending.clear();
    }

    pub(super) fn power_loss(&mut self, survival: Survival, chance: &mut Chance) {
        for pending in std::mem::take(&mut self.pending) {
            if survival.keeps(pending.seq, chance) {
                pending.change.apply(&mut self.durable);
            }
        }
        // A directory sorts before what is in it, so one pass finds all that hangs in the air.
        self.live.clear();
        for (path, node) in std::mem::take(&mut self.durable) {
            let dir = parent(&path);
            if is_root(&dir) || self.live.get(&dir) == Some(&Node::Dir) {
                self.live.insert(path, node);
            }
        }
        self.durable = self.live.clone();
    }

    /// When what is pending was changed.
    pub(super) fn pending_seqs(&self) -> impl Iterator<Item = u64> {
        self.pending.iter().map(|p| p.seq)
    }

    /// Whether a listing shows the file.
    pub(super) fn is_linked(&self, id: FileId) -> bool {
        self.live.values().any(|n| *n == Node::File(id))
    }

    /// Whether the file has a name, had one that may come back, or may get one.
    pub(super) fn may_name(&self, id: FileId) -> bool {
        let is = |n: &Node| *n == Node::File(id);
        self.live.values().any(is)
            || self.durable.values().any(is)
            || self.pending.iter().any(|p| match &p.change {
                Change::Bind { node, .. } | Change::Unbind { node, .. } | Change::Move { node, .. } => is(node),
            })
    }

    fn change(&mut self, seq: u64, dir: PathBuf, change: Change) {
        change.clone().apply(&mut self.live);
        self.pending.push(Pending { seq, dir, change });
    }
}

impl Change {
    fn apply(self, map: &mut Map) {
        match self {
            Self::Bind { path, node } => drop(map.insert(path, node)),
            Self::Unbind { path, node } => unbind(map, &path, node),
            Self::Move { from, to, node } => {
                unbind(map, &from, node);
                map.insert(to, node);
            }
        }
    }
}

/// Takes a name away if it still means that node: it may mean another where an earlier change was lost.
fn unbind(map: &mut Map, path: &Path, node: Node) {
    if map.get(path) == Some(&node) {
        map.remove(path);
    }
}

fn is_root(path: &Path) -> bool {
    path.components().all(|c| matches!(c, Component::RootDir | Component::Prefix(_)))
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

/// The path as the tree knows it: without `.`, and without the drive that Windows puts before an absolute path, since the
/// tree has one root; the empty path names nothing, as for the operating system.
pub(super) fn tidy(path: &Path) -> io::Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    if path.components().any(|c| c == Component::ParentDir) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the simulated tree knows no `..`"));
    }
    Ok(path.components().filter(|c| !matches!(c, Component::CurDir | Component::Prefix(_))).collect())
}
