//! A newer version comes while the older one's segment is emptied: the segment goes only once the newer one is on the
//! device, or what is older still, and was moved to another segment, comes back with a power loss (P2).

use esker::Durability;

use crate::world::{World, join};

/// More than half of a segment.
const FILLER_BYTES: usize = 40 << 10;
/// Until the first version was moved.
const MOST_FILLERS: u32 = 30;

/// Runs it once.
pub async fn run(is_planted: bool) {
    let mut world = World::new(5, is_planted);
    world.history.may_forget = true;
    world.config.rewrite_share_percent = 60;
    let cache = world.open().await;
    world.set(&cache, 0, 1, 10 << 10, Durability::Synced).await;
    world.get(&cache, 0).await;
    let mut fillers = 0;
    while cache.stats().counts.entries_reinserted == 0 {
        fillers += 1;
        assert!(fillers < MOST_FILLERS, "what is read is moved");
        world.set(&cache, fillers, 1, FILLER_BYTES, Durability::Synced).await;
    }
    world.set(&cache, 0, 2, 10 << 10, Durability::Synced).await;
    let filler = cache.clone();
    let pushing = world.client(move |world| async move {
        for n in 1..5 {
            world.set(&filler, fillers + n, 1, FILLER_BYTES, Durability::Buffered).await;
        }
    });
    let writer = cache.clone();
    let replacing = world.client(|world| async move {
        world.set(&writer, 0, 3, 1 << 10, Durability::Buffered).await;
    });
    join(vec![pushing, replacing]).await;
    world.get(&cache, 0).await;
    world.power_loss(cache).await;
}
