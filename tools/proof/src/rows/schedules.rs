//! Row 12: the orders in which tasks meet. The library is built on shuttle's words (`src/sync`), and `tools/schedules`
//! runs small scenarios at each hand-off in very many orders of steps.

use crate::script::Script;

/// The row.
pub const ROW: Script = Script {
    number: 12,
    what: "schedules",
    ci: "10,000 schedules, 0 failures",
    full: "1,000,000 schedules, 0 failures",
    canary: "a disk that says that a write is done before it is; a kernel that loses the bell of its ring; an origin that says too \
             early that it has a value; a purge that is skipped",
    name: "schedules.sh",
};
