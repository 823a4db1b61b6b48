//! Every field of `Config` is read by code outside `config.rs`: as `config.field`, or through a method of `Config`
//! (other than its checks) that reads it and is called. Setting a field is not reading it.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenTree};

use super::source::{Source, ident, inside, is_punct, visit_runs};

const CONFIG: &str = "src/config.rs";
/// Methods that only check.
const CHECKS: [&str; 2] = ["validate", "validate_capacity"];

/// The fields that nothing reads.
pub(crate) fn unread_fields(sources: &[Source]) -> Vec<String> {
    let Some(config) = sources.iter().find(|s| s.path == CONFIG) else { return vec![format!("{CONFIG} is missing")] };
    let fields = fields(config);
    if fields.is_empty() {
        return vec![format!("{CONFIG}: `struct Config` was not found")];
    }
    let mut read = BTreeSet::new();
    let mut called = BTreeSet::new();
    for source in sources.iter().filter(|s| s.path != CONFIG) {
        visit_runs(&source.tokens, &mut |run| {
            read.extend(reads(run, |base| base.ends_with("config")));
            called.extend(calls(run));
        });
    }
    for (method, body) in methods(config) {
        if called.contains(&method) && !CHECKS.contains(&method.as_str()) {
            visit_runs(&body, &mut |run| read.extend(reads(run, |base| base == "self")));
        }
    }
    let unread = fields.into_iter().filter(|f| !read.contains(f));
    unread.map(|f| format!("{CONFIG}: `{f}` is read by no code; use it (as `config.{f}`) or remove it")).collect()
}

/// Where the document on settings and `Config` differ: its table has one row, `` | `field` | ``, for each field.
pub(crate) fn undocumented_fields(config: &Source, document: &str) -> Vec<String> {
    let fields: BTreeSet<String> = fields(config).into_iter().collect();
    let row =
        |line: &str| line.strip_prefix("| `").and_then(|rest| rest.split_once('`')).map(|(name, _)| name.to_owned());
    let rows: BTreeSet<String> = document.lines().filter_map(row).collect();
    let missing = fields.difference(&rows).map(|f| format!("docs/configuration.md: no row for `{f}`"));
    let unknown = rows.difference(&fields).map(|f| format!("docs/configuration.md: `{f}` is no field of `Config`"));
    missing.chain(unknown).collect()
}

/// The names in `struct Config { … }`.
fn fields(config: &Source) -> Vec<String> {
    for (at, token) in config.tokens.iter().enumerate() {
        let named = ident(Some(token)).as_deref() == Some("struct")
            && ident(config.tokens.get(at + 1)).as_deref() == Some("Config");
        if let (true, Some(TokenTree::Group(body))) = (named, config.tokens.get(at + 2)) {
            let body = inside(body);
            let is_field = |&i: &usize| {
                is_punct(body.get(i + 1), ':')
                    && !is_punct(body.get(i + 2), ':')
                    && !(i > 0 && is_punct(body.get(i - 1), ':'))
            };
            return (0..body.len()).filter(is_field).filter_map(|i| ident(body.get(i))).collect();
        }
    }
    Vec::new()
}

/// Name and body of every function in the file.
fn methods(config: &Source) -> Vec<(String, Vec<TokenTree>)> {
    let mut found = Vec::new();
    visit_runs(&config.tokens, &mut |run| {
        for (at, token) in run.iter().enumerate() {
            let (Some("fn"), Some(name)) = (ident(Some(token)).as_deref(), ident(run.get(at + 1))) else { continue };
            let body = run[at..].iter().find_map(|t| match t {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(inside(group)),
                _ => None,
            });
            found.extend(body.map(|body| (name, body)));
        }
    });
    found
}

/// Fields `x` of `base.x` that are neither called nor assigned.
fn reads(run: &[TokenTree], is_base: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for at in 0..run.len() {
        let is_place = ident(run.get(at)).is_some_and(|base| is_base(&base)) && is_punct(run.get(at + 1), '.');
        let (true, Some(field)) = (is_place, ident(run.get(at + 2))) else { continue };
        let assigned =
            is_punct(run.get(at + 3), '=') && !is_punct(run.get(at + 4), '=') && !is_punct(run.get(at + 4), '>');
        if !assigned {
            found.push(field);
        }
    }
    found
}

/// Names `m` of `.m(…)`.
fn calls(run: &[TokenTree]) -> Vec<String> {
    let is_call = |&at: &usize| {
        at > 0
            && is_punct(run.get(at - 1), '.')
            && matches!(run.get(at + 1), Some(TokenTree::Group(g)) if g.delimiter() == Delimiter::Parenthesis)
    };
    (0..run.len()).filter(is_call).filter_map(|at| ident(run.get(at))).collect()
}

#[cfg(test)]
mod canary {
    use super::*;

    fn unread(engine: &str) -> Vec<String> {
        let config = "pub struct Config {\n    /// Doc.\n    pub a_bytes: u64,\n    pub b_ms: Option<std::time::Duration>,\n}\n\
                      impl Config { pub fn b(&self) -> u64 { self.b_ms } pub fn validate(&self) { self.a_bytes; } }";
        unread_fields(&[Source::new(CONFIG, config), Source::new("src/engine/mod.rs", engine)])
    }

    #[test]
    fn a_setting_that_nothing_reads_is_caught() {
        assert_eq!(unread("").len(), 2);
        assert_eq!(
            unread("fn f() { self.config.a_bytes = 5; config.b_ms = None; }").len(),
            2,
            "writing is not reading"
        );
        assert_eq!(unread("fn f() { config.validate(); }").len(), 2, "checking is not reading");
        assert_eq!(unread("// config.a_bytes config.b_ms\nfn f() { stats.a_bytes + stats.b_ms; }").len(), 2);
    }

    #[test]
    fn a_document_that_differs_is_caught() {
        let config = Source::new(CONFIG, "pub struct Config { pub a_ms: u64, pub b: u8 }");
        assert_eq!(undocumented_fields(&config, "| option | unit |\n| `a_ms` | x |\n| `c` | y |\n").len(), 2);
        assert!(undocumented_fields(&config, "| `b` | x |\n| `a_ms` | `y` |\n").is_empty());
    }

    #[test]
    fn what_is_read_passes() {
        assert!(unread("fn f() { g(self.config.a_bytes); config.b(); }").is_empty());
        assert!(unread("fn f() { if config.a_bytes == 5 { h(&disk_config.b_ms) } }").is_empty());
    }
}
