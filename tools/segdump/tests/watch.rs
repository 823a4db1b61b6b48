//! The directory is looked at again and again, and the lines are plain where there is no terminal.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use support::{assert_tame, builder, damage_a_value, empty, json, overwrite, sealed, segdump, strange, traces};

fn watch(dir: &Path, more: &[&str]) -> (i32, Vec<String>) {
    let out = segdump(&[&["watch", dir.to_str().unwrap()], more].concat());
    assert_tame(&out.stdout);
    assert_tame(&out.stderr);
    let text = String::from_utf8(out.stdout).unwrap();
    (out.status.code().unwrap(), text.lines().map(str::to_owned).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_is_seen_and_said_by_the_second() {
    let dir = tempfile::tempdir().unwrap();
    let cache = builder(dir.path()).open().await.unwrap();
    let path = dir.path().to_owned();
    let watching = tokio::task::spawn_blocking(move || watch(&path, &["--interval", "0.5", "--count", "4"]));
    let begun = Instant::now();
    for n in 0..200u64 {
        cache.set(format!("key {n}"), support::value(n)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cache.sync().await.unwrap();
    let (code, lines) = watching.await.unwrap();
    assert!(code == 0 && lines.len() == 4 && begun.elapsed() >= Duration::from_millis(1_500), "{lines:?}");
    assert!(!lines[0].contains("/s)") && lines[1..].iter().all(|line| line.matches("/s)").count() == 3), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("entries") && !line.contains("(+0/s); bytes")), "{lines:?}");
    cache.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_are_those_of_the_summary_and_nothing_is_changed() {
    let dir = strange().await;
    damage_a_value(dir.path());
    let (path, _) = sealed(dir.path());
    overwrite(&path, support::SEGMENT - 2, &[0xaa; 1]);
    let before = traces(dir.path());
    let (code, lines) = watch(dir.path(), &["--count", "1"]);
    let entries = json("summary", dir.path()).1["entries"].as_u64().unwrap();
    assert!(code == 0 && lines[0].contains(&format!("entries {entries}; bytes")), "{lines:?}");
    assert!(lines[0].contains("DAMAGED"), "{lines:?}");
    assert!(before == traces(dir.path()));
    let (code, lines) = watch(empty().await.path(), &["--count", "1"]);
    assert!(code == 0 && lines[0].contains("entries 0; bytes 0 bytes live"), "{lines:?}");
    for wrong in [&["--interval", "0"][..], &["--interval", "NaN"], &["--interval", "-1"], &["--count", "x"]] {
        assert_eq!(watch(dir.path(), wrong).0, 2, "{wrong:?}");
    }
    assert_eq!(watch(Path::new("/no/such/directory"), &[]).0, 2);
}
