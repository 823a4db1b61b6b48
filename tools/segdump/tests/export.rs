//! What is exported is what is served, and it goes nowhere else.

#![allow(clippy::disallowed_methods, reason = "what was exported is read behind the back of the library")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, Read};
use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::Value;
use support::{STRANGE, assert_tame, damage_a_value, directory, empty, json, large, segdump, strange, traces, value};

/// Exports to a place, with more arguments; exit code, stdout, stderr.
fn export(dir: &Path, to: &Path, more: &[&str]) -> (i32, Vec<u8>, String) {
    let args = [&["export", dir.to_str().unwrap(), "--to", to.to_str().unwrap()], more].concat();
    let out = segdump(&args);
    assert_tame(&out.stderr);
    (out.status.code().unwrap(), out.stdout, String::from_utf8(out.stderr).unwrap())
}

/// Every file below, by its path, but for the index.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            all.extend(files(&path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else if name != "%index.jsonl" {
            all.insert(name, std::fs::read(&path).unwrap());
        }
    }
    all
}

fn served(dir: &Path) -> usize {
    let entries = json("entries", dir).1;
    entries["entries"].as_array().unwrap().iter().filter(|entry| entry["state"] == "served").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_served_entry_is_a_file_and_none_lies_outside() {
    let dir = strange().await;
    let before = traces(dir.path());
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("out");
    let (code, said, errors) = export(dir.path(), &to, &[]);
    let said = String::from_utf8(said).unwrap();
    assert_eq!((code, errors.as_str()), (0, ""), "{said}");
    let files = files(&to);
    assert_eq!(files.len(), served(dir.path()));
    assert!(said.starts_with(&format!("exported {} entries, ", files.len())) && said.contains("expired"), "{said}");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "nothing beside it");
    assert!(files["large"] == large());
    assert_eq!(files["key%205"], value(1005));
    assert_eq!(files["%2E.%2F..%2Fetc%2Fpasswd"], STRANGE[0]);
    assert_eq!(files["%2Fetc%2Fpasswd"], STRANGE[1]);
    assert_eq!(files["@%3Cb%3Ete%2Fnant/key%201"], b"of the tenant");
    assert!(STRANGE.iter().all(|key| files.values().any(|value| value == key)));
    let index = std::fs::read(to.join("%index.jsonl")).unwrap();
    assert_tame(&index);
    let index: Vec<Value> = index.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!(index.len(), files.len());
    let long = index.iter().find(|item| item["key"] == "long").unwrap();
    assert_eq!((&long["metadata_base64"], &long["file"]), (&"bWV0YQ==".into(), &"long".into()));
    assert!(long["expires"].as_u64() > long["created"].as_u64());
    assert!(before == traces(dir.path()));

    let (code, _, errors) = export(dir.path(), &to, &[]);
    assert!(code == 2 && errors.contains("not empty"), "{errors}");
    let (code, _, errors) = export(dir.path(), &dir.path().join("out"), &[]);
    assert!(code == 2 && errors.contains("inside"), "{errors}");
    let taken = to.join("large");
    let (code, _, errors) = export(dir.path(), &taken, &["--format", "tar"]);
    assert!(code == 2 && errors.contains("cannot create"), "{errors}");
    assert!(before == traces(dir.path()) && std::fs::read(taken).unwrap() == large());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tar_holds_the_same_files() {
    let dir = strange().await;
    let place = tempfile::tempdir().unwrap();
    assert_eq!(export(dir.path(), &place.path().join("out"), &[]).0, 0);
    let expected = files(&place.path().join("out"));
    assert_eq!(export(dir.path(), &place.path().join("a.tar"), &["--format", "tar"]).0, 0);
    let bytes = std::fs::read(place.path().join("a.tar")).unwrap();
    let (code, piped, _) = export(dir.path(), Path::new("-"), &["--format", "tar"]);
    assert!(code == 0 && piped == bytes);
    let mut found = BTreeMap::new();
    for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let about = entry.pax_extensions().unwrap().unwrap().map(Result::unwrap);
        let about =
            about.filter(|one| one.key() == Ok("ESKER.entry")).map(|one| one.value().unwrap().to_owned()).next();
        let about: Value = serde_json::from_str(&about.unwrap()).unwrap();
        let mut value = Vec::new();
        entry.read_to_end(&mut value).unwrap();
        assert_eq!(about["value_len"], value.len());
        found.insert(entry.path().unwrap().to_str().unwrap().to_owned(), value);
    }
    assert!(found == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_give_every_byte_back() {
    let dir = strange().await;
    let (code, lines, said) = export(dir.path(), Path::new("-"), &["--format", "jsonl"]);
    assert_eq!(code, 0, "{said}");
    assert_tame(&lines);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(lines.len(), served(dir.path()));
    let bytes = |line: &Value, field: &str| BASE64_STANDARD.decode(line[field].as_str().unwrap()).unwrap();
    let large_one = lines.iter().find(|line| line["key"] == "large").unwrap();
    assert!(bytes(large_one, "value_base64") == large());
    assert_eq!(bytes(large_one, "metadata_base64"), b"meta");
    for key in STRANGE {
        let is_it = |line: &&Value| match &line["key_base64"] {
            Value::Null => line["key"].as_str().unwrap().as_bytes() == key,
            _ => bytes(line, "key_base64") == key,
        };
        let line = lines.iter().find(is_it).unwrap();
        assert_eq!((bytes(line, "value_base64"), &line["fault"]), (key.to_vec(), &Value::Null));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_and_a_namespace_choose() {
    let dir = strange().await;
    let place = tempfile::tempdir().unwrap();
    let names = |to: &str, more: &[&str]| {
        let to = place.path().join(to);
        assert_eq!(export(dir.path(), &to, more).0, 0);
        files(&to).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(names("a", &["--prefix", "key 3"]).len(), 11);
    assert_eq!(names("b", &["--namespace", "<b>te/nant"]), ["@%3Cb%3Ete%2Fnant/key%201"]);
    assert_eq!(names("c", &["--namespace", "<b>te/nant", "--prefix", "x"]).len(), 0);
    assert_eq!(names("d", &["--prefix", "key 1"]).len(), 2, "in a namespace too");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_named() {
    let dir = strange().await;
    let whole = served(dir.path());
    let key = damage_a_value(dir.path());
    for format in ["dir", "tar", "jsonl"] {
        let place = tempfile::tempdir().unwrap();
        let (code, said, errors) = export(dir.path(), &place.path().join("out"), &["--format", format, "--json"]);
        assert!(code == 1 && errors.contains(&format!("`{key}` is not served")), "{errors}");
        let report: Value = serde_json::from_slice(&said).unwrap();
        assert_eq!((&report["exported"], &report["unreadable"]), (&(whole - 1).into(), &1.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_an_object_is_no_file() {
    let dir = strange().await;
    let (segments, mut chunk) = (json("segments", dir.path()).1, None);
    for segment in segments.as_array().unwrap() {
        let path = dir.path().join(segment["file"].as_str().unwrap());
        let records = json("records", &path).1;
        let found = records["records"].as_array().unwrap().iter().find(|record| record["chunk_index"] == 5);
        chunk = chunk.or(found.map(|record| (path, record["offset"].as_u64().unwrap())));
    }
    let (path, offset) = chunk.unwrap();
    support::flip(&path, offset + 300);
    let place = tempfile::tempdir().unwrap();
    let (code, _, errors) = export(dir.path(), &place.path().join("out"), &[]);
    assert!(code == 1 && errors.contains("`large` is not exported whole: chunk 5"), "{errors}");
    assert!(!files(&place.path().join("out")).contains_key("large"));
    let tar = place.path().join("tar");
    assert_eq!(export(dir.path(), &tar, &["--format", "tar"]).0, 1);
    let tar = std::fs::read(tar).unwrap();
    assert_eq!(tar::Archive::new(&tar[..]).entries().unwrap().count(), served(dir.path()) - 1);
    let (code, lines, _) = export(dir.path(), Path::new("-"), &["--format", "jsonl", "--prefix", "large"]);
    let line: Value = serde_json::from_slice(&lines).unwrap();
    assert!(code == 1 && line["fault"].as_str().unwrap().starts_with("chunk 5"), "{}", line["fault"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_makes_an_empty_directory_and_what_is_no_cache_gives_2() {
    let dir = empty().await;
    let place = tempfile::tempdir().unwrap();
    let (code, said, _) = export(dir.path(), place.path(), &[]);
    assert!(code == 0 && said.starts_with(b"exported 0 entries"), "an empty directory will do");
    assert!(files(place.path()).is_empty());
    let filled = directory().await;
    assert_eq!(export(filled.path(), Path::new("-"), &[]).0, 2);
    assert_eq!(export(filled.path(), Path::new("-"), &["--format", "tar", "--json"]).0, 2);
    assert_eq!(export(place.path(), &place.path().join("x"), &["--format", "tar"]).0, 2);
}
