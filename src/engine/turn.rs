//! Giving way: what is answered from memory or the page cache never waits, so a task that only gets would keep its worker
//! thread for ever.

use std::cell::Cell;

use crate::sync::{task, thread_local};

/// Bytes copied for one unit of tokio's cooperative budget, of which a task has 128 a turn: about 2 MiB, which take less
/// than a millisecond. A unit a get would, at 4 KiB, spend a tenth of the time on taking turns.
const UNIT_BYTES: usize = 16 << 10;

/// What a get takes besides copying, in bytes that could be copied meanwhile.
const GET_BYTES: usize = 2 << 10;

/// A turn's whole budget: more is not owed at a time.
const MOST_UNITS: usize = 128;

thread_local! {
    /// What tasks on this thread copied and have not paid for.
    static COPIED: Cell<usize> = const { Cell::new(0) };
}

/// A get has copied this many bytes.
pub(super) fn count_copied(bytes: usize) {
    COPIED.with(|copied| copied.set(copied.get().saturating_add(GET_BYTES + bytes)));
}

/// Pays for what was copied on this thread, and gives way if it was much.
pub(super) async fn give_way() {
    let copied = COPIED.with(Cell::get);
    let units = (copied / UNIT_BYTES).min(MOST_UNITS);
    if units > 0 {
        COPIED.with(|rest| rest.set(copied % UNIT_BYTES));
        for _ in 0..units {
            task::coop::consume_budget().await;
        }
    }
}
