//! Values whose every byte is known by where it stands, and what a process takes.

use bytes::Bytes;
use esker::EntryReader;

use crate::common::{Outcome, Random};

/// Of no length that anything else here is a multiple of.
const PERIOD: usize = 1_000_003;
/// The longest piece.
const MOST_BYTES: usize = 1 << 20;

/// Random bytes that repeat after a while, at another place in each value.
#[derive(Clone)]
pub struct Pattern(Bytes);

impl Pattern {
    pub fn new() -> Self {
        let mut random = Random::new(11);
        let mut bytes: Vec<u8> = (0..PERIOD.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect();
        bytes.truncate(PERIOD);
        bytes.extend_from_within(..);
        bytes.extend_from_within(..PERIOD);
        Self(bytes.into())
    }

    /// A piece of value `n`, of at most 1 MiB.
    pub fn piece(&self, n: u64, at: u64, len: usize) -> Bytes {
        let from = ((at + n * 7919) % PERIOD as u64) as usize;
        self.0.slice(from..from + len.min(MOST_BYTES))
    }

    /// Reads a value to its end and compares every byte.
    pub async fn check(&self, mut reader: EntryReader, n: u64, len: u64) -> Outcome<()> {
        let mut at = 0;
        while let Some(bytes) = reader.next_bytes().await? {
            for some in bytes.chunks(MOST_BYTES) {
                if some != self.piece(n, at, some.len()) {
                    return Err(format!("value {n} differs behind {at}").into());
                }
                at += some.len() as u64;
            }
        }
        if at == len { Ok(()) } else { Err(format!("value {n} ends after {at} bytes of {len}").into()) }
    }
}

/// The most that this process had in memory since it was last asked to forget, in bytes.
pub fn peak_resident(forget: bool) -> Outcome<u64> {
    if forget {
        let mut refs = std::fs::File::options().write(true).open("/proc/self/clear_refs")?;
        std::io::Write::write_all(&mut refs, b"5")?;
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}
