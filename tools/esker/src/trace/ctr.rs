//! The packed binary trace, `NAME.ctr.zst`: a zstd stream of little-endian records of 21 bytes: time (u32, seconds),
//! object (u64), size (u32, bytes), ttl (u32, seconds, 0 = none), op (u8: 0 get, 1 set, 2 delete).

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use super::{Key, Op, Request, unpacked};

/// Length of a record in bytes.
pub const RECORD_LEN_BYTES: usize = 21;

/// Reads a trace, a record at a time.
pub struct Reader {
    path: PathBuf,
    stream: BufReader<Box<dyn Read + Send>>,
    number: u64,
    done: bool,
}

impl Reader {
    /// Opens a trace.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open the trace {}", path.display()))?;
        Self::new(path, file)
    }

    /// Reads a trace that is packed in `stream`; `path` is its name in errors.
    ///
    /// # Errors
    /// If the stream cannot be unpacked.
    pub fn new(path: &Path, stream: impl Read + Send + 'static) -> Result<Self> {
        let stream = BufReader::with_capacity(1 << 20, unpacked(path, stream)?);
        Ok(Self { path: path.to_owned(), stream, number: 0, done: false })
    }

    fn record(&mut self) -> Result<Option<Request>> {
        let mut record = [0; RECORD_LEN_BYTES];
        let place = || format!("{}: record {}", self.path.display(), self.number + 1);
        let mut filled = 0;
        while filled < RECORD_LEN_BYTES {
            match self.stream.read(&mut record[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => bail!("{} is cut short: {filled} of {RECORD_LEN_BYTES} bytes", place()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).with_context(place),
            }
        }
        let request = decode(&record).ok_or_else(|| anyhow!("{} has the unknown op {}", place(), record[20]))?;
        self.number += 1;
        Ok(Some(request))
    }
}

impl Iterator for Reader {
    type Item = Result<Request>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.record().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

fn decode(record: &[u8; RECORD_LEN_BYTES]) -> Option<Request> {
    let word = |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
    let object = u64::from(word(4)) | u64::from(word(8)) << 32;
    Some(Request {
        time_s: word(0),
        object,
        key: Key::Number(object.to_le_bytes()),
        size_bytes: word(12),
        ttl_s: word(16),
        op: Op::from_code(record[20])?,
    })
}

/// A request as a record. Keys that are text are replaced by their object's number.
pub fn encode(request: &Request) -> [u8; RECORD_LEN_BYTES] {
    let mut record = [0; RECORD_LEN_BYTES];
    record[0..4].copy_from_slice(&request.time_s.to_le_bytes());
    record[4..12].copy_from_slice(&request.object.to_le_bytes());
    record[12..16].copy_from_slice(&request.size_bytes.to_le_bytes());
    record[16..20].copy_from_slice(&request.ttl_s.to_le_bytes());
    record[20] = match request.op {
        Op::Get => 0,
        Op::Set => 1,
        Op::Delete => 2,
    };
    record
}
