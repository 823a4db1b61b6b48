//! Pin and drain: readers hold segments that are emptied, freed and used again in the same slot, while entries are
//! rewritten (P1, P2, P5).

use esker::Durability;

use crate::world::{World, join};

/// Runs it once.
pub async fn run(is_planted: bool) {
    let mut world = World::new(5, is_planted);
    world.history.may_forget = true;
    world.config.rewrite_share_percent = [0, 60][world.below(2) as usize];
    let cache = world.open().await;
    let mut clients = Vec::new();
    for writer in 0..2 {
        let cache = cache.clone();
        clients.push(world.client(move |world| async move {
            for n in 0..5 {
                let len = (10 << 10) + world.below(40 << 10) as usize;
                let stored = world.set(&cache, world.below(3) as u32, writer * 10 + n, len, Durability::Buffered).await;
                assert!(stored, "eviction makes room");
            }
        }));
    }
    for _ in 0..2 {
        let cache = cache.clone();
        clients.push(world.client(|world| async move {
            for _ in 0..5 {
                world.get(&cache, world.below(3) as u32).await;
            }
        }));
    }
    if world.below(3) == 0 {
        let cache = cache.clone();
        clients.push(world.client(|world| async move {
            world.delete(&cache, world.below(3) as u32).await;
        }));
    }
    join(clients).await;
    for k in 0..3 {
        world.get(&cache, k).await;
    }
    if world.below(2) == 0 {
        assert!(world.close(&cache).await, "close");
    }
    world.power_loss(cache).await;
}
