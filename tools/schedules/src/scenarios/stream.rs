//! Values in chunks: written while others read them to the end of what is there, replace them and push them out; a clear ends
//! what is not finished (P1, P2).

use esker::Durability;

use crate::world::{World, join};

/// Runs it once.
pub async fn run(is_planted: bool) {
    let mut world = World::new(5, is_planted);
    world.history.may_forget = true;
    world.config.rewrite_share_percent = [0, 60][world.below(2) as usize];
    world.config.chunk_len_bytes = 4 << 10;
    let cache = world.open().await;
    let mut clients = Vec::new();
    for writer in 0..2 {
        let cache = cache.clone();
        clients.push(world.client(move |world| async move {
            for n in 0..3 {
                let len = (5 << 10) + world.below(25 << 10) as usize;
                world.stream(&cache, world.below(2) as u32, writer * 10 + n, len, world.durability()).await;
            }
        }));
    }
    for _ in 0..2 {
        let cache = cache.clone();
        clients.push(world.client(|world| async move {
            for _ in 0..3 {
                world.follow(&cache, world.below(2) as u32).await;
            }
        }));
    }
    match world.below(4) {
        0 => clients.push(world.client({
            let cache = cache.clone();
            |world| async move { world.delete(&cache, world.below(2) as u32).await }
        })),
        1 => clients.push(world.client({
            let cache = cache.clone();
            |world| async move { world.clear(&cache, 3).await }
        })),
        _ => clients.push(world.client({
            let cache = cache.clone();
            |world| async move {
                for n in 0..3 {
                    world.set(&cache, 2, 100 + n, 40 << 10, Durability::Buffered).await;
                }
            }
        })),
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
