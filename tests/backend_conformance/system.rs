//! What only an operating system has: links, modes, errnos, descriptors.
#![cfg(unix)]

use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use esker::backend::OpenMode;

use crate::support::{Fixture, NEW, OLD, eventually, read, refused};

pub(crate) async fn links_are_not_followed(t: Fixture) {
    drop(t.create_with("target", b"precious").await);
    symlink(t.path("target"), t.path("link")).unwrap();
    symlink(t.path("nowhere"), t.path("dangling")).unwrap();
    for mode in [OpenMode::Read, OLD, OpenMode::ReadWrite { direct: true }] {
        assert!(t.backend.open(&t.path("link"), mode).await.is_err(), "{mode:?}");
    }
    for name in ["link", "dangling"] {
        assert_eq!(refused(t.backend.open(&t.path(name), NEW).await), ErrorKind::AlreadyExists);
    }
    assert!(!t.path("nowhere").exists(), "nothing was made through a link");
    let listed = t.backend.list(&t.root).await.unwrap();
    assert_eq!(listed.iter().filter(|e| e.is_file).count(), 1, "links are no files: {listed:?}");
    t.backend.remove(&t.path("link")).await.unwrap();
    assert_eq!(std::fs::read(t.path("target")).unwrap(), b"precious");
}

pub(crate) async fn modes_are_private(t: Fixture) {
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    t.backend.create_dir_all(&t.path("a/b")).await.unwrap();
    drop(t.create("a/b/file").await);
    drop(t.backend.open(&t.path("a/direct"), OpenMode::CreateNew { direct: true }).await.unwrap());
    assert_eq!(mode(&t.path("a")), 0o700);
    assert_eq!(mode(&t.path("a/b")), 0o700);
    assert_eq!(mode(&t.path("a/b/file")), 0o600);
    assert_eq!(mode(&t.path("a/direct")), 0o600);
}

pub(crate) async fn errors_keep_their_errno(t: Fixture) {
    drop(t.create_with("a", b"x").await);
    assert_eq!(refused(t.backend.open(&t.root, OLD).await), ErrorKind::IsADirectory);
    assert_eq!(refused(t.backend.open(&t.path("a/b"), OpenMode::Read).await), ErrorKind::NotADirectory);
    // A directory opens to read, and reading it is what fails: the answer of `read` itself.
    let dir = t.backend.open(&t.root, OpenMode::Read).await.unwrap();
    let error = dir.read_at(0, 100).await.unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error().is_some()), (ErrorKind::IsADirectory, true));
    let mut buf = [0; 8];
    assert!(dir.read_now(0, &mut buf).is_err());
    std::fs::set_permissions(t.path("a"), PermissionsExt::from_mode(0o000)).unwrap();
    // Root may open anything.
    if !rustix::process::geteuid().is_root() {
        assert_eq!(refused(t.backend.open(&t.path("a"), OpenMode::Read).await), ErrorKind::PermissionDenied);
    }
}

/// Descriptors of this process that belong to the fixture's directory (other tests run beside this one).
#[cfg(target_os = "linux")]
fn descriptors(root: &Path) -> usize {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    all.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok()).filter(|to| to.starts_with(root)).count()
}

#[cfg(not(target_os = "linux"))]
fn descriptors(_root: &Path) -> usize {
    0
}

pub(crate) async fn descriptors_do_not_leak(t: Fixture) {
    drop(t.create_with("a", &[1; 8192]).await);
    for round in 0..200 {
        let mode = [OpenMode::Read, OLD, OpenMode::ReadWrite { direct: true }][round % 3];
        let file = t.backend.open(&t.path("a"), mode).await.unwrap();
        assert_eq!(read(&*file, 0, 100).await, [1; 100]);
        if round % 5 == 0 {
            drop(file.read_at(0, 8192));
        }
        if mode != OpenMode::Read && round % 4 == 0 {
            file.try_lock().unwrap();
            file.sync_data().await.unwrap();
        }
        assert!(descriptors(&t.root) <= 16, "round {round}: closed files pile up");
    }
    eventually("the closing of all descriptors", async || descriptors(&t.root) == 0).await;
}

pub(crate) async fn a_refused_creation_leaves_nothing_locked(t: Fixture) {
    let file = t.create("a").await;
    assert!(file.try_lock().unwrap());
    assert_eq!(refused(t.backend.open(&t.path("a"), NEW).await), ErrorKind::AlreadyExists);
    drop(file);
    let again = t.backend.open(&t.path("a"), OLD).await.unwrap();
    assert!(again.try_lock().unwrap());
    t.backend.remove(&t.path("a")).await.unwrap();
    drop(again);
    eventually("the closing of all descriptors", async || descriptors(&t.root) == 0).await;
}
