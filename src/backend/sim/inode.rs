//! The bytes of one file: what the device has, what is on its way there, what the page cache shows, and its rot.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::chance::Chance;

/// What survives a power loss, or does not, as a whole.
pub(super) const BLOCK: u64 = 4096;
/// What a torn block is torn at.
pub(super) const SECTOR: u64 = 512;

/// How much of what was pending survives a power loss.
#[derive(Debug, Clone, Copy)]
pub(super) enum Survival {
    Nothing,
    Everything,
    /// What was changed before this moment; of what was changed at it, a part.
    Until(u64),
    /// Each block or name for itself: whole with this probability, else gone or torn.
    Scattered(f64),
}

impl Survival {
    /// `pending` are the moments of all changes that are not durable.
    pub(super) fn draw(pending: &mut [u64], chance: &mut Chance) -> Self {
        match chance.below(10) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 | 3 => {
                pending.sort_unstable();
                pending.get(chance.below(pending.len() as u64) as usize).map_or(Self::Everything, |at| Self::Until(*at))
            }
            n => Self::Scattered((n - 3) as f64 / 7.0),
        }
    }

    /// Whether what was changed at `seq` survives as a whole.
    pub(super) fn keeps(self, seq: u64, chance: &mut Chance) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Until(moment) => seq < moment,
            Self::Scattered(p) => chance.hits(p),
        }
    }

    /// Whether what does not survive as a whole may survive in part.
    fn tears(self, seq: u64) -> bool {
        match self {
            Self::Nothing | Self::Everything => false,
            Self::Until(moment) => seq == moment,
            Self::Scattered(_) => true,
        }
    }
}

#[derive(Debug, Clone)]
enum Change {
    /// `grows`: into space that nobody had allocated, so that it is no promise that it reads as zeros.
    Write {
        offset: u64,
        bytes: Arc<Vec<u8>>,
        grows: bool,
    },
    Len(u64),
}

#[derive(Debug, Clone)]
struct Pending {
    seq: u64,
    change: Change,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    /// What the device has.
    durable: Arc<Vec<u8>>,
    /// What reads see.
    cached: Arc<Vec<u8>>,
    /// Changes that are in the page cache but not on the device, oldest first.
    pending: Vec<Pending>,
    /// Damage: a mask per byte offset, laid over what is read. Writing a byte heals it.
    rot: BTreeMap<u64, u8>,
}

