//! The rows on the real machine, by their command: some have children, which are this very program.

use std::process::Command;

use serde_json::Value;

const TRIES: u32 = 4;

/// Runs rows of the scoreboard; whether all held, and what was printed.
fn scoreboard(arguments: &[&str]) -> (bool, Value) {
    let program = env!("CARGO_BIN_EXE_esker-proof");
    let ran = Command::new(program).args(["scoreboard", "--json"]).args(arguments).output().expect("it runs");
    let line = serde_json::from_slice(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    (ran.status.success(), line)
}

/// Whether this machine lacks what the row needs: then it says what.
fn is_skipped(line: &Value) -> bool {
    line["verdict"]["skipped"].as_str().is_some_and(|why| !why.is_empty())
}

fn count(line: &Value, name: &str) -> u64 {
    let counts = line["counts"].as_array().expect("counts");
    let pair = counts.iter().find(|pair| pair[0] == name).unwrap_or_else(|| panic!("no {name} in {line}"));
    pair[1].as_u64().expect("a number")
}

/// With its fault planted, a row fails and says of a case what is wrong. Time has a part in it, so there is more than one
/// try.
fn is_caught(arguments: &[&str], what: &str) {
    let mut line = Value::Null;
    for seed in 0..TRIES {
        let holds;
        (holds, line) = scoreboard(&[arguments, &["--canary", "--seed", &seed.to_string()]].concat());
        if is_skipped(&line) {
            return;
        }
        let failures = line["failures"].as_array().expect("failures");
        let is_named = failures.iter().any(|failure| failure["what"].as_str().is_some_and(|text| text.contains(what)));
        if !holds && line["verdict"] == "failed" && is_named {
            return;
        }
    }
    panic!("the harness sees nothing: {line:#}");
}

#[test]
fn kills_under_load_are_survived() {
    let (holds, line) = scoreboard(&["--row", "6"]);
    assert!(holds, "{line:#}");
    for what in ["kills", "kills while starting", "values due to the origin", "acknowledged", "hits", "evicted"] {
        assert!(count(&line, what) > 0, "{what}: the harness tries less than it says: {line:#}");
    }
}

#[test]
fn canary_a_child_that_tells_too_early_is_caught() {
    is_caught(&["--row", "6", "--case", "tokio_fs 0"], "was lost");
}

#[test]
fn canary_a_flush_that_says_stored_before_the_origin_took_it_is_caught() {
    is_caught(&["--row", "6", "--case", "tokio_fs back 0"], "at the origin");
    is_caught(&["--row", "6", "--case", "tokio_fs through 0"], "origin");
}

#[test]
fn a_dead_writer_s_writes_land_before_the_successor_is_ready() {
    let (holds, line) = scoreboard(&["--row", "7"]);
    assert!(holds, "{line:#}");
}

#[test]
fn canary_a_successor_that_does_not_wait_is_caught() {
    is_caught(&["--row", "7", "--threads", "3"], "after recovery had returned");
}

#[test]
fn a_full_disk_is_lived_with() {
    let (holds, line) = scoreboard(&["--row", "9", "--case", "ext4 tokio_fs 6"]);
    assert!(holds, "{line:#}");
}

#[test]
fn canary_writes_that_never_resume_are_caught() {
    is_caught(&["--row", "9", "--case", "tmpfs tokio_fs 4"], "do not resume");
}

#[test]
fn canary_a_file_that_nobody_counts_is_caught() {
    is_caught(&["--row", "9", "--case", "tmpfs tokio_fs 5"], "bytes are taken");
}

#[test]
fn canary_a_stale_answer_is_caught() {
    is_caught(&["--row", "11", "--case", "tokio_fs 0"], "version");
}

#[test]
fn canary_an_eviction_that_ignores_pins_is_caught() {
    is_caught(&["--row", "11", "--case", "tokio_fs 1"], "is pinned, and was missed");
}

#[test]
fn canary_a_purge_that_is_skipped_is_caught() {
    is_caught(&["--row", "11", "--case", "tokio_fs 2"], "a purge of its tag");
}

#[test]
fn canary_a_leak_is_caught() {
    is_caught(&["--row", "15", "--case", "tokio_fs"], "memory grew");
}
