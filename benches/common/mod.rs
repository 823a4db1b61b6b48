//! What the bench programs share: arguments, data, load loops, and a report of ratios with their targets.
#![allow(dead_code, reason = "each bench uses its part")]

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use esker::{BackendKind, DiskCache};

pub mod args;
pub mod file_per_key;
#[cfg(has_uring)]
pub mod raw_disk;
#[cfg(has_uring)]
pub mod raw_ring;
pub mod report;

#[allow(unused_imports, reason = "the criterion bench has its own arguments")]
pub use args::Args;

/// Whatever goes wrong ends the bench with a message.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What is measured: something that keeps values under keys.
pub trait Store: Clone + Send + Sync + 'static {
    /// Whether the key was found, with a value of the right length.
    fn get(&self, key: [u8; 16], len: usize) -> impl Future<Output = Outcome<bool>> + Send;
    /// Stores a value.
    fn set(&self, key: [u8; 16], value: Bytes) -> impl Future<Output = Outcome<()>> + Send;
}

impl Store for DiskCache {
    async fn get(&self, key: [u8; 16], len: usize) -> Outcome<bool> {
        Ok(DiskCache::get(self, key).await?.is_some_and(|hit| hit.value().len() == len))
    }

    async fn set(&self, key: [u8; 16], value: Bytes) -> Outcome<()> {
        match DiskCache::set(self, key, value).await? {
            outcome if outcome.is_stored() => Ok(()),
            refused => Err(format!("a set was refused: {refused:?}").into()),
        }
    }
}

/// Small, fast and repeatable: enough to pick offsets and keys with.
pub struct Random(u64);

impl Random {
    /// Numbers that depend on `seed` alone.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits (splitmix64).
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// `count` different numbers below `n`, in random order.
    pub fn choose(&mut self, count: usize, n: u64) -> Vec<u64> {
        let mut all: Vec<u64> = (0..n).collect();
        let count = count.min(all.len());
        for i in 0..count {
            let j = i + self.below((all.len() - i) as u64) as usize;
            all.swap(i, j);
        }
        all.truncate(count);
        all
    }
}

/// The key of entry `n`: 16 bytes.
pub fn key(n: u64) -> [u8; 16] {
    let mut key = *b"object:\0\0\0\0\0\0\0\0\0";
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

/// Random bytes that values are cut from without copying.
#[derive(Clone)]
pub struct Values(Bytes);

impl Values {
    /// Material for values of up to `longest` bytes.
    pub fn new(longest: usize) -> Self {
        let mut random = Random::new(7);
        Self((0..(longest + (1 << 20)) / 8).flat_map(|_| random.next().to_le_bytes()).collect::<Vec<u8>>().into())
    }

    /// The value of entry `n`.
    pub fn of(&self, n: u64, len: usize) -> Bytes {
        let start = (n.wrapping_mul(64) % ((self.0.len() - len) as u64)) as usize;
        self.0.slice(start..start + len)
    }
}

/// What a load loop took.
pub struct Run {
    /// Wall-clock time.
    pub elapsed: Duration,
    /// CPU time of the whole process, kernel included.
    pub cpu: Duration,
    /// Operations.
    pub ops: u64,
    /// Each operation's time in microseconds, sorted; empty if not asked for.
    pub latencies_us: Vec<u32>,
}

impl Run {
    /// Operations a second.
    pub fn rate(&self) -> f64 {
        self.ops as f64 / self.elapsed.as_secs_f64()
    }

    /// Microseconds of CPU an operation.
    pub fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.ops as f64
    }

    /// 95 % of the operations took at most this long, in milliseconds.
    pub fn p95_ms(&self) -> f64 {
        let at = self.latencies_us.len() * 95 / 100;
        self.latencies_us.get(at).map_or(0.0, |&us| f64::from(us) / 1e3)
    }
}

/// CPU time of this process, all threads, user and system.
pub fn cpu_now() -> Duration {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    }
    #[cfg(not(unix))]
    Duration::ZERO
}

/// What is done with one key. Each task has a clone, so that a bench shares no counter of references between its tasks.
trait Operation: Clone + Send + Sync + 'static {
    /// Does it.
    fn run(&self, n: u64) -> impl Future<Output = Outcome<()>> + Send;
}

