//! Group commit: several writers wait for one sync, which may fail. Nobody is told `Synced` for what a power loss takes,
//! nobody waits for ever, and writes go on afterwards (P3, P4).

use std::time::Duration;

use esker::Durability;
use esker::backend::sim::{DiskError, OpKind, When};
use esker::sync::time;

use crate::world::{World, join};

/// Longer than writes are refused after a failure.
const LATER: Duration = Duration::from_secs(5);

/// Runs it once.
pub async fn run(is_planted: bool) {
    let mut world = World::new(16, is_planted);
    let cache = world.open().await;
    let fails = world.below(4) > 0;
    world.history.may_forget = fails;
    if fails {
        let op = if world.below(3) > 0 { OpKind::Sync } else { OpKind::Write };
        let nth = When::Nth(1 + world.below(4));
        world.sim.set_faults(world.faults().fail_on("seg-", op, nth, DiskError::Eio));
    }
    let mut clients = Vec::new();
    for writer in 0..4 {
        let cache = cache.clone();
        clients.push(world.client(move |world| async move {
            let durability = [Durability::Buffered, Durability::Written, Durability::Synced, Durability::Synced];
            for n in 0..2 {
                let len = 100 + world.below(9000) as usize;
                // The first two share a key. A write that failed and was served all the same was found here (commit-0-235).
                world.set(&cache, writer.max(1), writer * 10 + n, len, durability[writer as usize]).await;
            }
            world.get(&cache, 1).await;
        }));
    }
    if world.below(2) == 0 {
        let cache = cache.clone();
        clients.push(world.client(|world| async move {
            world.sync(&cache).await;
        }));
    }
    join(clients).await;
    world.sim.clear_faults();
    world.sim.set_faults(world.faults());
    time::sleep(LATER).await;
    assert!(world.set(&cache, 5, 1, 100, Durability::Synced).await, "the disk works again, writes do not");
    if world.below(2) == 0 {
        world.sync(&cache).await;
    }
    world.power_loss(cache).await;
}
