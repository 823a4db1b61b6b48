//! Rows 6 and 7 by their command: their children are this very program.

use std::process::Command;

/// Runs rows of the scoreboard; whether all held, and what was printed.
fn scoreboard(arguments: &[&str]) -> (bool, serde_json::Value) {
    let program = env!("CARGO_BIN_EXE_esker-proof");
    let ran = Command::new(program).args(["scoreboard", "--json"]).args(arguments).output().expect("it runs");
    let line = serde_json::from_slice(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    (ran.status.success(), line)
}

fn count(line: &serde_json::Value, name: &str) -> u64 {
    let counts = line["counts"].as_array().expect("counts");
    let pair = counts.iter().find(|pair| pair[0] == name).unwrap_or_else(|| panic!("no {name} in {line}"));
    pair[1].as_u64().expect("a number")
}

#[test]
fn kills_under_load_are_survived() {
    let (holds, line) = scoreboard(&["--row", "6"]);
    assert!(holds, "{line:#}");
    for what in ["kills", "kills while starting", "acknowledged", "hits", "evicted"] {
        assert!(count(&line, what) > 0, "{what}: the harness tries less than it says: {line:#}");
    }
}

#[test]
fn canary_a_child_that_tells_too_early_is_caught() {
    let (holds, line) = scoreboard(&["--row", "6", "--canary"]);
    assert!(!holds && line["verdict"] == "failed", "the harness sees nothing: {line:#}");
    assert!(count(&line, "lost") > 0, "{line:#}");
}
