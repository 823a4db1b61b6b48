//! What eviction dropped lately is kept over a clean close, in an entry of the cache's own: so that it knows at once which
//! entries of before went too early, and how the room is best split.

use std::sync::Arc;

use bytes::Bytes;

use super::Engine;
use super::set::Put;
use crate::entry::SetOptions;
use crate::format::digest::digest;
use crate::format::ghosts::{self, KEY};
use crate::types::Durability;

/// It takes this part of the capacity at most, and this many bytes, since an open reads it; and no more than half of a segment, so
/// that it is one record.
const SHARE: u64 = 256;
const MOST_BYTES: u64 = 16 << 20;
/// A fingerprint's.
const PRINT_BYTES: u64 = 4;

impl Engine {
    /// Keeps them, if there is room at once.
    pub(super) async fn keep_ghosts(self: &Arc<Self>) {
        let most_bytes =
            (self.config.capacity_bytes / SHARE).min(MOST_BYTES).min(self.segments.segment_len_bytes() / 2);
        let most = most_bytes / PRINT_BYTES / self.splits.len() as u64;
        let groups = self.namespaces.groups().zip(self.splits.iter());
        let saved: Vec<_> =
            groups.filter_map(|(group, split)| split.save(self.namespaces.tag(group), most as usize)).collect();
        if saved.is_empty() {
            return;
        }
        let options = SetOptions::new().durability(Durability::Written);
        let Ok(times) = self.times(KEY, &options, 0) else { return };
        let (digest, value) = (digest(&self.seed, KEY), Bytes::from(ghosts::encode(&saved)));
        let put = Put { digest, key: KEY, value, options: &options, tagged: None, times, wait: false, flight: None };
        if let Err(error) = self.put(put).await {
            tracing::warn!(%error, "what eviction dropped is not remembered over the restart");
        }
    }

    /// How many entries are the cache's own: none, or that one.
    pub(super) fn own_entries(&self) -> u64 {
        u64::from(self.index.lookup(digest(&self.seed, KEY)).is_some())
    }

    /// Goes on from what was kept. The entry stays until the next close replaces it, or eviction drops it.
    pub(super) async fn load_ghosts(self: &Arc<Self>) {
        let digest = digest(&self.seed, KEY);
        if let Ok(Some(hit)) = self.hit(digest, KEY, false, None).await {
            for saved in ghosts::decode(&hit.value).unwrap_or_default() {
                let group = self.namespaces.group_tagged(saved.tag);
                if self.namespaces.tag(group) == saved.tag {
                    self.split(group).load(saved);
                }
            }
        }
    }
}
