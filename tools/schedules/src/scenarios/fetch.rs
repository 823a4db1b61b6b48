//! Fetch: tasks that want the same keys, while these are deleted, set or cleared, and some of those who fetch go away. Nobody
//! waits for ever; nothing fetched undoes what began after its fetch, now and after a power loss; and who asks after that
//! does not get it (P1, P2).

use esker::Durability;
use esker::sync::task;

use crate::world::{World, join};

/// Runs it once. The planted fault is a read-through without flights.
pub async fn run(is_planted: bool) {
    let mut world = World::new(16, false);
    world.history.may_forget = true;
    let cache = world.open().await;
    if world.below(3) == 0 {
        world.set(&cache, 0, 1, 100, Durability::Buffered).await;
        world.delete(&cache, 0).await;
    }
    let mut clients = Vec::new();
    for fetcher in 1..4 {
        let cache = cache.clone();
        clients.push(world.client(move |world| async move {
            for n in 0..2 {
                let k = u32::from(world.below(4) == 0);
                // Some fit no segment, and go in chunks.
                let len = if world.below(6) == 0 { 70 << 10 } else { 100 + world.below(2000) as usize };
                world.fetch(&cache, k, fetcher * 10 + n, len, is_planted).await;
            }
        }));
    }
    let handles: Vec<_> = clients.iter().take(2).map(task::JoinHandle::abort_handle).collect();
    if world.below(2) == 0 {
        clients.push(world.client(|_| async move {
            for handle in handles {
                task::yield_now().await;
                handle.abort();
            }
        }));
    }
    let writer = cache.clone();
    clients.push(world.client(|world| async move {
        for n in 0..2 {
            match world.below(5) {
                0 => drop(world.set(&writer, 0, 100 + n, 1000, world.durability()).await),
                1 => world.stream(&writer, 0, 100 + n, 5 << 10, world.durability()).await,
                2 => world.clear(&writer, 2).await,
                _ => world.delete(&writer, 0).await,
            }
            world.get(&writer, 0).await;
        }
    }));
    join(clients).await;
    for k in 0..2 {
        world.get(&cache, k).await;
        world.fetch(&cache, k, 200 + k, 100, is_planted).await;
        world.get(&cache, k).await;
    }
    if world.below(2) == 0 {
        assert!(world.close(&cache).await, "close");
    }
    world.power_loss(cache).await;
}
