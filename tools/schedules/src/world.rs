//! What a scenario over the simulated disk stands on: the disk, dice, a cache, and the history of what it answered.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use esker::backend::Backend;
use esker::backend::sim::{FaultPlan, ReadNow, Sim};
use esker::clock::ManualClock;
use esker::config::DIRECTORY_OVERHEAD_BYTES;
use esker::sync::task::{self, JoinHandle};
use esker::{
    Config, DiskCache, Durability, Error, FetchOptions, Fetched, Hit, Millis, RefuseReason, SetOptions, SetOutcome,
};
use shuttle::rand::RngCore;

use crate::early::Early;
use crate::history::{History, TAGGED, Write};
use crate::values::{Dice, key, read_value, value};

const DIR: &str = "/cache";
const SEGMENT_LEN_BYTES: u64 = 64 << 10;
/// What is purged.
const TAG: &str = "tag";
/// Of what is written piece by piece.
const PIECE_BYTES: usize = 3_000;
/// An operation that takes longer has failed; timers that are due so late do not fire while anything can run.
const IO_TIMEOUT_MS: u64 = 30_000;

/// See the module's documentation. A cheap handle.
#[derive(Clone)]
pub struct World {
    /// The disk.
    pub sim: Sim,
    /// What was answered.
    pub history: History,
    /// The settings.
    pub config: Config,
    /// Whether the disk fails at times, so that writes may.
    pub is_failing: bool,
    dice: Arc<Mutex<Dice>>,
    is_planted: bool,
}

impl World {
    /// A disk of its own for a cache of so many segments, in a schedule whose dice decide. Operations overtake each other.
    pub fn new(segments: u64, is_planted: bool) -> Self {
        let seed = shuttle::rand::thread_rng().next_u64();
        let config = Config {
            capacity_bytes: segments * SEGMENT_LEN_BYTES + DIRECTORY_OVERHEAD_BYTES,
            segment_len_bytes: Some(SEGMENT_LEN_BYTES),
            index_shards: 1,
            io_timeout_ms: IO_TIMEOUT_MS,
            ..Config::default()
        };
        let this = Self {
            sim: Sim::new(seed),
            history: History::default(),
            config,
            is_failing: false,
            dice: Arc::new(Mutex::new(Dice::new(seed))),
            is_planted,
        };
        this.sim.set_faults(this.faults());
        this
    }

    /// What the disk does while it works: part of the reads are at hand, and what is not takes a while.
    pub fn faults(&self) -> FaultPlan {
        FaultPlan { max_yields: 2, read_now: ReadNow::ServeWithProbability(0.5), ..FaultPlan::default() }
    }

