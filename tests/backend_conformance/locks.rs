//! Who may write.

use std::io::ErrorKind;

use esker::backend::OpenMode;

use crate::support::{Fixture, OLD, eventually, read, refused};

pub(crate) async fn one_lock_at_a_time(t: Fixture) {
    let first = t.create_with("a", b"content").await;
    for direct in [false, true] {
        let second = t.backend.open(&t.path("a"), OpenMode::ReadWrite { direct }).await.unwrap();
        // The second round asks again; Windows refuses a lock to whoever has it, too.
        assert!(first.try_lock().unwrap() || direct && cfg!(windows), "whoever has it may ask again");
        assert!(!second.try_lock().unwrap());
    }
    assert_eq!(read(&*first, 0, 7).await, b"content", "whoever has the lock can read");
    t.write(&*first, 0, b"CONTENT").await;
}

pub(crate) async fn a_lock_ends_with_its_file(t: Fixture) {
    let first = t.create_with("a", b"content").await;
    let second = t.backend.open(&t.path("a"), OLD).await.unwrap();
    assert!(first.try_lock().unwrap());
    // Another handle that closes takes nothing away.
    drop(t.backend.open(&t.path("a"), OLD).await.unwrap());
    assert!(!second.try_lock().unwrap());
    t.write(&*first, 0, b"CONTENT").await;
    first.sync_data().await.unwrap();
    drop(first);
    assert!(second.try_lock().unwrap(), "with nothing in flight, the lock ends at once");
    // With a write in flight, it ends when that has landed.
    let third = t.backend.open(&t.path("a"), OLD).await.unwrap();
    drop(second.write_at(0, t.buf(&[9; 4096])));
    drop(second);
    eventually("the end of the lock", async || third.try_lock().unwrap()).await;
    assert_eq!(read(&*third, 0, 4096).await, [9; 4096]);
}

pub(crate) async fn a_file_to_read_is_not_written(t: Fixture) {
    drop(t.create_with("a", b"content").await);
    let file = t.backend.open(&t.path("a"), OpenMode::Read).await.unwrap();
    assert_eq!(refused(file.write_at(0, t.buf(b"CONTENT")).await), ErrorKind::PermissionDenied);
    assert_eq!(refused(file.sync_data().await), ErrorKind::PermissionDenied);
    assert_eq!(refused(file.allocate(0).await), ErrorKind::PermissionDenied);
    assert_eq!(read(&*file, 0, 7).await, b"content");
}
