//! A tar with a file for each key. The crate's own ways to append want to read a value at once; here it comes in pieces.

use std::io::{self, Write};

use tar::{Builder, EntryType, Header};

use super::Sink;
use super::item::Item;

/// The unit of a tar, in bytes.
const BLOCK_BYTES: u64 = 512;

/// A tar, and how much of the file that is being written was promised and is yet to come.
pub struct Tape<W: Write> {
    tar: Builder<W>,
    to_come: u64,
    promised: u64,
}

impl<W: Write> Tape<W> {
    /// A tar that goes there.
    pub fn new(out: W) -> Self {
        Self { tar: Builder::new(out), to_come: 0, promised: 0 }
    }

    fn zeros(&mut self, mut count: u64) -> io::Result<()> {
        let zeros = [0; BLOCK_BYTES as usize];
        while count > 0 {
            let now = count.min(BLOCK_BYTES);
            self.tar.get_mut().write_all(&zeros[..now as usize])?;
            count -= now;
        }
        Ok(())
    }
}

impl<W: Write> Sink for Tape<W> {
    fn wants_whole(&self) -> bool {
        true
    }

    fn begin(&mut self, item: &Item) -> io::Result<()> {
        let path = item.path.path();
        let about = serde_json::to_string(item)?;
        self.tar.append_pax_extensions([("path", path.as_bytes()), ("ESKER.entry", about.as_bytes())])?;
        let mut header = Header::new_ustar();
        // The extended header has the name that counts.
        header.set_path(path.get(..99).unwrap_or(&path))?;
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(item.value_len);
        header.set_mtime(item.created.unwrap_or(0) / 1000);
        header.set_cksum();
        (self.promised, self.to_come) = (item.value_len, item.value_len);
        self.tar.get_mut().write_all(header.as_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let len = bytes.len() as u64;
        self.to_come =
            self.to_come.checked_sub(len).ok_or_else(|| io::Error::other("a value is longer than its head says"))?;
        self.tar.get_mut().write_all(bytes)
    }

    /// What does not come although the value was whole a moment ago is zeros, so that the rest of the tar can be read.
    fn end(&mut self, _: &Item, _: Option<&str>) -> io::Result<()> {
        let padding = self.promised.next_multiple_of(BLOCK_BYTES) - self.promised;
        self.zeros(self.to_come + padding)
    }

    fn close(&mut self) -> io::Result<()> {
        self.tar.finish()?;
        self.tar.get_mut().flush()
    }
}
