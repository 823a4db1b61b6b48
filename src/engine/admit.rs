//! What is written to disk at all, and what waits in memory for its second use.

use std::time::Duration;

use super::set::{Put, Times};
use super::{Answer, Engine};
use crate::config::Config;
use crate::entry::{RefuseReason, SetOutcome};
use crate::error::Result;
use crate::evict::{EvictReason, Evicted};
use crate::format::record;
use crate::log::{Appended, Entry, Hold, Order};
use crate::memory::Item;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::types::{AdmissionPolicy, Digest, Durability, Millis, RecordKind};

/// A second, and a day, in milliseconds.
const SECOND_MS: u64 = 1_000;
const DAY_MS: u64 = 86_400_000;

/// The admission policy, which may be another at any time.
pub(super) struct Gate {
    /// Whether everything is written: asked without a lock.
    is_open: AtomicBool,
    state: Mutex<State>,
}

struct State {
    policy: AdmissionPolicy,
    buckets: Vec<Bucket>,
    /// Bytes that were admitted since the policy was set, and those written before that.
    admitted: u64,
    written_before: u64,
    /// Of these, what the buckets know.
    charged: u64,
}

/// Token bucket: fills evenly, holds what a whole interval brings, and may be overdrawn by one entry.
struct Bucket {
    bytes: u64,
    interval_ms: u64,
    tokens: f64,
    filled: Millis,
}

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is written.
    Write,
    /// It is refused.
    Refuse,
    /// It is held, if that can be.
    Hold,
}

impl Gate {
    /// From now on, after so many bytes were written.
    pub(super) fn new(policy: AdmissionPolicy, now: Millis, written: u64) -> Self {
        let is_open = AtomicBool::new(policy == AdmissionPolicy::All);
        Self { is_open, state: Mutex::new(State::new(policy, now, written)) }
    }

    pub(super) fn set(&self, policy: AdmissionPolicy, now: Millis, written: u64) {
        *self.state.lock() = State::new(policy, now, written);
        self.is_open.store(policy == AdmissionPolicy::All, Ordering::SeqCst);
    }

    /// What becomes of a write of so many bytes, after so many were written altogether.
    pub(super) fn judge(&self, len_bytes: u64, now: Millis, written: u64) -> Verdict {
        if self.is_open.load(Ordering::SeqCst) {
            return Verdict::Write;
        }
        let mut state = self.state.lock();
        match state.policy {
            AdmissionPolicy::All => Verdict::Write,
            AdmissionPolicy::SecondUse { .. } => Verdict::Hold,
            AdmissionPolicy::Budget { .. } => state.admits(len_bytes, now, written),
        }
    }
}

impl State {
    fn new(policy: AdmissionPolicy, now: Millis, written: u64) -> Self {
        let bucket = |bytes: u64, interval_ms| Bucket { bytes, interval_ms, tokens: bytes as f64, filled: now };
        let buckets = match policy {
            AdmissionPolicy::Budget { bytes_per_second, bytes_per_day } => {
                let second = bytes_per_second.map(|bytes| bucket(bytes, SECOND_MS));
                second.into_iter().chain(bytes_per_day.map(|bytes| bucket(bytes, DAY_MS))).collect()
            }
            _ => Vec::new(),
        };
        Self { policy, buckets, admitted: 0, written_before: written, charged: 0 }
    }

    fn admits(&mut self, len_bytes: u64, now: Millis, written: u64) -> Verdict {
        // What is written is what was admitted, a little later, and padding, footers and what eviction rewrites besides.
        let used = self.admitted.max(written.saturating_sub(self.written_before));
        let charge = used.saturating_sub(self.charged);
        self.charged += charge;
        let mut has_room = true;
        for bucket in &mut self.buckets {
            bucket.tokens -= charge as f64;
            bucket.fill(now);
            has_room &= bucket.tokens > 0.0;
        }
        if !has_room {
            return Verdict::Refuse;
        }
        self.admitted = self.charged + len_bytes;
        Verdict::Write
    }
}

impl Bucket {
    fn fill(&mut self, now: Millis) {
        let elapsed_ms = now.0.saturating_sub(self.filled.0);
        let brought = self.bytes as f64 * (elapsed_ms as f64 / self.interval_ms as f64);
        self.tokens = (self.tokens + brought).min(self.bytes as f64);
        self.filled = self.filled.max(now);
    }
}

/// Memory for what is held, in bytes.
pub(super) fn held_bytes(config: &Config, policy: AdmissionPolicy) -> u64 {
    match policy {
        AdmissionPolicy::SecondUse { held_bytes } => held_bytes.unwrap_or(config.capacity_bytes / 100),
        _ => 0,
    }
}

impl Engine {
    /// Another admission policy from now on. What is held stays there until it is used.
    pub fn set_admission(&self, policy: AdmissionPolicy) -> Result<()> {
        self.check_open()?;
        Config::validate_admission(policy)?;
        self.log.held.set_capacity_bytes(held_bytes(&self.config, policy));
        self.gate.set(policy, self.clock.now(), self.counters.bytes_written.get());
        Ok(())
    }

