//! Namespaces: every third key is plain, the others are in one of two. What these are given changes from birth to birth.

use esker::{DiskCache, NamespaceConfig};

use super::{Keeps, Lives};
use crate::common::{SEGMENT_LEN_BYTES, key};
use crate::streamed::Door;

const NAMES: [&str; 2] = ["tenant-a", "tenant-b"];
/// A group's fewest segments.
const LEAST: u64 = 5;

/// The namespace that a key is in.
fn tenant(n: u32) -> Option<&'static str> {
    NAMES.get((n % 3).checked_sub(1)? as usize).copied()
}

/// What the user calls it: the same for three keys, of which each is in another place.
pub(super) fn user_key(n: u32) -> Vec<u8> {
    key(n - n % 3)
}

/// Whether two keys are in one namespace, or both in none.
pub(super) fn are_together(a: u32, b: u32) -> bool {
    tenant(a) == tenant(b)
}

/// The way to a key.
pub(super) fn door(cache: &DiskCache, n: u32) -> Result<Door, String> {
    match tenant(n) {
        Some(name) => Door::named(cache, name).map_err(|e| format!("namespace {name}: {e}")),
        None => Ok(cache.into()),
    }
}

/// An append stream of a key, told apart from those of other namespaces, which may have their own.
pub(super) fn stream_of(n: u32, stream: u8) -> u8 {
    stream + STREAMS * (n % 3) as u8
}

/// Streams of each.
pub(super) const STREAMS: u8 = 3;

impl Lives {
    /// The namespaces' settings at a birth: none, a share, a quota, or of both something. Where nothing may be forgotten they
    /// have room enough.
    pub(super) fn namespaces_of_a_birth(&self) -> Vec<NamespaceConfig> {
        let segments = self.capacity_of_a_birth() / SEGMENT_LEN_BYTES - 1;
        let with = |name: usize, share: u64, quota: Option<u64>| NamespaceConfig {
            name: NAMES[name].to_owned(),
            default_ttl_ms: None,
            share_bytes: share * SEGMENT_LEN_BYTES,
            quota_bytes: quota.map(|segments| segments * SEGMENT_LEN_BYTES),
        };
        let is_roomy = self.plan.keeps != Keeps::Nothing;
        let quota = |tight| if is_roomy { segments / 2 } else { tight };
        match self.births.get() % 4 {
            _ if segments < 3 * LEAST => vec![with(0, 0, None)],
            0 => Vec::new(),
            1 => vec![with(0, LEAST, None), with(1, 0, None)],
            2 => vec![with(1, 0, Some(quota(LEAST + 1)))],
            _ => vec![with(0, LEAST, Some(quota(LEAST + 2))), with(1, 0, Some(quota(LEAST)))],
        }
    }
}

/// P5, V4: no namespace takes more than its quota.
pub(super) fn check_quotas(cache: &DiskCache) -> Result<(), String> {
    for one in cache.stats().namespaces {
        if let (Some(used), Some(quota)) = (one.used_bytes, one.quota_bytes)
            && used > quota
        {
            return Err(format!("{} takes {used} bytes, its quota is {quota}", one.name));
        }
    }
    Ok(())
}
