//! Settings of a namespace, and how the capacity is split between them.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{Config, MIN_SEGMENTS};
use crate::error::{Error, Result};
use crate::types::MAX_NAMESPACE_NAME_BYTES;

/// Most namespaces that are configured.
pub const MAX_NAMESPACES: usize = 64;

/// Settings of a namespace: see [`Config::namespaces`]. One that is not configured works too: it has the time to live and
/// takes the room that plain keys have, and no statistics of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NamespaceConfig {
    /// Its name, 1 to [`MAX_NAMESPACE_NAME_BYTES`] bytes.
    pub name: String,
    /// Time to live of its entries that are set without one, in milliseconds; `None`: [`Config::default_ttl_ms`].
    pub default_ttl_ms: Option<u64>,
    /// Disk space that is kept for it, in bytes; 0: none. As long as it takes no more than that, room for others is not made
    /// at its expense.
    pub share_bytes: u64,
    /// Disk space that it takes at most, in bytes, everything counted; `None`: no limit but the capacity.
    pub quota_bytes: Option<u64>,
}

impl NamespaceConfig {
    /// Whether it has segments of its own.
    pub fn has_group(&self) -> bool {
        self.share_bytes > 0 || self.quota_bytes.is_some()
    }
}

/// Whether a namespace may have this name.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_name(name: &str) -> std::result::Result<(), String> {
    match name.len() {
        1..=MAX_NAMESPACE_NAME_BYTES => Ok(()),
        len => Err(format!("the namespace's name has {len} bytes; it must have 1 to {MAX_NAMESPACE_NAME_BYTES}")),
    }
}

impl Config {
    /// How many segments of this length are kept for plain keys: what the shares leave.
    pub(crate) fn common_segments(&self, segment_len_bytes: u64) -> u64 {
        let shares = self.namespaces.iter().map(|n| n.share_bytes / segment_len_bytes);
        self.max_segments(segment_len_bytes).saturating_sub(shares.sum())
    }

    /// Checks that the namespaces fit the capacity, with segments of this length.
    pub(super) fn validate_namespaces(&self, segment_len_bytes: u64) -> Result<()> {
        let bad = |text: String| Err(Error::InvalidConfig(text));
        if self.namespaces.len() > MAX_NAMESPACES {
            return bad(format!("namespaces are {}; at most {MAX_NAMESPACES}", self.namespaces.len()));
        }
        let least = MIN_SEGMENTS * segment_len_bytes;
        let mut names = HashSet::new();
        // For plain keys, and for whatever else has no segments of its own.
        let mut needed = least;
        for one in &self.namespaces {
            let name = &one.name;
            check_name(name).map_err(Error::InvalidConfig)?;
            if !names.insert(name) {
                return bad(format!("the namespace {name:?} is configured twice"));
            }
            let (share, quota) = (one.share_bytes, one.quota_bytes);
            if share > 0 && share < least {
                return bad(format!(
                    "share_bytes of the namespace {name:?} is {share}; with segments of {segment_len_bytes} bytes it must \
                     be 0, or at least {least}, so that its append streams have room"
                ));
            }
            if let Some(quota) = quota.filter(|&quota| quota < least.max(share)) {
                return bad(format!(
                    "quota_bytes of the namespace {name:?} is {quota}; with its share and segments of {segment_len_bytes} \
                     bytes it must be at least {}",
                    least.max(share)
                ));
            }
            if one.has_group() {
                needed = needed.saturating_add(share.max(least));
            }
        }
        let has = self.max_segments(segment_len_bytes) * segment_len_bytes;
        if needed > has && !self.namespaces.is_empty() {
            return bad(format!(
                "the shares of the namespaces, with {least} bytes for each that has only a quota and for plain keys, are \
                 {needed} bytes; the capacity has {has} for segments"
            ));
        }
        Ok(())
    }
}
