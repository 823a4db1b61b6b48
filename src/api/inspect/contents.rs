//! A directory whose footers were read once, to walk its entries and ask for many keys.

use super::entries::EntryInfo;
use super::fold::{Fold, Newest};
use super::object::{Files, Judge, stays};
use super::summary::of_segment;
use super::{Finding, Inspector};
use crate::error::Result;
use crate::format::manifest::Manifest;
use crate::format::segment_header::group_of;
use crate::types::RecordKind;

/// What a directory held when its footers were read. A segment that the cache frees later takes its entries with it: they
/// are then found changing or damaged, and no other bytes are taken for theirs.
pub struct Contents {
    inspector: Inspector,
    manifest: Manifest,
    fold: Fold,
    is_changing: bool,
    damaged_places: u64,
    all: Vec<Newest>,
}

impl Inspector {
    /// Reads every footer. Memory as for the summary, as long as this is held.
    ///
    /// # Errors
    /// As [`Inspector::summary`].
    pub async fn contents(&self) -> Result<Contents> {
        let manifest = self.manifest().await?;
        let mut damaged_places = 0;
        let mut look = |one: &_| damaged_places += of_segment(one).damaged_records;
        let (fold, is_changing) = self.fold(&manifest, Fold::of_all(manifest.cleared), &mut look).await?;
        let own = fold.own(&manifest.seed);
        let is_entry = |newest: &&Newest| fold.fate(newest, self.now).is_indexed() && Some(newest.at) != own;
        let mut all: Vec<Newest> = fold.all().filter(is_entry).copied().collect();
        all.sort_unstable_by_key(|newest| newest.at);
        Ok(Contents { inspector: self.clone(), manifest, fold, is_changing, damaged_places, all })
    }
}

impl Contents {
    /// Damaged places that were met, which may have held more entries. Of sealed segments only the footers were read.
    pub fn damaged_places(&self) -> u64 {
        self.damaged_places
    }

    /// How many entries [`Contents::entries`] shows at most.
    pub fn most_entries(&self) -> u64 {
        self.all.len() as u64
    }

    /// The entries, one after the other, in the order of the files.
    pub fn entries(&self) -> Entries<'_> {
        Entries {
            contents: self,
            judge: Judge::new(&self.inspector, &self.manifest, &self.fold),
            files: Files::new(&self.inspector),
            rest: self.all.iter(),
        }
    }

    /// The group of a namespace, as [`SegmentSummary::group`](super::SegmentSummary::group) has it.
    pub fn group_of(&self, namespace: &str) -> String {
        format!("{:016x}", group_of(&self.manifest.seed, namespace))
    }

    /// What the cache would answer for `key`, as [`Inspector::get`] has it, but of the footers that were read. The value
    /// is [`Inspector::value`]'s.
    ///
    /// # Errors
    /// `Io`.
    pub async fn get(&self, key: &[u8]) -> Result<Finding> {
        self.inspector.find(&self.manifest, &self.fold, key, self.is_changing).await
    }
}

/// The entries of a directory, as they are read.
pub struct Entries<'a> {
    contents: &'a Contents,
    judge: Judge<'a>,
    files: Files<'a>,
    rest: std::slice::Iter<'a, Newest>,
}

impl Entries<'_> {
    /// The next entry that the index would hold; none at the end. Reads its header and its key.
    ///
    /// # Errors
    /// `Io`.
    pub async fn next(&mut self) -> Result<Option<EntryInfo>> {
        let Contents { inspector, fold, .. } = self.contents;
        for newest in self.rest.by_ref() {
            let Some(mut entry) = inspector.entry(fold, newest, &mut self.files).await? else { continue };
            if newest.kind == RecordKind::Head {
                let judged = self.judge.judge(newest).await?;
                if !stays(fold, newest, &judged) {
                    continue;
                }
                entry.of_object(&mut self.judge, judged);
            }
            return Ok(Some(entry));
        }
        Ok(None)
    }
}
