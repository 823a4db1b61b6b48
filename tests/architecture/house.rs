//! What may lie at the top of the tree: everything else belongs in a folder, or nowhere.

const ALLOWED: [&str; 19] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "Makefile",
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
pub fn strangers(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let known = |name: &str| ALLOWED.contains(&name) || name.starts_with(".git") || name.ends_with(".swp");
    let strange = names.into_iter().filter(|name| !known(name));
    strange.map(|name| format!("{name}: does not belong at the top; see tests/architecture/house.rs")).collect()
}

#[test]
fn a_stranger_is_caught() {
    let names = ["src", ".gitignore", "Cargo.toml", "notes.txt", "lib"].map(str::to_owned);
    assert_eq!(strangers(names).len(), 2);
}
