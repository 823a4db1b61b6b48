//! Counts panics, those in tasks too, which the runtime would swallow.

use std::cell::Cell;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

static INSTALLED: Once = Once::new();
static ALL: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static HERE: Cell<u64> = const { Cell::new(0) };
}

/// Begins to count. What printed panics before goes on doing so.
pub fn watch() {
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            ALL.fetch_add(1, Ordering::SeqCst);
            HERE.set(HERE.get() + 1);
            before(info);
        }));
    });
}

/// Panics of the whole process so far.
pub fn all() -> u64 {
    ALL.load(Ordering::SeqCst)
}

/// Panics of this thread so far.
pub fn here() -> u64 {
    HERE.get()
}
