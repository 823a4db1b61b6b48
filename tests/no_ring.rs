//! Where the kernel or a seccomp profile refuses io_uring: `Auto` falls back and works, a ring asked for by name is an
//! error that says why. Runs where that is so: `make test-no-ring` (docker/no-ring.seccomp.json), or with the sysctl
//! `kernel.io_uring_disabled=2`.

#![cfg(target_os = "linux")]

use esker::{BackendKind, DiskCache};

const WHY_IGNORED: &str = "this must run where io_uring is refused: `make test-no-ring`";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a kernel or container that refuses io_uring: `make test-no-ring`"]
async fn auto_falls_back_to_tokio_fs_and_works() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    let cache = DiskCache::builder(&path).capacity_bytes(64 << 20).open().await.unwrap();
    assert_eq!(cache.backend(), BackendKind::TokioFs, "{WHY_IGNORED}");
    assert_eq!(cache.stats().backend, Some(BackendKind::TokioFs), "the gauge says what runs");
    assert!(cache.set(b"key", b"value".to_vec()).await.unwrap().is_stored());
    cache.close().await.unwrap();

    let cache = DiskCache::builder(&path).capacity_bytes(64 << 20).open().await.unwrap();
    assert_eq!(&cache.get(b"key").await.unwrap().unwrap().value()[..], b"value");
    cache.close().await.unwrap();
}

#[cfg(any(feature = "io-uring", feature = "tokio-uring"))]
async fn is_refused(kind: BackendKind) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    match DiskCache::builder(&path).capacity_bytes(64 << 20).backend(kind).open().await {
        Err(esker::Error::BackendUnavailable { kind: named, why }) => {
            assert_eq!(named, kind);
            assert!(!why.is_empty(), "the error says why");
        }
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("{kind} opened; {WHY_IGNORED}"),
    }
    let left = std::fs::read_dir(&path).map(Iterator::count).unwrap_or(0);
    assert_eq!(left, 0, "a refused open leaves no file behind");
}

#[cfg(feature = "io-uring")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a kernel or container that refuses io_uring: `make test-no-ring`"]
async fn uring_by_name_is_an_error_that_says_why() {
    is_refused(BackendKind::Uring).await;
}

#[cfg(feature = "tokio-uring")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a kernel or container that refuses io_uring: `make test-no-ring`"]
async fn tokio_uring_by_name_is_an_error_that_says_why() {
    is_refused(BackendKind::TokioUring).await;
}
