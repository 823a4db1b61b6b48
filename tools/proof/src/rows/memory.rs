//! Row 13: memory that the kernel and the engine share (P8). The drops are `tests/drops` of the library, so that they run
//! with its tests too; the sanitizers want other compiler flags. Both are run by a script.

use crate::script::Script;

/// The row.
pub const ROW: Script = Script {
    number: 13,
    what: "memory",
    ci: "every call dropped at every point on every backend, unsafe only where named, 0 failures",
    full: "every call dropped at every point on every backend, unsafe only where named; the suite under \
           AddressSanitizer, 0 reports",
    canary: "a buffer given back before the kernel has answered; in the full run a read of freed memory",
    name: "memory.sh",
};
