//! Rotate: several writers fill segments at once, each needs the next one, and a close comes meanwhile (P3, P4).

use crate::world::{World, join};

/// Runs it once.
pub async fn run(is_planted: bool) {
    let world = World::new(16, is_planted);
    let cache = world.open().await;
    let mut clients = Vec::new();
    for writer in 0..3 {
        let cache = cache.clone();
        clients.push(world.client(move |world| async move {
            for n in 0..2 {
                let len = (20 << 10) + world.below(20 << 10) as usize;
                world.set(&cache, writer * 2 + n, n, len, world.durability()).await;
            }
        }));
    }
    let (closer, reader) = (cache.clone(), cache.clone());
    clients.push(world.client(|world| async move {
        for k in 0..3 {
            world.get(&reader, 2 * k).await;
        }
    }));
    let closes_early = world.below(2) == 0;
    if closes_early {
        clients.push(world.client(|world| async move {
            assert!(world.close(&closer).await, "close");
        }));
    }
    join(clients).await;
    assert!(world.close(&cache).await, "close");
    world.power_loss(cache).await;
}