    /// A number from 0 to `n - 1`.
    pub fn below(&self, n: u64) -> u64 {
        self.dice.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).below(n)
    }

    /// Not waited for, or all the way to the device.
    pub fn durability(&self) -> Durability {
        [Durability::Buffered, Durability::Synced][self.below(2) as usize]
    }

    /// Opens the cache.
    pub async fn open(&self) -> DiskCache {
        self.try_open().await.expect("open")
    }

    async fn try_open(&self) -> Result<DiskCache, Error> {
        let sim: Arc<dyn Backend> = Arc::new(self.sim.clone());
        let backend = if self.is_planted { Arc::new(Early(sim)) } else { sim };
        let clock = Arc::new(ManualClock::new(Millis(1_000)));
        let builder = DiskCache::builder(DIR).config(self.config.clone()).clock(clock);
        builder.backend_with(backend).seed([7; 16]).open().await
    }

    /// Runs a client as a task of its own.
    pub fn client<F: Future<Output = ()> + Send + 'static>(&self, run: impl FnOnce(Self) -> F) -> JoinHandle<()> {
        task::spawn(run(self.clone()))
    }

    /// Sets a version of a key, with the tag if the version has it, and notes what came of it.
    pub async fn set(&self, cache: &DiskCache, k: u32, version: u32, len: usize, durability: Durability) -> bool {
        let begun = self.history.begin(k, Some(version));
        let options = SetOptions::new().durability(durability);
        let options = if version >= TAGGED { options.tags([TAG]) } else { options };
        let outcome = cache.set_with(key(k), value(k, version, len), options).await;
        let is_durable = durability == Durability::Synced;
        match outcome {
            Ok(SetOutcome::Stored { durability: told }) => {
                assert_eq!(told, durability);
                self.history.end(begun, Write::Stored(version), is_durable);
                true
            }
            Ok(SetOutcome::Refused { .. }) | Err(Error::WriteFailed) => {
                self.history.end(begun, Write::Failed(version), false);
                false
            }
            Ok(SetOutcome::Held) => panic!("set: everything is admitted here"),
            // It may be in the log all the same.
            Err(Error::Closed) => false,
            Err(other) => panic!("set: {other}"),
        }
    }

    /// Writes a version of a key piece by piece, after one that is given up in the middle, and notes what came of it.
    pub async fn stream(&self, cache: &DiskCache, k: u32, version: u32, len: usize, durability: Durability) {
        let bytes = Bytes::from(value(k, version, len));
        let options = || SetOptions::new().durability(durability);
        if self.below(3) == 0 {
            let mut writer = cache.writer(key(k), options()).await.expect("writer");
            writer.write_bytes(bytes.slice(..len / 2)).await.expect("write");
        }
        let begun = self.history.begin(k, Some(version));
        let mut writer = cache.writer(key(k), options()).await.expect("writer");
        for piece in bytes.chunks(PIECE_BYTES) {
            writer.write_bytes(bytes.slice_ref(piece)).await.expect("write");
        }
        let write = match writer.finish().await {
            Ok(SetOutcome::Stored { .. }) => Write::Stored(version),
            Ok(SetOutcome::Refused { reason: RefuseReason::Evicted }) => Write::Failed(version),
            Ok(SetOutcome::Refused { .. }) | Err(Error::WriteFailed) if self.is_failing => Write::Failed(version),
            other => panic!("stream: {other:?}"),
        };
        self.history.end(begun, write, durability == Durability::Synced && write == Write::Stored(version));
    }

    /// Reads a key piece by piece, and its writer if there is one. What it gives is one version, from its beginning on.
    pub async fn follow(&self, cache: &DiskCache, k: u32) {
        let Some(mut reader) = cache.reader_attached(key(k)).await.expect("reader") else { return };
        let mut read = Vec::new();
        loop {
            match reader.next_bytes().await {
                Ok(Some(bytes)) => read.extend_from_slice(&bytes),
                Ok(None) => break,
                Err(Error::Evicted | Error::Aborted) => return,
                Err(other) => panic!("key {k}: {other}"),
            }
        }
        assert_eq!(reader.len_bytes(), Some(read.len() as u64), "a clean end before the end");
        version_of(k, &read);
    }

    /// Sets a version of a key without waiting, and notes what came of it.
    pub async fn try_set(&self, cache: &DiskCache, k: u32, version: u32) {
        let begun = self.history.begin(k, Some(version));
        match cache.try_set(key(k), value(k, version, 1000)).await {
            Ok(SetOutcome::Stored { .. }) => self.history.end(begun, Write::Stored(version), false),
            Ok(SetOutcome::Refused { .. }) => self.history.end(begun, Write::Failed(version), false),
            other => panic!("try_set: {other:?}"),
        }
    }

    /// Gets a key, or fetches this version of it, and checks what came of it. The version counts as written in the moment in
    /// which its fetch begins: it undoes nothing that begins later. If planted, it reads through as one does without flights.
    pub async fn fetch(&self, cache: &DiskCache, k: u32, version: u32, len: usize, is_planted: bool) {
        let begin = self.history.now();
        let world = self.clone();
        let fetch = move || async move {
            let moment = world.history.fetched(k, version);
            for _ in 0..world.below(4) {
                task::yield_now().await;
            }
            // It says when it was so.
            if world.below(6) == 0 { Err(moment.to_string()) } else { Ok(Fetched::new(value(k, version, len))) }
        };
        let options = [FetchOptions::new(), FetchOptions::new().negative_ttl(Duration::from_secs(1))];
        let outcome = if is_planted {
            read_through(cache, k, value(k, version, len), fetch).await
        } else {
            cache.get_or_fetch(key(k), options[self.below(2) as usize], fetch).await.map(Some)
        };
        match outcome {
            Ok(Some(hit)) => self.history.got(k, begin, Some(version_of(k, hit.value()))),
            Err(Error::Fetch(why)) => self.history.said(k, why.to_string().parse().expect("a moment"), begin),
            Ok(None) | Err(Error::Closed) => {}
            Err(other) => panic!("fetch: {other}"),
        }
    }

    /// Removes a key and notes what came of it.
    pub async fn delete(&self, cache: &DiskCache, k: u32) {
        let begun = self.history.begin(k, None);
        match cache.delete(key(k)).await {
            Ok(_) => self.history.end(begun, Write::Removed, true),
            Err(Error::WriteFailed) => self.history.end(begun, Write::Removed, false),
            Err(Error::Closed) => {}
            Err(other) => panic!("delete: {other}"),
        }
    }

    /// Removes what has the tag of these keys and notes it. If planted, it is not done.
    pub async fn purge_tag(&self, cache: &DiskCache, keys: u32, is_planted: bool) {
        let begun: Vec<_> = (0..keys).map(|k| self.history.begin(k, None)).collect();
        match cache.purge_tag(if is_planted { "another" } else { TAG }).await {
            Ok(()) => self.history.purged(&begun, true),
            Err(Error::WriteFailed) => self.history.purged(&begun, false),
            Err(Error::Closed) => {}
            Err(other) => panic!("purge: {other}"),
        }
    }

    /// Removes all of these keys and notes it.
    pub async fn clear(&self, cache: &DiskCache, keys: u32) {
        let begun: Vec<_> = (0..keys).map(|k| self.history.begin(k, None)).collect();
        match cache.clear().await {
            Ok(()) => begun.into_iter().for_each(|b| self.history.end(b, Write::Removed, true)),
            Err(Error::Io { .. }) => begun.into_iter().for_each(|b| self.history.end(b, Write::Removed, false)),
            Err(Error::Closed) => {}
            Err(other) => panic!("clear: {other}"),
        }
    }

    /// Everything accepted before is on the device, if the cache says so.
    pub async fn sync(&self, cache: &DiskCache) -> bool {
        let before = self.history.now();
        let is_synced = cache.sync().await.is_ok();
        if is_synced {
            self.history.synced(before);
        }
        is_synced
    }

    /// Closes the cache; Ok says that all is on the device.
    pub async fn close(&self, cache: &DiskCache) -> bool {
        let before = self.history.now();
        let is_closed = cache.close().await.is_ok();
        if is_closed {
            self.history.synced(before);
        }
        is_closed
    }

    /// Gets a key and checks what was found.
    pub async fn get(&self, cache: &DiskCache, k: u32) {
        let begin = self.history.now();
        match cache.get(key(k)).await {
            Ok(hit) => self.history.got(k, begin, hit.map(|hit| version_of(k, hit.value()))),
            Err(Error::Closed) => {}
            Err(other) => panic!("get: {other}"),
        }
        let (used, capacity) = (self.sim.peak_bytes(), self.config.capacity_bytes);
        assert!(used <= capacity, "the disk held {used} bytes, of {capacity}");
    }

    /// The power goes, and what a new process finds is checked.
    pub async fn power_loss(mut self, cache: DiskCache) {
        self.sim.power_loss();
        drop(cache);
        self.sim = self.sim.reopen();
        self.sim.set_faults(self.faults());
        let cache = self.open().await;
        for k in self.history.keys() {
            let hit = cache.get(key(k)).await.expect("get");
            self.history.survived(k, hit.map(|hit| version_of(k, hit.value())));
        }
        assert!(self.close(&cache).await);
    }
}

/// Gets, and if there is nothing, fetches and sets.
async fn read_through<F: Future<Output = Result<Fetched, String>>>(
    cache: &DiskCache,
    k: u32,
    value: Vec<u8>,
    fetch: impl FnOnce() -> F,
) -> Result<Option<Hit>, Error> {
    let hit = cache.get(key(k)).await?;
    if hit.is_none() && fetch().await.is_ok() {
        cache.set(key(k), value).await?;
    }
    Ok(hit)
}

/// The version that bytes are of.
///
/// # Panics
/// They are not of this key.
pub fn version_of(k: u32, bytes: &[u8]) -> u32 {
    match read_value(bytes) {
        Some((owner, version)) if owner == k => version,
        other => panic!("key {k} holds {} bytes that were never its own: {other:?}", bytes.len()),
    }
}

/// Waits for all of them.
pub async fn join(clients: Vec<JoinHandle<()>>) {
    for client in clients {
        // Cancelled, if the scenario did so.
        let _ = client.await;
    }
}
