//! Given up: writes and reads whose futures are dropped at whatever point they have come to. What they held comes back,
//! and others go on (P3, P8).

use esker::Durability;
use esker::sync::task;

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
                let len = 100 + world.below(30 << 10) as usize;
                world.set(&cache, world.below(2) as u32, writer * 10 + n, len, world.durability()).await;
                world.get(&cache, world.below(2) as u32).await;
            }
        }));
    }
    let handles: Vec<_> = clients.iter().take(2).map(task::JoinHandle::abort_handle).collect();
    clients.push(world.client(|_| async move {
        for handle in handles {
            task::yield_now().await;
            handle.abort();
        }
    }));
    if world.below(3) == 0 {
        let cache = cache.clone();
        let closing = world.client(|world| async move {
            world.sync(&cache).await;
        });
        closing.abort();
        clients.push(closing);
    }
    join(clients).await;
    assert!(world.set(&cache, 2, 1, 40 << 10, Durability::Written).await, "what was given up is still held");
    for k in 0..3 {
        world.get(&cache, k).await;
    }
    let closing = task::spawn({
        let cache = cache.clone();
        async move { cache.close().await.is_ok() }
    });
    if world.below(2) == 0 {
        closing.abort();
    }
    let _ = closing.await;
    assert!(world.close(&cache).await, "close goes on where a dropped one ended");
    world.power_loss(cache).await;
}
