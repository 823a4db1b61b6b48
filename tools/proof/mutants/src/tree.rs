//! The copy of the project that the switches are put into, and what cargo makes of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::list::Mutant;
use crate::switch::{MARK, switch};

/// What the switches ask: which one is on, by the environment; or, while tests are traced, who asks.
const ASK: &str = include_str!("ask.rs.txt");

/// A project and its copy.
pub struct Tree {
    /// As it is.
    pub plain: PathBuf,
    /// With switches.
    pub switched: PathBuf,
    /// What cargo is told besides its command.
    pub arguments: Vec<String>,
}

/// A program of tests.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its target.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

impl Tree {
    /// Puts in the mutants that can be compiled as switches. The numbers of those that can, and of those that the compiler
    /// refuses; the others are no switches.
    pub fn plant(&self, mutants: &[Mutant]) -> Result<(BTreeSet<u32>, BTreeSet<u32>)> {
        let lib = std::fs::read_to_string(self.plain.join("src/lib.rs"))?;
        write_changed(&self.switched.join("src/lib.rs"), &format!("{lib}\n{ASK}"))?;
        let mut refused = BTreeSet::new();
        loop {
            let planted = self.write(mutants, &refused)?;
            let known = refused.len();
            refused.extend(self.refusals()?);
            if refused.len() == known {
                return Ok((planted, refused));
            }
        }
    }

    fn write(&self, mutants: &[Mutant], refused: &BTreeSet<u32>) -> Result<BTreeSet<u32>> {
        let files: BTreeSet<&str> = mutants.iter().map(|m| m.file.as_str()).collect();
        let mut planted = BTreeSet::new();
        for file in files {
            let is_here = |m: &&Mutant| m.file == file && !m.is_opaque && !refused.contains(&m.id);
            let here: Vec<Mutant> = mutants.iter().filter(is_here).cloned().collect();
            let text = std::fs::read_to_string(self.plain.join(file))?;
            let (text, placed) = switch(&text, &here).with_context(|| file.to_owned())?;
            write_changed(&self.switched.join(file), &text)?;
            planted.extend(placed);
        }
        Ok(planted)
    }

    /// The mutants that do not compile, as far as the compiler comes.
    fn refusals(&self) -> Result<BTreeSet<u32>> {
        let (has_succeeded, messages) = self.cargo(&["check", "-p", "esker", "--lib"])?;
        let mut refused = BTreeSet::new();
        for message in messages.iter().filter(|m| m["message"]["level"] == "error") {
            for span in message["message"]["spans"].as_array().into_iter().flatten() {
                let (Some(file), Some(at)) = (span["file_name"].as_str(), span["byte_start"].as_u64()) else {
                    continue;
                };
                if span["is_primary"] != true {
                    continue;
                }
                let text = std::fs::read_to_string(self.switched.join(file))?;
                refused.extend(text.get(..at as usize).and_then(last_mark));
            }
        }
        if !has_succeeded && refused.is_empty() {
            bail!("the copy does not compile, and no mutant is to blame");
        }
        Ok(refused)
    }

    /// The programs of the tests, or nothing if they do not compile.
    pub fn programs(&self, tests: &[String]) -> Result<Option<Vec<Program>>> {
        let mut arguments = vec!["test", "--no-run"];
        arguments.extend(tests.iter().map(String::as_str));
        let (has_succeeded, messages) = self.cargo(&arguments)?;
        let program = |m: &Value| {
            let path = m["executable"].as_str()?.into();
            Some(Program { name: m["target"]["name"].as_str()?.to_owned(), path })
        };
        let is_test = |m: &&Value| m["profile"]["test"] == true;
        Ok(has_succeeded.then(|| messages.iter().filter(is_test).filter_map(program).collect()))
    }

    fn cargo(&self, arguments: &[&str]) -> Result<(bool, Vec<Value>)> {
        let ran = Command::new("cargo")
            .args(arguments)
            .args(&self.arguments)
            .args(["--message-format", "json"])
            .current_dir(&self.switched)
            .output()
            .context("cannot run cargo")?;
        let lines = String::from_utf8_lossy(&ran.stdout);
        Ok((ran.status.success(), lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()))
    }

    /// Puts one mutant into the copy by itself, as cargo-mutants does.
    pub fn plant_alone(&self, mutant: &Mutant) -> Result<()> {
        let text = std::fs::read_to_string(self.plain.join(&mutant.file))?;
        let (start, end) = (offset(&text, mutant.start)?, offset(&text, mutant.end)?);
        let text = format!("{} {} {}", &text[..start], mutant.replacement, &text[end..]);
        write_changed(&self.switched.join(&mutant.file), &text)
    }

    /// Takes it out again.
    pub fn restore(&self, file: &str) -> Result<()> {
        write_changed(&self.switched.join(file), &std::fs::read_to_string(self.plain.join(file))?)
    }
}

/// The mutant whose code the text ends in.
fn last_mark(text: &str) -> Option<u32> {
    text.rmatch_indices("u32 =>").find_map(|(at, _)| {
        let digits = text[..at].len() - text[..at].trim_end_matches(|c: char| c.is_ascii_digit()).len();
        text[at - digits..at].parse::<u32>().ok()?.checked_sub(MARK)
    })
}

fn offset(text: &str, at: crate::list::Place) -> Result<usize> {
    let line = text.split_inclusive('\n').take(at.line - 1).map(str::len).sum::<usize>();
    let column = text[line..].char_indices().nth(at.column - 1).context("a place outside of the file")?.0;
    Ok(line + column)
}

/// A file that stays as it is keeps its time, so that cargo need not compile it again.
#[expect(clippy::disallowed_methods, reason = "this is a copy of the sources, not a cache")]
fn write_changed(path: &Path, text: &str) -> Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_message_leads_to_the_switch_before_it() {
        assert_eq!(last_mark("match x { 9000012u32 => a, 7u32 => b, _ => "), Some(12));
        assert_eq!(last_mark("match x { 7u32 => b, _ => "), None);
    }

    #[test]
    fn a_place_is_counted_in_characters() {
        let at = crate::list::Place { line: 2, column: 3 };
        assert_eq!(offset("é\nüx<\n", at).unwrap(), "é\nüx".len());
    }
}
