//! The proof of Esker's promises. Each row of the scoreboard is a harness with a figure and a target; whatever fails
//! says how it is repeated. Each has a canary, a planted fault that it must catch: a harness that never failed is no
//! evidence.

pub mod backends;
pub mod child;
// Dice, self-describing values and wrapping backends have one copy, which the library's own tests use too.
#[path = "../../../tests/common/mod.rs"]
mod common;
pub mod crew;
pub mod ledger;
mod liar;
pub mod life;
pub mod load;
#[cfg(target_os = "linux")]
pub mod machine;
pub mod panics;
pub mod row;
pub mod rows;
pub mod scoreboard;
pub mod script;
pub mod steered;
pub mod streamed;
pub mod usage;
pub mod watched;
pub mod writer;

pub use common::heap;
