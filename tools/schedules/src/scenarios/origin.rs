//! Write-back: writes, a background flush, eviction and gets in front of an origin that fails at times, and a crash at any
//! moment. The origin never gets an older value after a newer one; what was acknowledged is served by the next process, and is
//! at the origin once that has flushed; and the cache shows what the origin has (P2, P4).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use esker::sync::task;
use esker::{
    BoxError, BoxFuture, DiskCache, Durability, FetchOptions, Fetched, Origin, OriginCache, SetOptions, WriteBack,
};

use crate::values::{key, read_value, value};
use crate::world::{World, join, version_of};

/// Each has a writer of its own.
const KEYS: u32 = 2;

/// What the origin has, and what was asked of it by way of the cache.
#[derive(Default)]
struct All {
    values: BTreeMap<u32, Bytes>,
    /// Nothing older may come any more.
    floors: BTreeMap<u32, u32>,
    /// What each key was to be, in order; the first is nothing.
    deeds: BTreeMap<u32, Vec<Option<u32>>>,
    /// How many of these have come to pass, or are followed by one that has.
    acknowledged: BTreeMap<u32, usize>,
}

impl All {
    fn version(&self, k: u32) -> Option<u32> {
        self.values.get(&k).map(|bytes| version_of(k, bytes))
    }

    fn deeds(&mut self, k: u32) -> &mut Vec<Option<u32>> {
        self.deeds.entry(k).or_insert_with(|| vec![None])
    }
}

/// The origin as one process sees it.
#[derive(Clone)]
struct Front {
    all: Arc<Mutex<All>>,
    /// As long as the process lives: afterwards nothing that it sends arrives.
    is_alive: Arc<AtomicBool>,
    world: World,
    fails: bool,
    /// The planted fault: it says that it has a value, and takes it later.
    takes_late: bool,
}

impl Front {
    fn with(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    async fn rest(&self) {
        for _ in 0..self.world.below(4) {
            task::yield_now().await;
        }
    }

    async fn change(self, k: u32, value: Option<Bytes>) -> Result<(), BoxError> {
        self.rest().await;
        if self.fails && self.world.below(6) == 0 {
            return Err("the origin is ill".into());
        }
        {
            let mut all = self.with();
            if !self.is_alive.load(Ordering::SeqCst) {
                return Err("the process is dead".into());
            }
            let All { values, floors, .. } = &mut *all;
            let floor = floors.entry(k).or_default();
            match value {
                Some(value) => {
                    let version = version_of(k, &value);
                    assert!(version >= *floor, "key {k}: version {version} came to the origin after {floor}");
                    *floor = version;
                    values.insert(k, value);
                }
                None => {
                    *floor += u32::from(values.remove(&k).is_some());
                }
            }
        }
        self.rest().await;
        Ok(())
    }

    fn begin(&self, k: u32, value: Option<Bytes>) -> BoxFuture<'_, Result<(), BoxError>> {
        let changing = self.clone().change(k, value);
        if self.takes_late {
            drop(task::spawn(changing));
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(changing)
    }

    /// What a key may be: what it was when it was last acknowledged, or what came after.
    fn check(&self, k: u32, from: usize, shown: Option<u32>, what: &str) {
        let mut all = self.with();
        let may = &all.deeds(k)[from..];
        assert!(may.contains(&shown), "key {k}: {what} {shown:?}, though it must be one of {may:?}");
    }

    fn acknowledged(&self, k: u32) -> usize {
        self.with().acknowledged.get(&k).copied().unwrap_or_default()
    }
}

fn number_of(key_bytes: &[u8]) -> u32 {
    (0..KEYS).find(|k| key(*k) == key_bytes).expect("a key that was written")
}

impl Origin for Front {
    fn load<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Fetched>, BoxError>> {
        Box::pin(async move {
            self.rest().await;
            let found = self.with().values.get(&number_of(key)).cloned();
            self.rest().await;
            if !self.is_alive.load(Ordering::SeqCst) {
                return Err("the process is dead".into());
            }
            Ok(found.map(Fetched::new))
        })
    }

    fn store<'a>(&'a self, key: &'a [u8], value: Bytes, _: Bytes) -> BoxFuture<'a, Result<(), BoxError>> {
        self.begin(number_of(key), Some(value))
    }

