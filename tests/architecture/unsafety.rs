//! `unsafe` has an address, and a `SAFETY:` comment directly above it.

use proc_macro2::TokenTree;

use super::source::{Source, visit};

/// The only files that may use it, with the reason.
const ADDRESSES: [(&str, &str); 6] = [
    ("src/backend/uring/ring.rs", "submission entries name buffers and descriptors that the kernel then uses"),
    ("src/backend/uring/kernel.rs", "the kernel of the scheduled runs: it uses what submission entries name"),
    ("src/backend/buffer.rs", "aligned memory that the kernel writes into"),
    ("benches/common/raw_ring.rs", "the bare ring that the backend is measured against"),
    ("tests/drops/hasty.rs", "planted faults that traps and sanitizers must catch"),
    ("tests/common/heap.rs", "an allocator that counts, to measure what an index or a hostile file takes"),
];

/// Lines that may stand between the comment and the word: an attribute, the start of the statement.
const MAX_LINES_BETWEEN: usize = 3;

/// What is wrong in one file.
pub(crate) fn violations(source: &Source) -> Vec<String> {
    let addressed = ADDRESSES.iter().any(|(path, _)| *path == source.path);
    let mut found = Vec::new();
    for line in unsafe_lines(source) {
        let at = format!("{}:{line}", source.path);
        if !addressed {
            found.push(format!("{at}: `unsafe` outside the files named in tests/architecture/unsafety.rs"));
        } else if !has_reason(&source.text, line) {
            found.push(format!("{at}: `unsafe` without a `// SAFETY:` comment above it"));
        }
    }
    found
}

/// Addresses at which no `unsafe` lives any more: they must be struck from the list.
pub(crate) fn stale_addresses(sources: &[Source]) -> Vec<String> {
    let lives = |path: &str| sources.iter().any(|s| s.path == path && !unsafe_lines(s).is_empty());
    let stale = ADDRESSES.iter().filter(|(path, _)| !lives(path));
    stale.map(|(path, _)| format!("{path}: no `unsafe` there; strike it from the list")).collect()
}

fn unsafe_lines(source: &Source) -> Vec<usize> {
    let mut lines = Vec::new();
    visit(&source.tokens, &mut |token| match token {
        TokenTree::Ident(word) if word == "unsafe" => lines.push(word.span().start().line),
        _ => {}
    });
    lines
}

fn has_reason(text: &str, line: usize) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let mut between = 0;
    for above in lines[..line - 1].iter().rev().map(|l| l.trim_start()) {
        if above.contains("SAFETY:") {
            return true;
        }
        between += usize::from(!above.starts_with("//"));
        if between > MAX_LINES_BETWEEN {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod canary {
    use super::*;

    const HOME: &str = ADDRESSES[0].0;

    #[test]
    fn unsafe_elsewhere_is_caught() {
        let text = "fn f() {\n    // SAFETY: none\n    unsafe { g() }\n}";
        assert_eq!(violations(&Source::new("src/log.rs", text)).len(), 1);
        assert!(violations(&Source::new(HOME, text)).is_empty());
        assert!(violations(&Source::new("src/log.rs", "// unsafe\nconst S: &str = \"unsafe\";")).is_empty());
    }

    #[test]
    fn unsafe_without_a_reason_is_caught() {
        assert_eq!(violations(&Source::new(HOME, "fn f() { unsafe { g() } }")).len(), 1);
        let far = "// SAFETY: far away\nfn a() {}\nfn b() {}\nfn c() {}\nfn d() {}\nfn f() {\n unsafe { g() }\n}";
        assert_eq!(violations(&Source::new(HOME, far)).len(), 1);
        let long =
            "fn f() {\n // SAFETY: a reason\n // of\n // many\n // lines\n // indeed\n let x =\n  unsafe { g() };\n}";
        assert!(violations(&Source::new(HOME, long)).is_empty());
    }

    #[test]
    fn an_address_nobody_lives_at_is_caught() {
        assert_eq!(stale_addresses(&[Source::new(HOME, "fn f() {}")]).len(), ADDRESSES.len());
        assert_eq!(stale_addresses(&[Source::new(HOME, "unsafe fn f() {}")]).len(), ADDRESSES.len() - 1);
    }
}
