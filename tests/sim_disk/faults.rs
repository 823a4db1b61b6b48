//! Planned faults, locks, writes in flight, and the canary.

use super::*;

#[tokio::test]
async fn planned_errors_strike_where_told() {
    let (sim, file) = disk_with_file(1, 1).await;
    sim.set_faults(FaultPlan::default().fail(OpKind::Read, When::Nth(2), DiskError::Eio));
    assert!(file.read_at(0, 1).await.is_ok());
    assert_eq!(errno(file.read_at(0, 1).await), DiskError::Eio.to_io().raw_os_error());
    assert!(file.read_at(0, 1).await.is_ok());
    assert_eq!(sim.counts().faults, 1);
    sim.set_faults(
        FaultPlan::default()
            .fail_on("/d/g", OpKind::Open, When::Always, DiskError::Enospc)
            .fail(OpKind::Allocate, When::Always, DiskError::Enospc)
            .fail(OpKind::Rename, When::Always, DiskError::Eio)
            .fail(OpKind::SyncDir, When::Always, DiskError::Eio),
    );
    let enospc = DiskError::Enospc.to_io();
    assert_eq!(kind(sim.open(Path::new("/d/g"), NEW).await), Some(enospc.kind()));
    assert_eq!(errno(file.allocate(9 * BLOCK as u64).await), enospc.raw_os_error());
    assert!(sim.rename(Path::new("/d/f"), Path::new("/d/g")).await.is_err());
    assert!(sim.sync_dir(Path::new("/d")).await.is_err());
    assert!(sim.open(Path::new("/d/f"), WRITE).await.is_ok());
    assert_eq!(file.len().await.unwrap(), BLOCK as u64);
    sim.set_faults(FaultPlan::default().fail(OpKind::Read, When::Probability(0.5), DiskError::Eio));
    let mut failed = 0;
    for _ in 0..100 {
        failed += u32::from(file.read_at(0, 1).await.is_err());
    }
    assert!((20..80).contains(&failed), "{failed}");
    sim.clear_faults();
    assert!(file.read_at(0, 1).await.is_ok());
}

#[tokio::test]
async fn a_failed_write_may_have_written_some() {
    let mut seen = [false; 3];
    for seed in 0..50 {
        let (sim, file) = disk_with_file(seed, 2).await;
        sim.set_faults(FaultPlan::default().fail(OpKind::Write, When::Nth(1), DiskError::Eio));
        assert!(file.write_at(0, buf(&[2; 2 * BLOCK])).await.is_err());
        let written = sim.read_file("/d/f").unwrap().iter().filter(|b| **b == 2).count();
        assert_eq!(written % BLOCK, 0);
        seen[written / BLOCK] = true;
    }
    assert_eq!(seen, [true; 3]);
}

#[tokio::test]
async fn a_failed_sync_loses_the_writes_and_the_next_one_says_ok() {
    let (sim, file) = disk_with_file(1, 2).await;
    write(&file, 0, &[2; BLOCK]).await;
    sim.set_faults(FaultPlan::default().fail(OpKind::Sync, When::Nth(1), DiskError::Eio));
    assert!(file.sync_data().await.is_err());
    write(&file, BLOCK as u64, &[3; BLOCK]).await;
    assert!(file.sync_data().await.is_ok(), "fsyncgate");
    assert_eq!(file.read_at(0, 1).await.unwrap(), [2], "the page cache shows what is lost");
    let after = lose_power(&sim, 7).read_file("/d/f").unwrap();
    assert_eq!((after[0], after[BLOCK]), (1, 3));
    sim.evict_page_cache();
    assert_eq!(file.read_at(0, 1).await.unwrap(), [1]);
}

