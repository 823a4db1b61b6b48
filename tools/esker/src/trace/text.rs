//! CSV traces: `time,key,size,ttl,op`, with or without that line as a header. Time and ttl are whole seconds, size is
//! bytes, op is `get`, `set` or `delete` (or 0, 1, 2). An empty ttl is 0, an empty op is `get`. Keys are any bytes, 1 to
//! [`MAX_KEY_BYTES`] of them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow};
use esker::MAX_KEY_BYTES;

use super::{Key, Op, Request, unpacked};

const COLUMNS: &str = "time,key,size,ttl,op";
/// The longest row, in bytes: the longest key with every byte a quote, which is doubled, and room for the rest.
const MAX_ROW_BYTES: usize = 3 * MAX_KEY_BYTES;

/// Reads no further than one row may reach: a row without an end, from a few packed bytes, fills no memory.
struct Bounded {
    stream: Box<dyn Read + Send>,
    left: Arc<AtomicUsize>,
}

impl Read for Bounded {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(io::Error::other(format!("a row has more than {MAX_ROW_BYTES} bytes")));
        }
        let len = buf.len().min(left);
        let read = self.stream.read(&mut buf[..len])?;
        self.left.store(left - read, Ordering::Relaxed);
        Ok(read)
    }
}

/// Reads a CSV trace, a row at a time, and numbers the keys in order of first appearance.
pub struct Reader {
    path: PathBuf,
    rows: csv::Reader<Bounded>,
    /// How much of the stream may be read until the row ends.
    left: Arc<AtomicUsize>,
    row: csv::ByteRecord,
    numbers: HashMap<Arc<[u8]>, u64>,
    first: bool,
    done: bool,
}

impl Reader {
    /// Opens a trace; a name that ends in `.zst` is unpacked.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open the trace {}", path.display()))?;
        Self::new(path, file)
    }

    /// Reads a trace from `stream`, unpacked if `path`, its name in errors, ends in `.zst`.
    ///
    /// # Errors
    /// If the stream cannot be unpacked.
    pub fn new(path: &Path, stream: impl Read + Send + 'static) -> Result<Self> {
        let packed = path.extension().is_some_and(|end| end == "zst");
        let stream = if packed { unpacked(path, stream)? } else { Box::new(stream) };
        let left = Arc::new(AtomicUsize::new(0));
        let stream = Bounded { stream, left: left.clone() };
        let rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(stream);
        let (row, numbers) = (csv::ByteRecord::new(), HashMap::new());
        Ok(Self { path: path.to_owned(), rows, left, row, numbers, first: true, done: false })
    }

    fn request(&mut self) -> Result<Option<Request>> {
        loop {
            self.left.store(MAX_ROW_BYTES, Ordering::Relaxed);
            let more = self.rows.read_byte_record(&mut self.row);
            if !more.with_context(|| format!("cannot read the trace {}", self.path.display()))? {
                return Ok(None);
            }
            let header =
                std::mem::take(&mut self.first) && self.row.get(0).is_some_and(|cell| cell.trim_ascii() == b"time");
            if !header {
                break;
            }
        }
        let line = self.row.position().map_or(0, csv::Position::line);
        let request = self.parse().map_err(|why| anyhow!("{}: line {line}: {why}", self.path.display()))?;
        Ok(Some(request))
    }

    fn parse(&mut self) -> Result<Request, String> {
        if self.row.len() != 5 {
            return Err(format!("{} columns where {COLUMNS} are needed", self.row.len()));
        }
        let time_s = whole(&self.row[0], "time")?;
        let size_bytes = whole(&self.row[2], "size")?;
        let ttl_s = if self.row[3].trim_ascii().is_empty() { 0 } else { whole(&self.row[3], "ttl")? };
        let op = match self.row[4].trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"get" | b"0" => Op::Get,
            b"set" | b"1" => Op::Set,
            b"delete" | b"2" => Op::Delete,
            other => return Err(format!("op is `{}`; use get, set or delete", other.escape_ascii())),
        };
        let key = &self.row[1];
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(format!("the key has {} bytes; 1 to {MAX_KEY_BYTES} work", key.len()));
        }
        let next = self.numbers.len() as u64;
        let (key, object) = match self.numbers.get_key_value(key) {
            Some((key, object)) => (Arc::clone(key), *object),
            None => {
                let key: Arc<[u8]> = key.into();
                self.numbers.insert(Arc::clone(&key), next);
                (key, next)
            }
        };
        Ok(Request { time_s, object, key: Key::Text(key), size_bytes, ttl_s, op })
    }
}

impl Iterator for Reader {
    type Item = Result<Request>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.request().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

fn whole(cell: &[u8], column: &str) -> Result<u32, String> {
    let parsed = std::str::from_utf8(cell).ok().and_then(|text| text.trim().parse().ok());
    parsed.ok_or_else(|| format!("{column} is `{}`; a whole number below 2^32 is needed", cell.escape_ascii()))
}
