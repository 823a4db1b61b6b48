//! Whether what was seen of a key can have happened one after the other.
//!
//! Every operation has an interval on one counter that all tasks share: it took effect at some moment between its begin
//! and its end. All operations that name one value (its set, and the gets that returned it) are a cluster; a delete is
//! one of its own, and so is a refused set, and a get that missed, since eviction may have emptied the key at any moment before. The key holds
//! one value at a time and no value twice, so clusters must not interleave (Gibbons and Korach, 1997): a value is there
//! from its cluster's first end to its last begin, if these stand in this order (a forward zone). Two forward zones must not
//! overlap, and nothing else may lie within one, from its latest begin to its earliest end. This is exact, and holds for several
//! writers of a key at once.

use std::collections::BTreeMap;

/// What an operation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// It set this version, which expires by the time of the clock that is given; `u64::MAX`: never.
    Set {
        /// Of the value: no other set has it.
        version: u32,
        /// By then it has expired for sure.
        dead_by: u64,
    },
    /// It was refused, which leaves nothing.
    Refused,
    /// It returned this version. `clock` is the time when it began.
    Got {
        /// Of the value.
        version: u32,
        /// When it began.
        clock: u64,
    },
    /// It deleted the key.
    Deleted,
    /// It found nothing.
    Missed,
}

/// An operation on a key.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// On the counter.
    pub begin: u64,
    /// On the counter.
    pub end: u64,
    /// What it did.
    pub did: Did,
}

/// All that named one value.
#[derive(Debug, Clone, Copy)]
struct Cluster {
    /// The earliest end.
    first_end: u64,
    /// The latest begin.
    last_begin: u64,
    dead_by: u64,
    /// Its set was seen.
    is_set: bool,
}

impl Cluster {
    fn of(event: &Event) -> Self {
        Self { first_end: event.end, last_begin: event.begin, dead_by: u64::MAX, is_set: false }
    }

    fn is_forward(&self) -> bool {
        self.first_end < self.last_begin
    }
}

/// What is carried on of a key: the values that may still be there.
#[derive(Debug, Clone, Default)]
pub struct History {
    values: BTreeMap<u32, Cluster>,
}

impl History {
    /// Judges what happened since the last call, all of which has ended.
    ///
    /// # Errors
    /// It cannot have happened: how.
    pub fn judge(&mut self, events: &[Event]) -> Result<(), String> {
        let mut gone = Vec::new();
        for event in events {
            let version = match event.did {
                Did::Refused | Did::Deleted | Did::Missed => {
                    gone.push(Cluster::of(event));
                    continue;
                }
                Did::Set { version, .. } | Did::Got { version, .. } => version,
            };
            let cluster = self.values.entry(version).or_insert(Cluster::of(event));
            cluster.last_begin = cluster.last_begin.max(event.begin);
            cluster.first_end = cluster.first_end.min(event.end);
            if let Did::Set { dead_by, .. } = event.did {
                (cluster.is_set, cluster.dead_by) = (true, dead_by);
            }
        }
        self.judge_gets(events)?;
        self.judge_zones(&gone)?;
        self.forget(&gone);
        Ok(())
    }

