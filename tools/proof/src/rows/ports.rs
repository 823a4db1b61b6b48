//! Row 16: other machines (P1, P7).
//!
//! The format is the same bytes everywhere, and the library does its work wherever tokio runs: `scripts/ports.sh` runs
//! the suite as built for other processors and systems. A case is a port, or a port and one of its test targets:
//! `s390x`, `windows traps`.

use crate::script::Script;

/// The row.
pub const ROW: Script = Script {
    number: 16,
    what: "other machines",
    ci: "one command, not CI",
    full: "the suite here, on s390x, aarch64, Windows; type checks for macOS and 32 bits: green, or the exact reason",
    canary: "integers stand on disk in the machine's own byte order",
    name: "ports.sh",
};