#[tokio::test]
async fn short_operations_are_short_and_exactness_makes_up_for_it() {
    let (sim, file) = disk_with_file(1, 4).await;
    sim.set_faults(FaultPlan { short_read: 1.0, short_write: 1.0, ..FaultPlan::default() });
    let n = file.write_at(0, buf(&[2; 100])).await.unwrap();
    assert!((1..100).contains(&n), "{n}");
    assert!((1..100).contains(&file.read_at(0, 100).await.unwrap().len()));
    sim.set_faults(FaultPlan { short_read: 0.5, short_write: 0.5, ..FaultPlan::default() });
    for round in 2..20 {
        let bytes = vec![round; 3 * BLOCK];
        exact::write_all_at(&*file, 0, buf(&bytes)).await.unwrap();
        assert_eq!(exact::read_exact_at(&*file, 0, 3 * BLOCK).await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn direct_writes_are_whole_blocks() {
    let sim = disk(1).await;
    let file = open(&sim, "/d/f", OpenMode::CreateNew { direct: true }).await;
    assert_eq!(kind(file.write_at(0, buf(&[1; 100])).await), Some(io::ErrorKind::InvalidInput));
    assert_eq!(kind(file.write_at(512, buf(&[1; BLOCK])).await), Some(io::ErrorKind::InvalidInput));
    sim.set_faults(FaultPlan { short_write: 1.0, ..FaultPlan::default() });
    let n = file.write_at(0, buf(&[1; 4 * BLOCK])).await.unwrap();
    assert!(n % BLOCK == 0 && (1..4).contains(&(n / BLOCK)), "{n}");
}

#[tokio::test]
async fn a_file_opened_to_read_cannot_be_written() {
    let (sim, _file) = disk_with_file(1, 1).await;
    let file = open(&sim, "/d/f", OpenMode::Read).await;
    let denied = Some(io::ErrorKind::PermissionDenied);
    assert_eq!(kind(file.write_at(0, buf(b"x")).await), denied);
    assert_eq!(kind(file.sync_data().await), denied);
    assert_eq!(kind(file.allocate(1).await), denied);
}

#[tokio::test]
async fn a_full_disk_is_short_first_and_then_full() {
    let sim = disk(1).await;
    let file = open(&sim, "/d/f", NEW).await;
    sim.set_faults(FaultPlan { capacity_bytes: Some(100), ..FaultPlan::default() });
    assert_eq!(errno(file.allocate(101).await), DiskError::Enospc.to_io().raw_os_error());
    assert_eq!(file.len().await.unwrap(), 0);
    file.allocate(60).await.unwrap();
    assert_eq!(file.write_at(50, buf(&[1; 80])).await.unwrap(), 50);
    assert_eq!(errno(file.write_at(100, buf(&[1; 30])).await), DiskError::Enospc.to_io().raw_os_error());
    assert_eq!(file.write_at(0, buf(&[1; 100])).await.unwrap(), 100, "overwriting needs no room");
    assert_eq!((sim.used_bytes(), sim.peak_bytes()), (100, 100));
}

#[tokio::test]
async fn rot_lies_over_pristine_bytes() {
    let (sim, file) = disk_with_file(1, 2).await;
    sim.flip_bit("/d/f", 5).unwrap();
    assert_eq!((file.read_at(5, 1).await.unwrap()[0] ^ 1).count_ones(), 1);
    sim.zero("/d/f", 10..20).unwrap();
    assert_eq!(file.read_at(9, 12).await.unwrap(), [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    write(&file, 5, &[7; 6]).await;
    assert_eq!(file.read_at(5, 7).await.unwrap(), [7, 7, 7, 7, 7, 7, 0], "a write heals what it covers");
    sim.heal("/d/f").unwrap();
    assert_eq!(file.read_at(10, 2).await.unwrap(), [7, 1]);
    sim.flip_bit("/d/f", 30).unwrap();
    assert_ne!(lose_power(&sim, 1).read_file("/d/f").unwrap()[30], 1, "rot outlives a crash");
    sim.truncate("/d/f", 7).unwrap();
    assert_eq!(file.len().await.unwrap(), 7);
    assert_eq!(lose_power(&sim, 1).read_file("/d/f").unwrap().len(), 7);
}

#[tokio::test]
async fn a_misdirected_write_lands_elsewhere_and_says_ok() {
    let (sim, file) = disk_with_file(3, 16).await;
    sim.set_faults(FaultPlan { misdirect: 1.0, ..FaultPlan::default() });
    for n in 0..8u64 {
        assert_eq!(file.write_at(n * BLOCK as u64, buf(&[2; BLOCK])).await.unwrap(), BLOCK);
    }
    let bytes = sim.read_file("/d/f").unwrap();
    assert_eq!(bytes.len(), 16 * BLOCK);
    assert!(bytes[8 * BLOCK..].contains(&2) && bytes[..8 * BLOCK].contains(&1));
}

#[tokio::test]
async fn locks_exclude_other_handles() {
    let (sim, a) = disk_with_file(1, 1).await;
    let b = open(&sim, "/d/f", WRITE).await;
    assert!(a.try_lock().unwrap() && a.try_lock().unwrap());
    assert!(!b.try_lock().unwrap());
    drop(a);
    assert!(b.try_lock().unwrap());
}

#[tokio::test]
async fn a_dropped_write_goes_on_and_holds_the_lock() {
    let (sim, a) = disk_with_file(1, 1).await;
    assert!(a.try_lock().unwrap());
    drop(a.write_at(0, buf(&[2; BLOCK])));
    drop(a);
    let b = open(&sim, "/d/f", WRITE).await;
    let mut waited = 0;
    while !b.try_lock().unwrap() {
        waited += 1;
        assert!(waited < 20, "it never landed");
    }
    assert_eq!(b.read_at(0, 1).await.unwrap(), [2], "the lock is free, so the write has landed");
    drop(b.write_at(0, buf(&[3; BLOCK])));
    sim.settle();
    assert_eq!((sim.ops_in_flight(), sim.read_file("/d/f").unwrap()[0]), (0, 3));
}

#[tokio::test]
async fn a_write_in_flight_lands_or_not_or_late() {
    let (mut landed, mut lost, mut late) = (0, 0, 0);
    for seed in 0..60 {
        let (sim, a) = disk_with_file(seed, 1).await;
        assert!(a.try_lock().unwrap());
        sim.set_faults(FaultPlan { late_write: 0.5, ..FaultPlan::default() });
        let write = a.write_at(0, buf(&[2; BLOCK]));
        sim.crash_process();
        assert!(write.await.is_err());
        let sim = sim.reopen();
        let was_late = sim.ops_in_flight() > 0;
        let b = open(&sim, "/d/f", WRITE).await;
        for tries in 0.. {
            assert!(tries < 40, "the lock never came free");
            if b.try_lock().unwrap() {
                break;
            }
        }
        let new = b.read_at(0, 1).await.unwrap() == [2];
        assert!(new || !was_late);
        late += u32::from(was_late);
        landed += u32::from(new && !was_late);
        lost += u32::from(!new);
    }
    assert!(landed > 0 && lost > 0 && late > 0, "{landed} {lost} {late}");
}

#[tokio::test]
async fn delayed_operations_overtake_each_other() {
    let mut orders = std::collections::HashSet::new();
    for seed in 0..40 {
        let (sim, file) = disk_with_file(seed, 1).await;
        sim.set_faults(FaultPlan { max_yields: 4, ..FaultPlan::default() });
        let (a, b) = tokio::join!(file.write_at(0, buf(b"a")), file.write_at(0, buf(b"b")));
        assert_eq!((a.unwrap(), b.unwrap()), (1, 1));
        orders.insert(sim.read_file("/d/f").unwrap()[0]);
    }
    assert_eq!(orders.len(), 2);
}

#[tokio::test]
async fn a_stalled_operation_waits_for_the_plan_to_change() {
    let (sim, file) = disk_with_file(1, 1).await;
    sim.set_faults(FaultPlan { stalled: vec![OpKind::Sync], ..FaultPlan::default() });
    let sync = tokio::spawn(file.sync_data());
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(!sync.is_finished());
    assert!(file.read_at(0, 1).await.is_ok());
    sim.clear_faults();
    sync.await.unwrap().unwrap();
    sim.set_faults(FaultPlan { stalled: vec![OpKind::Sync], ..FaultPlan::default() });
    let sync = tokio::spawn(file.sync_data());
    tokio::task::yield_now().await;
    sim.crash_process();
    assert!(sync.await.unwrap().is_err(), "death ends a stall");
}

#[tokio::test]
async fn read_now_follows_its_policy() {
    let (sim, file) = disk_with_file(1, 1).await;
    let mut byte = [0];
    sim.set_faults(FaultPlan { read_now: ReadNow::WouldBlock, ..FaultPlan::default() });
    assert_eq!(kind(file.read_now(0, &mut byte)), Some(io::ErrorKind::WouldBlock));
    sim.set_faults(FaultPlan { read_now: ReadNow::Unsupported, ..FaultPlan::default() });
    assert_eq!(kind(file.read_now(0, &mut byte)), Some(io::ErrorKind::Unsupported));
    sim.set_faults(FaultPlan { read_now: ReadNow::ServeWithProbability(0.5), ..FaultPlan::default() });
    let served = (0..100).filter(|_| file.read_now(0, &mut byte).is_ok()).count();
    assert!((20..80).contains(&served), "{served}");
}

/// Does things in a fixed order and tells what the disk looks like in the end.
async fn story(seed: u64) -> (Vec<u8>, esker::backend::sim::OpCounts) {
    let (sim, file) = disk_with_file(seed, 8).await;
    let plan = FaultPlan { short_write: 0.3, misdirect: 0.1, max_yields: 3, ..FaultPlan::default() };
    sim.set_faults(plan.fail(OpKind::Write, When::Probability(0.1), DiskError::Eio));
    for n in 0..30u8 {
        file.write_at(u64::from(n) * 1000, buf(&[n; 5000])).await.ok();
        if n % 7 == 0 {
            file.sync_data().await.ok();
        }
    }
    sim.power_loss();
    (sim.reopen().read_file("/d/f").unwrap(), sim.counts())
}

#[tokio::test]
async fn the_same_seed_tells_the_same_story() {
    assert_eq!(story(5).await, story(5).await);
    assert_ne!(story(5).await, story(6).await, "canary: the seed matters");
}

#[tokio::test]
async fn canary_a_disk_that_lies_about_sync_is_found_out() {
    let sim = disk(1).await;
    sim.set_faults(FaultPlan { lie_about_sync: true, ..FaultPlan::default() });
    let file = open(&sim, "/d/f", NEW).await;
    write(&file, 0, b"data").await;
    file.sync_data().await.unwrap();
    sync_dir(&sim, "/d").await;
    assert!((0..50).any(|seed| lose_power(&sim, seed).read_file("/d/f").ok().as_deref() != Some(b"data")));
}

/// A model that counts what a process may rely on: random writes, syncs and power losses over one file. Each block
/// must show a version that was written, and not one older than the last synced.
#[tokio::test]
async fn a_block_never_shows_less_than_was_synced() {
    assert_eq!(violations(false).await, 0);
    assert!(violations(true).await > 0, "canary: a lying disk must be caught");
}

async fn violations(lie: bool) -> u32 {
    let mut found = 0;
    for seed in 0..100u64 {
        let (mut sim, mut file) = disk_with_file(seed, 4).await;
        sim.set_faults(FaultPlan { lie_about_sync: lie, max_yields: 2, ..FaultPlan::default() });
        let (mut oldest, mut newest, mut synced) = ([1u8; 4], [1u8; 4], [1u8; 4]);
        let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for version in 2..40u8 {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            let block = (dice >> 8) as usize % 4;
            match dice % 8 {
                0 => {
                    file.sync_data().await.unwrap();
                    synced = oldest;
                }
                1 => {
                    sim.power_loss();
                    sim = sim.reopen();
                    let bytes = sim.read_file("/d/f").unwrap();
                    for (n, block) in bytes.chunks(BLOCK).enumerate() {
                        found += u32::from(block.iter().any(|b| *b < synced[n] || *b > newest[n]));
                        newest[n] = block.iter().copied().max().unwrap_or_default();
                        oldest[n] = block.iter().copied().min().unwrap_or_default();
                        synced[n] = oldest[n];
                    }
                    file = open(&sim, "/d/f", WRITE).await;
                }
                _ => {
                    write(&file, (block * BLOCK) as u64, &[version; BLOCK]).await;
                    (oldest[block], newest[block]) = (version, version);
                }
            }
        }
    }
    found
}
