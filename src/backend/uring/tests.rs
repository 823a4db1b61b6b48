//! The life and death of ring threads. What the backend does with bytes is in the conformance suite.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use tokio::sync::oneshot::{self, error::TryRecvError};

use super::ring::Ring;
use super::*;
use crate::backend::queue::MAX_OPERATIONS;

/// A ring, or `None` where the kernel refuses one: nothing can be tested then.
fn handle() -> Option<Handle> {
    match Handle::start("test-ring".to_owned()) {
        Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => None,
        started => Some(started.expect("a ring")),
    }
}

/// The reading end of a pipe, as a file on which a read waits until something comes.
fn pipe() -> (Arc<OsFile>, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    (Arc::new(OsFile { read: File::from(OwnedFd::from(reader)), write: None }), writer)
}

fn read_job(file: &Arc<OsFile>) -> (Job, oneshot::Receiver<io::Result<Vec<u8>>>) {
    let (reply, answer) = Reply::pair();
    let job = Job::Read { file: file.clone(), offset: 0, buf: Vec::with_capacity(8), len: 8, reply };
    (job, answer)
}

fn wait_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "ten seconds were not enough");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_thread_ends_with_its_handle() {
    for _ in 0..50 {
        let Some(handle) = handle() else { return };
        let ended = handle.thread_ended();
        assert!(!ended());
        drop(handle);
        wait_until(ended);
    }
}

#[test]
fn the_thread_finishes_what_is_in_flight_before_it_ends() {
    let Some(handle) = handle() else { return };
    let (file, mut writer) = pipe();
    let (job, answer) = read_job(&file);
    handle.submit(job);
    let ended = handle.thread_ended();
    drop(handle);
    std::thread::sleep(Duration::from_millis(50));
    assert!(!ended(), "a read is in flight");
    io::Write::write_all(&mut writer, b"late").unwrap();
    assert_eq!(answer.blocking_recv().unwrap().unwrap(), b"late");
    wait_until(ended);
    assert_eq!(Arc::strong_count(&file), 1, "the operation has let its file go");
}

#[test]
fn the_thread_ends_though_the_handle_goes_while_it_is_answering() {
    for _ in 0..100 {
        let Some(handle) = handle() else { return };
        let file = Arc::new(OsFile { read: File::open("/proc/self/stat").unwrap(), write: None });
        let mut answers: Vec<_> = (0..200)
            .map(|_| {
                let (job, answer) = read_job(&file);
                handle.submit(job);
                answer
            })
            .collect();
        let ended = handle.thread_ended();
        // Not asleep while we wait: the answers to the others are still being given.
        while matches!(answers[100].try_recv(), Err(TryRecvError::Empty)) {
            std::hint::spin_loop();
        }
        drop(handle);
        wait_until(ended);
    }
}

#[test]
fn a_sleeping_thread_hears_every_submission() {
    let Some(handle) = handle() else { return };
    for round in 0..2000 {
        let (reply, answer) = Reply::pair();
        let file = File::open("/proc/self/stat").unwrap();
        let file = Arc::new(OsFile { read: file, write: None });
        handle.submit(Job::Read { file, offset: 0, buf: Vec::with_capacity(8), len: 8, reply });
        assert_eq!(answer.blocking_recv().unwrap().unwrap().len(), 8, "round {round}");
    }
}

#[test]
fn a_dead_thread_refuses_instead_of_hanging() {
    let Some(handle) = handle() else { return };
    handle.kill();
    let (file, _writer) = pipe();
    let (job, mut answer) = read_job(&file);
    handle.submit(job);
    assert_eq!(answer.try_recv().unwrap_err(), TryRecvError::Closed);
    assert_eq!(Arc::strong_count(&file), 1);
}

#[test]
fn a_lost_ring_answers_and_leaks_what_the_kernel_may_still_write_to() {
    if handle().is_none() {
        return;
    }
    let mut ring = Ring::new(4).unwrap();
    let (file, _writer) = pipe();
    let (job, mut answer) = read_job(&file);
    assert!(ring.push(job).is_ok() && ring.push(Job::Nop).is_ok());
    ring.submit_and_wait().unwrap();
    ring.reap(|_, result| assert_eq!(result, 0));
    assert_eq!(ring.in_flight(), 1, "the pipe is silent");
    drop(ring);
    assert!(answer.try_recv().unwrap().is_err());
    assert_eq!(Arc::strong_count(&file), 2, "the operation keeps its file for ever");
}

#[test]
fn a_full_ring_gives_back() {
    if handle().is_none() {
        return;
    }
    let mut ring = Ring::new(2).unwrap();
    assert!(ring.push(Job::Nop).is_ok() && ring.push(Job::Nop).is_ok());
    assert!(ring.push(Job::Nop).is_err() && ring.room() == 0);
    while ring.in_flight() > 0 {
        ring.submit_and_wait().unwrap();
        ring.reap(|_, result| assert_eq!(result, 0));
    }
    assert!(ring.push(Job::Nop).is_ok());
}

#[test]
fn results_become_counts_and_errnos() {
    let finish = |result| {
        let (file, _writer) = pipe();
        let (job, mut answer) = read_job(&file);
        job.finish(result);
        answer.try_recv().unwrap()
    };
    assert_eq!(finish(-5).unwrap_err().raw_os_error(), Some(5));
    assert_eq!(finish(0).unwrap(), b"");
    assert!(finish(i32::MIN).is_err());
}

#[tokio::test]
async fn reads_that_hang_and_are_given_up_do_not_pile_up() {
    if handle().is_none() {
        return;
    }
    let (file, _writer) = pipe();
    let ring_file = RingFile { file: file.clone(), rings: Uring::new().unwrap().0 };
    for _ in 0..2 * MAX_OPERATIONS {
        drop(ring_file.read_at(0, 8));
    }
    // Every operation holds the file; so do this test and the handle.
    assert_eq!(Arc::strong_count(&file), MAX_OPERATIONS + 2);
}
