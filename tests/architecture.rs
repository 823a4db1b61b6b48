//! The shape of the house, held by machine: floors, sizes, the addresses of `unsafe`, options that nothing reads.
//!
//! Each rule is a function over text, in a file of its own beside its canary: a planted violation that the rule must
//! catch. The tests here run the rules over the whole tree and list every violation at once.

#[path = "architecture/floors.rs"]
mod floors;
#[path = "architecture/house.rs"]
mod house;
#[path = "architecture/settings.rs"]
mod settings;
#[path = "architecture/sizes.rs"]
mod sizes;
#[path = "architecture/source.rs"]
mod source;
#[path = "architecture/unsafety.rs"]
mod unsafety;
#[path = "architecture/words.rs"]
mod words;

use source::Source;

/// Folders with Rust code of ours.
const CODE: [&str; 6] = ["src", "tools", "benches", "tests", "examples", "adapters"];

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "{} violation(s):\n  {}", violations.len(), violations.join("\n  "));
}

#[test]
fn modules_import_only_from_lower_floors() {
    let sources = Source::load_all(&["src"]);
    assert!(sources.len() > 5, "the library was not found");
    assert_none(&sources.iter().flat_map(floors::violations).collect::<Vec<_>>());
}

#[test]
fn what_tasks_meet_by_comes_in_at_one_door() {
    assert_none(&Source::load_all(&["src"]).iter().flat_map(words::violations).collect::<Vec<_>>());
}

#[test]
fn files_and_functions_stay_small() {
    let sources = Source::load_all(&CODE);
    assert_none(&sources.iter().flat_map(sizes::violations).collect::<Vec<_>>());
}

#[test]
fn unsafe_has_an_address_and_a_reason() {
    let sources = Source::load_all(&CODE);
    let mut violations: Vec<_> = sources.iter().flat_map(unsafety::violations).collect();
    violations.extend(unsafety::stale_addresses(&sources));
    assert_none(&violations);
}

#[test]
fn every_setting_is_read() {
    assert_none(&settings::unread_fields(&Source::load_all(&["src"])));
}

#[test]
fn every_setting_is_documented() {
    let sources = Source::load_all(&["src"]);
    let config = sources.iter().find(|s| s.path == "src/config.rs").expect("the settings are in src/config.rs");
    let document = std::fs::read_to_string(source::root().join("docs/configuration.md")).unwrap();
    assert_none(&settings::undocumented_fields(config, &document));
}

#[test]
fn the_readme_the_crate_page_and_ci_say_the_same() {
    let read = |path: &str| std::fs::read_to_string(source::root().join(path)).unwrap();
    let (readme, library, ci) = (read("README.md"), read("src/lib.rs"), read(".ci/run"));
    assert_none(&house::differing_examples(&readme, &library));
    assert_none(&house::commands_not_run(&readme, &ci));
}

#[test]
fn nothing_else_lies_at_the_top() {
    let names = std::fs::read_dir(source::root()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    assert_none(&house::strangers(names));
}
