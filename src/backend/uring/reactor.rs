//! The thread that owns a ring: it drains the queue into the ring, sleeps in the kernel, and answers.
//!
//! Asleep, it is woken by an eventfd that the ring itself reads; awake, nobody writes to that, so under load a
//! submission costs a lock and no system call.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::EventfdFlags;
use rustix::io::Errno;

use super::job::{Job, gone};
use super::ring::Ring;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, mpsc, thread};

/// Operations in flight on one ring, the read of the eventfd included. What is more waits in the queue.
const ENTRIES: u32 = if cfg!(shuttle) { 3 } else { 256 };

/// The way to a ring thread. Dropping it lets the thread finish what it was given, and end.
pub(super) struct Handle(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// Whether the thread sleeps (or is about to) with the queue empty, so that it needs the eventfd.
    asleep: AtomicBool,
    eventfd: Arc<File>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// The handle is gone: end when everything is done.
    closing: bool,
    /// The thread is gone: nothing is accepted.
    dead: bool,
}

impl Handle {
    /// Starts a thread with a ring and waits until the ring has answered once.
    pub(super) fn start(name: String) -> io::Result<Self> {
        let eventfd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            asleep: AtomicBool::new(false),
            eventfd: Arc::new(File::from(eventfd)),
        });
        let theirs = shared.clone();
        let (started, outcome) = mpsc::channel();
        thread::Builder::new().name(name).spawn(move || match Reactor::new(theirs) {
            Ok(reactor) => {
                let _ = started.send(Ok(()));
                reactor.run();
            }
            Err(e) => {
                let _ = started.send(Err(e));
            }
        })?;
        outcome.recv().unwrap_or_else(|_| Err(gone()))?;
        Ok(Self(shared))
    }

    /// Queues an operation. If the thread is gone the operation is dropped, and its sender with it.
    pub(super) fn submit(&self, job: Job) {
        let refused = {
            let mut queue = self.0.queue.lock();
            if queue.dead {
                Some(job)
            } else {
                queue.jobs.push_back(job);
                None
            }
        };
        drop(refused);
        self.0.wake();
    }
}

#[cfg(test)]
impl Handle {
    /// Whether the thread has ended, to be asked once the handle is gone.
    pub(super) fn thread_ended(&self) -> impl Fn() -> bool + use<> {
        let shared = Arc::downgrade(&self.0);
        move || shared.strong_count() == 0
    }

    /// As if the thread had died.
    pub(super) fn kill(&self) {
        self.0.queue.lock().dead = true;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.queue.lock().closing = true;
        // Even if the thread is awake: it ends only once its read of the eventfd is answered.
        self.0.ring_the_bell();
    }
}

impl Shared {
    /// Called after the queue has changed. The flag is set under the queue's lock, by a thread that found the queue
    /// empty; so either that thread has seen the change, or we see the flag.
    fn wake(&self) {
        if self.asleep.load(Ordering::Acquire) && self.asleep.swap(false, Ordering::AcqRel) {
            self.ring_the_bell();
        }
    }

    fn ring_the_bell(&self) {
        // Fails only if the counter were full, and then the thread has a reason to wake anyway.
        let _ = (&*self.eventfd).write(&1u64.to_ne_bytes());
    }
}

struct Reactor {
    shared: Arc<Shared>,
    ring: Ring,
    /// Whether the read of the eventfd is in flight.
    armed: bool,
}

impl Reactor {
    fn new(shared: Arc<Shared>) -> io::Result<Self> {
        let mut ring = Ring::new(ENTRIES)?;
        // The ring is empty, so this fits.
        let _ = ring.push(Job::Nop);
        let mut answer = None;
        while answer.is_none() {
            match ring.submit_and_wait() {
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
                _ => ring.reap(|_, result| answer = Some(result)),
            }
        }
        if answer != Some(0) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, format!("the ring answers {answer:?} to a no-op")));
        }
        Ok(Self { shared, ring, armed: false })
    }

    fn run(mut self) {
        while self.fill() {
            if let Err(e) = self.ring.submit_and_wait() {
                match Errno::from_io_error(&e) {
                    Some(Errno::INTR | Errno::BUSY) => {}
                    // The kernel is short of memory for requests: completions free some.
                    Some(Errno::AGAIN | Errno::NOMEM) => thread::sleep(Duration::from_millis(1)),
                    _ => {
                        tracing::error!(error = %e, "io_uring failed; all operations on this ring fail from here");
                        return;
                    }
                }
            }
            self.shared.asleep.store(false, Ordering::Release);
            let armed = &mut self.armed;
            self.ring.reap(|job, result| {
                *armed &= !matches!(job, Job::Wake { .. });
                job.finish(result);
            });
        }
    }

    /// Moves jobs from the queue to the ring; `false` once there is nothing left to do, for ever.
    fn fill(&mut self) -> bool {
        let mut queue = self.shared.queue.lock();
        if !self.armed && !queue.closing {
            let wake = Job::Wake { eventfd: self.shared.eventfd.clone(), buf: Vec::with_capacity(8) };
            self.armed = self.ring.push(wake).is_ok();
        }
        while self.ring.room() > 0 {
            let Some(job) = queue.jobs.pop_front() else { break };
            if let Err(job) = self.ring.push(job) {
                queue.jobs.push_front(job);
                break;
            }
        }
        // With the eventfd not armed the ring is full, and the next completion wakes us.
        self.shared.asleep.store(queue.jobs.is_empty() && self.armed, Ordering::Release);
        !(queue.closing && queue.jobs.is_empty() && self.ring.in_flight() == 0)
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        let refused = {
            let mut queue = self.shared.queue.lock();
            queue.dead = true;
            std::mem::take(&mut queue.jobs)
        };
        drop(refused);
    }
}
