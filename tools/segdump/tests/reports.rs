//! What the commands say of an undamaged directory, and that they leave it as it is.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::{HOSTILE, SEGMENT, builder, directory, fill, json, sealed, segdump, traces, value};

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_agrees_with_the_cache_that_opens_the_directory_next() {
    let dir = directory().await;
    let (code, summary) = json("summary", dir.path());
    assert_eq!(code, 0);
    let cache = builder(dir.path()).open().await.unwrap();
    let stats = cache.stats();
    assert!(stats.entries > 50, "{stats:?}");
    assert_eq!(summary["entries"], stats.entries, "{:?}", cache.recovery_report());
    assert_eq!(summary["live_bytes"], stats.live_bytes);
    assert_eq!(summary["dead_bytes"], stats.dead_bytes);
    assert_eq!(summary["format_version"], 1);
    assert_eq!(summary["segment_len_bytes"], SEGMENT);
    assert_eq!(summary["damaged_records"], 0);
    let segments = summary["segments"].as_array().unwrap();
    assert_eq!(segments.len() as u64, stats.segments);
    let sum = |field: &str| segments.iter().map(|s| s[field].as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum("live_bytes"), stats.live_bytes);
    assert_eq!(sum("live_records"), stats.entries);
    for segment in segments {
        assert_eq!(segment["len_bytes"], SEGMENT);
        if segment["state"] == "sealed" && segment["stream"] == "new" {
            assert!(segment["oldest"].as_u64().unwrap() <= segment["newest"].as_u64().unwrap());
            assert!(segment["oldest"].as_u64().unwrap() > 1_600_000_000_000);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_agrees_after_evictions_and_a_clear_and_without_a_close() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3u64 {
        let cache = builder(dir.path()).open().await.unwrap();
        if round == 1 {
            cache.clear().await.unwrap();
        }
        for n in 0..800u64 {
            cache.set(format!("key {}", n * 7 % 500), value(n)).await.unwrap();
            if n.is_multiple_of(5) {
                cache.delete(format!("key {}", n * 3 % 500)).await.unwrap();
            }
        }
        assert!(cache.stats().counts.segments_evicted > 5);
        cache.sync().await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        if round != 1 {
            cache.close().await.unwrap();
        }
        drop(cache);
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (_, summary) = json("summary", dir.path());
        assert_eq!(json("verify", dir.path()).0, 0);
        let cache = builder(dir.path()).open().await.unwrap();
        let stats = cache.stats();
        let report = cache.recovery_report();
        assert_eq!(
            (&summary["entries"], &summary["live_bytes"]),
            (&stats.entries.into(), &stats.live_bytes.into()),
            "{report:?}"
        );
        assert!(stats.entries > 20);
        cache.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_a_namespace_is_asked_for_and_shown_by_both() {
    let dir = tempfile::tempdir().unwrap();
    let cache = builder(dir.path()).open().await.unwrap();
    cache.namespace("tenant").unwrap().set("key", "of the tenant").await.unwrap();
    cache.set("key", "plain").await.unwrap();
    cache.close().await.unwrap();
    let path = dir.path().to_str().unwrap();
    let get = segdump(&["get", path, "key", "--namespace", "tenant", "--raw"]);
    assert_eq!((get.status.code(), &get.stdout[..]), (Some(0), &b"of the tenant"[..]));
    assert_eq!(segdump(&["get", path, "key", "--raw"]).stdout, b"plain");
    let other = segdump(&["explain", path, "key", "--namespace", "other"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8(other.stdout).unwrap().starts_with("`[other] key` is not served"));
    let entries = String::from_utf8(segdump(&["entries", path]).stdout).unwrap();
    assert!(entries.contains("  [tenant] key\n") && entries.contains("  key\n"), "{entries}");
    let (_, entries) = json("entries", dir.path());
    let tenant = entries["entries"].as_array().unwrap().iter().find(|entry| entry["namespace"] == "tenant").unwrap();
    assert_eq!((&tenant["key"], tenant["key_len"].as_u64()), (&"key".into(), Some(18)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed() {
    let dir = directory().await;
    let path = dir.path().to_str().unwrap();
    let before = traces(dir.path());
    let (segment, _) = sealed(dir.path());
    for args in [
        &["summary", path][..],
        &["summary", path, "--json"],
        &["segments", path],
        &["records", segment.to_str().unwrap()],
        &["entries", path],
        &["entries", path, "--json"],
        &["get", path, "key 1"],
        &["explain", path, "key 1"],
        &["verify", path],
        &["verify", path, "--json"],
    ] {
        let out = segdump(args);
        assert_eq!(out.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        assert!(!out.stdout.is_empty());
    }
    assert!(before == traces(dir.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn get_gives_the_value_or_says_why_not() {
    let dir = directory().await;
    let path = dir.path().to_str().unwrap();
    let served = segdump(&["get", path, "key 5"]);
    assert_eq!((served.status.code(), served.stdout), (Some(0), value(1005)));
    assert_eq!(segdump(&["get", path, "key 50"]).stdout, value(50));
    let hex: String = HOSTILE.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(segdump(&["get", path, "--hex", &hex]).stdout, HOSTILE);
    for (key, why) in [("key 12", "deleted"), ("expired", "expired"), ("key 20", "expired"), ("nothing", "no record")] {
        let out = segdump(&["get", path, key]);
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(1), "{key}");
        assert!(said.contains(why), "{key}: {said}");
        assert!(out.stdout.is_empty());
    }
    let out = segdump(&["get", path, "long", "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&answer["verdict"], &answer["value_hex"]), (&"served".into(), &"78".into()));
    assert_eq!(answer["metadata_hex"], "6d657461");
    let cache = builder(dir.path()).open().await.unwrap();
    cache.clear().await.unwrap();
    cache.close().await.unwrap();
    let out = segdump(&["get", path, "key 5"]);
    assert!(out.status.code() == Some(1) && String::from_utf8_lossy(&out.stderr).contains("cleared"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_control_byte_reaches_a_terminal() {
    let dir = directory().await;
    std::fs::File::create(dir.path().join("strange \u{1b}[31m\u{202e}\n name")).unwrap();
    let path = dir.path().to_str().unwrap();
    let (_, segments) = json("segments", dir.path());
    let mut all = vec![
        segdump(&["summary", path]),
        segdump(&["segments", path]),
        segdump(&["verify", path]),
        segdump(&["verify", path, "--json"]),
        segdump(&["entries", path]),
        segdump(&["entries", path, "--json"]),
        segdump(&["get", path, "\u{1b}[31m\u{202e}"]),
        segdump(&["explain", path, "\u{1b}[31m\u{202e}"]),
        segdump(&["explain", path, "\u{1b}[31m\u{202e}", "--json"]),
        segdump(&["summary", "/no/such/\u{1b}[31mdirectory"]),
    ];
    for segment in segments.as_array().unwrap() {
        let file = dir.path().join(segment["file"].as_str().unwrap());
        all.push(segdump(&["records", file.to_str().unwrap()]));
        all.push(segdump(&["records", file.to_str().unwrap(), "--json"]));
    }
    for out in &all {
        for bytes in [&out.stdout, &out.stderr] {
            let text = std::str::from_utf8(bytes).unwrap();
            let steers = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
            assert!(!text.contains(steers), "{text:?}");
        }
    }
    let shown = all.iter().any(|out| String::from_utf8_lossy(&out.stdout).contains("\\u{1b}[31mred"));
    assert!(shown, "the hostile key is listed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_is_clean() {
    let dir = tempfile::tempdir().unwrap();
    let cache = builder(dir.path()).open().await.unwrap();
    fill(&cache).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (cache, stop) = (cache.clone(), stop.clone());
        async move {
            let mut n = 0u64;
            while !stop.load(Ordering::Relaxed) {
                cache.set(format!("key {}", n % 300), value(n)).await.unwrap();
                n += 1;
                if n.is_multiple_of(50) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            n
        }
    });
    for _ in 0..8 {
        let path = dir.path().to_owned();
        let ((code, report), (summarized, summary)) =
            tokio::task::spawn_blocking(move || (json("verify", &path), json("summary", &path))).await.unwrap();
        assert_eq!(code, 0, "{report:#}");
        assert_eq!(summarized, 0);
        assert!(summary["entries"].as_u64().unwrap() > 0);
    }
    stop.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 100);
    assert!(cache.stats().counts.segments_evicted > 0);
    cache.close().await.unwrap();
    assert_eq!(json("verify", dir.path()).0, 0);
}

#[test]
fn wrong_usage_and_what_is_no_cache_give_2() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    for args in [
        &[][..],
        &["summary"],
        &["explode", path],
        &["summary", path],
        &["verify", path],
        &["verify", "/no/such/directory"],
        &["records", "/no/such/file"],
        &["records", path],
        &["get", path, "--hex", "0g"],
        &["explain", path, "--hex", "0g"],
        &["entries", path],
        &["entries", path, "--json"],
    ] {
        let out = segdump(args);
        assert_eq!(out.status.code(), Some(2), "{args:?}");
        assert!(out.stdout.is_empty() && !out.stderr.is_empty(), "{args:?}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
