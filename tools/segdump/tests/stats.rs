//! The distributions are those of the entries.

mod support;

use esker::SetOptions;
use serde_json::Value;
use support::{assert_tame, builder, copy, damage_a_value, empty, flip, json, large, sealed, segdump, strange, traces};

fn spread<'a>(stats: &'a Value, of: &str) -> &'a Value {
    stats["spread"].as_array().unwrap().iter().find(|one| one["of"] == of).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_are_those_of_the_entries() {
    let dir = strange().await;
    let before = traces(dir.path());
    let (code, stats) = json("stats", dir.path());
    assert_eq!(code, 0);
    let entries = json("entries", dir.path()).1["entries"].as_array().unwrap().clone();
    let served: Vec<_> = entries.iter().filter(|entry| entry["state"] == "served").collect();
    assert_eq!(stats["entries"], served.len());
    assert_eq!(stats["expired"], entries.iter().filter(|entry| entry["state"] == "expired").count());
    let mut values: Vec<u64> = served.iter().map(|entry| entry["value_len"].as_u64().unwrap()).collect();
    values.sort_unstable();
    let found = spread(&stats, "value bytes");
    assert_eq!((&found["count"], &found["min"]), (&served.len().into(), &values[0].into()));
    assert_eq!((&found["max"], &stats["largest"][0]["key"]), (&large().len().into(), &"large".into()));
    let (p50, true_p50) = (found["p50"].as_u64().unwrap(), values[(values.len() - 1) / 2]);
    assert!(p50 >= true_p50 && p50 <= true_p50 + true_p50 / 32 + 1, "{p50}, {true_p50}");
    assert_eq!(stats["largest"].as_array().unwrap().len(), 10);
    assert_eq!(spread(&stats, "time to live left ms")["count"], 2, "`lives` and `long`");
    assert!(spread(&stats, "age ms")["max"].as_u64().unwrap() > 1_000);

    let summary = json("summary", dir.path()).1;
    let sum = |table: &str, field: &str| {
        stats[table].as_object().unwrap().values().map(|one| one[field].as_u64().unwrap()).sum::<u64>()
    };
    let all = sum("streams", "live") + sum("streams", "expired") + sum("streams", "dead");
    assert_eq!(all, summary["live_bytes"].as_u64().unwrap() + summary["dead_bytes"].as_u64().unwrap());
    let (own, both) = (sum("namespaces", "live"), sum("streams", "live"));
    assert!(
        own <= both && own > both - 16_384,
        "record by record, and by segment with the cache's own record: {own} {both}"
    );
    assert!(sum("streams", "expired") >= sum("namespaces", "expired") && sum("streams", "expired") > 0);
    assert_eq!(stats["namespaces"]["<b>te/nant"]["entries"], 1);

    let out = segdump(&["stats", dir.path().to_str().unwrap()]);
    assert_tame(&out.stdout);
    let text = String::from_utf8(out.stdout).unwrap();
    for word in ["entries are served", "value bytes", "short_lived", "<b>te/nant", "150,000  large\n"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(before == traces(dir.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_and_an_empty_directory_have_figures_too() {
    let dir = strange().await;
    damage_a_value(dir.path());
    let (path, records) = sealed(dir.path());
    flip(&path, records[21]["offset"].as_u64().unwrap() + 20);
    let (code, stats) = json("stats", dir.path());
    assert!(code == 0 && stats["damaged"].as_u64() <= Some(1), "{stats:#}");
    let (code, stats) = json("stats", empty().await.path());
    assert_eq!((code, &stats["entries"], &spread(&stats, "age ms")["p99"]), (0, &0.into(), &0.into()));
    let out = segdump(&["stats", empty().await.path().to_str().unwrap()]);
    assert!(String::from_utf8(out.stdout).unwrap().starts_with("0 entries are served"));
    assert_eq!(segdump(&["stats", "/no/such/directory"]).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chunks_of_an_object_expire_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let cache = builder(dir.path()).open().await.unwrap();
    let short = SetOptions::new().ttl(std::time::Duration::from_millis(1_500));
    let mut writer = cache.writer("brief", short).await.unwrap();
    writer.write_bytes(large().into()).await.unwrap();
    assert!(writer.finish().await.unwrap().is_stored());
    cache.sync().await.unwrap();
    // The cache itself would free what has expired.
    let copy = copy(dir.path());
    tokio::time::sleep(std::time::Duration::from_millis(2_600)).await;
    let (_, stats) = json("stats", copy.path());
    let streams = stats["streams"].as_object().unwrap();
    let expired: u64 = streams.values().map(|one| one["expired"].as_u64().unwrap()).sum();
    assert!(expired > large().len() as u64, "{stats:#}");
    cache.close().await.unwrap();
}

#[test]
fn shells_and_man_are_told_of_every_command() {
    for args in [&["completions", "bash"][..], &["completions", "zsh"], &["completions", "fish"], &["man"]] {
        let out = segdump(args);
        let text = String::from_utf8(out.stdout).unwrap();
        assert_eq!(out.status.code(), Some(0));
        for command in ["summary", "explain", "export", "picture", "stats"] {
            assert!(text.contains(command), "{args:?} without {command}");
        }
    }
    assert_eq!(segdump(&["completions", "abacus"]).status.code(), Some(2));
}
