//! Which primary keys there are: a purge by prefix needs them, and the cache finds entries by hash only.
//!
//! Lives in memory: per entry its primary key and about 150 bytes. Esker evicts without telling, so it may name entries that
//! are gone: who purges them finds nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::key::EntryKey;

#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    by_primary: BTreeMap<Arc<[u8]>, Vec<EntryKey>>,
    by_key: HashMap<EntryKey, Name>,
    /// Counts the rebuilds that were begun.
    round: u64,
    /// Whether a rebuild was finished: before, names of entries from earlier lives are missing.
    is_complete: bool,
}

#[derive(Debug)]
struct Name {
    primary: Arc<[u8]>,
    /// The last rebuild that saw it, or during which it was added.
    round: u64,
}

impl Names {
    pub(crate) fn add(&self, key: EntryKey, primary: &[u8]) {
        self.0.lock().add(key, primary);
    }

    pub(crate) fn remove(&self, key: &EntryKey) {
        self.0.lock().remove(key);
    }

    /// The keys whose primary key begins with `prefix`.
    pub(crate) fn with_prefix(&self, prefix: &[u8]) -> Vec<EntryKey> {
        let tables = self.0.lock();
        let from = tables.by_primary.range::<[u8], _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
        from.take_while(|(primary, _)| primary.starts_with(prefix)).flat_map(|(_, keys)| keys.iter().copied()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().by_key.len()
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.0.lock().is_complete
    }

    /// A rebuild begins.
    pub(crate) fn begin_round(&self) {
        self.0.lock().round += 1;
    }

    /// Those of these keys that have no name in this rebuild yet.
    pub(crate) fn unseen(&self, keys: HashSet<EntryKey>) -> Vec<EntryKey> {
        let mut tables = self.0.lock();
        let round = tables.round;
        keys.into_iter()
            .filter(|key| match tables.by_key.get_mut(key) {
                // A name that there is needs no look at the entry.
                Some(name) => {
                    name.round = round;
                    false
                }
                None => true,
            })
            .collect()
    }

    /// The keys that a rebuild did not see.
    pub(crate) fn left_over(&self) -> Vec<EntryKey> {
        let tables = self.0.lock();
        tables.by_key.iter().filter(|(_, name)| name.round < tables.round).map(|(key, _)| *key).collect()
    }

    /// Forgets a key that a rebuild did not see, unless it was added since.
    pub(crate) fn remove_left_over(&self, key: &EntryKey) {
        let mut tables = self.0.lock();
        if tables.by_key.get(key).is_some_and(|name| name.round < tables.round) {
            tables.remove(key);
        }
    }

    /// A rebuild is finished.
    pub(crate) fn end_round(&self) {
        self.0.lock().is_complete = true;
    }
}

impl Tables {
    fn add(&mut self, key: EntryKey, primary: &[u8]) {
        let round = self.round;
        if let Some(name) = self.by_key.get_mut(&key) {
            if &*name.primary == primary {
                name.round = round;
                return;
            }
            self.remove(&key);
        }
        let shared = self.by_primary.get_key_value(primary).map(|(shared, _)| shared.clone());
        let primary = shared.unwrap_or_else(|| primary.into());
        self.by_primary.entry(primary.clone()).or_default().push(key);
        self.by_key.insert(key, Name { primary, round });
    }

    fn remove(&mut self, key: &EntryKey) {
        let Some(Name { primary, .. }) = self.by_key.remove(key) else { return };
        if let Some(keys) = self.by_primary.get_mut(&primary) {
            keys.retain(|other| other != key);
            if keys.is_empty() {
                self.by_primary.remove(&primary);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_find_what_begins_with_them() {
        let names = Names::default();
        for (n, primary) in ["a/1", "a/2", "a", "b/1", "", "a\u{ff}"].into_iter().enumerate() {
            names.add([n as u8; 16], primary.as_bytes());
        }
        let found = |prefix: &str| {
            let mut keys: Vec<u8> = names.with_prefix(prefix.as_bytes()).iter().map(|key| key[0]).collect();
            keys.sort_unstable();
            keys
        };
        assert_eq!(found("a/"), [0, 1]);
        assert_eq!(found("a"), [0, 1, 2, 5]);
        assert_eq!(found(""), [0, 1, 2, 3, 4, 5]);
        assert_eq!(found("c"), [] as [u8; 0]);
        names.remove(&[0; 16]);
        names.add([1; 16], b"c");
        assert_eq!((found("a/"), found("c"), names.len()), (vec![], vec![1], 5));
    }

    #[test]
    fn several_entries_of_one_primary_key_are_told_apart() {
        let names = Names::default();
        names.add([1; 16], b"a");
        names.add([2; 16], b"a");
        assert_eq!(names.with_prefix(b"a").len(), 2);
        names.remove(&[1; 16]);
        assert_eq!(names.with_prefix(b"a"), [[2; 16]]);
    }

    #[test]
    fn a_rebuild_knows_what_it_did_not_see() {
        let names = Names::default();
        names.add([1; 16], b"seen");
        names.add([2; 16], b"not seen");
        assert!(!names.is_complete());
        names.begin_round();
        names.add([3; 16], b"added meanwhile");
        assert_eq!(names.unseen(HashSet::from([[1; 16], [4; 16]])), [[4; 16]]);
        assert_eq!(names.left_over(), [[2; 16]]);
        names.add([2; 16], b"not seen");
        names.remove_left_over(&[2; 16]);
        assert_eq!(names.len(), 3, "added again before it was forgotten");
        names.begin_round();
        names.remove_left_over(&[2; 16]);
        assert_eq!(names.len(), 2);
        names.end_round();
        assert!(names.is_complete());
    }
}
