//! Each kind of damage is found where it is, and none makes the tool fall over.

#![allow(clippy::disallowed_methods, reason = "damage is done behind the back of the library")]

mod support;

use std::fs::OpenOptions;
use std::path::Path;

use serde_json::Value;
use support::{SEGMENT, builder, copy, directory, flip, json, overwrite, sealed, segdump, value};

/// Runs every command on a damaged directory and returns what `verify` lists.
fn damage_in(dir: &Path) -> Vec<Value> {
    let (code, report) = json("verify", dir);
    assert_eq!(code, 1, "{report:#}");
    assert_eq!(report["is_clean"], false);
    let out = segdump(&["verify", dir.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8(out.stdout).unwrap().contains("DAMAGED in"));
    for command in ["summary", "segments"] {
        assert!(matches!(json(command, dir).0, 0 | 2));
        segdump(&[command, dir.to_str().unwrap()]);
    }
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let out = segdump(&["records", path.to_str().unwrap()]);
        assert!(matches!(out.status.code(), Some(0 | 2)));
    }
    report["damage"].as_array().unwrap().clone()
}

/// Asserts that `verify` names this file and offset.
fn assert_found(dir: &Path, path: &Path, offset: u64) {
    let damage = damage_in(dir);
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(damage.iter().any(|d| d["file"] == name && d["offset"] == offset), "{name} at {offset}: {damage:#?}");
}

/// The summary still says what the cache will.
async fn assert_agrees(dir: &Path) {
    let (_, summary) = json("summary", dir);
    let cache = builder(dir).open().await.unwrap();
    let stats = cache.stats();
    let report = cache.recovery_report();
    assert_eq!(
        (&summary["entries"], &summary["live_bytes"]),
        (&stats.entries.into(), &stats.live_bytes.into()),
        "{report:#?}"
    );
    cache.close().await.unwrap();
}

