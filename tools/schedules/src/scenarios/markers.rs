//! Owed markers: writes fail or are refused for a while, so that markers are owed, while eviction, removals and writers go
//! on. What was replaced stays dead, there and after a power loss (P2).

use std::time::Duration;

use esker::Durability;
use esker::backend::sim::{DiskError, OpKind, When};
use esker::sync::time;

use crate::world::{World, join};

/// Longer than writes are refused after a failure.
const LATER: Duration = Duration::from_secs(5);
/// How often a sync is asked for once the disk works again: each one may still report an earlier loss.
const SYNCS: u32 = 4;

/// Runs it once.
pub async fn run(is_planted: bool) {
    let mut world = World::new(5, is_planted);
    world.history.may_forget = true;
    world.config.rewrite_share_percent = [0, 60][world.below(2) as usize];
    let cache = world.open().await;
    for k in 0..3 {
        world.set(&cache, k, 1, (10 << 10) + world.below(30 << 10) as usize, Durability::Synced).await;
    }
    let op = [OpKind::Sync, OpKind::Write, OpKind::Open][world.below(3) as usize];
    let first = 1 + world.below(3);
    let error = if op == OpKind::Open { DiskError::Enospc } else { DiskError::Eio };
    world.sim.set_faults(world.faults().fail_on("seg-", op, When::From(first), error));
    let mut clients = Vec::new();
    for writer in 1..3 {
        let cache = cache.clone();
        clients.push(world.client(move |world| async move {
            for n in 0..3 {
                let len = (10 << 10) + world.below(40 << 10) as usize;
                world.set(&cache, world.below(3) as u32, writer * 10 + n, len, world.durability()).await;
            }
        }));
    }
    let remover = cache.clone();
    clients.push(world.client(|world| async move {
        world.delete(&remover, world.below(3) as u32).await;
        world.get(&remover, world.below(3) as u32).await;
    }));
    let healer = world.below(2) == 0;
    if healer {
        clients.push(world.client(|world| async move { world.sim.set_faults(world.faults()) }));
    }
    join(clients).await;
    for k in 0..3 {
        world.get(&cache, k).await;
    }
    world.sim.set_faults(world.faults());
    if world.below(4) > 0 {
        time::sleep(LATER).await;
        let mut asked = 0;
        while !world.sync(&cache).await {
            asked += 1;
            assert!(asked < SYNCS, "the disk works again, syncs do not");
        }
    }
    world.power_loss(cache).await;
}
