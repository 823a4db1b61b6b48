//! Pinned entries: eviction rewrites them before anything else. In memory only, by the place of the entry's record.
//!
//! A pin is set under the lock of the digest's index shard, for the record that the index points at, and moves with it; it
//! ends when that record is not served any more.

use std::collections::HashMap;

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::Location;

/// See the module's documentation.
#[derive(Debug)]
pub struct Pins {
    /// Bytes of records that may be pinned.
    limit_bytes: u64,
    /// How many there are; written under the lock, read without it.
    len: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    bytes: u64,
    /// What each takes on disk, its chunks included.
    places: HashMap<Location, u64>,
}

impl Pins {
    /// None, and room for so many bytes.
    pub fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, len: AtomicU64::new(0), inner: Mutex::default() }
    }

    /// Pins a record of so many bytes, chunks included. Whether it is pinned now; else there is no room.
    pub fn pin(&self, at: Location, len_bytes: u64) -> bool {
        self.change(|inner| {
            if inner.places.contains_key(&at) {
                return true;
            }
            let has_room = inner.bytes.saturating_add(len_bytes) <= self.limit_bytes;
            if has_room {
                inner.bytes += len_bytes;
                inner.places.insert(at, len_bytes);
            }
            has_room
        })
    }

    /// The record here is not pinned any more; whether it was.
    pub fn end(&self, at: Location) -> bool {
        !self.is_empty() && self.change(|inner| inner.end(at).is_some())
    }

    /// The record moved, and takes so many bytes more, or less. Where there is no room for more the pin ends.
    pub fn moved(&self, from: Location, to: Location, longer_bytes: i64) {
        if self.is_empty() {
            return;
        }
        self.change(|inner| {
            let Some(len_bytes) = inner.end(from).map(|len| len.saturating_add_signed(longer_bytes)) else { return };
            if inner.bytes + len_bytes <= self.limit_bytes {
                inner.bytes += len_bytes;
                inner.places.insert(to, len_bytes);
            }
        });
    }

    /// Nothing is pinned any more.
    pub fn clear(&self) {
        self.change(|inner| *inner = Inner::default());
    }

    /// Whether the record here is pinned. Without a lock where nothing is.
    pub fn holds(&self, at: Location) -> bool {
        !self.is_empty() && self.inner.lock().places.contains_key(&at)
    }

    /// Bytes that are pinned.
    pub fn bytes(&self) -> u64 {
        self.inner.lock().bytes
    }

    /// How many are pinned.
    pub fn len(&self) -> u64 {
        self.len.load(Ordering::SeqCst)
    }

    /// Whether nothing is. Takes no lock.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn change<R>(&self, change: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.inner.lock();
        let result = change(&mut inner);
        self.len.store(inner.places.len() as u64, Ordering::SeqCst);
        result
    }
}

impl Inner {
    fn end(&mut self, at: Location) -> Option<u64> {
        let len_bytes = self.places.remove(&at)?;
        self.bytes -= len_bytes;
        Some(len_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset_units: u32) -> Location {
        Location { slot: 0, offset_units, class: 3 }
    }

    #[test]
    fn pins_have_a_bound_and_move_with_their_records() {
        let pins = Pins::new(100);
        assert!(!pins.holds(at(1)) && !pins.end(at(1)));
        assert!(pins.pin(at(1), 60) && pins.pin(at(1), 60), "one pin, however often it is set");
        assert!(!pins.pin(at(2), 41) && pins.pin(at(2), 40));
        assert_eq!((pins.bytes(), pins.len()), (100, 2));
        pins.moved(at(1), at(9), 0);
        pins.moved(at(5), at(6), 0);
        assert!(pins.holds(at(9)) && !pins.holds(at(1)) && !pins.holds(at(6)));
        pins.moved(at(9), at(10), 1);
        assert_eq!((pins.holds(at(10)), pins.bytes(), pins.len()), (false, 40, 1), "there is no room for more");
        pins.moved(at(2), at(3), -10);
        assert!(pins.holds(at(3)) && pins.bytes() == 30);
        assert!(pins.end(at(3)) && !pins.end(at(3)));
        assert!(pins.pin(at(4), 100));
        pins.clear();
        assert_eq!((pins.bytes(), pins.len()), (0, 0));
    }
}
