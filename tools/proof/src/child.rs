//! A child process of our own: this very program with a hidden subcommand, so that it can be killed as a crash would.
//!
//! It is told what to do by one line on its standard input, and tells what it did by words of eight bytes on its standard
//! output. A word is one `write` to a pipe: the kernel has all of it or nothing, and keeps it when the process dies.

use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The first word: the child is at work.
pub const READY: u64 = u64::MAX;

const WORD_BYTES: usize = 8;

/// A running child. Dropping it kills it.
pub struct Spawned {
    child: Child,
    /// Open as long as we live: the child ends when it is closed.
    _stdin: ChildStdin,
    stdout: ChildStdout,
    /// What it said so far, as far as it was listened to.
    said: Vec<u64>,
}

impl Spawned {
    /// Starts this program with a subcommand and an errand.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(command: &str, errand: &impl Serialize) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let (input, output) = (Stdio::piped(), Stdio::piped());
        let child = Command::new(program).arg(command).stdin(input).stdout(output).spawn();
        let mut child = child.context("cannot start a child process")?;
        let mut stdin = child.stdin.take().context("the child has no standard input")?;
        let stdout = child.stdout.take().context("the child has no standard output")?;
        let mut line = serde_json::to_vec(errand)?;
        line.push(b'\n');
        // One that has ended already is found out when it is to be killed.
        let _ = stdin.write_all(&line);
        Ok(Self { child, _stdin: stdin, stdout, said: Vec::new() })
    }

    /// Waits until the child is at work.
    ///
    /// # Errors
    /// If it ends before.
    pub fn wait_ready(&mut self) -> Result<()> {
        let mut word = [0; WORD_BYTES];
        if self.stdout.read_exact(&mut word).is_err() {
            let status = self.child.wait().context("cannot wait for the child process")?;
            bail!("the child process ended before it was at work: {status}; see above");
        }
        Ok(())
    }

    /// Listens until the child has said so many words, or for so long.
    ///
    /// # Errors
    /// If it ends before.
    pub fn hear(&mut self, words: usize, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        while self.said.len() < words {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            let mut fds = [PollFd::new(&self.stdout, PollFlags::IN)];
            if poll(&mut fds, Some(&timeout)).context("cannot listen to the child")? == 0 {
                break;
            }
            let mut word = [0; WORD_BYTES];
            self.stdout.read_exact(&mut word).context("the child process ended by itself; see above")?;
            self.said.push(u64::from_le_bytes(word));
        }
        Ok(())
    }

    /// Kills the child, as `kill -9` does, waits until it is gone, and returns what it said before.
    ///
    /// # Errors
    /// If it had already ended by itself: it found something wrong, and nothing was tested.
    pub fn kill(mut self) -> Result<Vec<u64>> {
        if let Some(status) = self.child.try_wait().context("cannot ask for the child process")? {
            bail!("the child process ended by itself: {status}; see above");
        }
        self.child.kill().context("cannot kill the child process")?;
        self.child.wait().context("cannot wait for the child process")?;
        let mut rest = Vec::new();
        self.stdout.read_to_end(&mut rest).context("cannot read what the child said")?;
        let words = rest.chunks_exact(WORD_BYTES).filter_map(|word| word.try_into().ok());
        let said = self.said.iter().copied().chain(words.map(u64::from_le_bytes));
        Ok(said.filter(|word| *word != READY).collect())
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        // Already gone: nothing to do, and nothing to report from a drop.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In the child: reads its errand, and from then on ends the process when the parent is gone.
///
/// # Errors
/// There is none.
pub fn errand<T: DeserializeOwned>() -> Result<T> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("cannot read the errand")?;
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(3);
    });
    serde_json::from_str(&line).context("the errand is not as expected")
}

/// In the child: how it speaks.
#[derive(Debug)]
pub struct Voice(File);

impl Voice {
    /// Past the buffer of standard output: a word is said when this has returned.
    ///
    /// # Errors
    /// There is no standard output.
    pub fn new() -> Result<Self> {
        Ok(Self(std::io::stdout().as_fd().try_clone_to_owned().context("no standard output")?.into()))
    }

    /// Says a word.
    ///
    /// # Errors
    /// Nobody listens any more.
    pub fn say(&self, word: u64) -> Result<()> {
        (&self.0).write_all(&word.to_le_bytes()).context("nobody listens")
    }
}
