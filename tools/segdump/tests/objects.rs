//! Values in chunks, as the commands show them.

mod support;

use std::path::{Path, PathBuf};

use esker::SetOptions;
use serde_json::Value;
use support::{SEGMENT, builder, copy, flip, json, overwrite, segdump};

const LEN: usize = 150_000;

fn large(n: u64) -> Vec<u8> {
    let word = |at: u64| (at ^ n << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..LEN as u64 / 8).flat_map(|at| word(at).to_le_bytes()).collect()
}

/// Two objects of three segments each, and an entry in one record.
async fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let cache = builder(dir.path()).open().await.unwrap();
    cache.set("small", "value").await.unwrap();
    for n in 1..3 {
        let mut writer = cache.writer(format!("large {n}"), SetOptions::new().metadata("meta")).await.unwrap();
        for piece in large(n).chunks(7_000) {
            writer.write_bytes(piece.to_vec().into()).await.unwrap();
        }
        assert!(writer.finish().await.unwrap().is_stored());
    }
    cache.close().await.unwrap();
    dir
}

/// Runs a command on a key.
fn on(command: &str, dir: &Path, key: &str) -> (i32, Vec<u8>, String) {
    let out = segdump(&[command, dir.to_str().unwrap(), key]);
    (out.status.code().unwrap(), out.stdout, String::from_utf8(out.stderr).unwrap())
}

fn json_on(command: &str, dir: &Path, key: &str) -> (i32, Value) {
    let out = segdump(&[command, dir.to_str().unwrap(), key, "--json"]);
    (out.status.code().unwrap(), serde_json::from_slice(&out.stdout).unwrap())
}

