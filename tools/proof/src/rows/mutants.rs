//! Row 17: what the tests would not notice.

use crate::script::Script;

/// Mutants of the format, recovery, the index and the log.
pub const ROW: Script = Script {
    number: 17,
    what: "mutants of format, recover, index and log",
    ci: "by hand: --slice full",
    full: "each is caught by a test, or explained in survivors.txt",
    canary: "the tests of what is changed are left out",
    name: "mutants.sh",
};
