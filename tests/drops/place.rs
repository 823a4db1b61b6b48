//! Where a cache lies, and what it must leave as it was.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use esker::backend::sim::{FaultPlan, Sim};
use esker::config::DIRECTORY_OVERHEAD_BYTES;
use esker::{BackendKind, Builder, Config, DiskCache};
use rustix::fs::{Advice, fadvise};

use super::heap;

const SEGMENT_LEN_BYTES: u64 = 64 << 10;
/// Nothing is evicted: whatever is missing was lost.
const SEGMENTS: u64 = 1024;
/// What the runtime and the test's harness may hold more of, at one moment or the other, in bytes.
const NOISE_BYTES: i64 = 128 << 10;

/// A directory on some disk.
pub enum Place {
    /// A real one.
    Disk { dir: tempfile::TempDir, kind: BackendKind, is_cold: bool },
    /// A simulated one, whose operations take a few polls each.
    Sim(Sim),
}

impl Place {
    /// A fresh directory. Cold: the page cache forgets its files again and again.
    pub fn on_disk(kind: BackendKind, is_cold: bool) -> Self {
        Self::Disk { dir: tempfile::tempdir().expect("a directory"), kind, is_cold }
    }

    /// A fresh disk.
    pub fn simulated() -> Self {
        let sim = Sim::new(1);
        sim.set_faults(FaultPlan { max_yields: 4, ..FaultPlan::default() });
        Self::Sim(sim)
    }

    /// Opens a cache there.
    pub fn builder(&self) -> Builder {
        let config = Config {
            capacity_bytes: SEGMENTS * SEGMENT_LEN_BYTES + DIRECTORY_OVERHEAD_BYTES,
            segment_len_bytes: Some(SEGMENT_LEN_BYTES),
            flush_interval_ms: 5,
            ..Config::default()
        };
        match self {
            Self::Disk { dir, kind, .. } => DiskCache::builder(dir.path()).config(Config { backend: *kind, ..config }),
            Self::Sim(sim) => DiskCache::builder("/cache").config(config).backend_with(Arc::new(sim.clone())),
        }
    }

    /// Has the page cache forget what it may.
    pub fn chill(&self) {
        let Self::Disk { dir, is_cold: true, .. } = self else { return };
        for entry in std::fs::read_dir(dir.path()).expect("a directory") {
            // A new manifest may have got its name meanwhile.
            let Ok(file) = File::open(entry.expect("a name").path()) else { continue };
            fadvise(&file, 0, None, Advice::DontNeed).expect("advice is free");
        }
    }
}

/// What the process holds.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    descriptors: usize,
    heap_bytes: i64,
}

impl Held {
    fn now() -> Self {
        let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        Self { descriptors, heap_bytes: heap::live_bytes() }
    }

    fn is_within(&self, before: &Self) -> bool {
        self.descriptors <= before.descriptors && self.heap_bytes <= before.heap_bytes + NOISE_BYTES
    }
}

/// What the process holds once everything has landed: no more than before.
///
/// # Panics
/// If it goes on holding more.
pub async fn settled(before: Option<Held>) -> Held {
    // The first time there is nothing to compare with: a moment must do.
    for _ in 0..if before.is_some() { 1000 } else { 50 } {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if before.is_some_and(|before| Held::now().is_within(&before)) {
            return Held::now();
        }
    }
    let open: Vec<PathBuf> = std::fs::read_dir("/proc/self/fd")
        .map(|all| all.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok()).collect())
        .unwrap_or_default();
    assert!(before.is_none(), "{:?} is held, {before:?} before; {open:?}", Held::now());
    Held::now()
}
