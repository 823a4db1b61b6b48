//! A cache from configuration alone: which layers it has is data too.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Cache, DiskCache, MemoryCache};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::error::{Error, Result};

/// Where a cache keeps entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Memory: alone, or as the hot tier of a disk.
    Memory,
    /// A directory.
    Disk,
}

/// What [`open`] opens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// In the order in which they are asked: `["memory", "disk"]`, `["disk"]` or `["memory"]`.
    pub layers: Vec<Layer>,
    /// The directory of the disk.
    pub dir: Option<PathBuf>,
    /// All other settings. Of a cache in memory alone only `memory_bytes` (its capacity), `memory_max_item_bytes`,
    /// `max_value_bytes`, `max_key_bytes`, `default_ttl_ms` and `retention_ms` mean anything.
    pub settings: Config,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { layers: vec![Layer::Disk], dir: None, settings: Config::default() }
    }
}

impl CacheConfig {
    /// Checks that layers, directory and memory fit each other, and every limit of the settings.
    ///
    /// # Errors
    /// `InvalidConfig`, which says what to change.
    pub fn validate(&self) -> Result<()> {
        let bad = |text: &str| Err(Error::InvalidConfig(text.into()));
        let has_memory = self.settings.memory_bytes > 0;
        match (&self.layers[..], &self.dir, has_memory) {
            ([Layer::Memory], Some(_), _) => bad(
                "layers is [memory], and dir is given; leave dir out, or make layers [memory, disk] to keep entries there",
            ),
            ([Layer::Memory], None, false) => {
                bad("layers is [memory], and settings.memory_bytes is 0; set it to the memory that the cache may take")
            }
            ([Layer::Memory, Layer::Disk] | [Layer::Disk], None, _) => {
                bad("layers has disk, and dir is not given; set it to the directory of the cache")
            }
            ([Layer::Memory, Layer::Disk], Some(_), false) => bad(
                "layers is [memory, disk], and settings.memory_bytes is 0; set it to the memory of the hot tier, or make \
                 layers [disk]",
            ),
            ([Layer::Disk], Some(_), true) => {
                bad("layers is [disk], and settings.memory_bytes is not 0; set it to 0, or make layers [memory, disk]")
            }
            ([Layer::Memory] | [Layer::Disk] | [Layer::Memory, Layer::Disk], ..) => self.settings.validate(),
            _ => {
                bad("layers must be [memory, disk], [disk] or [memory]: memory is asked before the disk, and each once")
            }
        }
    }
}

/// Opens the cache that a configuration describes. Close it with [`Cache::close`].
///
/// Cancel safe: as [`Builder::open`](super::Builder::open).
///
/// # Errors
/// `InvalidConfig` if layers, directory and settings do not fit each other; else as
/// [`Builder::open`](super::Builder::open).
///
/// # Panics
/// Outside of a tokio runtime with time enabled, if there is a disk.
pub async fn open(config: CacheConfig) -> Result<Arc<dyn Cache>> {
    config.validate()?;
    match config.dir {
        Some(dir) => Ok(Arc::new(DiskCache::builder(dir).config(config.settings).open().await?)),
        None => Ok(Arc::new(MemoryCache::with_config(&config.settings, Arc::new(SystemClock)))),
    }
}
