//! A closed loop of tasks that share a number of operations, measured.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

use crate::latency::Latencies;
use crate::machine;
use crate::store::{Outcome, Store};
use crate::value::{Identity, SplitMix};

/// What a load measured.
#[derive(Debug, Clone)]
pub struct Load {
    /// Operations done.
    pub ops: u64,
    /// Wall time.
    pub wall: Duration,
    /// CPU time of the process.
    pub cpu: Duration,
    /// How long operations took.
    pub latencies: Latencies,
}

/// Runs `ops` operations on `tasks` tasks: `one(number)` does operation `number`, each number once, about in order.
///
/// # Errors
/// The first error of an operation.
pub async fn run<F, Fut>(tasks: u64, ops: u64, one: F) -> Result<Load>
where
    F: Fn(u64) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<()>> + Send,
{
    let next = Arc::new(AtomicU64::new(0));
    let (cpu, started) = (machine::cpu_time(), Instant::now());
    let running: Vec<_> = (0..tasks)
        .map(|_| {
            let (next, one) = (Arc::clone(&next), one.clone());
            tokio::spawn(async move {
                let mut latencies = Latencies::default();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= ops {
                        return Ok::<_, anyhow::Error>(latencies);
                    }
                    let started = Instant::now();
                    one(number).await?;
                    latencies.record(started.elapsed());
                }
            })
        })
        .collect();
    let mut latencies = Latencies::default();
    for task in running {
        latencies.merge(&task.await.context("a task ended badly")??);
    }
    Ok(Load { ops, wall: started.elapsed(), cpu: machine::cpu_time().saturating_sub(cpu), latencies })
}

/// Entries whose keys and bytes follow from their numbers.
#[derive(Debug, Clone, Copy)]
pub struct Entries {
    /// How many there are.
    pub count: u64,
    /// Length of each value in bytes.
    pub len_bytes: u32,
}

impl Entries {
    /// The key of entry `number`, 8 bytes.
    pub fn key(self, number: u64) -> [u8; 8] {
        SplitMix::new(number ^ u64::from(self.len_bytes) << 40).next_u64().to_le_bytes()
    }

    /// The identity of the bytes of entry `number`.
    pub fn identity(self, number: u64) -> Identity {
        Identity { object: number, version: 1, len_bytes: self.len_bytes }
    }

    /// Sets entry `number`.
    ///
    /// # Errors
    /// If the cache fails or refuses.
    pub async fn set(self, store: &Store, number: u64) -> Result<()> {
        let outcome = store.set(&self.key(number), self.identity(number).value(), None).await?;
        ensure!(outcome == Outcome::Stored, "entry {number} was refused: {outcome:?}");
        Ok(())
    }

    /// Gets entry `number`, which must be there; checks its first block (all of it up to 64 bytes).
    ///
    /// # Errors
    /// If it is missing or its bytes are wrong.
    pub async fn get(self, store: &Store, number: u64) -> Result<()> {
        let value = store.get(&self.key(number)).await?;
        let value: Bytes = value.with_context(|| format!("entry {number} is not in the cache"))?;
        ensure!(value.len() == self.len_bytes as usize, "entry {number} has {} bytes", value.len());
        ensure!(self.identity(number).starts_with(&value[..value.len().min(64)]), "entry {number} has wrong bytes");
        Ok(())
    }

    /// A number from `draw`, spread over all entries in no order.
    pub fn spread(self, draw: u64) -> u64 {
        SplitMix::new(draw ^ 0x7370_7265_6164).below(self.count)
    }
}
