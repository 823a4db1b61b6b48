//! The traps of the design (DESIGN.md, section 7): each was seen in shipping software. A test's name starts with the
//! trap's number; its comment names the promise (see the crate's page) that it proves.

mod clocks;
mod collisions;
#[path = "../common/mod.rs"]
mod common;
mod damage;
mod debts;
mod failures;
mod last_resort;
mod locks;
mod refusals;
mod table;
mod uncovering;
mod writes;
