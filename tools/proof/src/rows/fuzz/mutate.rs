//! A simple mutator of our own, for where libFuzzer is not: bits, numbers at limits, pieces of other inputs.

use super::corpus::Kept;
use crate::common::Dice;

/// No input becomes longer.
const LONGEST: usize = 8192;

/// The `n`th mutation of the corpus.
pub fn mutation(corpus: &[Kept], dice: &mut Dice) -> Vec<u8> {
    let pick = |dice: &mut Dice| &corpus[dice.below(corpus.len() as u64) as usize].bytes;
    let mut bytes = pick(dice).clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() as u64 + 1) as usize;
        let len = (1 + dice.below(32) as usize).min(bytes.len() - at);
        match dice.below(8) {
            0 | 1 if len > 0 => bytes[at] ^= 1 << dice.below(8),
            2 if len > 0 => bytes[at] = dice.next() as u8,
            3 | 4 => overwrite_number(&mut bytes[at..], dice),
            5 => drop(bytes.drain(at..at + len)),
            6 => {
                let piece = bytes[at..at + len].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let other = pick(dice);
                let from = dice.below(other.len() as u64 + 1) as usize;
                let until = from + dice.below((other.len() - from) as u64 + 1) as usize;
                bytes.splice(at..at + len, other[from..until].iter().copied());
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

/// A length field has 1, 2, 4 or 8 bytes, and limits are powers of two, more or less.
fn overwrite_number(bytes: &mut [u8], dice: &mut Dice) {
    let power = 1u64 << dice.below(64);
    let number = [power, power - 1, power.wrapping_neg(), 0, u64::MAX][dice.below(5) as usize];
    let len = 1 << dice.below(4);
    bytes.iter_mut().zip(&number.to_le_bytes()[..len]).for_each(|(to, from)| *to = *from);
}
