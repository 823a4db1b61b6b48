//! All fills under way.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::fill::Fill;
use crate::key::EntryKey;

#[derive(Debug, Default)]
pub(crate) struct Fills(Mutex<HashMap<EntryKey, Vec<Arc<Fill>>>>);

impl Fills {
    pub(crate) fn add(&self, key: EntryKey, fill: Arc<Fill>) {
        self.0.lock().entry(key).or_default().push(fill);
    }

    pub(crate) fn remove(&self, key: &EntryKey, id: u64) {
        let mut all = self.0.lock();
        if let Some(some) = all.get_mut(key) {
            some.retain(|fill| fill.id != id);
            if some.is_empty() {
                all.remove(key);
            }
        }
    }

    /// The fill that becomes the entry with this id.
    pub(crate) fn get(&self, key: &EntryKey, id: u64) -> Option<Arc<Fill>> {
        self.0.lock().get(key)?.iter().find(|fill| fill.id == id).cloned()
    }

    /// Purges the fills of a key, or only that with this id. The id of the newest that was not purged before.
    pub(crate) fn purge(&self, key: &EntryKey, id: Option<u64>) -> Option<u64> {
        let all = self.0.lock();
        let mut newest = None;
        for fill in all.get(key)?.iter().filter(|fill| id.is_none_or(|id| fill.id == id) && !fill.is_purged()) {
            fill.purge();
            newest = Some(fill.id);
        }
        newest
    }

    /// Whether anything is on its way to this key.
    pub(crate) fn has(&self, key: &EntryKey) -> bool {
        self.0.lock().contains_key(key)
    }
}
