//! An idle cache costs next to nothing.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use esker::BackendKind;

use super::Figures;
use crate::bench::load::Entries;
use crate::bench::phases::fill;
use crate::machine;
use crate::store::{Plan, Store};

/// Runs the check: some writes, a pause to settle, then 10 s of doing nothing, measured.
///
/// # Errors
/// If the cache fails.
pub async fn check(dir: &Path, backend: BackendKind) -> Result<Figures> {
    let store = Store::open(&Plan::esker(dir, 256 << 20, backend), None).await?;
    fill(&store, Entries { count: 2_000, len_bytes: 4096 }, 8).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = machine::cpu_time();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let used = machine::cpu_time().saturating_sub(before);
    let mut figures = Figures::default();
    figures.at_most("CPU while idle, percent of a core", used.as_secs_f64() * 10.0, 1.0);
    store.close().await?;
    Ok(figures)
}
