//! The mutants, as `cargo mutants --list --json` names them.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// What kind of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Genre {
    /// A function does nothing but return this.
    FnValue,
    /// Another operator between two operands.
    BinaryOperator,
    /// An operator before an operand is left out.
    UnaryOperator,
    /// An arm of a `match` is left out.
    MatchArm,
    /// The guard of an arm is a constant.
    MatchArmGuard,
    /// A field is left to `..base`.
    StructField,
}

/// Line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Span {
    start: Place,
    end: Place,
}

#[derive(Debug, Clone, Deserialize)]
struct Function {
    return_type: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Listed {
    name: String,
    file: String,
    genre: Genre,
    replacement: String,
    span: Span,
    function: Option<Function>,
}

/// One change of the code.
#[derive(Debug, Clone)]
pub struct Mutant {
    /// Its number, from 1.
    pub id: u32,
    /// The file that it changes.
    pub file: String,
    /// What it does, with the place.
    pub name: String,
    /// What kind of change it is.
    pub genre: Genre,
    /// The new code.
    pub replacement: String,
    /// Where the old code starts.
    pub start: Place,
    /// Where it ends.
    pub end: Place,
    /// Whether its function's return type is `impl Trait`: two such values are of two types, so it is no switch.
    pub is_opaque: bool,
}

impl Mutant {
    /// The name as a case of the row: without what separates a case from what failed.
    pub fn case(&self) -> String {
        self.name.replace(": ", " ")
    }

    /// The name without line and column, which change with every edit.
    pub fn plain_name(&self) -> String {
        let what = self.name.splitn(4, ':').nth(3).unwrap_or(&self.name);
        format!("{}:{what}", self.file)
    }
}

/// Reads the list.
pub fn read(path: &Path) -> Result<Vec<Mutant>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let listed: Vec<Listed> = serde_json::from_str(&text).context("not a list of mutants")?;
    let mutant = |(i, l): (usize, Listed)| Mutant {
        id: i as u32 + 1,
        file: l.file,
        name: l.name,
        genre: l.genre,
        replacement: l.replacement,
        start: l.span.start,
        end: l.span.end,
        is_opaque: l.function.is_some_and(|f| f.return_type.contains("impl ")),
    };
    Ok(listed.into_iter().enumerate().map(mutant).collect())
}
