//! Publish: writers, a remover and readers of two keys meet at the tail, the index and the hot tier (P1, P2).

use esker::Durability;

use crate::world::{World, join};

/// Runs it once.
pub async fn run(is_planted: bool) {
    let mut world = World::new(8, is_planted);
    world.config.memory_bytes = if world.below(2) == 0 { 0 } else { 64 << 10 };
    let cache = world.open().await;
    let mut clients = Vec::new();
    for writer in 0..2 {
        let cache = cache.clone();
        clients.push(world.client(move |world| async move {
            for n in 0..2 {
                let durability = [Durability::Buffered, Durability::Written][world.below(2) as usize];
                let (k, len) = (world.below(2) as u32, 100 + world.below(6000) as usize);
                assert!(world.set(&cache, k, writer * 10 + n, len, durability).await, "no set is refused");
            }
        }));
    }
    let remover = cache.clone();
    clients.push(world.client(move |world| async move {
        match world.below(4) {
            0 => world.clear(&remover, 2).await,
            1 => {}
            _ => world.delete(&remover, world.below(2) as u32).await,
        }
    }));
    for _ in 0..2 {
        let cache = cache.clone();
        clients.push(world.client(|world| async move {
            for _ in 0..3 {
                world.get(&cache, world.below(2) as u32).await;
            }
        }));
    }
    join(clients).await;
    for k in 0..2 {
        world.get(&cache, k).await;
    }
    assert!(world.close(&cache).await, "close");
    if world.below(4) == 0 {
        world.power_loss(cache).await;
    }
}
