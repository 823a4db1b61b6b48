//! What was done to each key, in order, and how far it was acknowledged: against this a cache is judged after a fault.
//!
//! One writer at a time writes to a key. What returned as `Synced`, and a removal that returned, must survive; what failed
//! or was still under way may have happened or not, and a write that failed has taken the older value with it.

use serde::{Deserialize, Serialize};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// This version was set.
    Set(u32),
    /// The key was deleted, or everything was cleared.
    Removed,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It did not, or it promised nothing.
    Open,
    /// It was durable at this moment.
    Durable(u64),
    /// It failed or was refused: the older value is gone with it.
    Failed,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Event {
    deed: Deed,
    ending: Ending,
}

/// The ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ledger {
    keys: Vec<Vec<Event>>,
    version: u32,
}

/// What `get` said: the key and version of the value, or that it is no value that was ever made.
pub type Answer = Option<Option<(u32, u32)>>;

impl Ledger {
    /// For so many keys, none of which was ever written.
    pub fn new(keys: u32) -> Self {
        Self { keys: vec![Vec::new(); keys as usize], version: 0 }
    }

    /// How many keys there are.
    pub fn keys(&self) -> u32 {
        self.keys.len() as u32
    }

    /// How many deeds are durable.
    pub fn durable(&self) -> u64 {
        let all = self.keys.iter().flatten();
        all.filter(|event| matches!(event.ending, Ending::Durable(_))).count() as u64
    }

    /// Whether anything failed or was refused.
    pub fn has_failed(&self) -> bool {
        self.keys.iter().flatten().any(|event| event.ending == Ending::Failed)
    }

    /// A key is about to be set: the version.
    pub fn begin_set(&mut self, key: u32) -> u32 {
        self.version += 1;
        self.keys[key as usize].push(Event { deed: Deed::Set(self.version), ending: Ending::Open });
        self.version
    }

    /// A key is about to be removed.
    pub fn begin_removal(&mut self, key: u32) {
        self.keys[key as usize].push(Event { deed: Deed::Removed, ending: Ending::Open });
    }

    /// How the last deed to a key ended.
    pub fn end(&mut self, key: u32, ending: Ending) {
        if let Some(last) = self.keys[key as usize].last_mut() {
            last.ending = ending;
        }
    }

    /// Judges what a key holds after a fault at a moment. Where entries may be evicted, they may be missing.
    ///
    /// # Errors
    /// What is wrong, or lost.
    pub fn judge(&self, key: u32, answer: Answer, moment: u64, may_forget: bool) -> Result<(), String> {
        let events = &self.keys[key as usize];
        let is_durable = |event: &Event| matches!(event.ending, Ending::Durable(at) if at <= moment);
        let durable = events.iter().rposition(is_durable);
        let since = &events[durable.unwrap_or(0)..];
        let told = || format!("the last durable deed and those after it: {since:?}");
        match answer {
            Some(Some((of, version))) if of == key => {
                let is_set = |event: &Event| event.deed == Deed::Set(version);
                if since.iter().any(is_set) {
                    return Ok(());
                }
                let what = if events.iter().any(is_set) { "is older than allowed" } else { "was never stored" };
                Err(format!("wrong: key {key} has version {version}, which {what}; {}", told()))
            }
            Some(Some((of, version))) => Err(format!("wrong: key {key} has version {version} of key {of}")),
            Some(None) => Err(format!("wrong: key {key} has bytes that were never stored")),
            None => {
                let may_miss = |event: &Event| event.deed == Deed::Removed || event.ending == Ending::Failed;
                if may_forget || durable.is_none() || since.iter().any(may_miss) {
                    return Ok(());
                }
                Err(format!("lost: key {key} is missing; {}", told()))
            }
        }
    }

    /// What a key holds is durable now, whatever came of what was under way.
    pub fn settle(&mut self, key: u32, answer: Answer) {
        let deed = match answer {
            Some(Some((_, version))) => Deed::Set(version),
            Some(None) | None => Deed::Removed,
        };
        self.keys[key as usize] = vec![Event { deed, ending: Ending::Durable(0) }];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(endings: &[(Deed, Ending)]) -> Ledger {
        let mut ledger = Ledger::new(1);
        for (deed, ending) in endings {
            match deed {
                Deed::Set(version) => assert_eq!(ledger.begin_set(0), *version),
                Deed::Removed => ledger.begin_removal(0),
            }
            ledger.end(0, *ending);
        }
        ledger
    }

    #[test]
    fn canary_what_is_older_foreign_garbled_or_missing_is_caught() {
        let ledger = ledger(&[(Deed::Set(1), Ending::Durable(10)), (Deed::Set(2), Ending::Durable(20))]);
        let judge = |answer, moment| ledger.judge(0, answer, moment, false);
        assert!(judge(Some(Some((0, 2))), 20).is_ok());
        assert!(judge(Some(Some((0, 1))), 20).is_err_and(|e| e.starts_with("wrong")));
        assert!(judge(Some(Some((0, 3))), 20).is_err_and(|e| e.contains("never stored")));
        assert!(judge(Some(Some((1, 2))), 20).is_err_and(|e| e.starts_with("wrong")));
        assert!(judge(Some(None), 20).is_err_and(|e| e.starts_with("wrong")));
        assert!(judge(None, 20).is_err_and(|e| e.starts_with("lost")));
        assert!(ledger.judge(0, None, 20, true).is_ok());
        // Before it was acknowledged, either is right, but not none.
        assert!(judge(Some(Some((0, 1))), 15).is_ok() && judge(Some(Some((0, 2))), 15).is_ok());
        assert!(judge(None, 15).is_err() && judge(None, 5).is_ok());
    }

    #[test]
    fn a_removal_stays_done_and_a_failed_write_takes_the_older_value_with_it() {
        let removed = ledger(&[(Deed::Set(1), Ending::Durable(1)), (Deed::Removed, Ending::Durable(2))]);
        assert!(removed.judge(0, Some(Some((0, 1))), 2, true).is_err());
        assert!(removed.judge(0, None, 2, false).is_ok());
        let failed = ledger(&[(Deed::Set(1), Ending::Durable(1)), (Deed::Set(2), Ending::Failed)]);
        for answer in [None, Some(Some((0, 1))), Some(Some((0, 2)))] {
            assert!(failed.judge(0, answer, 9, false).is_ok());
        }
    }
}
