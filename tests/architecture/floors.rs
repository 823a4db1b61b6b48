//! A module imports only from lower floors, and siblings do not meet.
//!
//! | floor | modules |
//! |---|---|
//! | 0 ground | `types` `sync` · `error` · `clock` `stats` `entry` `codec` · `config` (words build on words: each may use those before a dot) |
//! | 1 bytes, disk | `format` `backend` |
//! | 2 places | `segment` `index` `object` `memory` `flight` `catalog` `marks` `namespaces` `pins` |
//! | 3 paths | `log` `read` |
//! | 4 upkeep | `recover` `evict` |
//! | 5 engine | `engine` |
//! | 6 face | `api` |
//!
//! The root, `src/lib.rs`, only lists modules and re-exports. Modules name each other by module (`crate::error::Error`),
//! never through the root's re-exports, which would hide the floor.

use proc_macro2::{Delimiter, TokenTree};

use super::source::{Source, ident, inside, is_path_separator, is_punct};

/// Module, floor, and the step within the ground floor.
const FLOORS: [(&str, u8, u8); 26] = [
    ("types", 0, 0),
    ("sync", 0, 0),
    ("error", 0, 1),
    ("clock", 0, 2),
    ("stats", 0, 2),
    ("entry", 0, 2),
    ("codec", 0, 2),
    ("config", 0, 3),
    ("format", 1, 0),
    ("backend", 1, 0),
    ("segment", 2, 0),
    ("index", 2, 0),
    ("object", 2, 0),
    ("memory", 2, 0),
    ("flight", 2, 0),
    ("catalog", 2, 0),
    ("marks", 2, 0),
    ("namespaces", 2, 0),
    ("pins", 2, 0),
    ("dirty", 2, 0),
    ("log", 3, 0),
    ("read", 3, 0),
    ("recover", 4, 0),
    ("evict", 4, 0),
    ("engine", 5, 0),
    ("api", 6, 0),
];

fn floor_of(module: &str) -> Option<(u8, u8)> {
    FLOORS.iter().find(|(name, ..)| *name == module).map(|&(_, floor, step)| (floor, step))
}

/// The module path that a file under `src` is: `src/backend/uring/ring.rs` is `backend`, `uring`, `ring`.
fn module_path(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut parts: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib") {
        parts.pop();
    }
    parts
}

/// What is wrong in one file of the library.
pub(crate) fn violations(source: &Source) -> Vec<String> {
    let path = module_path(&source.path);
    let Some(own) = path.first() else { return Vec::new() };
    let Some((own_floor, own_step)) = floor_of(own) else {
        return vec![format!(
            "{}: module `{own}` has no floor; give it one in tests/architecture/floors.rs",
            source.path
        )];
    };
    let mut found = Vec::new();
    for (line, target) in imports(&source.tokens, path.len()) {
        let at = format!("{}:{line}", source.path);
        match floor_of(&target) {
            _ if target == *own => {}
            None => found.push(format!("{at}: `crate::{target}` is no module with a floor; import it from its module")),
            Some((floor, _)) if floor < own_floor => {}
            Some((0, step)) if own_floor == 0 && step < own_step => {}
            Some((floor, _)) => {
                found.push(format!("{at}: `{own}` (floor {own_floor}) must not import `{target}` (floor {floor})"));
            }
        }
    }
    found
}

/// Line and first name below the crate root of every path that starts with `crate::`, or with enough `super::` to
/// reach the root from a module `depth` names deep.
fn imports(tokens: &[TokenTree], depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(word) if word == "crate" && is_path_separator(tokens, at + 1) => {
                first_names(tokens.get(at + 3), &mut found);
            }
            TokenTree::Ident(word) if word == "super" && !is_punct(before(tokens, at), ':') => {
                let mut ups = 0;
                let mut next = at;
                while ident(tokens.get(next)).as_deref() == Some("super") && is_path_separator(tokens, next + 1) {
                    ups += 1;
                    next += 3;
                }
                if ups >= depth {
                    first_names(tokens.get(next), &mut found);
                }
            }
            TokenTree::Group(group) => {
                // `mod name { … }` is one module deeper.
                let is_module = group.delimiter() == Delimiter::Brace
                    && at >= 2
                    && ident(tokens.get(at - 2)).as_deref() == Some("mod");
                found.extend(imports(&inside(group), depth + usize::from(is_module)));
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn before(tokens: &[TokenTree], at: usize) -> Option<&TokenTree> {
    at.checked_sub(1).and_then(|at| tokens.get(at))
}

/// `name`, or the first names of each branch of `{a::b, c}`.
fn first_names(token: Option<&TokenTree>, found: &mut Vec<(usize, String)>) {
    match token {
        Some(TokenTree::Ident(name)) => found.push((name.span().start().line, name.to_string())),
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let tokens = inside(group);
            for (i, token) in tokens.iter().enumerate() {
                if i == 0 || is_punct(tokens.get(i - 1), ',') {
                    first_names(Some(token), found);
                }
            }
        }
        Some(TokenTree::Punct(star)) => found.push((star.span().start().line, star.as_char().to_string())),
        _ => {}
    }
}

#[cfg(test)]
mod canary {
    use super::*;

    fn caught(path: &str, text: &str) -> Vec<String> {
        violations(&Source::new(path, text))
    }

    #[test]
    fn an_import_from_above_is_caught() {
        assert_eq!(caught("src/log.rs", "use crate::engine::Engine;").len(), 1);
        assert_eq!(caught("src/log.rs", "fn f() { let x = crate::evict::pick(); }").len(), 1);
        assert_eq!(caught("src/format/record.rs", "use crate::{types::Millis, segment::{scan, active}};").len(), 1);
        assert_eq!(caught("src/log.rs", "macro_rules! m { () => { crate::api::x() }; }").len(), 1);
    }

    #[test]
    fn a_meeting_of_siblings_is_caught() {
        assert_eq!(caught("src/segment/scan.rs", "use crate::index::Slot;").len(), 1);
        assert_eq!(caught("src/index/mod.rs", "use crate::segment::Location;").len(), 1);
        assert_eq!(caught("src/format/mod.rs", "use crate::backend::Backend;").len(), 1);
        assert_eq!(caught("src/types.rs", "use crate::error::Error;").len(), 1, "words have an order too");
    }

    #[test]
    fn a_way_round_by_super_or_by_the_root_is_caught() {
        assert_eq!(caught("src/backend/uring/ring.rs", "use super::super::super::format::Header;").len(), 1);
        assert_eq!(caught("src/log.rs", "mod tests { use super::super::engine::Engine; }").len(), 1);
        assert_eq!(caught("src/log.rs", "use crate::DiskCache;").len(), 1);
        assert_eq!(caught("src/log.rs", "use crate::*;").len(), 1);
        assert_eq!(caught("src/attic.rs", "").len(), 1, "a module without a floor");
    }

    #[test]
    fn what_is_allowed_passes() {
        assert!(caught("src/segment/scan.rs", "use crate::{backend::Backend, format::record};").is_empty());
        assert!(caught("src/backend/uring/ring.rs", "use super::super::os; use super::Job;").is_empty());
        assert!(caught("src/log.rs", "mod tests { use super::*; }").is_empty());
        assert!(caught("src/config.rs", "use crate::error::Error; // not crate::engine::Engine").is_empty());
        assert!(caught("src/lib.rs", "mod api; pub use api::Cache;").is_empty());
        assert!(caught("src/log.rs", "const S: &str = \"crate::engine\";").is_empty());
    }
}
