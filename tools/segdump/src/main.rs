//! `segdump`: looks into an Esker cache directory, and never writes. It opens files to read only, takes no lock, and
//! works on a directory that a cache is using. All it knows is in [`esker::inspect`]; here it is put into words.
//!
//! Exit codes: 0 done, and for `verify` no damage; 1 damage, or for `get` a key that is not served; 2 usage or I/O.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use esker::backend::tokio_fs::TokioFs;
use esker::clock::{Clock, SystemClock};
use esker::inspect::{Inspector, Verdict, escape};

use segdump::words;

/// Looks into an Esker cache directory, and never writes.
#[derive(Parser)]
#[command(version, about, long_about = None, after_help = "Exit codes: 0 done (verify: no damage); 1 damage found, or \
    the key is not served; 2 wrong usage or an I/O error.\nAll commands work on a directory in use; what its process \
    has not written yet is not seen.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
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
    /// The value of a key, or why it is not served
    Get(Get),
    /// Reads everything, and lists each damaged place by file and offset
    Verify(Dir),
}

#[derive(Args)]
struct Dir {
    /// The cache's directory
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Get {
    /// The cache's directory
    dir: PathBuf,
    /// The key
    key: String,
    /// The key is given in hexadecimal
    #[arg(long)]
    hex: bool,
    /// Print the value's bytes as they are, on a terminal too
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.context("cannot start").and_then(|runtime| runtime.block_on(run(cli.command)));
    match done {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(e) if e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(e) => {
            complain(&format!("{e:#}"));
            ExitCode::from(2)
        }
    }
}

/// A line on stderr; paths in it come from anywhere. A stderr that is closed is nobody's loss.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "segdump: {}", escape(text.as_bytes()));
}

fn inspector(dir: &Path) -> Inspector {
    Inspector::new(Arc::new(TokioFs), dir, SystemClock.now())
}

async fn run(command: Command) -> Result<ExitCode> {
    let mut out = BufWriter::new(io::stdout());
    let code = match command {
        Command::Summary(args) => {
            let summary = inspector(&args.dir).summary().await?;
            if args.json {
                json(&mut out, &summary)?
            } else {
                words::summary(&mut out, &args.dir, &summary)?
            }
            ExitCode::SUCCESS
        }
        Command::Segments(args) => {
            let segments = inspector(&args.dir).segments().await?;
            if args.json {
                json(&mut out, &segments)?
            } else {
                words::segments(&mut out, &segments)?
            }
            ExitCode::SUCCESS
        }
        Command::Records { segment, json } => records(&mut out, &segment, json).await?,
        Command::Get(args) => get(&mut out, &args).await?,
        Command::Verify(args) => verify(&mut out, &args).await?,
    };
    out.flush()?;
    Ok(code)
}

fn json(out: &mut impl Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

/// Lists as it reads: a segment may hold millions of records.
async fn records(out: &mut (impl Write + Send), path: &Path, as_json: bool) -> Result<ExitCode> {
    let mut written = Ok(());
    let mut count = 0u64;
    let mut look = |record: esker::inspect::RecordInfo| {
        if written.is_ok() {
            written = line(out, &record, count == 0, as_json);
            count += 1;
        }
    };
    let listing = Inspector::records(&TokioFs, path, &mut look).await;
    written?;
    // What began as JSON ends as JSON, whatever happened.
    if as_json && (count > 0 || listing.is_ok()) {
        let start = if count == 0 { "{\"records\": [" } else { "" };
        writeln!(out, "{start}\n], \"segment\": {}}}", serde_json::to_string(&listing.as_ref().ok())?)?;
    }
    out.flush()?;
    let listing = listing?;
    if !as_json {
        words::listing(out, path, &listing)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn line(out: &mut impl Write, record: &esker::inspect::RecordInfo, is_first: bool, as_json: bool) -> io::Result<()> {
    if as_json {
        let before = if is_first { "{\"records\": [" } else { "," };
        return write!(out, "{before}\n  {}", serde_json::to_string(record)?);
    }
    if is_first {
        words::records_head(out)?;
    }
    words::record(out, record)
}

async fn get(out: &mut impl Write, args: &Get) -> Result<ExitCode> {
    let key =
        if args.hex { unhex(&args.key).context("KEY is not hexadecimal")? } else { args.key.clone().into_bytes() };
    let finding = inspector(&args.dir).get(&key).await?;
    let is_served = finding.verdict == Verdict::Served;
    if args.json {
        #[derive(serde::Serialize)]
        struct Answer<'a> {
            key: String,
            #[serde(flatten)]
            finding: &'a esker::inspect::Finding,
            value_len: usize,
            metadata_hex: String,
            value_hex: String,
        }
        let (value, metadata) = (&finding.value, &finding.metadata);
        let (value_hex, metadata_hex) = (hex(value), hex(metadata));
        json(out, &Answer { key: escape(&key), finding: &finding, value_len: value.len(), metadata_hex, value_hex })?;
    } else if is_served && (args.raw || !io::stdout().is_terminal()) {
        out.write_all(&finding.value)?;
    } else if is_served {
        writeln!(out, "{}", escape(&finding.value))?;
    }
    if !is_served {
        complain(&words::not_served(&key, &finding));
    } else if !args.json && io::stderr().is_terminal() {
        complain(&words::served(&finding));
    }
    Ok(if is_served { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble = |c: u8| char::from(c).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

async fn verify(out: &mut impl Write, args: &Dir) -> Result<ExitCode> {
    // indicatif draws on stderr, and only if that is a terminal.
    let bar = indicatif::ProgressBar::new(0);
    if let Ok(style) = indicatif::ProgressStyle::with_template("{bar:30} {pos}/{len} segments, {eta} left") {
        bar.set_style(style);
    }
    let mut progress = |p: esker::inspect::Progress| {
        bar.set_length(p.total);
        bar.set_position(p.done);
    };
    let report = inspector(&args.dir).verify(&mut progress).await;
    bar.finish_and_clear();
    let report = report?;
    if args.json {
        json(out, &report)?
    } else {
        words::verify(out, &report)?
    }
    Ok(if report.is_clean { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
