//! Removing many entries at once, by what they have in common.

use std::time::Duration;

use bytes::Bytes;

use super::Engine;
use super::set::check_tag;
use crate::error::{Error, Result};
use crate::format::digest::tag_digest;
use crate::format::purge::{MAX_PREFIX_BYTES, Selector};
use crate::types::{Durability, Millis};

impl Engine {
    /// Removes every entry whose key begins with `prefix`, durably.
    pub async fn purge_prefix(&self, prefix: &[u8]) -> Result<()> {
        let len = prefix.len();
        if prefix.is_empty() || len > MAX_PREFIX_BYTES {
            return Err(Error::InvalidInput(format!(
                "the prefix has {len} bytes; it must have 1 to {MAX_PREFIX_BYTES} (`clear` removes everything)"
            )));
        }
        let selector = Selector::Prefix(Bytes::copy_from_slice(prefix));
        if !self.log.takes_purge(&selector) {
            return Err(Error::InvalidInput(format!(
                "the prefix has {len} bytes, and no segment of this cache holds as much; give a shorter one"
            )));
        }
        self.purge(selector).await
    }

    /// Removes every entry that has this tag, durably.
    pub async fn purge_tag(&self, text: &[u8]) -> Result<()> {
        check_tag(text)?;
        self.purge(Selector::Tag(tag_digest(&self.seed, text))).await
    }

    /// Removes every entry that was set more than `age` ago, durably.
    pub async fn purge_older_than(&self, age: Duration) -> Result<()> {
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let before = Millis(self.clock.now().0.saturating_sub(age_ms));
        self.purge(Selector::OlderThan(before)).await
    }

    async fn purge(&self, selector: Selector) -> Result<()> {
        self.check_open()?;
        let written = self.log.purge(&selector, true).await?;
        self.counters.purges.add_one();
        if let Some(half) = self.log.marks.overflow()
            && self.log.clear_up_to(half).await
        {
            self.log.marks.raise_floor(half);
        }
        let Ok(ticket) = written else { return Err(Error::WriteFailed) };
        // What has the tag may have replaced what has it not, and must not be lost before that: it would come back.
        if matches!(selector, Selector::Tag(_)) {
            self.log.settle_written(Durability::Synced).await?;
        }
        self.log.wait(&ticket, Durability::Synced).await
    }
}
