//! All objects of a cache.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::{About, End, Object, Stage};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::types::{Digest, Location, Sequence};

/// The objects that are served, and those that are written.
#[derive(Debug, Default)]
pub struct Objects {
    tables: Mutex<Tables>,
    /// Heads that are served; written under the lock, read without it.
    whole: AtomicUsize,
    /// Chunks of all objects here; likewise.
    chunks: AtomicUsize,
}

/// What an object takes in memory besides its chunks' places: itself, and its entries in the tables. About, for whoever sums up.
const OBJECT_BYTES: u64 = 300;

#[derive(Debug, Default)]
struct Tables {
    by_head: HashMap<Location, Arc<Object>>,
    /// Who has chunks in a slot. In order, so that a schedule can be repeated: no hash table here is gone through.
    by_slot: BTreeMap<u16, BTreeMap<Sequence, Arc<Object>>>,
    /// The newest writer of each key.
    by_key: HashMap<Bytes, (Arc<Object>, About)>,
}

impl Objects {
    /// How many are served.
    pub fn len(&self) -> u64 {
        self.whole.load(Ordering::SeqCst) as u64
    }

    /// Memory that they take, about, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        let chunks = self.chunks.load(Ordering::SeqCst) as u64;
        self.len() * OBJECT_BYTES + chunks * size_of::<Location>() as u64
    }

    /// The object whose head is here.
    pub fn at(&self, head: Location) -> Option<Arc<Object>> {
        if self.len() == 0 {
            return None;
        }
        self.tables.lock().by_head.get(&head).cloned()
    }

    /// The objects with chunks in this slot.
    pub fn in_slot(&self, slot: u16) -> Vec<Arc<Object>> {
        self.tables.lock().by_slot.get(&slot).map(|some| some.values().cloned().collect()).unwrap_or_default()
    }

    /// The object that is being written under this key, and what is known of it.
    pub fn writing(&self, key: &[u8]) -> Option<(Arc<Object>, About)> {
        self.tables.lock().by_key.get(key).cloned()
    }

    /// A writer begins.
    pub fn open(&self, object: &Arc<Object>, about: About) {
        self.tables.lock().by_key.insert(about.key.clone(), (object.clone(), about));
    }

    /// A writer is done with its key.
    pub fn close(&self, object: &Object, key: &[u8]) {
        let mut tables = self.tables.lock();
        if tables.by_key.get(key).is_some_and(|(newest, _)| newest.id == object.id) {
            tables.by_key.remove(key);
        }
    }

    /// The log has the object's next chunk, of so many bytes. Whether it takes it: it may have ended.
    pub fn add_chunk(&self, object: &Arc<Object>, at: Location, len: usize) -> bool {
        let mut tables = self.tables.lock();
        let mut inner = object.inner.lock();
        if inner.stage != Stage::Writing {
            return false;
        }
        inner.chunks.push(at);
        inner.drop_front(len);
        self.chunks.fetch_add(1, Ordering::SeqCst);
        tables.by_slot.entry(at.slot).or_default().insert(object.id, object.clone());
        true
    }

    /// The object's head stands here: it is an entry now. Whether it is: it may have ended.
    pub fn finish(&self, object: &Arc<Object>, digest: Digest, head: Location) -> bool {
        let mut tables = self.tables.lock();
        let mut inner = object.inner.lock();
        if inner.stage != Stage::Writing {
            return false;
        }
        (inner.stage, inner.is_complete) = (Stage::Whole { head: Some((digest, head)) }, true);
        drop(inner);
        tables.by_head.insert(head, object.clone());
        self.whole.store(tables.by_head.len(), Ordering::SeqCst);
        true
    }

    /// Takes in an object that was found whole, with its head.
    pub fn adopt(&self, object: Arc<Object>, digest: Digest, head: Location) {
        let mut tables = self.tables.lock();
        let mut inner = object.inner.lock();
        if let Stage::Whole { head: own } = &mut inner.stage {
            *own = Some((digest, head));
        }
        for at in &inner.chunks {
            tables.by_slot.entry(at.slot).or_default().insert(object.id, object.clone());
        }
        self.chunks.fetch_add(inner.chunks.len(), Ordering::SeqCst);
        drop(inner);
        tables.by_head.insert(head, object);
        self.whole.store(tables.by_head.len(), Ordering::SeqCst);
    }

    /// The head moved.
    pub fn move_head(&self, from: Location, to: Location) {
        let mut tables = self.tables.lock();
        let Some(object) = tables.by_head.remove(&from) else { return };
        if let Stage::Whole { head: Some((_, head)) } = &mut object.inner.lock().stage {
            *head = to;
        }
        tables.by_head.insert(to, object);
    }

    /// A chunk moved, if it is still where it was and the object is still one.
    pub fn move_chunk(&self, object: &Arc<Object>, from: Location, to: Location) -> bool {
        let mut tables = self.tables.lock();
        let mut inner = object.inner.lock();
        let is_here = tables.by_slot.get(&from.slot).is_some_and(|some| some.contains_key(&object.id));
        let Some(chunk) = inner.chunks.iter_mut().find(|at| **at == from).filter(|_| is_here) else { return false };
        *chunk = to;
        let has_left = inner.chunks.iter().all(|at| at.slot != from.slot);
        drop(inner);
        tables.by_slot.entry(to.slot).or_default().insert(object.id, object.clone());
        if has_left {
            tables.leave(from.slot, object.id);
        }
        true
    }

    /// The entry whose head is here is not served any more: its chunks are dead. Who reads it may go on as long as they are
    /// there. Returns the chunks.
    #[must_use]
    pub fn replace(&self, head: Location) -> Vec<Location> {
        if self.len() == 0 {
            return Vec::new();
        }
        let mut tables = self.tables.lock();
        let Some(object) = tables.by_head.get(&head).cloned() else { return Vec::new() };
        let chunks = self.remove(&mut tables, &object);
        if let Stage::Whole { head } = &mut object.inner.lock().stage {
            *head = None;
        }
        chunks
    }

    /// The object ends, whatever it was: what of it was served or written is dead. Returns the chunks that counted till now.
    #[must_use]
    pub fn end(&self, object: &Object, why: End) -> Vec<Location> {
        let mut tables = self.tables.lock();
        let chunks = self.remove(&mut tables, object);
        drop(tables);
        let mut inner = object.inner.lock();
        if !matches!(inner.stage, Stage::Over(_)) {
            inner.stage = Stage::Over(why);
        }
        (inner.rest, inner.rest_bytes) = (Vec::new(), 0);
        drop(inner);
        object.progress.notify_waiters();
        chunks
    }

    /// Every object ends. Returns the chunks that counted till now.
    #[must_use]
    pub fn end_all(&self, why: End) -> Vec<Location> {
        let objects: BTreeMap<Sequence, Arc<Object>> = {
            let tables = self.tables.lock();
            let written = tables.by_key.values().map(|(object, _)| object);
            let some = tables.by_slot.values().flat_map(BTreeMap::values).chain(written);
            some.map(|object| (object.id, object.clone())).collect()
        };
        objects.values().flat_map(|object| self.end(object, why)).collect()
    }

    fn remove(&self, tables: &mut Tables, object: &Object) -> Vec<Location> {
        let inner = object.inner.lock();
        if let Stage::Whole { head: Some((_, head)) } = inner.stage {
            tables.by_head.remove(&head);
            self.whole.store(tables.by_head.len(), Ordering::SeqCst);
        }
        let mut was_here = false;
        for at in &inner.chunks {
            was_here |= tables.leave(at.slot, object.id);
        }
        if !was_here {
            return Vec::new();
        }
        self.chunks.fetch_sub(inner.chunks.len(), Ordering::SeqCst);
        inner.chunks.clone()
    }
}

impl Tables {
    fn leave(&mut self, slot: u16, id: Sequence) -> bool {
        let Some(some) = self.by_slot.get_mut(&slot) else { return false };
        let was_here = some.remove(&id).is_some();
        if some.is_empty() {
            self.by_slot.remove(&slot);
        }
        was_here
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_takes_what_is_said() {
        // Its counts of references, and a place in two hash tables that are at least half full, with their bytes of tags.
        let by_head = size_of::<(Location, Arc<Object>)>() + 1;
        let by_slot = size_of::<(Sequence, Arc<Object>)>() + 1;
        let took = (size_of::<Object>() + 2 * size_of::<usize>() + 2 * (by_head + by_slot)) as u64;
        assert!((OBJECT_BYTES * 2 / 3..=OBJECT_BYTES).contains(&took), "{took} bytes");
    }
}
