//! Tags: entries with and without a tag replace each other while the tag is purged, under eviction. What had it is not served
//! again, and what that had replaced neither, there and after a power loss (P2).

use esker::Durability;

use crate::history::TAGGED;
use crate::world::{World, join};

const KEYS: u32 = 3;

/// Runs it once. The planted fault is a purge of something else.
pub async fn run(is_planted: bool) {
    let mut world = World::new(5, false);
    world.history.may_forget = true;
    world.config.rewrite_share_percent = [0, 60][world.below(2) as usize];
    let cache = world.open().await;
    for k in 0..KEYS {
        let version = 1 + TAGGED * (k % 2);
        world.set(&cache, k, version, 100 + world.below(20 << 10) as usize, Durability::Synced).await;
    }
    let mut clients = Vec::new();
    for writer in 1..3 {
        let cache = cache.clone();
        clients.push(world.client(move |world| async move {
            for n in 0..3 {
                let version = writer * 10 + n + TAGGED * world.below(2) as u32;
                let len = (10 << 10) + world.below(30 << 10) as usize;
                world.set(&cache, world.below(u64::from(KEYS)) as u32, version, len, world.durability()).await;
            }
        }));
    }
    let purger = cache.clone();
    clients.push(world.client(move |world| async move {
        for _ in 0..2 {
            world.purge_tag(&purger, KEYS, is_planted).await;
            world.get(&purger, world.below(u64::from(KEYS)) as u32).await;
        }
    }));
    join(clients).await;
    for k in 0..KEYS {
        world.get(&cache, k).await;
    }
    if world.below(3) == 0 {
        assert!(world.close(&cache).await, "close");
    }
    world.power_loss(cache).await;
}
