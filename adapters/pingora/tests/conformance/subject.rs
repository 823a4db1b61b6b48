//! The storages under test, what differs between them, and the verbs of the suite.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use esker::clock::{Clock, SystemClock};
use esker::{Config, DiskCache};
use esker_pingora::{EskerStorage, Options};
use pingora_cache::storage::{HitHandler, MissHandler, PurgeOutcome, PurgeTarget, PurgeType, Storage};
use pingora_cache::trace::{Span, SpanHandle};
use pingora_cache::{CacheKey, CacheMeta, MemCache};
use pingora_error::Result;
use pingora_http::ResponseHeader;

/// What one storage does and the other does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// Entries have ids: hits and fills say them, purges return them, exact purges need them.
    pub has_entry_ids: bool,
    /// Who follows a fill may seek.
    pub seeks_in_fills: bool,
    /// Who follows a fill that is given up gets an error, instead of an end that looks whole.
    pub tells_of_given_up_fills: bool,
    /// `update_meta` of an absent key is `Ok(false)`; else it panics.
    pub updates_absent: bool,
    /// A purge leaves those alone who fill, and what they fill is not stored; else their `finish` panics.
    pub purges_fills: bool,
    /// A body that is not as long as its header says is not stored.
    pub checks_lengths: bool,
    /// `update_meta` with the meta of a version that was replaced since is `Ok(false)`; else it goes to the new body.
    pub updates_only_its_version: bool,
    /// A tag that names no fill is a miss; else it panics.
    pub misses_unknown_tags: bool,
    /// An entry found under the hash of another key is a miss.
    pub compares_keys: bool,
    /// Who follows a fill sees its end when that is announced (`eof`), else when the fill is finished.
    pub ends_at_eof: bool,
}

pub const ESKER: Traits = Traits {
    has_entry_ids: true,
    seeks_in_fills: true,
    tells_of_given_up_fills: true,
    updates_absent: true,
    purges_fills: true,
    checks_lengths: true,
    updates_only_its_version: true,
    misses_unknown_tags: true,
    compares_keys: true,
    ends_at_eof: false,
};

pub const MEMORY: Traits = Traits {
    has_entry_ids: false,
    seeks_in_fills: false,
    tells_of_given_up_fills: false,
    updates_absent: false,
    purges_fills: false,
    checks_lengths: false,
    updates_only_its_version: false,
    misses_unknown_tags: false,
    compares_keys: false,
    ends_at_eof: true,
};

/// A storage under test.
pub struct Subject {
    pub storage: &'static (dyn Storage + Sync),
    pub traits: Traits,
    pub name: &'static str,
    /// The directory, as long as the test runs.
    _dir: Option<tempfile::TempDir>,
}

/// A small cache: chunks of 16 KiB, so that most bodies here are objects.
pub fn config() -> Config {
    let chunk_len_bytes = 16 << 10;
    Config { capacity_bytes: 16 << 20, segment_len_bytes: Some(1 << 20), chunk_len_bytes, ..Config::default() }
}

pub async fn open(dir: &std::path::Path, config: Config) -> &'static EskerStorage {
    let cache = DiskCache::builder(dir).config(config).open().await.unwrap();
    EskerStorage::new(cache, dir, Options::default()).leak()
}

/// Every storage, new.
pub async fn all() -> Vec<Subject> {
    let dir = tempfile::tempdir().unwrap();
    let attaching = tempfile::tempdir().unwrap();
    let storage: &'static EskerStorage = open(dir.path(), config()).await;
    let attach = Config { attach_to_writers: true, memory_bytes: 1 << 20, ..config() };
    let attaching_storage: &'static EskerStorage = open(attaching.path(), attach).await;
    let memory: &'static MemCache = Box::leak(Box::new(MemCache::new()));
    vec![
        Subject { storage, traits: ESKER, name: "esker", _dir: Some(dir) },
        Subject { storage: attaching_storage, traits: ESKER, name: "esker, attaching", _dir: Some(attaching) },
        Subject { storage: memory, traits: MEMORY, name: "memory", _dir: None },
    ]
}

