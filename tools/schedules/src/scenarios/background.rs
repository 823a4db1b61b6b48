//! A cache that is asked while its segments are indexed: what a refused write was to replace is not served afterwards, and
//! what waits gets what is there (P2, P7).

use esker::Durability;

use crate::world::{World, join};

/// Runs it once.
pub async fn run(is_planted: bool) {
    let mut world = World::new(16, is_planted);
    world.history.may_forget = true;
    let cache = world.open().await;
    for k in 0..2 {
        assert!(world.set(&cache, k, 1, 100 + world.below(40 << 10) as usize, Durability::Written).await, "set");
    }
    assert!(world.close(&cache).await, "close");
    drop(cache);
    world.config.index_in_background = true;
    let cache = world.open().await;
    let mut clients = Vec::new();
    for client in 1..4 {
        let cache = cache.clone();
        clients.push(world.client(move |world| async move {
            let k = world.below(2) as u32;
            match client {
                1 => drop(world.set(&cache, k, 10, 1000, Durability::Buffered).await),
                2 => world.try_set(&cache, k, 20).await,
                _ => world.delete(&cache, k).await,
            }
            world.get(&cache, k).await;
            world.get(&cache, 1 - k).await;
        }));
    }
    join(clients).await;
    for k in 0..2 {
        world.get(&cache, k).await;
    }
    assert!(world.close(&cache).await, "close");
    world.power_loss(cache).await;
}
