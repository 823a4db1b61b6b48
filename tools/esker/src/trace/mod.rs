//! Request traces: where the requests of a replay come from.
//!
//! A trace is a `NAME.ctr.zst` file (packed binary records, see [`ctr`]), a CSV file with the columns
//! `time,key,size,ttl,op` (see [`text`]; `.csv` or `.csv.zst`), or the built-in workload (see [`synthetic`]). All are
//! streamed: memory holds one request at a time, plus the distinct keys of a CSV file.

pub mod ctr;
pub mod synthetic;
pub mod text;

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Reads; a miss is followed by a set.
    Get,
    /// Writes a new version.
    Set,
    /// Removes.
    Delete,
}

impl Op {
    /// From the number in a trace.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Get, Self::Set, Self::Delete].get(usize::from(code)).copied()
    }
}

/// The key of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// An object's number; its 8 bytes, little-endian, are the key.
    Number([u8; 8]),
    /// A key as written in the trace.
    Text(Arc<[u8]>),
}

impl Key {
    /// The bytes that the cache gets as key.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Number(bytes) => bytes,
            Self::Text(bytes) => bytes,
        }
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// When, in seconds since the trace began.
    pub time_s: u32,
    /// The object's number, the same for the same key.
    pub object: u64,
    /// Its key.
    pub key: Key,
    /// Its length in bytes.
    pub size_bytes: u32,
    /// How long it lives, in seconds; 0 = for ever.
    pub ttl_s: u32,
    /// What to do.
    pub op: Op,
}

/// A stream of requests; it ends at the first error.
pub type Requests = Box<dyn Iterator<Item = Result<Request>> + Send>;

/// Where requests come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trace {
    /// A file.
    File(PathBuf),
    /// The built-in workload.
    Synthetic {
        /// Different seeds give different requests, the same seed always the same.
        seed: u64,
    },
}

/// What a pass over a trace says about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// How many requests.
    pub requests: u64,
    /// How many different objects.
    pub objects: u64,
    /// The sum of the objects' sizes, each taken when it is first seen, in bytes.
    pub unique_bytes: u64,
    /// The largest size in the trace, in bytes.
    pub largest_bytes: u32,
}

impl Trace {
    /// Its name in reports: the file's name without extension.
    pub fn name(&self) -> String {
        match self {
            Self::Synthetic { seed } => format!("synthetic CDN workload (seed {seed})"),
            Self::File(path) => {
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
                let name = [".ctr.zst", ".csv.zst", ".csv"].iter().find_map(|end| name.strip_suffix(end));
                name.map_or_else(|| path.display().to_string(), str::to_owned)
            }
        }
    }

    /// The requests, the first `limit` of them if given.
    ///
    /// # Errors
    /// If the file cannot be opened or its kind is not known.
    pub fn requests(&self, limit: Option<u64>) -> Result<Requests> {
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let all: Requests = match self {
            Self::Synthetic { seed } => Box::new(synthetic::Synthetic::new(*seed).map(Ok)),
            Self::File(path) => open(path)?,
        };
        Ok(Box::new(all.take(limit)))
    }

    /// Reads the whole trace once and sums it up.
    ///
    /// # Errors
    /// If the trace cannot be read.
    pub fn summary(&self, limit: Option<u64>) -> Result<Summary> {
        let mut sizes: HashMap<u64, ()> = HashMap::new();
        let mut sum = Summary::default();
        for request in self.requests(limit)? {
            let request = request?;
            sum.requests += 1;
            sum.largest_bytes = sum.largest_bytes.max(request.size_bytes);
            if sizes.insert(request.object, ()).is_none() {
                sum.objects += 1;
                sum.unique_bytes += u64::from(request.size_bytes);
            }
        }
        Ok(sum)
    }
}

/// How far back a packed trace may refer, as a power of two: 32 MiB. That much is kept in memory, and a hostile file asks
/// for more. `zstd` packs with up to 8 MiB unless it is told otherwise (`--ultra`, `--long`).
const MAX_WINDOW_LOG: u32 = 25;

/// The bytes that are packed in a zstd stream.
fn unpacked(path: &Path, packed: impl Read + Send + 'static) -> Result<Box<dyn Read + Send>> {
    let failed = || format!("cannot read the trace {}", path.display());
    let mut decoder = zstd::Decoder::new(packed).with_context(failed)?;
    decoder.window_log_max(MAX_WINDOW_LOG).with_context(failed)?;
    Ok(Box::new(decoder))
}

fn open(path: &Path) -> Result<Requests> {
    let name = path.to_string_lossy();
    if name.ends_with(".ctr.zst") {
        return Ok(Box::new(ctr::Reader::open(path)?));
    }
    if name.ends_with(".csv") || name.ends_with(".csv.zst") {
        return Ok(Box::new(text::Reader::open(path)?));
    }
    bail!("{name}: not a trace by its name; traces end in .ctr.zst, .csv or .csv.zst")
}
