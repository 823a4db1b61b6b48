//! Listings that are written as they are read, for people or as JSON.

use std::io::{self, Write};

use serde::Serialize;

/// A listing.
#[derive(Debug)]
pub struct Lines<'a, W> {
    out: &'a mut W,
    name: &'static str,
    as_json: bool,
    count: u64,
    written: io::Result<()>,
}

impl<'a, W: Write> Lines<'a, W> {
    /// A listing of things that JSON calls by this name.
    pub fn new(out: &'a mut W, name: &'static str, as_json: bool) -> Self {
        Self { out, name, as_json, count: 0, written: Ok(()) }
    }

    /// One more: `head` writes what stands above the first, `line` what stands for each. After a failure nothing more is
    /// written.
    pub fn add<T: Serialize>(
        &mut self,
        item: &T,
        head: impl FnOnce(&mut W) -> io::Result<()>,
        line: impl FnOnce(&mut W, &T) -> io::Result<()>,
    ) {
        if self.written.is_err() {
            return;
        }
        let is_first = self.count == 0;
        self.count += 1;
        self.written = if self.as_json {
            self.add_json(item, is_first)
        } else {
            let above = if is_first { head(self.out) } else { Ok(()) };
            above.and_then(|()| line(self.out, item))
        };
    }

    fn add_json(&mut self, item: &impl Serialize, is_first: bool) -> io::Result<()> {
        let text = serde_json::to_string(item)?;
        if is_first {
            return write!(self.out, "{{\"{}\": [\n  {text}", self.name);
        }
        write!(self.out, ",\n  {text}")
    }

    /// The end, and what there is to say of it by this name. What began as JSON ends as JSON, whatever happened.
    ///
    /// # Errors
    /// The first that a line met.
    pub fn end<T: Serialize, E>(self, name: &str, end: &Result<T, E>) -> io::Result<()> {
        self.written?;
        if self.as_json && (self.count > 0 || end.is_ok()) {
            let start = if self.count == 0 { format!("{{\"{}\": [", self.name) } else { String::new() };
            writeln!(self.out, "{start}\n], \"{name}\": {}}}", serde_json::to_string(&end.as_ref().ok())?)?;
        }
        self.out.flush()
    }
}
