//! The simulated disk keeps the promises of its fault model, and breaks them where told.

use std::io;
use std::path::Path;
use std::sync::Arc;

use esker::backend::sim::{DiskError, FaultPlan, OpKind, ReadNow, Sim, When};
use esker::backend::{Backend, BufferPool, DiskFile, OpenMode, WriteBuf, exact};

const BLOCK: usize = 4096;
const NEW: OpenMode = OpenMode::CreateNew { direct: false };
const WRITE: OpenMode = OpenMode::ReadWrite { direct: false };

mod faults;

fn buf(bytes: &[u8]) -> WriteBuf {
    let mut pooled = BufferPool::new(0).take(bytes.len().max(1)).expect("memory");
    pooled[..bytes.len()].copy_from_slice(bytes);
    WriteBuf::new(Arc::new(pooled), bytes.len())
}

async fn open(sim: &Sim, path: &str, mode: OpenMode) -> Arc<dyn DiskFile> {
    sim.open(Path::new(path), mode).await.expect("open")
}

async fn write(file: &Arc<dyn DiskFile>, offset: u64, bytes: &[u8]) {
    exact::write_all_at(&**file, offset, buf(bytes)).await.expect("write");
}

async fn sync_dir(sim: &Sim, dir: &str) {
    sim.sync_dir(Path::new(dir)).await.expect("sync_dir");
}

/// A disk with a durable directory `/d`.
async fn disk(seed: u64) -> Sim {
    let sim = Sim::new(seed);
    sim.create_dir_all(Path::new("/d")).await.expect("mkdir");
    sync_dir(&sim, "/").await;
    sim
}

/// A disk with a durable file `/d/f` of `blocks` blocks of ones.
async fn disk_with_file(seed: u64, blocks: usize) -> (Sim, Arc<dyn DiskFile>) {
    let sim = disk(seed).await;
    let file = open(&sim, "/d/f", NEW).await;
    write(&file, 0, &vec![1; blocks * BLOCK]).await;
    file.sync_data().await.expect("sync");
    sync_dir(&sim, "/d").await;
    (sim, file)
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|e| e.raw_os_error())
}

fn kind<T>(result: io::Result<T>) -> Option<io::ErrorKind> {
    result.err().map(|e| e.kind())
}

fn lose_power(sim: &Sim, seed: u64) -> Sim {
    let fork = sim.fork(seed);
    fork.power_loss();
    fork.reopen()
}

#[tokio::test]
async fn what_is_written_is_read() {
    let sim = disk(1).await;
    let file = open(&sim, "/d/f", NEW).await;
    write(&file, 10, b"hello").await;
    assert_eq!(file.read_at(0, 100).await.unwrap(), b"\0\0\0\0\0\0\0\0\0\0hello");
    assert_eq!(file.read_at(12, 2).await.unwrap(), b"ll");
    assert!(file.read_at(15, 1).await.unwrap().is_empty());
    let mut now = [0; 3];
    assert_eq!(file.read_now(10, &mut now).unwrap(), 3);
    assert_eq!(&now, b"hel");
    assert_eq!(file.len().await.unwrap(), 15);
}

#[tokio::test]
async fn names_behave() {
    let sim = disk(1).await;
    let f = open(&sim, "/d/f", NEW).await;
    assert_eq!(kind(sim.open(Path::new("/d/f"), NEW).await), Some(io::ErrorKind::AlreadyExists));
    assert_eq!(kind(sim.open(Path::new("/d/g"), WRITE).await), Some(io::ErrorKind::NotFound));
    assert_eq!(kind(sim.open(Path::new("/no/f"), NEW).await), Some(io::ErrorKind::NotFound));
    assert_eq!(kind(sim.list(Path::new("")).await), Some(io::ErrorKind::NotFound));
    assert_eq!(kind(sim.list(Path::new("/no")).await), Some(io::ErrorKind::NotFound));
    assert_eq!(kind(sim.remove(Path::new("/d")).await), Some(io::ErrorKind::IsADirectory));
    sim.create_dir_all(Path::new("/d/e")).await.unwrap();
    sim.rename(Path::new("/d/f"), Path::new("/d/g")).await.unwrap();
    let mut names = sim.list(Path::new("/d/.")).await.unwrap();
    names.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(
        names.iter().map(|n| (n.name.to_str().unwrap(), n.is_file)).collect::<Vec<_>>(),
        [("e", false), ("g", true)]
    );
    assert_eq!(sim.list_files("/d").unwrap(), [Path::new("/d/g")]);
    sim.remove(Path::new("/d/g")).await.unwrap();
    write(&f, 0, b"x").await;
    assert_eq!(f.read_at(0, 9).await.unwrap(), b"x", "an open file outlives its name");
    assert_eq!(sim.used_bytes(), 1);
    drop(f);
    assert_eq!((sim.used_bytes(), sim.files_open()), (0, 0));
}

