//! The rows, each in a file or folder of its own. One that is not built yet is not here.

pub mod concurrency;
pub mod crashes;
pub mod full;
pub mod kill;
pub mod landing;
pub mod soak;

use crate::row::Row;

/// All of them, by number.
pub fn all() -> Vec<Box<dyn Row>> {
    vec![
        Box::new(crashes::Crashes),
        Box::new(kill::Kill),
        Box::new(landing::Landing),
        Box::new(full::Full),
        Box::new(concurrency::Concurrency),
        Box::new(soak::Soak),
    ]
}
