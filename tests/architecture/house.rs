//! What may lie at the top of the tree (everything else belongs in a folder, or nowhere), and that the pages there say
//! what is so.

const ALLOWED: [&str; 20] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "Makefile",
    "build.rs",
    "clippy.toml",
    "rustfmt.toml",
    "src",
    "tests",
    "benches",
    "tools",
    "docker",
    "adapters",
    "examples",
    "docs",
    ".ci",
    "target",
];

/// The names that do not belong there. Git's own (`.git`, `.gitignore`, …) and what an editor leaves (`*.swp`) may.
pub(crate) fn strangers(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let known = |name: &str| ALLOWED.contains(&name) || name.starts_with(".git") || name.ends_with(".swp");
    let strange = names.into_iter().filter(|name| !known(name));
    strange.map(|name| format!("{name}: does not belong at the top; see tests/architecture/house.rs")).collect()
}

/// The first example of the README and of the crate's page must be one text.
pub(crate) fn differing_examples(readme: &str, library: &str) -> Vec<String> {
    let page: String = library
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .flat_map(|line| [line.strip_prefix(' ').unwrap_or(line), "\n"])
        .collect();
    match (first_example(readme), first_example(&page)) {
        (Some(ours), Some(theirs)) if ours == theirs => Vec::new(),
        (Some(_), Some(_)) => vec!["the first examples of README.md and src/lib.rs differ".to_owned()],
        _ => vec!["README.md and the page of src/lib.rs must each begin with an example".to_owned()],
    }
}

/// The lines of the first block that opens a cache.
fn first_example(page: &str) -> Option<Vec<&str>> {
    let blocks = page.split("```").skip(1).step_by(2);
    let example = blocks.map(|block| block.lines().skip(1).collect::<Vec<_>>());
    example.into_iter().find(|lines| lines.iter().any(|line| line.contains("DiskCache::builder")))
}

/// The README's `cargo test` commands that CI does not run, word for word.
pub(crate) fn commands_not_run(readme: &str, ci: &str) -> Vec<String> {
    let commands: Vec<&str> = readme.lines().filter(|line| line.starts_with("cargo test")).collect();
    if commands.is_empty() {
        return vec!["README.md does not say how to run the tests".to_owned()];
    }
    let missing = commands.into_iter().filter(|command| !ci.lines().any(|line| line == *command));
    missing.map(|command| format!(".ci/run does not run `{command}` as README.md has it")).collect()
}

#[test]
fn pages_that_differ_are_caught() {
    let page = |builder: &str| format!("```sh\nls\n```\n```rust\nuse x;\n{builder}\n```\n");
    let library = "//! ```no_run\n//! use x;\n//! DiskCache::builder(1)\n//! ```\n\nmod a;\n";
    assert!(differing_examples(&page("DiskCache::builder(1)"), library).is_empty());
    assert_eq!(differing_examples(&page("DiskCache::builder(2)"), library).len(), 1);
    assert_eq!(differing_examples(&page("DiskCache::builder(1)"), "mod a;").len(), 1);
    assert!(commands_not_run("cargo test --x\n", "set -e\ncargo test --x\n").is_empty());
    assert_eq!(commands_not_run("cargo test --x\n", "# cargo test --x\n").len(), 1);
    assert_eq!(commands_not_run("", "cargo test --x\n").len(), 1);
}

#[test]
fn a_stranger_is_caught() {
    let names = ["src", ".gitignore", "Cargo.toml", "notes.txt", "lib"].map(str::to_owned);
    assert_eq!(strangers(names).len(), 2);
}
