//! Bytes in, the same bytes out.

use std::io;

use esker::BackendKind;
use esker::backend::OpenMode;
use esker::backend::exact::read_exact_now;

use crate::support::{Fixture, OLD, pattern, read};

pub(crate) async fn an_empty_file_reads_empty(t: Fixture) {
    let file = t.create("a").await;
    assert_eq!(file.len().await.unwrap(), 0);
    assert_eq!(file.read_at(0, 4096).await.unwrap(), b"");
}

pub(crate) async fn what_is_written_is_read(t: Fixture) {
    for (n, len) in [1, 4 << 10, 64 << 10, 1 << 20, 10 << 20].into_iter().enumerate() {
        let (name, bytes) = (format!("{len}"), pattern(n as u64, len));
        let file = t.create_with(&name, &bytes).await;
        assert_eq!(file.len().await.unwrap(), len as u64);
        assert!(read(&*file, 0, len).await == bytes, "{len} bytes through the handle that wrote them");
        file.sync_data().await.unwrap();
        drop(file);
        let again = t.backend.open(&t.path(&name), OpenMode::Read).await.unwrap();
        assert!(read(&*again, 0, len).await == bytes, "{len} bytes through a new handle");
        assert_eq!(again.len().await.unwrap(), len as u64);
    }
}

pub(crate) async fn a_read_at_the_end_is_short(t: Fixture) {
    let bytes = pattern(1, 5000);
    let file = t.create_with("a", &bytes).await;
    assert_eq!(file.read_at(4000, 4096).await.unwrap(), bytes[4000..]);
    assert_eq!(file.read_at(4999, 1 << 20).await.unwrap(), bytes[4999..]);
}

pub(crate) async fn a_read_beyond_the_end_is_empty(t: Fixture) {
    let file = t.create_with("a", &pattern(1, 5000)).await;
    for offset in [5000, 5001, 1 << 40] {
        assert_eq!(file.read_at(offset, 4096).await.unwrap(), b"", "at {offset}");
        assert!(!read_exact_now(&*file, offset, &mut [0; 8]), "at {offset}, without waiting");
    }
}

pub(crate) async fn a_read_of_nothing_is_empty(t: Fixture) {
    let file = t.create_with("a", b"something").await;
    assert_eq!(file.read_at(3, 0).await.unwrap(), b"");
    assert_eq!(file.write_at(3, t.buf(b"")).await.unwrap(), 0);
    assert_eq!(read(&*file, 0, 9).await, b"something");
}

pub(crate) async fn an_unaligned_write_lands(t: Fixture) {
    let file = t.create_with("a", &[b'.'; 10_000]).await;
    let bytes = pattern(2, 5001);
    t.write(&*file, 777, &bytes).await;
    let all = read(&*file, 0, 10_000).await;
    assert!(all[..777].iter().chain(&all[777 + 5001..]).all(|&b| b == b'.'), "the neighbours are as before");
    assert!(all[777..777 + 5001] == bytes);
}

pub(crate) async fn direct_writes_land(t: Fixture) {
    let bytes = pattern(3, 1 << 20);
    let file = t.backend.open(&t.path("a"), OpenMode::CreateNew { direct: true }).await.unwrap();
    file.allocate(2 << 20).await.unwrap();
    t.write(&*file, 4096, &bytes).await;
    t.write(&*file, 4096 + (1 << 20), &bytes[..4096]).await;
    file.sync_data().await.unwrap();
    assert!(read(&*file, 4096, 1 << 20).await == bytes);
    // A second life of the file: what was read before (and cached) must not be served in place of what is new.
    drop(file);
    let file = t.backend.open(&t.path("a"), OpenMode::ReadWrite { direct: true }).await.unwrap();
    t.write(&*file, 8192, &bytes[..8192]).await;
    assert!(read(&*file, 8192, 8192).await == bytes[..8192]);
    assert_eq!(file.len().await.unwrap(), 2 << 20);
}

pub(crate) async fn a_hole_reads_as_zeros(t: Fixture) {
    let file = t.create("a").await;
    t.write(&*file, 100_000, b"end").await;
    assert!(read(&*file, 0, 100_000).await.iter().all(|&b| b == 0));
    assert_eq!(read(&*file, 100_000, 3).await, b"end");
}

pub(crate) async fn the_last_write_is_read(t: Fixture) {
    let file = t.create("a").await;
    let other = t.backend.open(&t.path("a"), OLD).await.unwrap();
    for round in 0..50 {
        let bytes = pattern(round, 8192);
        t.write(if round % 2 == 0 { &*file } else { &*other }, 0, &bytes).await;
        assert!(read(&*file, 0, 8192).await == bytes, "round {round}");
        assert!(read(&*other, 0, 8192).await == bytes, "round {round}, the other handle");
    }
}

pub(crate) async fn allocate_sets_the_length(t: Fixture) {
    let file = t.create("a").await;
    for len in [1 << 20, 3 << 20, 4096, 0] {
        file.allocate(len).await.unwrap();
        assert_eq!(file.len().await.unwrap(), len);
    }
    file.allocate(1 << 20).await.unwrap();
    assert!(read(&*file, 0, 1 << 20).await.iter().all(|&b| b == 0));
}

pub(crate) async fn read_now_agrees_with_read_at(t: Fixture) {
    let bytes = pattern(4, 256 << 10);
    let file = t.create_with("a", &bytes).await;
    let (mut answers, mut unsupported) = (0, 0);
    for offset in (0..bytes.len() - 4096).step_by(3000) {
        // Through the page cache, so what was read a moment ago is at hand.
        assert!(read(&*file, offset as u64, 4096).await == bytes[offset..offset + 4096]);
        let mut now = [0xEE; 4096];
        match file.read_now(offset as u64, &mut now) {
            Ok(n) => {
                assert!(now[..n] == bytes[offset..offset + n], "at {offset}");
                assert!(now[n..].iter().all(|&b| b == 0xEE), "what was not read is not touched, at {offset}");
                answers += usize::from(n > 0);
            }
            Err(e) if e.kind() == io::ErrorKind::Unsupported => unsupported += 1,
            Err(e) => assert_eq!(e.kind(), io::ErrorKind::WouldBlock),
        }
    }
    // Some file systems (tmpfs) do not have it, and then say so each time.
    if unsupported == 0 && t.backend.kind() != BackendKind::Sim {
        assert!(answers > 0, "nothing of 256 KiB just read was at hand");
    }
    assert!(unsupported == 0 || answers == 0, "now so, now otherwise");
}

pub(crate) async fn an_absurd_offset_is_an_error(t: Fixture) {
    let file = t.create_with("a", b"x").await;
    for offset in [u64::MAX, 1 << 63] {
        assert!(file.read_at(offset, 4096).await.is_err(), "reading at {offset}");
        assert!(file.write_at(offset, t.buf(b"y")).await.is_err(), "writing at {offset}");
    }
    assert_eq!(read(&*file, 0, 1).await, b"x");
}

pub(crate) async fn an_absurd_length_is_an_error_or_short(t: Fixture) {
    let file = t.create_with("a", b"something").await;
    for len in [isize::MAX as usize, usize::MAX] {
        if let Ok(bytes) = file.read_at(0, len).await {
            assert_eq!(bytes, b"something");
        }
    }
}

pub(crate) async fn a_window_of_a_buffer_is_written(t: Fixture) {
    let file = t.create_with("a", &[b'.'; 10]).await;
    let mut window = t.buf(b"abcdef");
    window.advance(2);
    assert_eq!(file.write_at(1, window).await.unwrap(), 4);
    assert_eq!(read(&*file, 0, 10).await, b".cdef.....");
}
