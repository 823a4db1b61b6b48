//! How many operations a backend takes on (P5): those of a disk that hangs must not pile up with their files and buffers
//! after whoever asked for them has given up.

use std::io;
use std::sync::Arc;

use super::IoFuture;
use crate::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Operations given to a backend and not answered yet; more wait for their turn with whoever asks.
pub const MAX_OPERATIONS: usize = if cfg!(shuttle) { 4 } else { 4096 };

/// The places for operations.
#[derive(Clone)]
pub struct Queue(Arc<Semaphore>);

/// The way back of an answer. It holds the operation's place until it is sent or dropped.
pub struct Reply<T> {
    sender: oneshot::Sender<io::Result<T>>,
    _place: OwnedSemaphorePermit,
}

impl<T> Reply<T> {
    /// Answers; nobody may be waiting any more.
    pub fn send(self, outcome: io::Result<T>) {
        let _ = self.sender.send(outcome);
    }
}

#[cfg(all(test, has_uring))]
impl<T> Reply<T> {
    /// A reply outside of any queue, and where it arrives.
    pub fn pair() -> (Self, oneshot::Receiver<io::Result<T>>) {
        let (sender, answer) = oneshot::channel();
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a place");
        (Self { sender, _place: place }, answer)
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_OPERATIONS)))
    }
}

impl Queue {
    /// Begins an operation, at once if there is a place; the future waits for its answer, which is `gone()` if the reply
    /// is dropped. Begun, it goes on without the future; not begun, it goes with it.
    pub fn run<T: Send + 'static>(
        &self,
        begin: impl FnOnce(Reply<T>) + Send + 'static,
        gone: fn() -> io::Error,
    ) -> IoFuture<T> {
        let (sender, answer) = oneshot::channel();
        let answer = async move { answer.await.unwrap_or_else(|_| Err(gone())) };
        if let Ok(place) = self.0.clone().try_acquire_owned() {
            begin(Reply { sender, _place: place });
            return Box::pin(answer);
        }
        let places = self.0.clone();
        Box::pin(async move {
            // The semaphore is never closed.
            let Ok(place) = places.acquire_owned().await else { return Err(gone()) };
            begin(Reply { sender, _place: place });
            answer.await
        })
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use parking_lot::Mutex;

    use super::*;

    fn gone() -> io::Error {
        io::ErrorKind::BrokenPipe.into()
    }

    #[tokio::test]
    async fn a_disk_that_hangs_takes_on_a_bounded_number_of_operations() {
        let (queue, taken) = (Queue::default(), Arc::new(Mutex::new(Vec::new())));
        let ask = || {
            let taken = taken.clone();
            queue.run(move |reply: Reply<()>| taken.lock().push(reply), gone)
        };
        // Given up at once, as after a timeout.
        for _ in 0..2 * MAX_OPERATIONS {
            drop(ask());
        }
        assert_eq!(taken.lock().len(), MAX_OPERATIONS);
        let mut waits = ask();
        assert!(poll_once(&mut waits).await.is_pending());
        assert_eq!(taken.lock().len(), MAX_OPERATIONS, "what waits has not begun");
        let first = taken.lock().remove(0);
        first.send(Ok(()));
        assert!(poll_once(&mut waits).await.is_pending());
        assert_eq!(taken.lock().len(), MAX_OPERATIONS, "a place was free");
        taken.lock().clear();
        assert_eq!(waits.await.map_err(|e| e.kind()), Err(io::ErrorKind::BrokenPipe));
    }

    async fn poll_once<T>(future: &mut IoFuture<T>) -> Poll<io::Result<T>> {
        std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
    }
}
