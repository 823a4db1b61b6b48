//! A Rust file as text and as tokens, so that neither comments nor strings are mistaken for code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, LineColumn, Span, TokenStream, TokenTree};

/// A file of the tree.
pub(crate) struct Source {
    /// Relative to the root of the tree, with forward slashes.
    pub(crate) path: String,
    /// As it stands on disk.
    pub(crate) text: String,
    /// What the compiler sees; doc comments appear as attributes.
    pub(crate) tokens: Vec<TokenTree>,
}

/// The root of the tree.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Source {
    /// Parses `text`; `path` is what violations name.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let stream: TokenStream = text.parse().unwrap_or_else(|e| panic!("{path} is no Rust: {e}"));
        Self { path: path.to_owned(), text: text.to_owned(), tokens: stream.into_iter().collect() }
    }

    /// Every `.rs` file below `folders`, sorted by path. Folders that do not exist are passed over.
    pub(crate) fn load_all(folders: &[&str]) -> Vec<Self> {
        let mut paths = Vec::new();
        for folder in folders {
            collect(&root().join(folder), &mut paths);
        }
        paths.sort();
        let load = |path: &PathBuf| {
            let relative = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
            Self::new(&relative, &std::fs::read_to_string(path).unwrap())
        };
        paths.iter().map(load).collect()
    }

    /// The line numbers (from 1) that hold code: neither blank nor only comment. A string of five lines counts five.
    pub(crate) fn code_lines(&self) -> BTreeSet<usize> {
        let lines: Vec<&str> = self.text.lines().collect();
        let mut found = BTreeSet::new();
        visit(&self.tokens, &mut |token| match token {
            TokenTree::Group(group) => {
                if group.delimiter() != Delimiter::None && !is_comment(&lines, group.span_open().start()) {
                    found.insert(group.span_open().start().line);
                    found.insert(group.span_close().end().line);
                }
            }
            leaf => add_lines(&lines, leaf.span(), &mut found),
        });
        found
    }
}

fn add_lines(lines: &[&str], span: Span, found: &mut BTreeSet<usize>) {
    if !is_comment(lines, span.start()) {
        found.extend(span.start().line..=span.end().line);
    }
}

/// Whether a comment begins here: the tokens of a doc comment all have its place.
fn is_comment(lines: &[&str], at: LineColumn) -> bool {
    let rest: String = lines.get(at.line - 1).map(|l| l.chars().skip(at.column).take(2).collect()).unwrap_or_default();
    rest == "//" || rest == "/*"
}

/// Calls `f` for every token, groups before what is in them.
pub(crate) fn visit(tokens: &[TokenTree], f: &mut impl FnMut(&TokenTree)) {
    for token in tokens {
        f(token);
        if let TokenTree::Group(group) = token {
            visit(&inside(group), f);
        }
    }
}

/// Calls `f` for every run of sibling tokens: the file, then the inside of each group.
pub(crate) fn visit_runs(tokens: &[TokenTree], f: &mut impl FnMut(&[TokenTree])) {
    f(tokens);
    for token in tokens {
        if let TokenTree::Group(group) = token {
            visit_runs(&inside(group), f);
        }
    }
}

/// What stands between the delimiters.
pub(crate) fn inside(group: &Group) -> Vec<TokenTree> {
    group.stream().into_iter().collect()
}

/// The identifier that `token` is, if it is one.
pub(crate) fn ident(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    }
}

/// Whether `token` is this punctuation character.
pub(crate) fn is_punct(token: Option<&TokenTree>, c: char) -> bool {
    matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == c)
}

/// Whether `::` stands at `at`.
pub(crate) fn is_path_separator(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, paths);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            paths.push(path);
        }
    }
}

#[test]
fn comments_and_blank_lines_are_no_code() {
    let text = "//! doc\n\n/// doc\nfn f() { // why\n    /* long\n       comment */\n    let s = \"two\n lines\";\n}\n";
    assert_eq!(Source::new("x.rs", text).code_lines().into_iter().collect::<Vec<_>>(), [4, 7, 8, 9]);
}