#[derive(Clone)]
struct Get<S> {
    store: S,
    len: usize,
}

impl<S: Store> Operation for Get<S> {
    async fn run(&self, n: u64) -> Outcome<()> {
        let found = self.store.get(key(n), self.len).await?;
        if found { Ok(()) } else { Err(format!("entry {n} is not there").into()) }
    }
}

#[derive(Clone)]
struct Set<S> {
    store: S,
    values: Values,
    len: usize,
}

impl<S: Store> Operation for Set<S> {
    async fn run(&self, n: u64) -> Outcome<()> {
        self.store.set(key(n), self.values.of(n, self.len)).await
    }
}

/// Does `op` on each of `keys`, from `tasks` tasks that take turns.
async fn drive(keys: Vec<u64>, tasks: usize, timed: bool, op: impl Operation) -> Outcome<Run> {
    let keys = Arc::new(keys);
    let (cpu, began) = (cpu_now(), Instant::now());
    let mut running = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let (keys, op) = (keys.clone(), op.clone());
        running.spawn(async move {
            let mut latencies = Vec::with_capacity(if timed { keys.len() / tasks + 1 } else { 0 });
            for &key in keys.iter().skip(task).step_by(tasks) {
                if timed {
                    let began = Instant::now();
                    op.run(key).await?;
                    latencies.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
                } else {
                    op.run(key).await?;
                }
            }
            Outcome::Ok(latencies)
        });
    }
    let mut latencies_us = Vec::new();
    while let Some(done) = running.join_next().await {
        latencies_us.extend(done??);
    }
    let (elapsed, cpu) = (began.elapsed(), cpu_now() - cpu);
    latencies_us.sort_unstable();
    Ok(Run { elapsed, cpu, ops: keys.len() as u64, latencies_us })
}

/// Gets each of `keys`; one that is not found is an error.
pub async fn gets<S: Store>(store: &S, keys: Vec<u64>, len: usize, tasks: usize, timed: bool) -> Outcome<Run> {
    drive(keys, tasks, timed, Get { store: store.clone(), len }).await
}

/// Sets each of `keys`.
pub async fn sets<S: Store>(
    store: &S,
    keys: Vec<u64>,
    values: &Values,
    len: usize,
    tasks: usize,
    timed: bool,
) -> Outcome<Run> {
    drive(keys, tasks, timed, Set { store: store.clone(), values: values.clone(), len }).await
}

/// A cache of `segments` segments.
pub async fn open_cache(dir: &Path, kind: BackendKind, segment_len: u64, segments: u64) -> Outcome<DiskCache> {
    Ok(DiskCache::builder(dir)
        .capacity_bytes(segment_len * segments + esker::config::DIRECTORY_OVERHEAD_BYTES)
        .segment_len_bytes(segment_len)
        .backend(kind)
        .open()
        .await?)
}

/// Every regular file below `dir`.
pub fn files_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files_below(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The segment files of a cache, in the order of their names.
pub fn segment_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(files_below(dir)?.into_iter().filter(|p| p.extension().is_some_and(|e| e == "esk")).collect())
}

/// Takes these files out of the page cache; what is dirty is written first.
pub fn drop_pages<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> io::Result<()> {
    for path in paths {
        let file = File::open(path)?;
        file.sync_data()?;
        #[cfg(target_os = "linux")]
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}

/// Brings these files into the page cache.
pub fn warm_pages(paths: &[PathBuf]) -> io::Result<()> {
    for path in paths {
        io::copy(&mut File::open(path)?, &mut io::sink())?;
    }
    Ok(())
}

/// Drops page cache, names and inodes of the whole system. `false` if we may not.
pub fn drop_everything() -> bool {
    let file = File::options().write(true).open("/proc/sys/vm/drop_caches");
    file.and_then(|mut file| io::Write::write_all(&mut file, b"3")).is_ok()
}

/// Writes the file system's dirty data and metadata out.
pub fn sync_file_system(dir: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(File::open(dir)?)?;
    let _ = dir;
    Ok(())
}

/// Bytes that this process caused to be read from devices, if the system tells.
pub fn device_bytes_read() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    text.lines().find_map(|l| l.strip_prefix("read_bytes: ")?.trim().parse().ok()).unwrap_or(0)
}
