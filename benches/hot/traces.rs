//! Replays: what share of the requests a tier answers. Before a disk that holds everything, so that only the tier decides.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use esker::memory::Bounded;
use esker::{Digest, MemoryFill};

use super::common::report::{Report, Target};
use super::common::{Outcome, Random};
use super::tiers::{Model, MokaModel, QuickCacheModel};

/// A record: time u32, object u64, size u32, ttl u32, operation u8; 2 is a delete.
const RECORD_BYTES: usize = 21;
const DELETE: u8 = 2;
const KEY_BYTES: u64 = 16;
/// Memory as a share of the unique bytes, in percent.
const PERCENTS: [u64; 2] = [1, 10];

struct Request {
    object: u64,
    bytes: u64,
    is_delete: bool,
}

fn read(path: &Path) -> Outcome<Vec<Request>> {
    let mut bytes = Vec::new();
    zstd::Decoder::new(File::open(path)?)?.read_to_end(&mut bytes)?;
    let uint = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b));
    let request = |r: &[u8]| Request { object: uint(&r[4..12]), bytes: uint(&r[12..16]), is_delete: r[20] == DELETE };
    Ok(bytes.chunks_exact(RECORD_BYTES).map(request).collect())
}

/// Each trace through each tier, whose entries take so many bytes besides their own.
///
/// # Errors
/// A trace cannot be read.
pub fn replay(paths: &[PathBuf], overheads: [u64; 3], report: &mut Report) -> Outcome<()> {
    for path in paths {
        let requests = read(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.trim_end_matches(".ctr.zst");
        let sizes: HashMap<u64, u64> = requests.iter().map(|r| (r.object, r.bytes)).collect();
        let unique_bytes: u64 = sizes.values().sum();
        for percent in PERCENTS {
            let bytes = unique_bytes * percent / 100;
            let [ours, moka, quick] = overheads;
            let mut line = |tier: &str, fill: MemoryFill, ratio: f64| {
                let name = format!("{name}, {percent} %: {tier}, filled on {fill:?}").to_lowercase();
                report.figure(name, "% hits", vec![ratio], Target::None);
            };
            for fill in MemoryFill::ALL {
                line("ours", fill, hits(&<Bounded<()> as Model>::new(bytes), &requests, ours, fill));
                line("moka", fill, hits(&MokaModel::new(bytes), &requests, moka, fill));
                line("quick_cache", fill, hits(&QuickCacheModel::new(bytes), &requests, quick, fill));
            }
        }
    }
    Ok(())
}

/// Hits of all gets, in percent. A first get misses the disk too and is followed by a set.
fn hits(tier: &impl Model, requests: &[Request], overhead: u64, fill: MemoryFill) -> f64 {
    let mut stored: HashMap<u64, ()> = HashMap::new();
    let (mut hits, mut gets) = (0u64, 0u64);
    for request in requests {
        let digest = Digest(Random::new(request.object).next());
        if request.is_delete {
            stored.remove(&request.object);
            tier.remove(digest);
            continue;
        }
        gets += 1;
        if tier.has(digest) {
            hits += 1;
            continue;
        }
        let is_read = stored.insert(request.object, ()).is_some();
        let enters = match fill {
            MemoryFill::Read => is_read,
            MemoryFill::Write => !is_read,
            MemoryFill::Both => true,
        };
        if enters {
            tier.put(digest, KEY_BYTES + request.bytes + overhead);
        }
    }
    hits as f64 * 100.0 / gets.max(1) as f64
}
