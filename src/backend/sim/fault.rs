//! The fault plan: what goes wrong, how often, and where. Set while the disk runs; pristine bytes stay below it.

use std::io;
use std::path::Path;

use super::chance::Chance;

/// The operations that a fault can be planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpKind {
    /// Opening or creating a file.
    Open,
    /// `read_at` and `read_now`.
    Read,
    /// `write_at`.
    Write,
    /// `sync_data`.
    Sync,
    /// `allocate`.
    Allocate,
    /// `len`.
    Len,
    /// `create_dir_all`.
    CreateDir,
    /// `list`.
    List,
    /// `rename`.
    Rename,
    /// `remove`.
    Remove,
    /// `sync_dir`.
    SyncDir,
}

/// What the disk answers when a planned fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskError {
    /// The medium failed.
    Eio,
    /// No space left on device.
    Enospc,
    /// The file system is read-only.
    Erofs,
    /// The user's share of the disk is used up.
    Edquot,
    /// The process has too many files open.
    Emfile,
    /// The kernel has no memory.
    Enomem,
    /// A signal came first. Nothing was done.
    Eintr,
}

impl DiskError {
    /// As the operating system would say it, errno included.
    pub fn to_io(self) -> io::Error {
        let code = match (self, cfg!(windows)) {
            (Self::Eio, false) => 5,
            (Self::Enospc, false) => 28,
            (Self::Erofs, false) => 30,
            (Self::Edquot, false) => {
                if cfg!(target_vendor = "apple") {
                    69
                } else {
                    122
                }
            }
            (Self::Emfile, false) => 24,
            (Self::Enomem, false) => 12,
            (Self::Eintr, false) => 4,
            (Self::Eio, true) => 1117,
            (Self::Enospc, true) => 112,
            (Self::Erofs, true) => 19,
            (Self::Edquot, true) => 1295,
            (Self::Emfile, true) => 4,
            (Self::Enomem, true) => 8,
            (Self::Eintr, true) => 10004,
        };
        io::Error::from_raw_os_error(code)
    }
}

/// Which of the operations that a rule looks at it strikes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    /// Only the nth since the plan was set, counted from 1.
    Nth(u64),
    /// The nth since the plan was set, counted from 1, and all after it.
    From(u64),
    /// Each, until the plan changes.
    Always,
    /// Each with this probability, 0 to 1.
    Probability(f64),
}

/// What a rule does to the operation that it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It fails.
    Fail(DiskError),
    /// A read or write does half of what it was asked for, down to a sector of 512 bytes. Others go through.
    Short,
}

/// One planned fault.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The operation that it strikes; `None`: any.
    pub op: Option<OpKind>,
    /// Which of them.
    pub when: When,
    /// What becomes of it.
    pub effect: Effect,
    /// Only files whose path contains this text; `None`: all.
    pub path_contains: Option<String>,
    seen: u64,
}

/// What `read_now` does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ReadNow {
    /// Serves: all is in the page cache.
    Serve,
    /// Serves with this probability, else `WouldBlock`.
    ServeWithProbability(f64),
    /// Always `WouldBlock`: nothing is in the page cache.
    WouldBlock,
    /// Always `Unsupported`, as on a platform without the call.
    Unsupported,
}

/// What goes wrong. The default is a perfect disk that answers at once.
#[derive(Debug, Clone)]
pub struct FaultPlan {
    /// Planned errors; the first rule that strikes decides.
    pub rules: Vec<Rule>,
    /// Probability that a read returns fewer bytes than it could.
    pub short_read: f64,
    /// Probability that a write takes only a prefix (whole blocks on a `direct` file).
    pub short_write: f64,
    /// Probability that a write lands at another block of the same file, and is reported as done.
    pub misdirect: f64,
    /// An operation is polled up to this many times (a seeded number) before it is done.
    pub max_yields: u32,
    /// Operations of these kinds do not complete until the plan changes.
    pub stalled: Vec<OpKind>,
    /// The size of the device in bytes; `None`: endless.
    pub capacity_bytes: Option<u64>,
    /// What `read_now` does.
    pub read_now: ReadNow,
    /// Probability that a write in flight when the process is killed lands only later, under its successor.
    pub late_write: f64,
    /// After a power loss, what a write made a file longer by, and whose data did not survive, shows bytes of a file that
    /// was removed, not zeros. Space that was allocated shows zeros, as the calls for it promise.
    pub stale_bytes: bool,
    /// `sync_data` and `sync_dir` say Ok and do nothing: a canary for tests of durability.
    pub lie_about_sync: bool,
}

impl Default for FaultPlan {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            short_read: 0.0,
            short_write: 0.0,
            misdirect: 0.0,
            max_yields: 0,
            stalled: Vec::new(),
            capacity_bytes: None,
            read_now: ReadNow::Serve,
            late_write: 0.0,
            stale_bytes: false,
            lie_about_sync: false,
        }
    }
}

impl FaultPlan {
    /// Adds a planned error on every file.
    #[must_use]
    pub fn fail(mut self, op: OpKind, when: When, error: DiskError) -> Self {
        self.rules.push(Rule { op: Some(op), when, effect: Effect::Fail(error), path_contains: None, seen: 0 });
        self
    }

    /// Adds a planned fault of operations of any kind, counted together.
    #[must_use]
    pub fn strike_any(mut self, when: When, effect: Effect) -> Self {
        self.rules.push(Rule { op: None, when, effect, path_contains: None, seen: 0 });
        self
    }

    /// Adds a planned error on files whose path contains `text`.
    #[must_use]
    pub fn fail_on(mut self, text: &str, op: OpKind, when: When, error: DiskError) -> Self {
        let path_contains = Some(text.to_owned());
        self.rules.push(Rule { op: Some(op), when, effect: Effect::Fail(error), path_contains, seen: 0 });
        self
    }

    /// Whether an operation is struck, and how. Every rule that looks at it counts it.
    pub(super) fn strike(&mut self, op: OpKind, path: &Path, chance: &mut Chance) -> Option<Effect> {
        let mut struck = None;
        for rule in self.rules.iter_mut().filter(|r| r.op.is_none_or(|its| its == op)) {
            if let Some(text) = &rule.path_contains
                && !path.to_string_lossy().contains(text.as_str())
            {
                continue;
            }
            rule.seen += 1;
            let strikes = match rule.when {
                When::Nth(n) => rule.seen == n,
                When::From(n) => rule.seen >= n,
                When::Always => true,
                When::Probability(p) => chance.hits(p),
            };
            if strikes && struck.is_none() {
                struck = Some(rule.effect);
            }
        }
        struck
    }
}
