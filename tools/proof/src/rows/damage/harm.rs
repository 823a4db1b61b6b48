//! What is done to a directory: one thing a case.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};

use super::directory::Directory;

/// What a disk writes as a whole.
pub const SECTOR: usize = 512;
/// How far around what is written every bit of the zeros is turned over too.
const MARGIN: usize = 16;
/// A record begins at a multiple of this.
const UNIT: usize = 16;
/// Within long zeros one bit of so many bytes is turned over.
const STRIDE: usize = 64;

/// What is done. Files, sectors and donors are numbers: a case takes few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// A bit is turned over.
    Bit { file: u8, at: u32, bit: u8 },
    /// The file is cut to so many bytes.
    Cut { file: u8, len: u32 },
    /// A sector is zero.
    Zero { file: u8, sector: u8 },
    /// A sector holds what another one holds or once held.
    Take { file: u8, sector: u8, donor: u32 },
    /// Two sectors are exchanged.
    Swap { file: u8, sector: u8, other: u8, with: u8 },
}

/// A sector's bytes and where they were seen first.
pub struct Donor {
    /// As a case names it: `now` or the number of an older life, the file, and the sector.
    pub name: String,
    /// The bytes.
    pub bytes: Vec<u8>,
    file: String,
    sector: usize,
}

/// Every sector that is not zero, and was one of the directory's, each content once at each place.
pub fn donors(directory: &Directory) -> Vec<Donor> {
    let mut seen = BTreeSet::new();
    let mut donors = Vec::new();
    let now = directory.files.iter().map(|file| ("now".to_owned(), file));
    let before = directory.older.iter().enumerate().map(|(n, file)| (n.to_string(), file));
    for (life, (file, bytes)) in now.chain(before) {
        for (sector, piece) in bytes.chunks(SECTOR).enumerate() {
            if piece.iter().any(|&b| b != 0) && seen.insert((file.clone(), sector, piece.to_vec())) {
                let name = format!("{life}/{file}/{sector}");
                donors.push(Donor { name, bytes: piece.to_vec(), file: file.clone(), sector });
            }
        }
    }
    donors
}

/// Everything that is done to a directory; `whole`: every bit of the file that holds most.
pub fn all(directory: &Directory, donors: &[Donor], whole: bool) -> Vec<Harm> {
    let mut harms = Vec::new();
    let written = |(_, bytes): &(String, Vec<u8>)| bytes.iter().filter(|&&b| b != 0).count();
    let fullest = directory.files.iter().map(written).enumerate().max_by_key(|&(_, written)| written).map(|(n, _)| n);
    for (file, (name, bytes)) in directory.files.iter().enumerate() {
        bits(file as u8, bytes, whole && fullest == Some(file), &mut harms);
        cuts(file as u8, bytes, &mut harms);
        sectors(file as u8, name, bytes, donors, &mut harms);
        for (other, (_, theirs)) in directory.files.iter().enumerate().skip(file) {
            swaps((file as u8, bytes), (other as u8, theirs), &mut harms);
        }
    }
    harms
}

/// Whether something is written around this byte.
fn is_near(bytes: &[u8], at: usize) -> bool {
    bytes[at.saturating_sub(MARGIN)..(at + MARGIN + 1).min(bytes.len())].iter().any(|&b| b != 0)
}

/// Every bit of what is written, and around it. Within long zeros one of each few: a reader goes by units of 16 bytes, so
/// that they look alike there, and each time another of a unit's 128 bits is taken.
fn bits(file: u8, bytes: &[u8], every: bool, harms: &mut Vec<Harm>) {
    for at in 0..bytes.len() {
        let is_dense = every || is_near(bytes, at);
        let turn = at / STRIDE;
        for bit in 0..8 {
            let is_turn = at % STRIDE / UNIT == turn % (STRIDE / UNIT) && at % UNIT * 8 + bit == turn * 37 % (8 * UNIT);
            if is_dense || is_turn {
                harms.push(Harm::Bit { file, at: at as u32, bit: bit as u8 });
            }
        }
    }
}

/// Every length within and around what is written; within long zeros one of each few, at another place of a unit.
fn cuts(file: u8, bytes: &[u8], harms: &mut Vec<Harm>) {
    let is_turn = |len: usize| len % STRIDE == len / STRIDE * 5 % STRIDE;
    let lens = (0..bytes.len()).filter(|&len| is_turn(len) || is_near(bytes, len));
    harms.extend(lens.map(|len| Harm::Cut { file, len: len as u32 }));
}

fn sectors(file: u8, name: &str, bytes: &[u8], donors: &[Donor], harms: &mut Vec<Harm>) {
    for (sector, piece) in bytes.chunks(SECTOR).enumerate() {
        let is_written = piece.iter().any(|&b| b != 0);
        if is_written {
            harms.push(Harm::Zero { file, sector: sector as u8 });
        }
        for (n, donor) in donors.iter().enumerate() {
            // Into zeros goes only what once stood in this place: the rest cannot look right there.
            let is_own = donor.file == name && donor.sector == sector;
            let differs = !piece.starts_with(&donor.bytes[..donor.bytes.len().min(piece.len())]);
            if differs && (is_written || is_own) {
                harms.push(Harm::Take { file, sector: sector as u8, donor: n as u32 });
            }
        }
    }
}

