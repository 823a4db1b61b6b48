//! Names: made, found, renamed, removed.

use std::io::ErrorKind;

use esker::backend::OpenMode;

use crate::support::{Fixture, NEW, OLD, read, refused};

pub(crate) async fn create_new_refuses_what_exists(t: Fixture) {
    drop(t.create_with("a", b"first").await);
    for direct in [false, true] {
        let outcome = t.backend.open(&t.path("a"), OpenMode::CreateNew { direct }).await;
        assert_eq!(refused(outcome), ErrorKind::AlreadyExists);
    }
    let file = t.backend.open(&t.path("a"), OpenMode::Read).await.unwrap();
    assert_eq!(read(&*file, 0, 5).await, b"first");
}

pub(crate) async fn what_is_missing_is_not_found(t: Fixture) {
    for mode in [OpenMode::Read, OLD, OpenMode::ReadWrite { direct: true }] {
        assert_eq!(refused(t.backend.open(&t.path("none"), mode).await), ErrorKind::NotFound);
    }
    assert_eq!(refused(t.backend.open(&t.path("none/a"), NEW).await), ErrorKind::NotFound);
    assert_eq!(refused(t.backend.remove(&t.path("none")).await), ErrorKind::NotFound);
    assert_eq!(refused(t.backend.rename(&t.path("none"), &t.path("a")).await), ErrorKind::NotFound);
    assert_eq!(refused(t.backend.list(&t.path("none")).await), ErrorKind::NotFound);
    assert_eq!(t.backend.list(&t.root).await.unwrap(), [], "asking made nothing");
}

pub(crate) async fn a_rename_replaces(t: Fixture) {
    drop(t.create_with("old", b"old").await);
    drop(t.create_with("new", b"new").await);
    t.backend.rename(&t.path("new"), &t.path("old")).await.unwrap();
    t.backend.sync_dir(&t.root).await.unwrap();
    assert_eq!(refused(t.backend.open(&t.path("new"), OpenMode::Read).await), ErrorKind::NotFound);
    let file = t.backend.open(&t.path("old"), OpenMode::Read).await.unwrap();
    assert_eq!(read(&*file, 0, 3).await, b"new");
}

pub(crate) async fn a_removed_file_is_gone(t: Fixture) {
    drop(t.create("a").await);
    t.backend.remove(&t.path("a")).await.unwrap();
    assert_eq!(refused(t.backend.open(&t.path("a"), OpenMode::Read).await), ErrorKind::NotFound);
    assert_eq!(refused(t.backend.remove(&t.path("a")).await), ErrorKind::NotFound);
    assert_eq!(t.create("a").await.len().await.unwrap(), 0);
}

pub(crate) async fn list_names_everything_once(t: Fixture) {
    for n in 0..40 {
        drop(t.create_with(&format!("file-{n:02}"), &vec![1; n * 100]).await);
    }
    t.backend.create_dir_all(&t.path("sub")).await.unwrap();
    let mut found = t.backend.list(&t.root).await.unwrap();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(found.len(), 41);
    for (n, entry) in found.iter().take(40).enumerate() {
        assert_eq!(entry.name, format!("file-{n:02}").as_str());
        assert_eq!((entry.len_bytes, entry.is_file), (n as u64 * 100, true));
    }
    assert!(found[40].name == "sub" && !found[40].is_file);
}

pub(crate) async fn directories_may_be_made_twice(t: Fixture) {
    let deep = t.path("a/b/c");
    t.backend.create_dir_all(&deep).await.unwrap();
    t.backend.create_dir_all(&deep).await.unwrap();
    assert_eq!(t.backend.list(&deep).await.unwrap(), []);
    drop(t.create("file").await);
    assert!(t.backend.create_dir_all(&t.path("file")).await.is_err(), "a file is in the way");
}

pub(crate) async fn sync_dir_works_on_directories_only(t: Fixture) {
    drop(t.create("a").await);
    t.backend.sync_dir(&t.root).await.unwrap();
    if !cfg!(windows) {
        assert_eq!(refused(t.backend.sync_dir(&t.path("none")).await), ErrorKind::NotFound);
    }
}

pub(crate) async fn an_open_file_survives_its_name(t: Fixture) {
    let file = t.create_with("a", b"still here").await;
    t.backend.remove(&t.path("a")).await.unwrap();
    drop(t.create_with("a", b"another").await);
    assert_eq!(read(&*file, 0, 10).await, b"still here");
    t.write(&*file, 0, b"STILL").await;
    let other = t.backend.open(&t.path("a"), OpenMode::Read).await.unwrap();
    assert_eq!(read(&*other, 0, 7).await, b"another");
}
