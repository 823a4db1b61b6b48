//! No file over 400 lines of code, no function over 70. Comments and blank lines are free.

use proc_macro2::{Delimiter, TokenTree};

use super::source::{Source, ident, is_punct, visit_runs};

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 70;

/// Functions that may be longer: path, name, reason.
const LONG_FUNCTIONS: [(&str, &str, &str); 0] = [];

/// What is too long in one file.
pub(crate) fn violations(source: &Source) -> Vec<String> {
    let code = source.code_lines();
    let mut found = Vec::new();
    if code.len() > MAX_FILE_LINES {
        found.push(format!("{}: {} lines of code, at most {MAX_FILE_LINES}: split it", source.path, code.len()));
    }
    for (name, first, last) in functions(&source.tokens) {
        let len = code.range(first..=last).count();
        let excused = LONG_FUNCTIONS.iter().any(|(path, excused, _)| *path == source.path && *excused == name);
        if len > MAX_FUNCTION_LINES && !excused {
            let path = &source.path;
            found.push(format!("{path}:{first}: `{name}` has {len} lines of code, at most {MAX_FUNCTION_LINES}"));
        }
    }
    found
}

/// Name, first and last line of every function with a body.
fn functions(tokens: &[TokenTree]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    visit_runs(tokens, &mut |run| {
        for (at, token) in run.iter().enumerate() {
            let (Some("fn"), Some(name)) = (ident(Some(token)).as_deref(), ident(run.get(at + 1))) else { continue };
            let body = run[at..].iter().take_while(|t| !is_punct(Some(t), ';')).find_map(|t| match t {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(group),
                _ => None,
            });
            if let Some(body) = body {
                found.push((name, token.span().start().line, body.span_close().end().line));
            }
        }
    });
    found
}

#[cfg(test)]
mod canary {
    use super::*;

    #[test]
    fn a_long_file_is_caught() {
        let at_limit = "const A: u8 = 0;\n// free\n\n".repeat(MAX_FILE_LINES);
        assert!(violations(&Source::new("src/x.rs", &at_limit)).is_empty());
        assert_eq!(violations(&Source::new("src/x.rs", &format!("{at_limit}const B: u8 = 0;"))).len(), 1);
    }

    #[test]
    fn a_long_function_is_caught_wherever_it_hides() {
        let body = "    f();\n    // free\n".repeat(MAX_FUNCTION_LINES - 2);
        let at_limit = format!("impl X {{\nfn f() {{\n{body}}}\n}}\n");
        assert!(violations(&Source::new("src/x.rs", &at_limit)).is_empty());
        let over = format!("impl X {{\nasync fn f() -> fn(u8) {{\n{body}f();\n}}\n}}\n");
        assert_eq!(violations(&Source::new("src/x.rs", &over)).len(), 1);
    }

    #[test]
    fn a_declaration_does_not_swallow_its_neighbour() {
        let text = "trait T { fn a(&self); fn b(&self) {} } type F = fn(u8) -> u8;";
        let names: Vec<_> = functions(&Source::new("src/x.rs", text).tokens).into_iter().map(|f| f.0).collect();
        assert_eq!(names, ["b"]);
    }
}
