//! The writes of a life: chosen by dice, done one by one or several at once, and told to the model.

use std::time::Duration;

use bytes::Bytes;
use esker::{DiskCache, Durability, Error, SetOptions, SetOutcome};

use super::model::{Fate, Level};
use super::tenants::{door, stream_of, user_key};
use super::{Keeps, Lives};
use crate::common::value;
use crate::streamed::stream;

const SHORT_TTL_MS: u64 = 5_000;

/// Every tag that an entry may have.
pub(super) const TAGS: [&str; 3] = ["red", "green", "blue"];

/// Those that a version has. By its number, so that it takes no dice.
pub(super) fn tags_of(version: u32) -> &'static [&'static str] {
    const OF: [&[&str]; 5] = [&[], &["red"], &[], &["green", "red"], &["blue"]];
    OF[version as usize % OF.len()]
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Write {
    pub(super) key: u32,
    pub(super) version: u32,
    len: usize,
    durability: Durability,
    ttl_ms: Option<u64>,
    /// The same, within the retention.
    lives_ms: Option<u64>,
    created: u64,
    way: Way,
}

/// How a value goes in. By its version, so that it takes no dice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// In one piece.
    Whole,
    /// Piece by piece: in chunks, if it is longer than one.
    Streamed,
    /// The same, after a writer of the same key that gave up in the middle.
    StreamedAgain,
    /// In one piece, and then its metadata once more.
    Renewed,
}

impl Way {
    fn of(version: u32) -> Self {
        match version % 8 {
            0 | 3 | 6 => Self::Streamed,
            5 => Self::StreamedAgain,
            2 => Self::Renewed,
            _ => Self::Whole,
        }
    }
}

impl Write {
    pub(super) async fn run(&self, cache: &DiskCache) -> esker::Result<SetOutcome> {
        let bytes = Bytes::from(value(self.key, self.version, self.len));
        let (door, key) = (door(cache, self.key).map_err(Error::InvalidInput)?, user_key(self.key));
        match self.way {
            Way::Whole => door.set_with(&key, bytes, self.options()).await,
            Way::Renewed => {
                let set = door.set_with(&key, bytes, self.options()).await?;
                let metadata = self.version.to_le_bytes().to_vec();
                let renewed = door.set_metadata(&key, metadata, Durability::Buffered).await?;
                Ok(renewed.filter(|outcome| !outcome.is_stored()).unwrap_or(set))
            }
            Way::Streamed => stream(door, &key, bytes, self.options()).await,
            Way::StreamedAgain => {
                let mut writer = door.writer(&key, self.options()).await?;
                writer.write_bytes(bytes.slice(..bytes.len() / 2)).await?;
                drop(writer);
                stream(door, &key, bytes, self.options()).await
            }
        }
    }

    fn options(&self) -> SetOptions {
        let options = SetOptions::new().durability(self.durability).metadata(self.version.to_le_bytes().to_vec());
        let mut options = options.tags(tags_of(self.version));
        if let Some(ttl) = self.ttl_ms {
            options = options.ttl(Duration::from_millis(ttl));
        }
        options
    }

    pub(super) fn fate(&self) -> Fate {
        let expires = self.lives_ms.map(|ms| self.created + ms);
        Fate::Set { version: self.version, created: self.created, expires }
    }

    pub(super) fn level(&self) -> Level {
        match self.durability {
            Durability::Buffered => Level::Volatile,
            Durability::Written => Level::Written,
            Durability::Synced => Level::Synced,
        }
    }

    /// The append stream that the record goes to.
    pub(super) fn append_stream(&self) -> u8 {
        stream_of(self.key, if self.lives_ms.is_some_and(|ms| ms <= 60_000) { 2 } else { 0 })
    }
}

impl Lives {
    pub(super) async fn write(&mut self, n: u32) -> Result<(), String> {
        let write = self.plan_write(n);
        let outcome = write.run(&self.cache()?).await;
        self.wrote(&write, Some(write.append_stream()), outcome)
    }

    pub(super) fn plan_write(&mut self, n: u32) -> Write {
        self.version += 1;
        let len = match self.dice.below(4) {
            0 => self.dice.below(100),
            1 => self.dice.below(1_000),
            _ => self.dice.below(self.plan.max_value_bytes),
        };
        let durability = match self.dice.below(10) {
            0..6 => Durability::Buffered,
            6..9 => Durability::Written,
            _ => Durability::Synced,
        };
        let ttl_ms = match self.dice.below(6) {
            0 => Some(1 + self.dice.below(SHORT_TTL_MS)),
            1 => Some(100_000),
            _ => None,
        };
        let lives_ms = ttl_ms.into_iter().chain(self.retention_ms).min();
        let (way, len, created) = (Way::of(self.version), len as usize, self.now);
        Write { key: n, version: self.version, len, durability, ttl_ms, lives_ms, created, way }
    }

    pub(super) fn wrote(
        &mut self,
        write: &Write,
        stream: Option<u8>,
        outcome: esker::Result<SetOutcome>,
    ) -> Result<(), String> {
        self.note(format!("{write:?}: {outcome:?}"));
        match outcome {
            Ok(SetOutcome::Stored { durability }) if durability == write.durability => {
                self.model.happened(write.key, write.fate(), write.level(), stream);
            }
            // In memory: no sync is about it.
            Ok(SetOutcome::Held) => self.model.held(write.key, write.fate()),
            // Set, and then refused to be renewed, or not even set.
            Ok(SetOutcome::Refused { .. }) if self.is_stormy && write.way == Way::Renewed => {
                self.model.failed(write.key, write.fate());
            }
            Ok(SetOutcome::Refused { .. }) if self.is_stormy || self.plan.keeps == Keeps::Nothing => {
                self.model.happened(write.key, Fate::Refused, Level::Volatile, None);
            }
            Err(_) if self.is_stormy => self.model.failed(write.key, write.fate()),
            other => return Err(format!("set: {other:?}")),
        }
        Ok(())
    }

    /// Several writes at once, to different keys.
    pub(super) async fn burst(&mut self) -> Result<(), String> {
        let first = self.dice.below(u64::from(self.plan.keys)) as u32;
        let many = 2 + self.dice.below(8) as u32;
        let mut tasks = Vec::new();
        let keys = self.plan.keys;
        for n in (first..first + many).map(|n| n % keys) {
            let (write, cache) = (self.plan_write(n), self.cache()?);
            tasks.push((write, tokio::spawn(async move { write.run(&cache).await })));
        }
        for (write, task) in tasks {
            let outcome = task.await.map_err(|e| format!("set: {e}"))?;
            // Their order among each other is unknown, so they say nothing about the prefix.
            self.wrote(&write, None, outcome)?;
        }
        Ok(())
    }

    /// A get beside a set of the same key sees the old or the new.
    pub(super) async fn set_and_get(&mut self, n: u32) -> Result<(), String> {
        let write = self.plan_write(n);
        let cache = self.cache()?;
        let (outcome, answer) = tokio::join!(write.run(&cache), self.get(n));
        let answer = answer?;
        if answer.is_some() && answer != Some(write.version) {
            self.judge(n, answer)?;
        }
        self.wrote(&write, Some(write.append_stream()), outcome)
    }
}
