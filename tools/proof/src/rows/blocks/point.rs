//! A point of a log where the power goes: which of its writes are on the disk.
//!
//! Everything before the last flush is. Of what came after it: all (a prefix), any subset, or one of these with its last
//! write torn between sectors of 512 bytes.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Result;

use super::log::{Entry, Log};
use crate::common::Dice;
use crate::machine::Image;

const SECTOR_BYTES: usize = 512;

/// What is on the disk of what was not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// All.
    Prefix,
    /// Any.
    Subset,
    /// All or any, the last in part.
    Torn,
}

/// The point.
#[derive(Debug, Clone)]
pub struct Point {
    /// Its number among those of its log.
    pub number: u64,
    /// How many entries came before.
    pub entries: usize,
    /// What is on the disk.
    pub way: Way,
    dice: Dice,
}

impl Point {
    /// Draws one.
    pub fn draw(seed: u64, number: u64, log: &Log) -> Self {
        let mut dice = Dice::new(seed << 20 | number);
        let entries = 1 + dice.below(log.entries.len() as u64) as usize;
        let way = [Way::Prefix, Way::Subset, Way::Subset, Way::Torn][dice.below(4) as usize];
        Self { number, entries, way, dice }
    }

    /// The moment at which the power goes, as a length of the log.
    pub fn moment(&self, log: &Log) -> u64 {
        log.entries[self.entries - 1].end
    }
}

/// The disk on its way through a log.
#[derive(Debug)]
pub struct Replay<'a> {
    log: &'a Log,
    flushed: Image,
    done: usize,
}

impl<'a> Replay<'a> {
    /// Begins with the disk before the log.
    pub fn new(log: &'a Log, before: Image) -> Self {
        Self { log, flushed: before, done: 0 }
    }

    /// Writes the disk of a point into a file. Points come in the order of the log.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn build(&mut self, point: &Point, path: &Path) -> Result<()> {
        let before = &self.log.entries[..point.entries];
        let flushed = before.iter().rposition(|entry| entry.is_flush).map_or(0, |last| last + 1);
        while self.done < flushed {
            let entry = &self.log.entries[self.done];
            self.flushed.write(entry.offset, &self.bytes(entry));
            self.done += 1;
        }
        self.flushed.save(path)?;
        let file = OpenOptions::new().write(true).open(path)?;
        let mut dice = point.dice.clone();
        let is_subset = point.way == Way::Subset || point.way == Way::Torn && dice.one_in(2);
        let open = &before[flushed..];
        for (n, entry) in open.iter().enumerate() {
            let is_last = n + 1 == open.len();
            if point.way == Way::Torn && is_last {
                for (offset, sector) in torn(entry, &self.bytes(entry), &mut dice) {
                    file.write_all_at(&sector, offset)?;
                }
            } else if !is_subset || dice.one_in(2) {
                file.write_all_at(&self.bytes(entry), entry.offset)?;
            }
        }
        Ok(())
    }

    fn bytes(&self, entry: &Entry) -> Vec<u8> {
        self.log.data(entry).map_or_else(|| vec![0; entry.len], <[u8]>::to_vec)
    }
}

/// The sectors of a write that are on the disk: the first ones, or any.
fn torn(entry: &Entry, bytes: &[u8], dice: &mut Dice) -> Vec<(u64, Vec<u8>)> {
    let sectors = bytes.chunks(SECTOR_BYTES).enumerate();
    let first = dice.below(bytes.len() as u64 / SECTOR_BYTES as u64 + 1) as usize;
    let is_any = dice.one_in(2);
    sectors
        .filter(|(n, _)| if is_any { dice.one_in(2) } else { *n < first })
        .map(|(n, sector)| (entry.offset + (n * SECTOR_BYTES) as u64, sector.to_vec()))
        .collect()
}
