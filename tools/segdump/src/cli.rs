//! What can be asked on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Looks into an Esker cache directory, and never writes.
#[derive(Debug, Parser)]
#[command(version, about, long_about = None, after_help = "Exit codes: 0 done (verify: no damage); 1 damage found, or \
    the key is not served, or not all could be exported; 2 wrong usage or an I/O error.\nAll commands work on a directory in use; what its process \
    has not written yet is not seen.")]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What the directory holds: entries, live and dead bytes, segments by state. Reads footers only
    Summary(Dir),
    /// One line for each segment file
    Segments(Dir),
    /// One line for each record of a segment file, pads and damaged places included
    Records {
        /// The segment file
        segment: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One line for each entry: a large value is one, however many chunks it has
    Entries(Dir),
    /// The value of a key, or why it is not served
    Get(Get),
    /// Every version of a key that is on disk: whether it is whole, which chunks are missing or damaged, and where
    Explain(Explain),
    /// Reads everything, and lists each damaged place by file and offset
    Verify(Dir),
    /// Writes every served entry to files, one a key, or to a tar or JSON lines; the directory stays as it is
    Export(Export),
    /// Draws the segments, oldest first, as strips of live, expired, dead and damaged bytes. Reads footers only
    Picture(Picture),
    /// How entries are spread: lengths, ages, times to live, streams, namespaces, the largest. Reads footers and keys
    Stats(Dir),
    /// What two directories serve differently; exit code 1 if they do
    Diff(Diff),
    /// The summary's figures again and again, and how they change
    Watch(Watch),
    /// What a shell needs to complete this program's commands
    Completions(Completions),
    /// This program's manual page, for man
    Man,
}

/// A directory, and how to report on it.
#[derive(Debug, Args)]
pub struct Dir {
    /// The cache's directory
    pub dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A key in a directory.
#[derive(Debug, Args)]
pub struct Key {
    /// The cache's directory
    pub dir: PathBuf,
    /// The key
    pub key: String,
    /// The key is given in hexadecimal
    #[arg(long)]
    pub hex: bool,
    /// The namespace that the key is in
    #[arg(long)]
    pub namespace: Option<String>,
}

/// What `get` takes.
#[derive(Debug, Args)]
pub struct Get {
    /// Which key
    #[command(flatten)]
    pub of: Key,
    /// Print the value's bytes as they are, on a terminal too
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `explain` takes.
#[derive(Debug, Args)]
pub struct Explain {
    /// Which key
    #[command(flatten)]
    pub of: Key,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `diff` takes.
#[derive(Debug, Args)]
pub struct Diff {
    /// A cache's directory
    pub first: PathBuf,
    /// Another one's
    pub second: PathBuf,
    /// Show at most so many differences, and count the rest
    #[arg(long, default_value_t = 100)]
    pub limit: u64,
    /// A key that was only written anew is no difference
    #[arg(long)]
    pub ignore_sequence: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `watch` takes.
#[derive(Debug, Args)]
pub struct Watch {
    /// The cache's directory
    pub dir: PathBuf,
    /// Seconds from one look to the next
    #[arg(long, default_value_t = 2.0, value_parser = seconds, allow_negative_numbers = true)]
    pub interval: f64,
    /// Look so many times; without it, until it is ended
    #[arg(long)]
    pub count: Option<u64>,
}

/// A time that is worth waiting for.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if (0.1..=86_400.0).contains(&seconds) { Ok(seconds) } else { Err("it must be 0.1 to 86400 seconds".into()) }
}

/// What `completions` takes.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// What `export` takes.
#[derive(Debug, Args)]
pub struct Export {
    /// The cache's directory
    pub dir: PathBuf,
    /// Where to: a directory that is new or empty, or a new file; `-` is stdout, for tar and jsonl
    #[arg(long, value_name = "OUT")]
    pub to: PathBuf,
    /// How
    #[arg(long, value_enum, default_value = "dir")]
    pub format: Format,
    /// Only keys that begin with this
    #[arg(long)]
    pub prefix: Option<String>,
    /// Only keys in this namespace
    #[arg(long)]
    pub namespace: Option<String>,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
}

/// How entries are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A file for each key, and %index.jsonl with what a file does not say of itself
    Dir,
    /// The same files in a tar; what else there is to know is in their extended headers
    Tar,
    /// A line of JSON for each entry, its value in base64
    Jsonl,
}

/// What `picture` takes.
#[derive(Debug, Args)]
pub struct Picture {
    /// The cache's directory
    pub dir: PathBuf,
    /// The file to draw into, which must not be there yet: *.svg, or *.html for a page with a table too
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}
