//! Whether what was seen of a key can have happened one after the other.
//!
//! Every operation has an interval on one counter that all tasks share: it took effect at some moment between its begin
//! and its end. All operations that name one value (its set, and the gets that returned it) are a cluster; a delete is
//! one of its own, and so is a refused set, and a get that missed, since eviction may have emptied the key at any moment before. The key holds
//! one value at a time and no value twice, so clusters must not interleave (Gibbons and Korach, 1997): a value is there
//! from its cluster's first end to its last begin, if these stand in this order (a forward zone). Two forward zones must not
//! overlap, and nothing else may lie within one, from its latest begin to its earliest end. This is exact, and holds for several
//! writers of a key at once.
//!
//! A purge of a tag is a delete of each key whose value has it at that moment: so it may not lie within the zone of a value that
//! has the tag, and says nothing of others. A pin says that a miss must have another reason than eviction: where a value that does
//! not expire was there right after it was pinned, and nobody can have replaced, removed, purged or unpinned it since, it must be
//! there. Of each key one task sets and ends the pins.

use std::collections::BTreeMap;

/// Tags that a value may have.
pub const TAGS: u64 = 4;

/// The tag of the value with this version, if it has one.
pub fn tag_of(version: u32) -> Option<u32> {
    (version % 4 == 1).then_some(version / 4 % TAGS as u32)
}

/// A purge of all that has a tag.
#[derive(Debug, Clone, Copy)]
pub struct Purge {
    /// On the counter.
    pub begin: u64,
    /// On the counter.
    pub end: u64,
    /// Of which tag.
    pub tag: u32,
}

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
    /// It pinned what was there, and then got this version.
    Pinned {
        /// Of the value.
        version: u32,
        /// When it began.
        clock: u64,
    },
    /// It ended a pin.
    Unpinned,
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
    /// A value that must be there until something happens to it.
    pinned: Option<Pin>,
}

/// A value that was pinned, and does not expire.
#[derive(Debug, Clone, Copy)]
struct Pin {
    begin: u64,
    end: u64,
    version: u32,
}

impl Pin {
    /// Whether something may have ended it before this moment. What had ended when it began came before it.
    fn is_ended(&self, events: &[Event], purges: &[Purge], before: u64) -> bool {
        let overlaps = |begin: u64, end: u64| end > self.begin && begin < before;
        let is_its_end = |e: &Event| {
            let ends = matches!(e.did, Did::Set { .. } | Did::Refused | Did::Deleted | Did::Unpinned);
            ends && overlaps(e.begin, e.end)
        };
        let is_its_purge = |p: &Purge| tag_of(self.version) == Some(p.tag) && overlaps(p.begin, p.end);
        events.iter().any(is_its_end) || purges.iter().any(is_its_purge)
    }
}

