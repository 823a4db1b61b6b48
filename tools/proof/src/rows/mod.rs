//! The rows, each in a file or folder of its own. One that is not built yet is not here.

#[cfg(target_os = "linux")]
pub mod blocks;
pub mod crashes;
#[cfg(target_os = "linux")]
pub mod cuts;
pub mod failures;
pub mod kill;
#[cfg(target_os = "linux")]
pub mod syncs;

use crate::row::Row;

/// All of them, by number.
pub fn all() -> Vec<Box<dyn Row>> {
    vec![
        Box::new(crashes::Crashes),
        #[cfg(target_os = "linux")]
        Box::new(blocks::Blocks),
        #[cfg(target_os = "linux")]
        Box::new(cuts::Cuts),
        Box::new(kill::Kill),
        Box::new(failures::Failures),
        #[cfg(target_os = "linux")]
        Box::new(syncs::Syncs),
    ]
}