fn text(command: &str, path: &Path) -> String {
    String::from_utf8(segdump(&[command, path.to_str().unwrap()]).stdout).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the chunks of an object stand, by index.
fn chunks(dir: &Path, key: &str) -> Vec<(PathBuf, u64)> {
    let mut all = Vec::new();
    for segment in json("segments", dir).1.as_array().unwrap() {
        let path = dir.join(segment["file"].as_str().unwrap());
        let (_, listing) = json("records", &path);
        all.extend(listing["records"].as_array().unwrap().iter().map(|record| (path.clone(), record.clone())));
    }
    let head = all.iter().find(|(_, record)| record["kind"] == "head" && record["key"] == key).unwrap().1.clone();
    assert_eq!(head["object_len"], LEN as u64);
    let mut own: Vec<_> =
        all.into_iter().filter(|(_, r)| r["kind"] == "chunk" && r["object_id"] == head["object_id"]).collect();
    own.sort_by_key(|(_, record)| record["chunk_index"].as_u64());
    assert_eq!(own.len() as u64, head["object_chunks"].as_u64().unwrap());
    own.into_iter().map(|(path, record)| (path, record["offset"].as_u64().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_object_is_one_entry_and_its_value_is_put_together() {
    let dir = directory().await;
    let path = dir.path();
    for n in 1..3 {
        let (code, value, _) = on("get", path, &format!("large {n}"));
        assert!(code == 0 && value == large(n), "large {n}");
    }
    let (code, answer) = json_on("get", path, "large 1");
    assert_eq!((code, &answer["verdict"], &answer["value_len"]), (0, &"served".into(), &LEN.into()));
    assert_eq!((&answer["metadata_hex"], &answer["fault"]), (&"6d657461".into(), &Value::Null));
    assert!(answer["value_hex"] == hex(&large(1)));
    assert_eq!(answer["object"]["missing"], 0);

    let entries = text("entries", path);
    assert!(entries.contains("150,000") && entries.contains("3 entries") && !entries.contains("chunk "), "{entries}");
    let (_, entries) = json("entries", path);
    assert_eq!((entries["count"].as_u64(), entries["entries"].as_array().unwrap().len()), (Some(3), 3));

    let count = chunks(path, "large 1").len();
    let summary = text("summary", path);
    assert!(summary.contains("2 whole, 0 not"), "{summary}");
    assert!(summary.contains(&format!("{} live, 0 dead", 2 * count)), "{summary}");
    let all: String = json("segments", path)
        .1
        .as_array()
        .unwrap()
        .iter()
        .map(|s| text("records", &path.join(s["file"].as_str().unwrap())))
        .collect();
    let id = json_on("get", path, "large 2").1["object"]["id"].as_u64().unwrap();
    assert!(all.contains(&format!("chunk 0 of object {id}")), "{all}");
    assert!(all.contains(&format!("large 2  (object {id}, {count} chunks)")), "{all}");

    let (code, explained, _) = on("explain", path, "large 1");
    let explained = String::from_utf8(explained).unwrap();
    assert!(code == 0 && explained.contains("is served") && explained.contains(": whole"), "{explained}");
    let verified = text("verify", path);
    assert!(verified.contains("objects: 2 whole, 0 not; 0 dead chunks") && verified.contains("clean"), "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_chunk_is_no_damage_and_nothing_is_printed() {
    let whole = directory().await;
    let dir = copy(whole.path());
    let own = chunks(dir.path(), "large 1");
    let gone = own[own.len() / 2].0.clone();
    assert!(own[0].0 != gone, "the first one is elsewhere");
    overwrite(&gone, 0, &vec![0; SEGMENT as usize]);
    let (first, last) =
        (own.iter().position(|(p, _)| *p == gone).unwrap(), own.iter().rposition(|(p, _)| *p == gone).unwrap());
    let (code, value, said) = on("get", dir.path(), "large 1");
    assert!(code == 1 && value.is_empty(), "{} bytes", value.len());
    assert!(said.contains("chunks are not on disk") && said.contains(&format!("({first}-{last})")), "{said}");
    let (_, answer) = json_on("get", dir.path(), "large 1");
    assert_eq!((&answer["verdict"], &answer["value_hex"]), (&"not_whole".into(), &"".into()));
    let (code, explained) = json_on("explain", dir.path(), "large 1");
    assert_eq!((code, &explained["verdict"]), (1, &"not_whole".into()));
    assert_eq!(explained["versions"][0]["object"]["missing_runs"], serde_json::json!([[first, last]]));
    assert!(String::from_utf8(on("explain", dir.path(), "large 1").1).unwrap().contains("not on disk: "));
    let (code, report) = json("verify", dir.path());
    assert!(code == 0 && report["objects_not_whole"] == 1, "{report:#}");
    assert!(report["notes"].to_string().contains("`large 1` lacks"), "{report:#}");
    // The cache says the same.
    let summary = json("summary", dir.path()).1;
    let cache = builder(dir.path()).open().await.unwrap();
    assert_eq!(summary["entries"], cache.stats().entries);
    assert_eq!(summary["live_bytes"], cache.stats().live_bytes);
    assert!(cache.get("large 1").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_ends_the_value_with_a_word_on_it() {
    let whole = directory().await;
    let dir = copy(whole.path());
    let (path, offset) = chunks(dir.path(), "large 2")[5].clone();
    flip(&path, offset + 2_000);
    let (code, value, said) = on("get", dir.path(), "large 2");
    assert_eq!(code, 1);
    assert!(!value.is_empty() && large(2).starts_with(&value) && value.len() < LEN, "{} bytes", value.len());
    assert!(said.contains("is not whole: chunk 5") && said.contains("checksum"), "{said}");
    let (code, answer) = json_on("get", dir.path(), "large 2");
    assert!(code == 1 && answer["value_hex"] == hex(&value));
    assert_eq!((&answer["fault"]["index"], &answer["fault"]["offset"]), (&5.into(), &offset.into()));
    let (code, explained, _) = on("explain", dir.path(), "large 2");
    let explained = String::from_utf8(explained).unwrap();
    assert!(code == 1 && explained.contains("1 are DAMAGED") && explained.contains("chunk 5 ("), "{explained}");
    let (code, report) = json("verify", dir.path());
    assert_eq!((code, report["damage"].as_array().unwrap().len()), (1, 1), "{report:#}");
    assert_eq!(report["damage"][0]["offset"], offset);
    assert!(report["damage"][0]["what"].as_str().unwrap().contains("chunk 5 of object"), "{report:#}");
    let (code, value, _) = on("get", dir.path(), "large 1");
    assert!(code == 0 && value == large(1), "the other is whole");
}
