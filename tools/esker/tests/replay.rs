//! The replay as a user runs it: the program, its report and its exit code.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn esker(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_esker")).args(args).output().unwrap()
}

fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The names that the command's users rely on.
fn assert_contract(report: &Value) {
    for name in [
        "requests",
        "requests_per_s",
        "object_hit_ratio",
        "byte_hit_ratio",
        "wrong_bytes",
        "written_per_admitted",
        "index_bytes_per_entry",
        "files",
    ] {
        assert!(report[name].is_number(), "{name} is {}", report[name]);
    }
    for name in ["ms", "entries_kept", "wrong_bytes"] {
        assert!(report["reopen"][name].is_number(), "reopen.{name} is {}", report["reopen"][name]);
    }
}

#[test]
fn a_replay_hits_survives_the_kill_and_reads_no_wrong_byte() {
    let output = esker(&["replay", "--json", "--requests", "5000", "--against", "file-per-key", "--concurrency", "4"]);
    let report = report(&output);
    for side in [&report, &report["against"]] {
        assert_contract(side);
        assert_eq!(side["requests"], 5000);
        assert_eq!(side["wrong_bytes"], 0);
        assert_eq!(side["reopen"]["wrong_bytes"], 0);
        assert!(side["object_hit_ratio"].as_f64().unwrap() > 0.05, "{side}");
        assert!(side["reopen"]["hits"].as_u64().unwrap() > 100, "what was flushed outlives the kill: {side}");
        assert!(side["files"].as_u64().unwrap() > 0);
    }
    assert!(output.stderr.is_empty(), "no progress bar without a terminal");
}

#[test]
fn csv_sets_deletes_and_times_to_live_are_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("small.csv");
    let rows = "0,a,100,0,get\n1,a,100,0,get\n2,a,200,0,set\n3,a,200,0,get\n4,a,200,0,delete\n5,a,200,0,get\n";
    std::fs::File::create(&trace).and_then(|mut file| std::io::Write::write_all(&mut file, rows.as_bytes())).unwrap();
    let cache = dir.path().join("cache");
    let output =
        esker(&["replay", "--json", "--concurrency", "1", "--dir", cache.to_str().unwrap(), trace.to_str().unwrap()]);
    let report = report(&output);
    assert_eq!((&report["gets"], &report["sets"], &report["deletes"]), (&4.into(), &3.into(), &1.into()));
    assert_eq!(report["object_hit_ratio"], 0.5);
    assert!(report["notes"].to_string().contains("capacity raised"), "{}", report["notes"]);
    assert!(Path::new(&cache).read_dir().unwrap().next().is_some(), "a directory asked for is kept");
    let again = esker(&["replay", "--dir", cache.to_str().unwrap(), trace.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("not empty"), "{again:?}");
}

#[test]
fn bad_usage_is_code_2() {
    for args in [&["replay", "--capacity", "12Q"][..], &["replay", "/nowhere/x.ctr.zst"], &["replay", "--against", "x"]]
    {
        let output = esker(args);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(!output.stderr.is_empty());
    }
}