    fn judge_gets(&self, events: &[Event]) -> Result<(), String> {
        for event in events {
            let Did::Got { version, clock } = event.did else { continue };
            match self.values.get(&version) {
                Some(cluster) if !cluster.is_set => {
                    return Err(format!("version {version} is stale, or was never set: {event:?}"));
                }
                Some(cluster) if clock >= cluster.dead_by => {
                    return Err(format!("version {version} was served at {clock}, dead by {}", cluster.dead_by));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn judge_zones(&self, gone: &[Cluster]) -> Result<(), String> {
        let mut forward: Vec<_> = self.values.iter().filter(|(_, c)| c.is_forward()).collect();
        forward.sort_by_key(|(_, c)| c.first_end);
        for pair in forward.windows(2) {
            let ((one, a), (other, b)) = (pair[0], pair[1]);
            if b.first_end < a.last_begin {
                return Err(format!("versions {one} and {other} were there in turns: {a:?}, {b:?}"));
            }
        }
        let backward = self.values.iter().filter(|(_, c)| !c.is_forward()).map(|(v, c)| (Some(*v), *c));
        for (version, inner) in backward.chain(gone.iter().map(|c| (None, *c))) {
            // They are disjoint: only the last that begins before it can hold it.
            let at = forward.partition_point(|(_, c)| c.first_end < inner.last_begin);
            let Some((outer, zone)) = at.checked_sub(1).and_then(|at| forward.get(at)) else { continue };
            if inner.first_end < zone.last_begin {
                let what = version.map_or("a delete or a miss".to_owned(), |v| format!("version {v}"));
                return Err(format!("version {outer} was there before and after {what}: {zone:?}, {inner:?}"));
            }
        }
        Ok(())
    }

    /// Values that something came after for sure are not carried on: who still sees one sees what was never set.
    fn forget(&mut self, gone: &[Cluster]) {
        let latest = self.values.values().chain(gone).map(|c| c.last_begin).max().unwrap_or(0);
        let newest = |c: &Cluster| c.last_begin == latest;
        self.values.retain(|_, c| newest(c) || c.first_end >= latest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(begin: u64, end: u64, version: u32) -> Event {
        Event { begin, end, did: Did::Set { version, dead_by: u64::MAX } }
    }

    fn got(begin: u64, end: u64, version: u32) -> Event {
        Event { begin, end, did: Did::Got { version, clock: 0 } }
    }

    fn gone(begin: u64, end: u64) -> Event {
        Event { begin, end, did: Did::Missed }
    }

    fn holds(parts: &[&[Event]]) -> bool {
        let mut history = History::default();
        parts.iter().all(|events| history.judge(events).is_ok())
    }

    #[test]
    fn what_can_have_happened_is_let_through() {
        let table: &[&[&[Event]]] = &[
            &[&[set(1, 2, 1), got(3, 4, 1), set(5, 6, 2), got(7, 8, 2)]],
            &[&[set(1, 9, 1), set(2, 8, 2), got(3, 4, 2), got(5, 6, 1)]],
            &[&[set(1, 9, 1), got(2, 3, 1), gone(4, 5)]],
            &[&[set(1, 2, 1), gone(3, 6), got(4, 5, 1)]],
            &[&[set(1, 2, 1)], &[got(3, 4, 1)], &[gone(5, 6)], &[gone(7, 8)]],
            &[&[set(1, 5, 1), set(2, 6, 2)], &[got(7, 8, 1)], &[got(9, 10, 1)]],
            &[&[got(1, 4, 1), set(2, 3, 1)]],
        ];
        for parts in table {
            assert!(holds(parts), "{parts:?}");
        }
    }

    #[test]
    fn canary_what_cannot_have_happened_is_caught() {
        let expired = Event { begin: 1, end: 2, did: Did::Set { version: 1, dead_by: 7 } };
        let late = Event { begin: 3, end: 4, did: Did::Got { version: 1, clock: 7 } };
        let table: &[(&str, &[&[Event]])] = &[
            ("stale", &[&[set(1, 2, 1), set(3, 4, 2), got(5, 6, 1)]]),
            (
                "stale, told apart by a get alone",
                &[&[set(1, 9, 1), set(2, 9, 2), got(3, 4, 1), got(5, 6, 2), got(7, 8, 1)]],
            ),
            ("back after a delete", &[&[set(1, 2, 1), gone(3, 4), got(5, 6, 1)]]),
            ("back after a miss", &[&[set(1, 2, 1), gone(3, 4)], &[got(5, 6, 1)]]),
            ("stale, later", &[&[set(1, 2, 1), set(3, 4, 2)], &[got(5, 6, 1)]]),
            ("never set", &[&[got(1, 2, 1)]]),
            ("expired", &[&[expired, late]]),
        ];
        for (what, parts) in table {
            assert!(!holds(parts), "{what}");
        }
    }
}