impl Inode {
    /// A file whose bytes are durable.
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        let durable = Arc::new(bytes);
        Self { cached: durable.clone(), durable, ..Self::default() }
    }

    pub(super) fn len(&self) -> u64 {
        self.cached.len() as u64
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// What a read of `len` bytes at `offset` sees, rot included.
    pub(super) fn read(&self, offset: u64, len: u64) -> Vec<u8> {
        let end = offset.saturating_add(len).min(self.len());
        if offset >= end {
            return Vec::new();
        }
        let mut bytes = self.cached[offset as usize..end as usize].to_vec();
        for (&at, &mask) in self.rot.range(offset..end) {
            bytes[(at - offset) as usize] ^= mask;
        }
        bytes
    }

    pub(super) fn write(&mut self, seq: u64, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len() as u64;
        let grows = end > self.len();
        put(Arc::make_mut(&mut self.cached), offset, bytes);
        let mut healed = self.rot.split_off(&offset);
        self.rot.append(&mut healed.split_off(&end));
        self.pending.push(Pending { seq, change: Change::Write { offset, bytes: Arc::new(bytes.to_vec()), grows } });
    }

    /// Makes the file `len` bytes long.
    pub(super) fn set_len(&mut self, seq: u64, len: u64) {
        if len != self.len() {
            Arc::make_mut(&mut self.cached).resize(len as usize, 0);
            self.rot.split_off(&len);
            self.pending.push(Pending { seq, change: Change::Len(len) });
        }
    }

    /// Makes changes made before `seq` durable.
    pub(super) fn sync(&mut self, seq: u64) {
        let (done, rest) = std::mem::take(&mut self.pending).into_iter().partition(|p| p.seq < seq);
        self.pending = rest;
        let done: Vec<Pending> = done;
        for pending in done {
            pending.change.apply(Arc::make_mut(&mut self.durable));
        }
    }

    /// A sync that failed: the writes made before `seq` will never reach the device, yet reads go on showing them.
    pub(super) fn lose(&mut self, seq: u64) {
        self.pending.retain(|p| p.seq >= seq || matches!(p.change, Change::Len(_)));
    }

    /// Forgets what the page cache showed beyond the device and what is on its way there.
    pub(super) fn evict_page_cache(&mut self) {
        self.cached = self.durable.clone();
        for pending in &self.pending {
            pending.change.clone().apply(Arc::make_mut(&mut self.cached));
        }
    }

    /// When what is pending was changed.
    pub(super) fn pending_seqs(&self) -> impl Iterator<Item = u64> {
        self.pending.iter().map(|p| p.seq)
    }

    /// What the device has, to be found again in the blocks that are given to another file.
    pub(super) fn on_device(&self) -> Arc<Vec<u8>> {
        self.durable.clone()
    }

    /// `stale`: what shows where a write made the file longer and its data did not survive.
    pub(super) fn power_loss(&mut self, survival: Survival, stale: &[u8], chance: &mut Chance) {
        for Pending { seq, change } in std::mem::take(&mut self.pending) {
            let durable = Arc::make_mut(&mut self.durable);
            match change {
                Change::Write { offset, bytes, grows } => {
                    // The length may get to the device before the data.
                    if grows && survival.tears(seq) && chance.below(4) == 0 {
                        grow(durable, offset + bytes.len() as u64, stale);
                    }
                    survive(durable, seq, offset, &bytes, survival, chance);
                }
                Change::Len(_) if !survival.keeps(seq, chance) => {}
                len @ Change::Len(_) => len.apply(durable),
            }
        }
        self.cached = self.durable.clone();
    }

    /// Lays `mask` over the byte at `offset`; a byte beyond the end stays as it is.
    pub(super) fn damage(&mut self, offset: u64, mask: u8) {
        if offset < self.len() {
            let all = self.rot.entry(offset).or_insert(0);
            *all ^= mask;
            if *all == 0 {
                self.rot.remove(&offset);
            }
        }
    }

    /// Takes all damage away; the pristine bytes show again.
    pub(super) fn heal(&mut self) {
        self.rot.clear();
    }

    /// Cuts the file, on the device too.
    pub(super) fn truncate(&mut self, len: u64) {
        let end = len as usize;
        Arc::make_mut(&mut self.cached).truncate(end);
        Arc::make_mut(&mut self.durable).truncate(end);
        self.rot.split_off(&len);
        self.pending.retain_mut(|pending| match &mut pending.change {
            Change::Write { offset, bytes, .. } => {
                let left = len.saturating_sub(*offset).min(bytes.len() as u64) as usize;
                Arc::make_mut(bytes).truncate(left);
                !bytes.is_empty()
            }
            Change::Len(to) => {
                *to = len.min(*to);
                true
            }
        });
    }
}

impl Change {
    fn apply(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes: new, .. } => put(bytes, offset, &new),
            Self::Len(len) => bytes.resize(len as usize, 0),
        }
    }
}

/// Writes `new` at `offset`, zeros up to there if `bytes` is shorter.
fn put(bytes: &mut Vec<u8>, offset: u64, new: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + new.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(new);
}

/// Makes a file longer; what it grows by shows what the blocks held before.
fn grow(bytes: &mut Vec<u8>, len: u64, stale: &[u8]) {
    let (old, new) = (bytes.len(), bytes.len().max(len as usize));
    bytes.resize(new, 0);
    let until = new.min(stale.len());
    if old < until {
        bytes[old..until].copy_from_slice(&stale[old..until]);
    }
}

/// Lets each block of a pending write reach the device whole, in some of its sectors, or not.
fn survive(durable: &mut Vec<u8>, seq: u64, offset: u64, bytes: &[u8], survival: Survival, chance: &mut Chance) {
    let tears = survival.tears(seq);
    // A device that writes in order is cut off somewhere; one that does not leaves any of the blocks.
    let cut = match survival {
        Survival::Until(_) if tears => offset + chance.below(bytes.len() as u64 / SECTOR + 1) * SECTOR,
        _ => offset,
    };
    for (at, block) in pieces(offset, bytes, BLOCK) {
        if survival.keeps(seq, chance) || at + block.len() as u64 <= cut {
            put(durable, at, block);
            continue;
        }
        let is_cut = matches!(survival, Survival::Until(_));
        if tears && (is_cut || chance.below(2) == 0) {
            for (at, sector) in pieces(at, block, SECTOR) {
                let survives = if is_cut { at < cut } else { chance.below(2) == 0 };
                if survives {
                    put(durable, at, sector);
                }
            }
        }
    }
}

/// Cuts `bytes`, which begin at `offset`, at multiples of `unit`.
fn pieces(mut offset: u64, mut bytes: &[u8], unit: u64) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let len = ((unit - offset % unit) as usize).min(bytes.len());
        let (piece, rest) = bytes.split_at(len);
        let at = offset;
        offset += len as u64;
        bytes = rest;
        Some((at, piece))
    })
}
