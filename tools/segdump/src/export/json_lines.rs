//! A line of JSON for each entry.

use std::io::{self, Write};

use base64::prelude::{BASE64_STANDARD, Engine};

use super::Sink;
use super::item::Item;

/// Lines, and the bytes of a value that are no whole three yet.
pub struct JsonLines<W> {
    out: W,
    rest: Vec<u8>,
}

impl<W: Write> JsonLines<W> {
    /// Lines that go there.
    pub fn new(out: W) -> Self {
        Self { out, rest: Vec::new() }
    }
}

impl<W: Write> Sink for JsonLines<W> {
    fn begin(&mut self, item: &Item) -> io::Result<()> {
        let text = serde_json::to_string(item)?;
        write!(self.out, "{},\"value_base64\":\"", text.trim_end_matches('}'))
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.rest.extend_from_slice(bytes);
        let whole = self.rest.len() / 3 * 3;
        self.out.write_all(BASE64_STANDARD.encode(&self.rest[..whole]).as_bytes())?;
        self.rest.drain(..whole);
        Ok(())
    }

    fn end(&mut self, _: &Item, fault: Option<&str>) -> io::Result<()> {
        let rest = BASE64_STANDARD.encode(std::mem::take(&mut self.rest));
        writeln!(self.out, "{rest}\",\"fault\":{}}}", serde_json::to_string(&fault)?)
    }

    fn close(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
