//! Child processes of our own: this very program, started again with a hidden subcommand, so that it can be killed
//! as a crash would, or start with a clean memory.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

/// A running child. Dropping it kills it.
pub struct Spawned {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Spawned {
    /// Starts this program with `args`. Its standard output is ours to read; standard error goes where ours goes.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Result<Self> {
        // Where this library is linked into another program (a test), the variable names the real one.
        let program = match std::env::var_os("ESKER_BIN") {
            Some(path) => path.into(),
            None => std::env::current_exe().context("cannot find this program's own file")?,
        };
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a child process")?;
        let stdout = child.stdout.take().context("the child has no standard output")?;
        Ok(Self { child, stdout: BufReader::new(stdout) })
    }

    /// Waits for the child's next line.
    ///
    /// # Errors
    /// If the child ends without one.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line).context("cannot read from the child process")? == 0 {
            let status = self.child.wait().context("cannot wait for the child process")?;
            bail!("the child process ended early: {status}");
        }
        Ok(line.trim_end().to_owned())
    }

    /// Kills the child, as `kill -9` does, and waits until it is gone.
    ///
    /// # Errors
    /// If it had already ended by itself: then nothing was tested.
    pub fn kill(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("cannot ask for the child process")? {
            bail!("the child process ended before it could be killed: {status}");
        }
        self.child.kill().context("cannot kill the child process")?;
        self.child.wait().context("cannot wait for the child process")?;
        Ok(())
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        // Already ended: nothing to do, and nothing to report from a drop.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Blocks until the parent is gone (its end of our standard input closed), then ends this process, so that no child
/// outlives an interrupted parent.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(3);
    });
}
