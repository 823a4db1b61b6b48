//! `segdump`: looks into an Esker cache directory, and never writes. It opens files to read only, takes no lock, and
//! works on a directory that a cache is using. All it knows is in [`esker::inspect`]; here it is put into words.
//!
//! Exit codes: 0 done, and for `verify` no damage; 1 damage, or for `get` a key that is not served, or for `export` an entry
//! that could not be read; 2 usage or I/O.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use esker::backend::tokio_fs::TokioFs;
use esker::clock::{Clock, SystemClock};
use esker::format::namespace::{prefix, split};
use esker::inspect::{ChunkFault, EntryInfo, Finding, Inspector, Piece, RecordInfo, Value, Verdict, escape};

use segdump::cli::{Cli, Command, Dir, Explain, Get, Key};
use segdump::lines::Lines;
use segdump::{complain, diff, export, key, picture, progress, stats, unhex, watch, words};

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
        Command::Entries(args) => entries(&mut out, &args).await?,
        Command::Get(args) => get(&mut out, &args).await?,
        Command::Explain(args) => explain(&mut out, &args).await?,
        Command::Verify(args) => verify(&mut out, &args).await?,
        Command::Export(args) => export::run(&mut out, &inspector(&args.dir), &args).await?,
        Command::Picture(args) => picture::run(&mut out, &inspector(&args.dir), &args, SystemClock.now().0).await?,
        Command::Stats(args) => stats::run(&mut out, &inspector(&args.dir), &args, SystemClock.now().0).await?,
        Command::Diff(args) => diff::run(&mut out, [inspector(&args.first), inspector(&args.second)], &args).await?,
        Command::Watch(args) => {
            let look = || (inspector(&args.dir), SystemClock.now().0);
            watch::run(&mut out, look, &args).await?
        }
        Command::Completions(args) => {
            clap_complete::generate(args.shell, &mut Cli::command(), "segdump", &mut out);
            ExitCode::SUCCESS
        }
        Command::Man => {
            clap_mangen::Man::new(Cli::command()).render(&mut out)?;
            ExitCode::SUCCESS
        }
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
    let mut lines = Lines::new(out, "records", as_json);
    let mut look = |record: RecordInfo| lines.add(&record, words::records_head, words::record);
    let listing = Inspector::records(&TokioFs, path, &mut look).await;
    lines.end("segment", &listing)?;
    let listing = listing?;
    if !as_json {
        words::listing(out, path, &listing)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists as it reads, too.
async fn entries(out: &mut (impl Write + Send), args: &Dir) -> Result<ExitCode> {
    let mut lines = Lines::new(out, "entries", args.json);
    let mut look = |entry: EntryInfo| lines.add(&entry, key::entries_head, key::entry);
    let count = inspector(&args.dir).entries(&mut look).await;
    lines.end("count", &count)?;
    let count = count?;
    if !args.json {
        writeln!(out, "\n{count} entries")?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn get(out: &mut impl Write, args: &Get) -> Result<ExitCode> {
    let key = key_of(&args.of)?;
    let inspector = inspector(&args.of.dir);
    let finding = inspector.get(&key).await?;
    let is_served = finding.verdict == Verdict::Served;
    let shape = match (args.json, args.raw || !io::stdout().is_terminal()) {
        (true, _) => Shape::Hex,
        (_, true) => Shape::Raw,
        _ => Shape::Escaped,
    };
    if args.json {
        begin_json(out, &key, &finding)?;
    }
    let fault = write_value(out, inspector.value(&finding), shape).await?;
    if args.json {
        writeln!(out, "\",\n  \"fault\": {}\n}}", serde_json::to_string(&fault)?)?;
    } else if is_served && shape == Shape::Escaped {
        writeln!(out)?;
    }
    match &fault {
        Some(fault) => complain(&key::cut_short(&key, fault)),
        None if !is_served => complain(&words::not_served(&key, &finding)),
        None if !args.json && io::stderr().is_terminal() => complain(&words::served(&finding)),
        None => {}
    }
    Ok(if is_served && fault.is_none() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The key as it stands on disk.
fn key_of(args: &Key) -> Result<Vec<u8>> {
    let text = &args.key;
    let key = if args.hex { unhex(text).context("KEY is not hexadecimal")? } else { text.as_bytes().to_vec() };
    let prefix = match &args.namespace {
        Some(name) => prefix(name).context("a namespace's name has 1 to 64 bytes")?,
        None => Vec::new(),
    };
    Ok([prefix, key].concat())
}

/// All that is known of it, up to the value: that may be longer than memory, and follows as it is read.
fn begin_json(out: &mut impl Write, key: &[u8], finding: &Finding) -> Result<()> {
    #[derive(serde::Serialize)]
    struct Answer<'a> {
        namespace: Option<String>,
        key: String,
        #[serde(flatten)]
        finding: &'a Finding,
        value_len: u64,
        metadata_hex: String,
    }
    let (value_len, metadata_hex) = (finding.len_bytes(), hex(&finding.metadata));
    let (namespace, key) = match split(key) {
        Some(split) => (Some(escape(split.name.as_bytes())), split.key),
        None => (None, key),
    };
    let answer = Answer { namespace, key: escape(key), finding, value_len, metadata_hex };
    let text = serde_json::to_string_pretty(&answer)?;
    write!(out, "{},\n  \"value_hex\": \"", text.trim_end_matches(['}', '\n']))?;
    Ok(())
}

/// How the bytes of a value are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Raw,
    Escaped,
    Hex,
}

/// Writes a value as it is read, and says where it was cut short.
async fn write_value(out: &mut impl Write, mut value: Value<'_>, shape: Shape) -> Result<Option<ChunkFault>> {
    while let Some(piece) = value.next().await? {
        match (piece, shape) {
            (Piece::Fault(fault), _) => return Ok(Some(fault)),
            (Piece::Bytes(bytes), Shape::Raw) => out.write_all(&bytes)?,
            (Piece::Bytes(bytes), Shape::Escaped) => write!(out, "{}", escape(&bytes))?,
            (Piece::Bytes(bytes), Shape::Hex) => bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))?,
        }
    }
    Ok(None)
}

async fn explain(out: &mut impl Write, args: &Explain) -> Result<ExitCode> {
    let key = key_of(&args.of)?;
    let explanation = inspector(&args.of.dir).explain(&key).await?;
    if args.json {
        json(out, &explanation)?;
    } else {
        key::explanation(out, &key, &explanation)?;
    }
    let is_served = explanation.finding.verdict == Verdict::Served;
    Ok(if is_served { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn verify(out: &mut impl Write, args: &Dir) -> Result<ExitCode> {
    let bar = progress::bar("segments", 0);
    let mut look = |p: esker::inspect::Progress| {
        bar.set_length(p.total);
        bar.set_position(p.done);
    };
    let report = inspector(&args.dir).verify(&mut look).await;
    bar.finish_and_clear();
    let report = report?;
    if args.json {
        json(out, &report)?
    } else {
        words::verify(out, &report)?
    }
    Ok(if report.is_clean { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
