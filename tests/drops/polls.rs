//! A call that is polled some times and dropped.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::sync::Notify;

/// How long a poll waits to be asked for: a call that is not woken at all is polled all the same.
const WOKEN_WITHIN: Duration = Duration::from_millis(20);

struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Polls a call up to `polls` times, each time when it asks for it, and drops it at the point at which it then waits.
/// What it said, if it ended.
pub async fn dropped_after<T>(polls: u32, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let woken = Arc::new(Woken(Notify::new()));
    let waker = Waker::from(woken.clone());
    for n in 0..polls {
        if n > 0 {
            // Whether it was woken or not, it is polled.
            let _ = tokio::time::timeout(WOKEN_WITHIN, woken.0.notified()).await;
        }
        if let Poll::Ready(said) = call.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(said);
        }
    }
    None
}
