//! The tests: each runs in a process of its own, and is known by the switches that it asks.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::crew::share;
use crate::tree::Program;

/// One test.
#[derive(Debug, Clone)]
pub struct Test {
    program: Program,
    /// Its name.
    pub name: String,
    /// How long it takes.
    pub took: Duration,
    /// The mutants whose switches it asks.
    pub reaches: BTreeSet<u32>,
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// It did not end in time.
    Late,
}

impl Test {
    /// Runs it in `dir`, with this in its environment.
    pub fn run(&self, dir: &Path, name: &str, value: &str, limit: Duration) -> Result<Ending> {
        let mut child = Command::new(&self.program.path)
            .args(["--exact", &self.name])
            .env("CARGO_MANIFEST_DIR", dir)
            .env(name, value)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.path.display()))?;
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(if status.success() { Ending::Passed } else { Ending::Failed });
            }
            if began.elapsed() > limit {
                child.kill()?;
                child.wait()?;
                return Ok(Ending::Late);
            }
            std::thread::sleep(Duration::from_millis(5).min(began.elapsed() / 8));
        }
    }

    /// Whether it stands in the library itself.
    pub fn is_of_the_library(&self) -> bool {
        self.program.name == "esker"
    }

    /// Longer than this is late.
    pub fn limit(&self) -> Duration {
        Duration::from_secs(20) + self.took * 20
    }
}

/// The tests of these programs whose names begin so, each run once to see what it reaches.
///
/// # Errors
/// One fails without any mutant.
pub fn trace(programs: &[Program], begin: &str, dir: &Path, threads: usize) -> Result<Vec<Test>> {
    let scratch = dir.join("target/trace");
    let mut tests = Vec::new();
    for program in programs {
        let listed = Command::new(&program.path).arg("--list").current_dir(dir).output()?;
        let names = String::from_utf8_lossy(&listed.stdout);
        tests.extend(
            names.lines().filter_map(|line| line.strip_suffix(": test")).filter(|name| name.starts_with(begin)).map(
                |name| Test {
                    program: program.clone(),
                    name: name.into(),
                    took: Duration::ZERO,
                    reaches: BTreeSet::new(),
                },
            ),
        );
    }
    std::fs::create_dir_all(&scratch)?;
    let numbered: Vec<(usize, Test)> = tests.into_iter().enumerate().collect();
    let traced = share(&numbered, threads, |(i, test)| {
        let path = scratch.join(format!("{}-{i}", std::process::id()));
        let began = Instant::now();
        let ending = test.run(dir, "MUTANT_TRACE", &path.to_string_lossy(), Duration::from_secs(900))?;
        if ending != Ending::Passed {
            bail!("{} {}: {ending:?} without any mutant", test.program.name, test.name);
        }
        let took = began.elapsed();
        let asked = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(&path);
        let reaches = asked.lines().filter_map(|id| id.parse().ok()).collect();
        Ok(Test { took, reaches, ..test.clone() })
    });
    traced.into_iter().collect()
}