fn at(record: &Value) -> u64 {
    record["offset"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_to_records_and_footers() {
    let whole = directory().await;
    let case = || {
        let dir = copy(whole.path());
        let (path, records) = sealed(dir.path());
        (dir, path, records)
    };

    let (dir, path, records) = case();
    flip(&path, at(&records[22]) + 500);
    assert_found(dir.path(), &path, at(&records[22]));
    let key = records[22]["key"].as_str().unwrap();
    let out = segdump(&["get", dir.path().to_str().unwrap(), key]);
    assert_eq!(out.status.code(), Some(1));
    assert!(out.stdout.is_empty(), "a damaged value is not printed");
    assert_agrees(dir.path()).await;

    let (dir, path, records) = case();
    flip(&path, at(&records[4]) + 20);
    assert_found(dir.path(), &path, at(&records[4]));
    assert_agrees(dir.path()).await;

    // Lengths that lie, with footer and without.
    let (dir, path, records) = case();
    overwrite(&path, at(&records[2]) + 2, &[0xff; 8]);
    overwrite(&path, SEGMENT - 64, &[0; 64]);
    assert_found(dir.path(), &path, at(&records[2]));
    assert_agrees(dir.path()).await;

    let (dir, path, records) = case();
    overwrite(&path, at(&records[1]), &[0; 9000]);
    assert_found(dir.path(), &path, at(&records[1]));

    let (dir, path, _) = case();
    overwrite(&path, SEGMENT - 64, &[0; 64]);
    assert_found(dir.path(), &path, SEGMENT - 64);
    assert_agrees(dir.path()).await;

    // The trailer's CRC, one of its lengths, a row.
    for (offset, found) in
        [(SEGMENT - 2, SEGMENT - 64), (SEGMENT - 45, SEGMENT - 64), (SEGMENT - 4096 + 30, SEGMENT - 4096)]
    {
        let (dir, path, _) = case();
        flip(&path, offset);
        assert_found(dir.path(), &path, found);
        assert_eq!(
            json("segments", dir.path()).1.as_array().unwrap().iter().filter(|s| s["state"] == "damaged").count(),
            1
        );
        assert_agrees(dir.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_to_files_and_headers() {
    let whole = directory().await;
    let case = || {
        let dir = copy(whole.path());
        let (path, records) = sealed(dir.path());
        (dir, path, records)
    };

    for offset in [3, 9, 17, 30, 41, 62] {
        let (dir, path, _) = case();
        flip(&path, offset);
        assert_found(dir.path(), &path, 0);
        assert_agrees(dir.path()).await;
    }

    let (dir, path, _) = case();
    overwrite(&path, 0, &[0; 4096]);
    assert_found(dir.path(), &path, 0);

    let (dir, path, _) = case();
    flip(&path, 200);
    assert_found(dir.path(), &path, 200);

    for len in [0, 10, 63, 64, 4096, 4100, 30_000, SEGMENT - 1] {
        let (dir, path, _) = case();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(len).unwrap();
        if len > 0 {
            assert_found(dir.path(), &path, if len < 64 { 0 } else { len });
        }
        assert_agrees(dir.path()).await;
    }

    let (dir, path, _) = case();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(SEGMENT * 3).unwrap();
    assert_found(dir.path(), &path, SEGMENT);

    let (dir, _, _) = case();
    let garbage = dir.path().join("seg-00aa.esk");
    let bytes: Vec<u8> = (0..50_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::File::create(&garbage).unwrap();
    overwrite(&garbage, 0, &bytes);
    assert_found(dir.path(), &garbage, 0);

    // The same segment twice.
    let (dir, path, _) = case();
    let twin = dir.path().join("seg-00ab.esk");
    std::fs::copy(&path, &twin).unwrap();
    assert_found(dir.path(), &twin, 0);

    let (dir, _, _) = case();
    let manifest = dir.path().join("MANIFEST");
    flip(&manifest, 40);
    assert_found(dir.path(), &manifest, 0);
    std::fs::remove_file(&manifest).unwrap();
    assert_found(dir.path(), &manifest, 0);
    overwrite_new(&manifest, b"ESKRMAN\0\xff\xff\xff\xff");
    assert_eq!(json("verify", dir.path()).0, 2, "a newer format is not judged");
}

fn overwrite_new(path: &Path, bytes: &[u8]) {
    std::fs::File::create(path).unwrap();
    overwrite(path, 0, bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanged_files_are_harmless_and_exchanged_headers_are_found() {
    let whole = directory().await;
    let dir = copy(whole.path());
    let before = json("summary", dir.path()).1["entries"].clone();
    let (_, segments) = json("segments", dir.path());
    let used: Vec<_> = segments.as_array().unwrap().iter().filter(|s| s["records"].as_u64() > Some(8)).collect();
    let path = |i: usize| dir.path().join(used[i]["file"].as_str().unwrap());
    let (a, b, c) = (path(0), path(1), dir.path().join("c"));
    std::fs::rename(&a, &c).unwrap();
    std::fs::rename(&b, &a).unwrap();
    std::fs::rename(&c, &b).unwrap();
    let (code, found) = json("verify", dir.path());
    assert_eq!(code, 0, "a file's name is not its identity: {found}");
    assert_eq!(json("summary", dir.path()).1["entries"], before);
    let (one, two) = (std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
    overwrite(&a, 0, &two[..64]);
    overwrite(&b, 0, &one[..64]);
    assert_found(dir.path(), &a, 0);
    assert_found(dir.path(), &b, 0);
    assert_eq!(json("summary", dir.path()).1["entries"], before, "their twins say which they are");
    assert_agrees(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_torn_end_of_an_open_segment_is_a_note() {
    let dir = tempfile::tempdir().unwrap();
    let cache = builder(dir.path()).open().await.unwrap();
    for n in 0..8u64 {
        // Of a length that leaves room for pads.
        cache.set(format!("key {n}"), value(n + 30)).await.unwrap();
        if n == 3 {
            cache.sync().await.unwrap();
        }
        if n == 5 {
            // The pad of this flush vouches for what was synced.
            cache.flush().await.unwrap();
        }
    }
    cache.flush().await.unwrap();
    let torn = copy(dir.path());
    cache.close().await.unwrap();
    let (_, segments) = json("segments", torn.path());
    let open = segments.as_array().unwrap().iter().find(|s| s["state"] == "open").unwrap();
    let path = torn.path().join(open["file"].as_str().unwrap());
    let records = json("records", &path).1["records"].as_array().unwrap().clone();
    let puts: Vec<_> = records.iter().filter(|r| r["kind"] == "put").collect();
    overwrite(&path, at(puts[7]) + 1000, &[0; 3000]);
    let (code, report) = json("verify", torn.path());
    assert_eq!(code, 0, "{report:#}");
    assert!(report["notes"].to_string().contains("torn end"), "{report:#}");
    overwrite(&path, at(puts[6]) + 12, &[0; 5000]);
    assert_eq!(json("verify", torn.path()).0, 0);
    // What was synced cannot be torn.
    flip(&path, at(puts[2]) + 100);
    flip(&path, at(puts[1]) + 20);
    assert_found(torn.path(), &path, at(puts[1]));
    assert_found(torn.path(), &path, at(puts[2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_flipped_bit_makes_it_fall_over() {
    let whole = directory().await;
    let (path, _) = sealed(whole.path());
    let name = path.file_name().unwrap().to_owned();
    let mut unnoticed = 0;
    for i in 0..60u64 {
        let dir = copy(whole.path());
        let path = dir.path().join(&name);
        flip(&path, i * 7919 % SEGMENT);
        let (code, report) = json("verify", dir.path());
        assert!(matches!(code, 0 | 1), "{code}");
        assert_eq!(code == 0, report["is_clean"] == true);
        unnoticed += u64::from(code == 0);
        for command in ["summary", "segments"] {
            assert_eq!(json(command, dir.path()).0, 0);
        }
    }
    // Padding, and what stands between the last record and the footer, is covered by no checksum.
    assert!(unnoticed < 30, "{unnoticed}");
}
