//! The words of `segdump`, as a library so that its reports on hostile directories can be tried in memory.

pub mod key;
pub mod lines;
mod table;
pub mod words;
