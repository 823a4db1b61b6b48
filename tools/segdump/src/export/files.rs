//! A directory with a file for each key.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Sink;
use super::item::Item;

/// What no key's file is called.
const INDEX: &str = "%index.jsonl";

/// The directory, its index, and the file that is being written.
pub struct Files {
    dir: PathBuf,
    index: BufWriter<File>,
    open: Option<(PathBuf, BufWriter<File>)>,
}

impl Files {
    /// Into a directory that is new or empty.
    ///
    /// # Errors
    /// It is not, or cannot be made.
    pub fn new(dir: &Path) -> Result<Self> {
        let shown = dir.display();
        if let Err(e) = fs::create_dir(dir) {
            if e.kind() != io::ErrorKind::AlreadyExists {
                return Err(e).with_context(|| format!("cannot make {shown}; does the directory above it exist?"));
            }
            let mut entries = fs::read_dir(dir).with_context(|| format!("{shown} is there, and no directory"))?;
            if entries.next().is_some() {
                bail!("{shown} is not empty, and nothing is overwritten; name a directory that is new or empty");
            }
        }
        let index = create(&dir.join(INDEX))?;
        Ok(Self { dir: dir.to_owned(), index, open: None })
    }
}

/// A file that was not there: nothing is ever written over.
fn create(path: &Path) -> io::Result<BufWriter<File>> {
    match File::create_new(path) {
        Ok(file) => Ok(BufWriter::new(file)),
        Err(e) => Err(io::Error::new(e.kind(), format!("cannot create {}: {e}", path.display()))),
    }
}

impl Sink for Files {
    fn begin(&mut self, item: &Item) -> io::Result<()> {
        if let Some(folder) = &item.path.folder
            && let Err(e) = fs::create_dir(self.dir.join(folder))
            && e.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(e);
        }
        let path = self.dir.join(item.path.path());
        let file = create(&path)?;
        self.open = Some((path, file));
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.open.as_mut().map_or(Ok(()), |(_, file)| file.write_all(bytes))
    }

    fn end(&mut self, item: &Item, fault: Option<&str>) -> io::Result<()> {
        let Some((path, mut file)) = self.open.take() else { return Ok(()) };
        file.flush()?;
        if fault.is_some() {
            // Half a value in a file of its own looks like a whole one.
            return fs::remove_file(path);
        }
        let mut line = serde_json::to_value(item)?;
        line["file"] = item.path.path().into();
        writeln!(self.index, "{line}")
    }

    fn close(&mut self) -> io::Result<()> {
        self.index.flush()
    }
}
