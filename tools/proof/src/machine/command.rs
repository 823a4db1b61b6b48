//! Running a program of the system.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Where programs for administrators are, whether or not they are in the path.
const ALSO_IN: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/bin"];

/// Where a program is.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let also = ALSO_IN.iter().map(PathBuf::from);
    std::env::split_paths(&path).chain(also).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// Runs a program to its end and returns what it printed.
///
/// # Errors
/// It is missing, or failed: with what it said.
pub fn run<A: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = A>) -> Result<String> {
    let path = find(program).with_context(|| format!("{program} is missing"))?;
    let args: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
    let ended = Command::new(path).args(&args).stdin(Stdio::null()).output().with_context(|| program.to_owned())?;
    if !ended.status.success() {
        bail!("{program} {args:?}: {}: {}", ended.status, String::from_utf8_lossy(&ended.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&ended.stdout).trim().to_owned())
}

/// A path as an argument or an option's value.
pub fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is no text", path.display()))
}
