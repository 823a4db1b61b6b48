//! The rows, each in a file or folder of its own. One that is not built yet is not here.

pub mod crashes;
pub mod failures;
pub mod scripts;

use crate::row::Row;

/// All of them, by number.
pub fn all() -> Vec<Box<dyn Row>> {
    vec![Box::new(crashes::Crashes), Box::new(scripts::Scripts), Box::new(failures::Failures)]
}