    /// What the admission policy makes of a write of so many bytes on disk; none if it is to be written.
    pub(super) fn admit_write(&self, put: &Put<'_>, len_bytes: u64) -> Option<SetOutcome> {
        // There is no other place for it.
        if put.options.is_dirty {
            return None;
        }
        let refuse = || Some(self.refuse(put.digest, RefuseReason::NotAdmitted, put.flight));
        match self.gate.judge(len_bytes, self.clock.now(), self.counters.bytes_written.get()) {
            Verdict::Write => None,
            Verdict::Refuse => refuse(),
            // Whoever wants it to last has it written.
            Verdict::Hold if put.options.durability > Durability::Buffered => None,
            // Not the first time that it is seen.
            Verdict::Hold if self.index.lookup(put.digest).is_some() => None,
            Verdict::Hold if self.log.held.recalls(put.digest, len_bytes) => None,
            Verdict::Hold => {
                if !self.log.held.takes(put.payload_bytes()) {
                    self.log.held.remember(put.digest, len_bytes);
                    return refuse();
                }
                let Times { created, expires, .. } = put.times;
                let (flags, metadata) = put.metadata();
                let item = Item::copy(put.key, metadata, &put.value, created, expires).flagged(flags);
                match self.log.hold(put.digest, item, put.flight.map(|flight| &**flight)) {
                    Hold::Known => None,
                    Hold::Outdated => Some(SetOutcome::Refused { reason: RefuseReason::Evicted }),
                    Hold::Held(dropped) => {
                        self.count_set(put.key);
                        self.counters.entries_held.add_one();
                        for one in dropped {
                            self.counters.entries_unused.add_one();
                            self.tell_unused(&one.item);
                        }
                        Some(SetOutcome::Held)
                    }
                }
            }
        }
    }

    /// Whether a value that is streamed, of which nothing is known, is refused.
    pub(super) fn refuses_streams(&self) -> bool {
        let least = self.config.chunk_len_bytes;
        self.gate.judge(least, self.clock.now(), self.counters.bytes_written.get()) == Verdict::Refuse
    }

    fn tell_unused(&self, item: &Item) {
        if self.listeners.is_heard() {
            let age = Duration::from_millis(self.clock.now().0.saturating_sub(item.created.0));
            let key = bytes::Bytes::copy_from_slice(item.key());
            self.listeners.tell(&Evicted::new(key, EvictReason::Unused, age, 0));
        }
    }

    /// An entry that is held in memory. Its first use takes it to disk, if there is room at once.
    pub(super) async fn find_held(&self, digest: Digest, key: &[u8], counts: bool, given_up: u64) -> Option<Answer> {
        let (item, is_first) = self.log.held.get(digest, counts)?;
        let now = self.clock.now();
        let is_expired = item.is_expired(now);
        let is_purged = self.log.marks.cover(key, item.tags(), item.sequence, item.created);
        if is_expired || is_purged {
            self.log.held.remove(digest, Some(item.sequence));
        }
        if item.key() != key || is_expired || is_purged || self.log.marks.given_up() != given_up {
            return None;
        }
        if counts {
            self.counters.hits_held.add_one();
        }
        if is_first && !self.write_held(digest, &item, false).await {
            self.log.held.unuse(digest, item.sequence);
        }
        Some(Answer::Hit(item.hit(now)))
    }

    /// Writes an entry that was held, unless it is not any more. Whether it could.
    pub(super) async fn write_held(&self, digest: Digest, item: &Item, wait: bool) -> bool {
        let (key, metadata, value) = (item.key(), item.metadata(), item.value());
        let (kind, value_crc) = (RecordKind::Put, record::value_crc(metadata, value));
        let (flags, created, expires, object, flight) = (item.flags, item.created, item.expires, None, None);
        let entry = Entry { kind, digest, key, flags, metadata, value, value_crc, created, expires, object, flight };
        let stream = self.stream_of(key, expires.map(|at| at.0.saturating_sub(created.0)));
        let appended = self.append(stream, &entry, Order::Held(item.sequence), wait).await;
        if let Ok(Ok(Appended::Done(..))) = appended {
            self.counters.bytes_admitted.add(item.payload_bytes());
        }
        matches!(appended, Ok(Ok(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: AdmissionPolicy =
        AdmissionPolicy::Budget { bytes_per_second: Some(1_000), bytes_per_day: Some(100_000) };

    #[test]
    fn a_budget_comes_back_evenly() {
        let gate = Gate::new(BOTH, Millis(0), 5_000);
        let admitted =
            |now, count: u64| (0..count).filter(|_| gate.judge(100, Millis(now), 5_000) == Verdict::Write).count();
        assert_eq!(admitted(0, 20), 10, "as much as a second brings");
        assert_eq!((admitted(500, 20), admitted(1_500, 20), admitted(1_500, 20)), (5, 10, 0));
        // The clock may stand, or step back.
        assert_eq!(admitted(1_000, 20), 0);
    }

    #[test]
    fn whatever_is_written_counts() {
        let gate = Gate::new(BOTH, Millis(0), 0);
        assert_eq!(gate.judge(100, Millis(0), 0), Verdict::Write);
        // Eviction rewrote some.
        assert_eq!(gate.judge(100, Millis(0), 1_100), Verdict::Refuse);
        assert_eq!(gate.judge(100, Millis(90), 1_100), Verdict::Refuse);
        assert_eq!(gate.judge(100, Millis(1_000), 1_100), Verdict::Write);
    }

    #[test]
    fn the_day_has_a_limit_of_its_own() {
        let gate = Gate::new(BOTH, Millis(0), 0);
        let seconds = (0..200u64).filter(|s| gate.judge(1_000, Millis(s * 1_000), 0) == Verdict::Write).count();
        assert!((100..=102).contains(&seconds), "{seconds}");
        assert_eq!(gate.judge(1_000, Millis(DAY_MS), 0), Verdict::Write);
    }
}