impl History {
    /// Judges what happened since the last call, all of which has ended. `purges` are those of all keys. How many gets found
    /// what had to be there since it was pinned.
    ///
    /// # Errors
    /// It cannot have happened: how.
    pub fn judge(&mut self, events: &[Event], purges: &[Purge]) -> Result<u64, String> {
        let mut gone = Vec::new();
        for event in events {
            let version = match event.did {
                Did::Refused | Did::Deleted | Did::Missed => {
                    gone.push(Cluster::of(event));
                    continue;
                }
                Did::Unpinned => continue,
                Did::Set { version, .. } | Did::Got { version, .. } | Did::Pinned { version, .. } => version,
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
        self.judge_purges(purges)?;
        let kept = self.judge_pins(events, purges)?;
        self.forget(&gone, purges);
        Ok(kept)
    }

    /// Nothing is pinned any more.
    pub fn unpin(&mut self) {
        self.pinned = None;
    }

    fn judge_gets(&self, events: &[Event]) -> Result<(), String> {
        for event in events {
            let (Did::Got { version, clock } | Did::Pinned { version, clock }) = event.did else { continue };
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

    fn judge_purges(&self, purges: &[Purge]) -> Result<(), String> {
        for (version, zone) in self.values.iter().filter(|(_, c)| c.is_forward()) {
            let is_within =
                |p: &&Purge| tag_of(*version) == Some(p.tag) && zone.first_end < p.begin && p.end < zone.last_begin;
            if let Some(purge) = purges.iter().find(is_within) {
                return Err(format!(
                    "version {version} was there before and after a purge of its tag: {zone:?}, {purge:?}"
                ));
            }
        }
        Ok(())
    }

    fn judge_pins(&mut self, events: &[Event], purges: &[Purge]) -> Result<u64, String> {
        let lasts = |version: u32| self.values.get(&version).is_some_and(|c| c.dead_by == u64::MAX);
        let pins = events.iter().filter_map(|event| match event.did {
            Did::Pinned { version, .. } if lasts(version) => Some(Pin { begin: event.begin, end: event.end, version }),
            _ => None,
        });
        let pins: Vec<Pin> = self.pinned.into_iter().chain(pins).collect();
        let mut kept = 0;
        for event in events {
            let is_miss = match event.did {
                Did::Missed => true,
                Did::Got { .. } | Did::Pinned { .. } => false,
                _ => continue,
            };
            let Some(pin) = pins.iter().rfind(|p| p.end < event.begin) else { continue };
            if pin.is_ended(events, purges, event.end) {
                continue;
            }
            if is_miss {
                return Err(format!("version {} is pinned, and was missed: {pin:?}, {event:?}", pin.version));
            }
            kept += 1;
        }
        self.pinned = pins.last().copied().filter(|pin| !pin.is_ended(events, purges, u64::MAX));
        Ok(kept)
    }

    /// Values that something came after for sure are not carried on: who still sees one sees what was never set.
    fn forget(&mut self, gone: &[Cluster], purges: &[Purge]) {
        let latest = self.values.values().chain(gone).map(|c| c.last_begin).max().unwrap_or(0);
        let newest = |c: &Cluster| c.last_begin == latest;
        let is_purged = |version: u32, c: &Cluster| {
            tag_of(version).is_some_and(|tag| purges.iter().any(|p| p.tag == tag && c.first_end < p.begin))
        };
        self.values.retain(|v, c| (newest(c) || c.first_end >= latest) && !is_purged(*v, c));
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
        parts.iter().all(|events| history.judge(events, &[]).is_ok())
    }

    fn did(begin: u64, end: u64, did: Did) -> Event {
        Event { begin, end, did }
    }

    fn pinned(begin: u64, end: u64, version: u32) -> Event {
        did(begin, end, Did::Pinned { version, clock: 0 })
    }

    /// Version 1 has the tag 0, version 2 has none.
    fn purge(begin: u64, end: u64) -> Purge {
        Purge { begin, end, tag: 0 }
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

    #[test]
    fn canary_what_a_purge_must_have_removed_is_caught() {
        assert_eq!((tag_of(1), tag_of(2)), (Some(0), None));
        let judge = |events: &[Event], purges: &[Purge]| History::default().judge(events, purges).is_ok();
        let both = |version| [set(1, 2, version), got(7, 8, version)];
        assert!(!judge(&both(1), &[purge(3, 4)]), "it has the tag");
        assert!(judge(&both(2), &[purge(3, 4)]), "it has not");
        assert!(judge(&both(1), &[Purge { tag: 1, ..purge(3, 4) }]), "it has another one");
        assert!(judge(&[set(1, 4, 1), got(7, 8, 1)], &[purge(3, 5)]), "it was set at the same time");
        assert!(judge(&[set(1, 2, 1), got(3, 8, 1)], &[purge(4, 5)]), "it may have been got before");
        let mut history = History::default();
        assert!(history.judge(&[set(1, 2, 1)], &[purge(3, 4)]).is_ok());
        assert!(history.judge(&[got(5, 6, 1)], &[]).is_err(), "later");
    }

    #[test]
    fn canary_a_pinned_value_that_is_missed_is_caught() {
        let judge = |between: &[Event], purges: &[Purge]| {
            let events = [&[set(1, 2, 1), pinned(3, 4, 1)], between, &[gone(11, 12)]].concat();
            History::default().judge(&events, purges).is_ok()
        };
        assert!(!judge(&[], &[]) && !judge(&[got(5, 6, 1)], &[]), "nothing else happened");
        assert!(!judge(&[], &[Purge { tag: 1, ..purge(5, 6) }]), "a purge of another tag");
        assert!(judge(&[], &[purge(5, 6)]), "it was purged");
        for end in [Did::Unpinned, Did::Deleted, Did::Refused, Did::Set { version: 2, dead_by: 9 }] {
            assert!(judge(&[did(5, 6, end)], &[]), "{end:?}");
            assert!(judge(&[did(3, 4, end)], &[]), "at the same time: {end:?}");
        }
        let expires = [did(1, 2, Did::Set { version: 1, dead_by: 99 }), pinned(3, 4, 1), gone(5, 6)];
        assert!(History::default().judge(&expires, &[]).is_ok());
        let mut history = History::default();
        assert_eq!(history.judge(&[set(1, 2, 1), pinned(3, 4, 1), got(5, 6, 1)], &[]), Ok(1));
        assert!(history.clone().judge(&[gone(7, 8)], &[]).is_err(), "later");
        history.unpin();
        assert!(history.judge(&[gone(7, 8)], &[]).is_ok(), "in the next process");
    }
}
