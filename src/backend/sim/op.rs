//! The operations as data: what is asked of the disk, and what comes back.

use std::path::PathBuf;

use super::fault::OpKind;
use crate::backend::{DirEntry, OpenMode, WriteBuf};

pub(super) type HandleId = u64;

#[derive(Debug, Clone)]
pub(super) enum Op {
    Open { path: PathBuf, mode: OpenMode },
    CreateDir(PathBuf),
    List(PathBuf),
    Rename { from: PathBuf, to: PathBuf },
    Remove(PathBuf),
    SyncDir(PathBuf),
    Read { handle: HandleId, offset: u64, len: usize },
    Write { handle: HandleId, offset: u64, buf: WriteBuf },
    Sync(HandleId),
    Allocate { handle: HandleId, len: u64 },
    Len(HandleId),
}

#[derive(Debug)]
pub(super) enum Landed {
    Done,
    Opened(HandleId),
    Bytes(Vec<u8>),
    Count(usize),
    Len(u64),
    Names(Vec<DirEntry>),
}

impl Op {
    pub(super) fn kind(&self) -> OpKind {
        match self {
            Self::Open { .. } => OpKind::Open,
            Self::CreateDir(_) => OpKind::CreateDir,
            Self::List(_) => OpKind::List,
            Self::Rename { .. } => OpKind::Rename,
            Self::Remove(_) => OpKind::Remove,
            Self::SyncDir(_) => OpKind::SyncDir,
            Self::Read { .. } => OpKind::Read,
            Self::Write { .. } => OpKind::Write,
            Self::Sync(_) => OpKind::Sync,
            Self::Allocate { .. } => OpKind::Allocate,
            Self::Len(_) => OpKind::Len,
        }
    }

    pub(super) fn handle(&self) -> Option<HandleId> {
        match self {
            Self::Read { handle, .. } | Self::Write { handle, .. } | Self::Allocate { handle, .. } => Some(*handle),
            Self::Sync(handle) | Self::Len(handle) => Some(*handle),
            _ => None,
        }
    }
}
