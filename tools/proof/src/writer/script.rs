//! What the writers do: everything follows from a seed, so the parent knows what a killed child was about to do.

use serde::{Deserialize, Serialize};

use crate::common::Dice;

/// Writers of a child.
pub const TASKS: u32 = 8;

/// Every key belongs to one writer, which counts its deeds: the number of a deed is the version of what it sets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Script {
    /// Where the dice begin.
    pub seed: u64,
    /// Keys of each writer.
    pub keys: u32,
    /// The last of so many deeds is waited for until it is `Written`; the others are `Buffered`.
    pub batch: u64,
    /// Values are at least this long,
    pub min_value_bytes: u64,
    /// and shorter than this.
    pub max_value_bytes: u64,
    /// One deed in so many deletes.
    pub deletes_one_in: u64,
}

/// One deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Sets the key to a value of this length.
    Set {
        /// Of the value.
        len: usize,
    },
    /// Deletes the key.
    Delete,
}

impl Script {
    /// The deed of this number of a writer, and its key.
    pub fn deed(&self, task: u32, n: u64) -> (u32, Deed) {
        let mut dice = Dice::new(self.seed ^ (u64::from(task) << 56) ^ n << 8);
        let key = task * self.keys + dice.below(u64::from(self.keys)) as u32;
        if dice.one_in(self.deletes_one_in) {
            return (key, Deed::Delete);
        }
        let spread = self.max_value_bytes - self.min_value_bytes;
        let spread = match dice.below(8) {
            0..4 => spread / 32,
            4..7 => spread / 4,
            _ => spread,
        };
        (key, Deed::Set { len: (self.min_value_bytes + dice.below(spread.max(1))) as usize })
    }

    /// Whether this deed is waited for and told.
    pub fn is_told(&self, n: u64) -> bool {
        n % self.batch == self.batch - 1
    }

    /// All keys.
    pub fn all_keys(&self) -> std::ops::Range<u32> {
        0..TASKS * self.keys
    }
}
