//! Many at once, and futures that nobody waits for.

use std::sync::Arc;

use esker::backend::OpenMode;
use esker::backend::exact::{read_exact_at, write_all_at};

use crate::support::{Fixture, eventually, pattern, read};

const BLOCK: usize = 4096;

pub(crate) async fn many_reads_at_once(t: Fixture) {
    let bytes = Arc::new(pattern(1, 512 * BLOCK));
    let file = t.create_with("a", &bytes).await;
    // 1,024 are more than a ring takes at a time.
    for tasks in [128, 1024] {
        let readers: Vec<_> = (0..tasks)
            .map(|task| {
                let (file, bytes) = (file.clone(), bytes.clone());
                tokio::spawn(async move {
                    for round in 0..8 {
                        let block = (task * 31 + round * 97) % 512;
                        let got = read_exact_at(&*file, (block * BLOCK) as u64, BLOCK).await.unwrap();
                        assert!(got == bytes[block * BLOCK..][..BLOCK], "task {task}, round {round}");
                    }
                })
            })
            .collect();
        for reader in readers {
            reader.await.unwrap();
        }
    }
}

pub(crate) async fn many_writes_at_once(t: Fixture) {
    let bytes = pattern(2, 300 * BLOCK);
    let file = t.backend.open(&t.path("a"), OpenMode::CreateNew { direct: true }).await.unwrap();
    let writers: Vec<_> = bytes
        .chunks(BLOCK)
        .enumerate()
        .map(|(n, block)| {
            let (file, buf) = (file.clone(), t.buf(block));
            tokio::spawn(async move {
                write_all_at(&*file, (n * BLOCK) as u64, buf).await.unwrap();
                if n % 50 == 0 {
                    file.sync_data().await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(read(&*file, 0, bytes.len()).await == bytes);
}

pub(crate) async fn dropped_reads_harm_nobody(t: Fixture) {
    let bytes = pattern(3, 256 * BLOCK);
    let file = t.create_with("a", &bytes).await;
    for round in 0..20 {
        for n in 0..64 {
            // Some never polled, some polled once.
            let mut reading = file.read_at((n * BLOCK) as u64, 2 * BLOCK);
            if n % 2 == 0 {
                let _ = std::future::poll_fn(|cx| std::task::Poll::Ready(reading.as_mut().poll(cx))).await;
            }
        }
        // Memory of dropped reads that the kernel still filled would show up in what lives in its place now.
        let copies: Vec<_> = (0..64).map(|n| bytes[n * BLOCK..(n + 2) * BLOCK].to_vec()).collect();
        assert!(read(&*file, 0, bytes.len()).await == bytes, "round {round}");
        assert!(copies.iter().enumerate().all(|(n, copy)| *copy == bytes[n * BLOCK..(n + 2) * BLOCK]));
    }
}

pub(crate) async fn a_dropped_write_still_lands(t: Fixture) {
    let bytes = pattern(4, 64 * BLOCK);
    let file = t.create_with("a", &vec![0; bytes.len()]).await;
    let idle_before = t.idle_bytes();
    for (n, block) in bytes.chunks(BLOCK).enumerate() {
        drop(file.write_at((n * BLOCK) as u64, t.buf(block)));
    }
    eventually("the landing of dropped writes", async || read(&*file, 0, bytes.len()).await == bytes).await;
    eventually("the return of their buffers", async || t.idle_bytes() > idle_before).await;
    assert_eq!(file.len().await.unwrap(), bytes.len() as u64);
}

pub(crate) async fn the_backend_may_go_first(mut t: Fixture) {
    let bytes = pattern(5, 256 * BLOCK);
    let file = t.create_with("a", &bytes).await;
    let reads: Vec<_> = (0..256).map(|n| file.read_at((n * BLOCK) as u64, BLOCK)).collect();
    let writing = file.write_at(bytes.len() as u64, t.buf(b"more"));
    let opening = t.backend.open(&t.path("a"), OpenMode::Read);
    t.backend = Arc::new(esker::backend::tokio_fs::TokioFs);
    for (n, reading) in reads.into_iter().enumerate() {
        assert!(reading.await.unwrap() == bytes[n * BLOCK..][..BLOCK], "block {n}");
    }
    assert_eq!(writing.await.unwrap(), 4);
    assert_eq!(read(&*file, bytes.len() as u64, 4).await, b"more");
    file.sync_data().await.unwrap();
    assert_eq!(read(&*opening.await.unwrap(), 0, 4).await, bytes[..4]);
}

pub(crate) async fn the_file_may_go_first(t: Fixture) {
    let bytes = pattern(6, 128 * BLOCK);
    let file = t.create_with("a", &bytes).await;
    let reads: Vec<_> = (0..128).map(|n| file.read_at((n * BLOCK) as u64, BLOCK)).collect();
    let writing = file.write_at(0, t.buf(&[7; BLOCK]));
    let syncing = file.sync_data();
    drop(file);
    for (n, reading) in reads.into_iter().enumerate().skip(1) {
        assert!(reading.await.unwrap() == bytes[n * BLOCK..][..BLOCK], "block {n}");
    }
    assert_eq!(writing.await.unwrap(), BLOCK);
    syncing.await.unwrap();
}

pub(crate) async fn one_thread_is_enough(t: Fixture) {
    let bytes = pattern(7, 64 * BLOCK);
    let done = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let file = t.create_with("a", &bytes).await;
            file.sync_data().await.unwrap();
            let tasks: Vec<_> = (0..64)
                .map(|n| {
                    let file = file.clone();
                    tokio::spawn(async move { read_exact_at(&*file, (n * BLOCK) as u64, BLOCK).await.unwrap() })
                })
                .collect();
            for (n, task) in tasks.into_iter().enumerate() {
                assert!(task.await.unwrap() == bytes[n * BLOCK..][..BLOCK], "block {n}");
            }
        });
    });
    done.join().unwrap();
}

pub(crate) async fn a_future_may_move_to_another_runtime(t: Fixture) {
    let bytes = pattern(8, BLOCK);
    let file = t.create_with("a", &bytes).await;
    let (reading, writing) = (file.read_at(0, BLOCK), file.write_at(BLOCK as u64, t.buf(&bytes)));
    let outcome = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { (reading.await.unwrap(), writing.await.unwrap()) })
    });
    let outcome = tokio::task::spawn_blocking(|| outcome.join().unwrap()).await.unwrap();
    assert!(outcome == (bytes, BLOCK));
}
