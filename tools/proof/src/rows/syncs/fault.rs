//! What the block layer fails while a sync is under way.

use serde_json::{Value, json};

/// EIO.
const ERRNO: u32 = 5;

/// The fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The device's flush, once. The cache writes past the page cache.
    Flush,
    /// The first write, once: what is in the page cache, which then holds what the device does not.
    Write,
    /// Every write, until the file system is mounted again.
    Dead,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Flush, Self::Write, Self::Dead];

    /// As a case names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flush => "flush",
            Self::Write => "write",
            Self::Dead => "dead",
        }
    }

    /// Whether it goes on after the sync.
    pub fn lasts(self) -> bool {
        self == Self::Dead
    }

    /// Whether the cache writes past the page cache: then a sync has nothing to write but the journal.
    pub fn is_direct(self) -> bool {
        self == Self::Flush
    }

    /// As the block layer takes it.
    pub fn rules(self) -> Value {
        let kind = if self == Self::Flush { "flush" } else { "write" };
        json!([{ "event": "none", "iotype": kind, "errno": ERRNO, "once": !self.lasts() }])
    }
}