#[tokio::test]
async fn a_killed_process_leaves_its_writes_and_no_lock() {
    let (sim, file) = disk_with_file(1, 1).await;
    write(&file, 0, b"mine").await;
    assert!(file.try_lock().unwrap());
    sim.crash_process();
    assert!(file.read_at(0, 4).await.is_err() && file.sync_data().await.is_err() && file.try_lock().is_err());
    assert!(file.read_now(0, &mut [0; 4]).is_err() && sim.list(Path::new("/d")).await.is_err());
    let sim = sim.reopen();
    assert_eq!(sim.files_open(), 0);
    let file = open(&sim, "/d/f", WRITE).await;
    assert!(file.try_lock().unwrap());
    assert_eq!(&sim.read_file("/d/f").unwrap()[..4], b"mine");
}

#[tokio::test]
async fn what_was_synced_survives_every_power_loss() {
    let (sim, _file) = disk_with_file(1, 4).await;
    for seed in 0..200 {
        assert_eq!(lose_power(&sim, seed).read_file("/d/f").unwrap(), vec![1; 4 * BLOCK]);
    }
}

#[tokio::test]
async fn what_was_not_synced_survives_torn_kept_or_not() {
    let (sim, file) = disk_with_file(1, 2).await;
    write(&file, 0, &[2; 2 * BLOCK]).await;
    assert_eq!(sim.read_file("/d/f").unwrap(), vec![2; 2 * BLOCK]);
    assert!(sim.has_unsynced("/d/f").unwrap());
    let (mut old, mut new, mut mixed, mut torn) = (0, 0, 0, 0);
    for seed in 0..300 {
        let bytes = lose_power(&sim, seed).read_file("/d/f").unwrap();
        assert!(bytes.chunks(512).all(|sector| sector.iter().all(|b| *b == sector[0])), "a sector is never torn");
        let blocks: Vec<_> = bytes.chunks(BLOCK).map(|b| (b.contains(&1), b.contains(&2))).collect();
        match blocks[..] {
            [(true, false), (true, false)] => old += 1,
            [(false, true), (false, true)] => new += 1,
            [a, b] if a != (true, true) && b != (true, true) => mixed += 1,
            _ => torn += 1,
        }
    }
    assert!(old > 0 && new > 0 && mixed > 0 && torn > 0, "{old} {new} {mixed} {torn}");
}

#[tokio::test]
async fn a_sync_covers_only_what_completed_before_it() {
    let (sim, file) = disk_with_file(1, 1).await;
    write(&file, 0, b"early").await;
    let sync = file.sync_data();
    write(&file, 100, b"late").await;
    sync.await.unwrap();
    let late = |seed| {
        let bytes = lose_power(&sim, seed).read_file("/d/f").unwrap();
        assert_eq!(&bytes[..5], b"early");
        &bytes[100..104] == b"late"
    };
    assert!((0..50).any(late) && !(0..50).all(late));
}

#[tokio::test]
async fn a_name_needs_its_own_sync() {
    let sim = disk(1).await;
    let file = open(&sim, "/d/f", NEW).await;
    write(&file, 0, b"data").await;
    file.sync_data().await.unwrap();
    let there = |sim: &Sim, seed| lose_power(sim, seed).read_file("/d/f").is_ok();
    assert!((0..50).any(|s| there(&sim, s)) && !(0..50).all(|s| there(&sim, s)));
    sync_dir(&sim, "/d").await;
    assert!((0..50).all(|s| there(&sim, s)));
    sim.remove(Path::new("/d/f")).await.unwrap();
    drop(file);
    assert!((0..50).any(|s| there(&sim, s)) && !(0..50).all(|s| there(&sim, s)), "a removal may come back");
    sync_dir(&sim, "/d").await;
    assert!(!(0..50).any(|s| there(&sim, s)));
}

#[tokio::test]
async fn a_directory_needs_the_sync_of_its_parent() {
    let sim = Sim::new(1);
    sim.create_dir_all(Path::new("/a/b")).await.unwrap();
    let file = open(&sim, "/a/b/f", NEW).await;
    file.sync_data().await.unwrap();
    sync_dir(&sim, "/a/b").await;
    let there = |sim: &Sim, seed| lose_power(sim, seed).read_file("/a/b/f").is_ok();
    assert!(!(0..50).all(|s| there(&sim, s)));
    sync_dir(&sim, "/a").await;
    sync_dir(&sim, "/").await;
    assert!((0..50).all(|s| there(&sim, s)));
}

#[tokio::test]
async fn a_rename_shows_the_old_or_the_new_and_never_neither() {
    let sim = disk(1).await;
    sim.write_file("/d/to", *b"old").unwrap();
    sim.write_file("/d/from", *b"new").unwrap();
    sim.rename(Path::new("/d/from"), Path::new("/d/to")).await.unwrap();
    let (mut old, mut new) = (0, 0);
    for seed in 0..50 {
        let after = lose_power(&sim, seed);
        match (after.read_file("/d/to").unwrap().as_slice(), after.read_file("/d/from").is_ok()) {
            (b"old", true) => old += 1,
            (b"new", false) => new += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(old > 0 && new > 0);
}
