//! The rows, each in a file or folder of its own. One that is not built yet is not here.

#[cfg(target_os = "linux")]
pub mod blocks;
pub mod concurrency;
pub mod crashes;
#[cfg(target_os = "linux")]
pub mod cuts;
pub mod damage;
pub mod failures;
#[cfg(target_os = "linux")]
pub mod full;
#[cfg(unix)]
pub mod fuzz;
pub mod kill;
pub mod landing;
pub mod memory;
pub mod mutants;
pub mod ports;
pub mod schedules;
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
        Box::new(damage::Damage),
        #[cfg(target_os = "linux")]
        Box::new(blocks::Blocks),
        #[cfg(target_os = "linux")]
        Box::new(cuts::Cuts),
        Box::new(kill::Kill),
        Box::new(landing::Landing),
        Box::new(failures::Failures),
        #[cfg(target_os = "linux")]
        Box::new(full::Full),
        #[cfg(target_os = "linux")]
        Box::new(syncs::Syncs),
        Box::new(concurrency::Concurrency),
        Box::new(schedules::ROW),
        Box::new(memory::ROW),
        #[cfg(unix)]
        Box::new(fuzz::Fuzz),
        Box::new(soak::Soak),
        Box::new(ports::ROW),
        Box::new(mutants::ROW),
    ]
}