    fn remove<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<(), BoxError>> {
        self.begin(number_of(key), None)
    }
}

async fn over(cache: &DiskCache, front: &Front) -> OriginCache {
    let options = WriteBack::new().flush_interval(Duration::from_millis(1 + front.world.below(20)));
    cache.with_write_back(Arc::new(front.clone()), options, FetchOptions::new()).await.expect("a handle")
}

/// Writes a key, three times, until the process is dead.
async fn write(back: OriginCache, front: Front, k: u32, durability: Durability) {
    for version in 1..4 {
        let is_delete = front.world.below(6) == 0;
        let place = {
            let mut all = front.with();
            all.deeds(k).push((!is_delete).then_some(version));
            all.deeds(k).len() - 1
        };
        let done = if is_delete {
            back.delete(key(k)).await
        } else {
            let len = 100 + front.world.below(20 << 10) as usize;
            let options = SetOptions::new().durability(durability);
            back.set_with(key(k), value(k, version, len), options).await.map(drop)
        };
        if done.is_ok() {
            front.with().acknowledged.insert(k, place);
        }
    }
}

/// Gets a key; a process that is dying may say nothing of it.
async fn get(back: &OriginCache, front: &Front, k: u32) {
    let from = front.acknowledged(k);
    if let Ok(hit) = back.get(key(k)).await {
        front.check(k, from, hit.map(|hit| version_of(k, hit.value())), "a get shows");
    }
}

/// Runs it once.
pub async fn run(is_planted: bool) {
    let mut world = World::new(10, false);
    // All that eviction may be told to keep may be dirty.
    world.config.pinned_bytes = Some(0);
    let is_power_loss = world.below(2) == 0;
    let durability = if is_power_loss { Durability::Synced } else { Durability::Buffered };
    let cache = world.open().await;
    let (all, is_alive) = (Arc::default(), Arc::new(AtomicBool::new(true)));
    let front = Front { all, is_alive, world: world.clone(), fails: true, takes_late: is_planted };
    let back = over(&cache, &front).await;
    let mut clients = Vec::new();
    for k in 0..KEYS {
        let (back, front) = (back.clone(), front.clone());
        clients.push(world.client(move |_| write(back, front, k, durability)));
    }
    let flooded = cache.clone();
    clients.push(world.client(|world| async move {
        for n in 0..8 {
            // Whatever comes of it: it makes eviction work.
            let _ = flooded.set(key(100 + n), value(100 + n, 1, (30 << 10) + world.below(30 << 10) as usize)).await;
        }
    }));
    let (reader, asked) = (back.clone(), front.clone());
    clients.push(world.client(|world| async move {
        for _ in 0..3 {
            get(&reader, &asked, world.below(u64::from(KEYS)) as u32).await;
            if world.below(3) == 0 {
                let _ = reader.flush().await;
            }
        }
    }));
    if world.below(2) == 0 {
        for _ in 0..world.below(400) {
            task::yield_now().await;
        }
    } else {
        join(std::mem::take(&mut clients)).await;
    }
    front.is_alive.store(false, Ordering::SeqCst);
    if is_power_loss {
        world.sim.power_loss()
    } else {
        world.sim.crash_process()
    }
    join(clients).await;
    drop((back, cache));
    world.sim = world.sim.reopen();
    world.sim.set_faults(world.faults());
    let is_alive = Arc::new(AtomicBool::new(true));
    succeed(&world, Front { is_alive, fails: false, takes_late: false, ..front }).await;
}

/// What the next process finds.
async fn succeed(world: &World, front: Front) {
    let cache = world.open().await;
    let back = over(&cache, &front).await;
    for k in 0..KEYS {
        if world.below(2) == 0 {
            get(&back, &front, k).await;
        }
    }
    back.flush().await.expect("a flush");
    for k in 0..KEYS {
        let has = front.with().version(k);
        front.check(k, front.acknowledged(k), has, "the origin has");
        let hit = cache.get(key(k)).await.expect("get");
        let shown = hit.and_then(|hit| read_value(hit.value()));
        assert!(shown.is_none() || shown == has.map(|version| (k, version)), "key {k}: {shown:?} shown, {has:?} there");
    }
    drop(back);
    assert!(world.close(&cache).await, "close");
}
