//! The log of writes, in the format of the kernel's `dm-log-writes`: a super sector, then entries, each a header that
//! fills a sector, and the data of a write in whole sectors. All numbers are little-endian.
//!
//! | super | bytes | entry | bytes |
//! |---|---|---|---|
//! | magic | 0..8 | first sector | 0..8 |
//! | version, 1 | 8..16 | sectors | 8..16 |
//! | entries | 16..24 | flags | 16..24 |
//! | sector length | 24..28 | data length | 24..32 |
//!
//! The count in the super sector may be behind; entries end with the file, or where a header is all zeros.

use anyhow::{Context, Result, bail};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLAG_FLUSH: u64 = 1;
const FLAG_DISCARD: u64 = 4;

/// A write or a flush.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Where on the disk, in bytes.
    pub offset: u64,
    /// How much: nothing for a flush. What was discarded is zeros.
    pub len: usize,
    /// Where in the log its data are; `None` for zeros.
    data: Option<usize>,
    /// Everything before is on the device.
    pub is_flush: bool,
    /// Where in the log it ends.
    pub end: u64,
}

/// A log that has ended.
#[derive(Debug)]
pub struct Log {
    bytes: Vec<u8>,
    /// What was logged, in order.
    pub entries: Vec<Entry>,
}

impl Log {
    /// Decodes a log.
    ///
    /// # Errors
    /// It is none, or it is cut off within an entry.
    pub fn decode(bytes: Vec<u8>) -> Result<Self> {
        let word = |at: usize| -> Result<u64> {
            let word = bytes.get(at..at + 8).context("the log ends within a number")?;
            Ok(u64::from_le_bytes(word.try_into()?))
        };
        if word(0)? != MAGIC || word(8)? != VERSION {
            bail!("this is no log of writes");
        }
        let sector = (word(24)? & u64::from(u32::MAX)) as usize;
        if !(512..=4096).contains(&sector) {
            bail!("sectors of {sector} bytes");
        }
        let (mut entries, mut at) = (Vec::new(), sector);
        while at + sector <= bytes.len() {
            let (first, sectors, flags) = (word(at)?, word(at + 8)?, word(at + 16)?);
            if sectors == 0 && flags == 0 {
                break;
            }
            let is_discard = flags & FLAG_DISCARD != 0;
            let len = usize::try_from(sectors)?.checked_mul(sector).context("an absurd length")?;
            let data = at + sector;
            at = if is_discard { data } else { data.checked_add(len).context("an absurd length")? };
            if at > bytes.len() {
                bail!("the log ends within an entry");
            }
            let is_flush = flags & FLAG_FLUSH != 0;
            let offset = first.checked_mul(sector as u64).context("an absurd offset")?;
            entries.push(Entry { offset, len, data: (!is_discard).then_some(data), is_flush, end: at as u64 });
        }
        Ok(Self { bytes, entries })
    }

    /// The log as it was.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many flushes there were.
    pub fn flushes(&self) -> u64 {
        self.entries.iter().filter(|entry| entry.is_flush).count() as u64
    }

    /// What an entry wrote; `None` for zeros.
    pub fn data(&self, entry: &Entry) -> Option<&[u8]> {
        entry.data.map(|at| &self.bytes[at..at + entry.len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(entries: &[(u64, u64, u64, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; 512];
        for (at, word) in [MAGIC, VERSION, entries.len() as u64, 512].into_iter().enumerate() {
            bytes[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
        for (first, sectors, flags, data) in entries {
            let at = bytes.len();
            bytes.resize(at + 512, 0);
            for (n, word) in [*first, *sectors, *flags, 0].into_iter().enumerate() {
                bytes[at + n * 8..at + n * 8 + 8].copy_from_slice(&word.to_le_bytes());
            }
            bytes.extend(*data);
        }
        bytes
    }

    #[test]
    fn writes_flushes_and_discards_are_told_apart() -> Result<()> {
        let data = vec![7; 1024];
        let log = Log::decode(log(&[(3, 2, 0, &data), (0, 0, FLAG_FLUSH, &[]), (9, 4, FLAG_DISCARD, &[])]))?;
        let told: Vec<_> = log.entries.iter().map(|e| (e.offset, e.len, e.is_flush, log.data(e).is_some())).collect();
        assert_eq!(told, [(1536, 1024, false, true), (0, 0, true, true), (4608, 2048, false, false)]);
        assert_eq!(log.data(&log.entries[0]), Some(&data[..]));
        assert_eq!(log.entries.iter().map(|e| e.end).collect::<Vec<_>>(), [2048, 2560, 3072]);
        Ok(())
    }

    #[test]
    fn what_is_no_log_or_cut_off_is_refused() {
        let whole = log(&[(3, 2, 0, &[7; 1024])]);
        assert!(Log::decode(whole[..whole.len() - 1].to_vec()).is_err());
        assert!(Log::decode(vec![0; 4096]).is_err());
        assert!(Log::decode(Vec::new()).is_err());
        assert!(Log::decode(log(&[(3, u64::MAX, 0, &[])])).is_err());
    }
}