pub fn trace() -> SpanHandle {
    Span::inactive().handle()
}

pub fn key(primary: &str) -> CacheKey {
    CacheKey::new(primary, "")
}

pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(SystemClock.now().0)
}

/// A meta, fresh for a minute, whose header says `label`, and how long the body is.
pub fn meta(label: &str, len: Option<usize>) -> CacheMeta {
    let mut header = ResponseHeader::build(200, None).unwrap();
    header.insert_header("X-Label", label).unwrap();
    header.append_header("Set-Thing", "one").unwrap();
    header.append_header("Set-Thing", "two").unwrap();
    if let Some(len) = len {
        header.insert_header("Content-Length", len.to_string()).unwrap();
    }
    CacheMeta::new(now() + Duration::from_secs(60), now(), 5, 7, header)
}

pub fn label(meta: &CacheMeta) -> String {
    meta.headers().get("x-label").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

/// Bytes that tell where they are, and which body's they are.
pub fn body(seed: u8, len: usize) -> Bytes {
    (0..len).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0] ^ seed).collect::<Vec<u8>>().into()
}

impl Subject {
    pub async fn begin(&self, key: &CacheKey, meta: &CacheMeta) -> MissHandler {
        self.storage.get_miss_handler(key, meta, &trace()).await.unwrap()
    }

    /// Fills an entry, in pieces.
    pub async fn fill(&self, primary: &str, label: &str, body: &Bytes) {
        let mut miss = self.begin(&key(primary), &meta(label, Some(body.len()))).await;
        let pieces: Vec<Bytes> = body.chunks(10_000).map(|piece| body.slice_ref(piece)).collect();
        for (n, piece) in pieces.iter().enumerate() {
            miss.write_body(piece.clone(), n + 1 == pieces.len()).await.unwrap();
        }
        miss.finish().await.unwrap();
    }

    pub async fn lookup(&self, key: &CacheKey) -> Option<(CacheMeta, HitHandler)> {
        self.storage.lookup(key, &trace()).await.unwrap()
    }

    pub async fn find(&self, primary: &str) -> Option<(CacheMeta, HitHandler)> {
        self.lookup(&key(primary)).await
    }

    /// The reader of whom began the fill.
    pub async fn own_reader(&self, key: &CacheKey, miss: &MissHandler) -> HitHandler {
        let found = self.storage.lookup_streaming_write(key, miss.streaming_write_tag(), &trace()).await.unwrap();
        found.expect("a fill under way is found by its tag").1
    }

    pub async fn purge(&self, target: PurgeTarget<'_>) -> PurgeOutcome {
        self.storage.purge(target, PurgeType::Invalidation, &trace()).await.unwrap()
    }

    pub async fn purge_active(&self, primary: &str) -> PurgeOutcome {
        self.purge(PurgeTarget::Active(&key(primary).to_compact())).await
    }
}

/// Everything up to the end.
pub async fn read(hit: &mut HitHandler) -> Result<Bytes> {
    let mut all = Vec::new();
    while let Some(bytes) = hit.read_body().await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all.into())
}

/// Whether this panics, in a task of its own.
pub async fn panics<T: Send + 'static>(what: impl Future<Output = T> + Send + 'static) -> bool {
    tokio::spawn(what).await.is_err_and(|error| error.is_panic())
}

/// `EskerStorage` with a clock that is moved by hand.
pub async fn open_with_clock(dir: &std::path::Path, clock: Arc<dyn Clock>, keep: Duration) -> &'static EskerStorage {
    let cache = DiskCache::builder(dir).config(config()).clock(clock.clone()).open().await.unwrap();
    let options = Options { keep_stale: Some(keep), clock, ..Options::default() };
    EskerStorage::new(cache, dir, options).leak()
}
