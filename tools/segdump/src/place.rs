//! Where results may go: never into the cache's directory, and never over something.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Refuses a place inside of the cache's directory.
///
/// # Errors
/// It is inside; the directory cannot be opened.
pub fn stay_outside(dir: &Path, to: &Path) -> Result<()> {
    let real = dir.canonicalize().with_context(|| format!("cannot open {}", dir.display()))?;
    let place = std::path::absolute(to).with_context(|| format!("{} is no place to write to", to.display()))?;
    let is_inside = place.ancestors().find_map(|p| p.canonicalize().ok()).is_some_and(|p| p.starts_with(&real));
    if is_inside {
        bail!("{} is inside of the cache's directory, which is only read; choose another place", to.display());
    }
    Ok(())
}

/// A file that was not there.
///
/// # Errors
/// It is, or cannot be made.
pub fn new_file(path: &Path) -> Result<BufWriter<File>> {
    let file = File::create_new(path);
    let file = file.with_context(|| format!("cannot create {}, which must not be there yet", path.display()))?;
    Ok(BufWriter::new(file))
}
