//! What the parent knows of each key, and what a cache may answer after a kill.
//!
//! A key may show what the last acknowledged deed left, or what a later one did that was not acknowledged; nothing else.
//! In a roomy cache it must show it. In a tight one eviction may have dropped it, the oldest segments first: the last
//! quarter of the capacity that was written must be there all the same.

use super::script::{Deed, Script, TASKS};
use super::{Errand, cost};

/// Segments that a killed process leaves half empty: the open one of each append stream.
const SEGMENTS_A_LIFE: u64 = 3;

/// What is stored under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Gone,
    Set(u32),
}

#[derive(Debug, Clone)]
struct Key {
    /// The first is acknowledged.
    allowed: Vec<State>,
    /// How much had been written when it was.
    at_bytes: u64,
}

/// The ledger.
#[derive(Debug)]
pub struct Ledger {
    script: Script,
    keys: Vec<Key>,
    /// The next deed of each writer.
    next: Vec<u64>,
    written_bytes: u64,
    /// A key that was acknowledged so many bytes ago must be there.
    must_hold_bytes: u64,
    life_bytes: u64,
}

/// How an answer was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// It shows what it may.
    Hit,
    /// It is gone, as it may be.
    Gone,
    /// It is gone, since it was evicted.
    Evicted,
    /// Bytes or a version that must not be shown.
    Wrong(String),
    /// Acknowledged, and not there.
    Lost(String),
}

impl Ledger {
    /// Nothing was written yet.
    pub fn new(errand: &Errand) -> Self {
        let capacity = errand.config.capacity_bytes;
        let segment = errand.config.chosen_segment_len_bytes();
        let key = Key { allowed: vec![State::Gone], at_bytes: 0 };
        Self {
            script: errand.script.clone(),
            keys: vec![key; errand.script.all_keys().len()],
            next: vec![0; TASKS as usize],
            written_bytes: 0,
            must_hold_bytes: if errand.is_roomy { u64::MAX } else { capacity / 4 },
            life_bytes: SEGMENTS_A_LIFE * segment,
        }
    }

    /// The next deed of each writer.
    pub fn next(&self) -> Vec<u64> {
        self.next.clone()
    }

    /// A child was killed, having said this.
    ///
    /// # Errors
    /// It said what is not in the script.
    pub fn killed(&mut self, said: &[u64]) -> Result<(), String> {
        for word in said {
            let (task, n) = ((word >> 48) as u32, word & ((1 << 48) - 1));
            let first = self.next.get(task as usize).copied().unwrap_or(u64::MAX);
            if n < first || n - first >= self.script.batch {
                return Err(format!("writer {task} tells of {n}, though {first} is the next"));
            }
            for done in first..=n {
                let (key, state) = self.deed(task, done);
                self.keys[key as usize] = Key { allowed: vec![state], at_bytes: self.written_bytes };
            }
            self.next[task as usize] = n + 1;
        }
        // Of what was not acknowledged any may have happened; its numbers are not used again.
        for task in 0..TASKS {
            let first = self.next[task as usize];
            for maybe in first..first + self.script.batch {
                let (key, state) = self.deed(task, maybe);
                self.keys[key as usize].allowed.push(state);
            }
            self.next[task as usize] += self.script.batch;
        }
        self.written_bytes += self.life_bytes;
        Ok(())
    }

    fn deed(&mut self, task: u32, n: u64) -> (u32, State) {
        let (key, deed) = self.script.deed(task, n);
        let (state, len) = match deed {
            Deed::Set { len } => (State::Set(n as u32), len),
            Deed::Delete => (State::Gone, 0),
        };
        self.written_bytes += cost(len);
        (key, state)
    }

    /// Judges what a key shows. What it shows once, it shows from then on.
    pub fn judge(&mut self, key: u32, answer: Result<Option<u32>, String>) -> Judged {
        let must_hold = self.must_hold_bytes;
        let age = self.written_bytes - self.keys[key as usize].at_bytes;
        let known = &mut self.keys[key as usize];
        match answer {
            Err(wrong) => Judged::Wrong(wrong),
            Ok(Some(version)) if known.allowed.contains(&State::Set(version)) => {
                known.allowed = vec![State::Set(version)];
                Judged::Hit
            }
            Ok(Some(version)) => {
                Judged::Wrong(format!("key {key}: version {version}, though only {:?} may be shown", known.allowed))
            }
            Ok(None) if known.allowed.contains(&State::Gone) => {
                // In a tight cache it may have been evicted instead: then nothing is known.
                if must_hold == u64::MAX {
                    known.allowed = vec![State::Gone];
                }
                Judged::Gone
            }
            Ok(None) if age <= must_hold => {
                Judged::Lost(format!("key {key}: acknowledged {:?} was lost, {age} bytes later", known.allowed))
            }
            Ok(None) => Judged::Evicted,
        }
    }

    /// All keys.
    pub fn all_keys(&self) -> std::ops::Range<u32> {
        self.script.all_keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::Errand;

    fn ledger(is_roomy: bool) -> Ledger {
        let config = Errand::config(esker::BackendKind::TokioFs, 64, 64 << 10);
        let script =
            Script { seed: 1, keys: 1, batch: 1, min_value_bytes: 12, max_value_bytes: 99, deletes_one_in: 1 << 30 };
        let (first, dir) = (vec![0; TASKS as usize], "unused".into());
        let (most_bytes, origin, group) = (u64::MAX, None, None);
        Ledger::new(&Errand { dir, config, script, first, most_bytes, is_roomy, origin, group, tells_early: false })
    }

    #[test]
    fn canary_what_is_older_forged_or_lost_is_caught() {
        let mut ledger = ledger(true);
        assert_eq!(ledger.killed(&[0, 1, 2]), Ok(()));
        assert!(matches!(ledger.judge(0, Ok(Some(1))), Judged::Wrong(_)), "an older version");
        assert!(matches!(ledger.judge(0, Ok(None)), Judged::Lost(_)), "nothing");
        assert!(matches!(ledger.judge(0, Ok(Some(9))), Judged::Wrong(_)), "one that was never set");
        assert!(matches!(ledger.judge(0, Err("damaged".into())), Judged::Wrong(_)));
        assert_eq!(ledger.judge(0, Ok(Some(3))), Judged::Hit, "the one in flight");
        assert!(matches!(ledger.judge(0, Ok(Some(2))), Judged::Wrong(_)), "an older one after that");
        assert_eq!(ledger.judge(1, Ok(None)), Judged::Gone, "its first set was in flight");
    }

    #[test]
    fn only_what_is_old_may_be_evicted() {
        let mut ledger = ledger(false);
        assert_eq!(ledger.killed(&[0]), Ok(()));
        assert!(matches!(ledger.judge(0, Ok(None)), Judged::Lost(_)));
        ledger.written_bytes += 8 << 20;
        assert_eq!(ledger.judge(0, Ok(None)), Judged::Evicted);
    }
}
