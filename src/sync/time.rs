//! Time under shuttle's scheduler, in place of tokio's: it stands still while tasks run, and goes on to the next moment
//! that one waits for when the task of [`begin`] is chosen. So a schedule says when a timer fires.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::ops::Add;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use shuttle::current::TaskId;

/// How soon a timer must be due for the scheduler to let it fire early: a short rest, not the limit of an operation.
const SOON: Duration = Duration::from_secs(1);

thread_local! {
    /// Of the schedule that runs on this thread.
    static WORLD: RefCell<World> = RefCell::default();
}

#[derive(Default)]
struct World {
    now: Duration,
    /// By the moment and a number of their own.
    timers: BTreeMap<(Duration, u64), Waker>,
    last: u64,
    /// The task that moves time, while there is no timer.
    idle: Option<Waker>,
    mover: Option<TaskId>,
}

fn with<T>(act: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(act)
}

/// Time begins: to be called first in a schedule, and again in the next.
pub fn begin() {
    with(|world| *world = World::default());
    drop(shuttle::future::spawn(poll_fn(go_on)));
}

/// The task that moves time, and whether it may run though others can: the next timer is due soon.
pub fn mover() -> Option<(TaskId, bool)> {
    with(|world| {
        let is_soon = world.timers.first_key_value().is_some_and(|((at, _), _)| *at <= world.now + SOON);
        world.mover.map(|mover| (mover, is_soon))
    })
}

fn go_on(cx: &mut Context<'_>) -> Poll<()> {
    let due = with(|world| {
        if world.mover.is_none() {
            // The scheduler knows it from here on: until then it was chosen as any other.
            world.mover = Some(shuttle::current::me());
            cx.waker().wake_by_ref();
            return None;
        }
        let due = world.timers.pop_first();
        match &due {
            Some(((at, _), _)) => world.now = world.now.max(*at),
            None => world.idle = Some(cx.waker().clone()),
        }
        due
    });
    if let Some((_, waker)) = due {
        waker.wake();
        cx.waker().wake_by_ref();
    }
    Poll::Pending
}

/// As tokio's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    /// As tokio's.
    pub fn now() -> Self {
        Self(with(|world| world.now))
    }

    /// As tokio's.
    pub fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        Self(self.0 + after)
    }
}

struct Sleep {
    at: Duration,
    /// Its place among the timers.
    number: Option<u64>,
}

impl Sleep {
    fn forget(&mut self) {
        if let Some(number) = self.number.take() {
            with(|world| world.timers.remove(&(self.at, number)));
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.forget();
        let at = self.at;
        let (number, idle) = with(|world| {
            if world.now >= at {
                return (None, None);
            }
            world.last += 1;
            world.timers.insert((at, world.last), cx.waker().clone());
            (Some(world.last), world.idle.take())
        });
        self.number = number;
        if let Some(idle) = idle {
            idle.wake();
        }
        if number.is_some() { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}

/// As tokio's.
pub async fn sleep(duration: Duration) {
    let at = Instant::now() + duration;
    Sleep { at: at.0, number: None }.await;
}

/// The time is over.
#[derive(Debug)]
pub struct Elapsed;

/// As tokio's.
///
/// # Errors
/// The time is over.
pub async fn timeout_at<F: Future>(at: Instant, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut sleep = pin!(Sleep { at: at.0, number: None });
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| Err(Elapsed)),
    })
    .await
}

/// As tokio's.
///
/// # Errors
/// The time is over.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    // Tokio counts from the call, not from the first poll.
    timeout_at(Instant::now() + duration, future).await
}
