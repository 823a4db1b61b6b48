//! The rows, each in a file or folder of its own. One that is not built yet is not here.

#[cfg(target_os = "linux")]
pub mod blocks;
pub mod concurrency;
pub mod crashes;
#[cfg(target_os = "linux")]
pub mod cuts;
pub mod failures;
pub mod full;
pub mod kill;
pub mod landing;
pub mod mutants;
pub mod scripts;
pub mod soak;
#[cfg(target_os = "linux")]
pub mod syncs;

use crate::row::Row;

/// All of them, by number.
pub fn all() -> Vec<Box<dyn Row>> {
    vec![
        Box::new(crashes::Crashes),
        Box::new(scripts::Scripts),
        #[cfg(target_os = "linux")]
        Box::new(blocks::Blocks),
        #[cfg(target_os = "linux")]
        Box::new(cuts::Cuts),
        Box::new(kill::Kill),
        Box::new(landing::Landing),
        Box::new(failures::Failures),
        Box::new(full::Full),
        #[cfg(target_os = "linux")]
        Box::new(syncs::Syncs),
        Box::new(concurrency::Concurrency),
        Box::new(soak::Soak),
        Box::new(mutants::ROW),
    ]
}
