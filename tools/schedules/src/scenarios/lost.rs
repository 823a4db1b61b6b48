//! Values in chunks on a disk that fails for a while: what is said to be stored is there, every chunk of it, and what is
//! not stays dead (P2, P3).

use esker::Durability;
use esker::backend::sim::{DiskError, OpKind, When};

use crate::world::{World, join};

/// Runs it once.
pub async fn run(is_planted: bool) {
    let mut world = World::new(24, is_planted);
    world.is_failing = true;
    world.config.chunk_len_bytes = 4 << 10;
    let cache = world.open().await;
    let op = [OpKind::Sync, OpKind::Write][world.below(2) as usize];
    world.sim.set_faults(world.faults().fail_on("seg-", op, When::Nth(1 + world.below(12)), DiskError::Eio));
    let mut clients = Vec::new();
    for k in 0..2 {
        let cache = cache.clone();
        clients.push(world.client(move |world| async move {
            for version in 1..4 {
                // Less than a segment, and more: so its chunks and its head stand in one, or in two.
                let len = (20 << 10) + world.below(60 << 10) as usize;
                world.stream(&cache, k, version, len, Durability::Synced).await;
                world.get(&cache, k).await;
            }
        }));
    }
    join(clients).await;
    world.sim.set_faults(world.faults());
    for k in 0..2 {
        world.get(&cache, k).await;
    }
    world.power_loss(cache).await;
}