fn swaps((file, mine): (u8, &[u8]), (other, theirs): (u8, &[u8]), harms: &mut Vec<Harm>) {
    let is_zero = |piece: &[u8]| piece.iter().all(|&b| b == 0);
    for (sector, a) in mine.chunks_exact(SECTOR).enumerate() {
        for (with, b) in theirs.chunks_exact(SECTOR).enumerate() {
            let is_once = file != other || sector < with;
            // With zeros within its own file only: elsewhere that is the loss of one sector and garbage in another.
            let counts = !is_zero(a) && !is_zero(b) || file == other;
            if is_once && counts && a != b {
                harms.push(Harm::Swap { file, sector: sector as u8, other, with: with as u8 });
            }
        }
    }
}

impl Harm {
    /// The files that it changes, and what they hold then.
    pub fn apply(self, directory: &Directory, donors: &[Donor]) -> Vec<(usize, Vec<u8>)> {
        let bytes = |file: u8| directory.files[file as usize].1.clone();
        let place = |sector: u8, len: usize| sector as usize * SECTOR..(sector as usize * SECTOR + SECTOR).min(len);
        match self {
            Self::Bit { file, at, bit } => {
                let mut bytes = bytes(file);
                bytes[at as usize] ^= 1 << bit;
                vec![(file as usize, bytes)]
            }
            Self::Cut { file, len } => {
                let mut bytes = bytes(file);
                bytes.truncate(len as usize);
                vec![(file as usize, bytes)]
            }
            Self::Zero { file, sector } => {
                let mut bytes = bytes(file);
                let place = place(sector, bytes.len());
                bytes[place].fill(0);
                vec![(file as usize, bytes)]
            }
            Self::Take { file, sector, donor } => {
                let mut bytes = bytes(file);
                let place = place(sector, bytes.len());
                let taken = &donors[donor as usize].bytes;
                for (to, from) in bytes[place].iter_mut().zip(taken.iter().chain(std::iter::repeat(&0))) {
                    *to = *from;
                }
                vec![(file as usize, bytes)]
            }
            Self::Swap { file, sector, other, with } => {
                let (mut mine, theirs) = (bytes(file), bytes(other));
                let (a, b) = (place(sector, mine.len()), place(with, theirs.len()));
                let saved = mine[a.clone()].to_vec();
                mine[a].copy_from_slice(&theirs[b.clone()]);
                if file == other {
                    mine[b].copy_from_slice(&saved);
                    return vec![(file as usize, mine)];
                }
                let mut theirs = theirs;
                theirs[b].copy_from_slice(&saved);
                vec![(file as usize, mine), (other as usize, theirs)]
            }
        }
    }

    /// As `--case` takes it, behind the directory's name.
    pub fn name(self, directory: &Directory, donors: &[Donor]) -> String {
        let file = |n: u8| &directory.files[n as usize].0;
        match self {
            Self::Bit { file: n, at, bit } => format!("{} bit {at}.{bit}", file(n)),
            Self::Cut { file: n, len } => format!("{} cut {len}", file(n)),
            Self::Zero { file: n, sector } => format!("{} zero {sector}", file(n)),
            Self::Take { file: n, sector, donor } => {
                format!("{} take {sector} {}", file(n), donors[donor as usize].name)
            }
            Self::Swap { file: n, sector, other, with } => format!("{} swap {sector} {}/{with}", file(n), file(other)),
        }
    }

    /// From its name.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(words: &[&str], directory: &Directory, donors: &[Donor]) -> Result<Self> {
        let file = |name: &str| {
            let found = directory.files.iter().position(|(n, _)| n == name);
            found.map(|n| n as u8).with_context(|| format!("there is no file `{name}`"))
        };
        Ok(match words {
            [name, "bit", place] => {
                let (at, bit) = place.split_once('.').context("a bit is a byte and a bit: `4100.3`")?;
                Self::Bit { file: file(name)?, at: at.parse()?, bit: bit.parse()? }
            }
            [name, "cut", len] => Self::Cut { file: file(name)?, len: len.parse()? },
            [name, "zero", sector] => Self::Zero { file: file(name)?, sector: sector.parse()? },
            [name, "take", sector, from] => {
                let donor = donors.iter().position(|d| d.name == *from).context("there is no such sector")?;
                Self::Take { file: file(name)?, sector: sector.parse()?, donor: donor as u32 }
            }
            [name, "swap", sector, with] => {
                let (other, with) = with.split_once('/').context("what with is a file and a sector")?;
                Self::Swap { file: file(name)?, sector: sector.parse()?, other: file(other)?, with: with.parse()? }
            }
            _ => bail!("a case is a shape, a seed, a file, and bit, cut, zero, take or swap with its place"),
        })
    }

    /// What kind it is.
    pub fn kind(self) -> Kind {
        match self {
            Self::Bit { .. } => Kind::Bits,
            Self::Cut { .. } => Kind::Cuts,
            Self::Zero { .. } => Kind::Zeroed,
            Self::Take { .. } => Kind::Taken,
            Self::Swap { .. } => Kind::Swapped,
        }
    }
}

/// What is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bits turned over.
    Bits,
    /// Truncations.
    Cuts,
    /// Sectors zeroed.
    Zeroed,
    /// Sectors replaced.
    Taken,
    /// Sectors exchanged.
    Swapped,
}

impl Kind {
    /// All, in their order.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Bits, "bits"),
        (Self::Cuts, "truncations"),
        (Self::Zeroed, "sectors zeroed"),
        (Self::Taken, "sectors replaced"),
        (Self::Swapped, "sectors swapped"),
    ];
}
