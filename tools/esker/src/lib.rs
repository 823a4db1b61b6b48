//! The parts of the `esker` command line, as a library so that tests and other tools can use them: trace readers, the
//! file-per-key baseline, the replay, the benchmarks and the checks.

pub mod baseline;
pub mod bench;
pub mod check;
pub mod child;
pub mod latency;
pub mod machine;
pub mod policies;
pub mod replay;
pub mod size;
pub mod store;
pub mod table;
pub mod trace;
pub mod value;
