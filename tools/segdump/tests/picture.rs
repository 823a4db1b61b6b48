//! The picture shows the figures of the summary, whatever the directory holds, and runs nothing.

#![allow(clippy::disallowed_methods, reason = "what was drawn is read behind the back of the library")]

mod support;

use std::path::Path;

use segdump::picture::{draw, strips};
use support::{
    SEGMENT, assert_tame, builder, damage_a_value, empty, json, overwrite, sealed, segdump, strange, traces,
};

/// Draws into a file of this name; exit code, the file, stdout, stderr.
fn picture(dir: &Path, name: &str) -> (i32, String, String, String) {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join(name);
    let out = segdump(&["picture", dir.to_str().unwrap(), "-o", file.to_str().unwrap()]);
    let drawn = std::fs::read_to_string(&file).unwrap_or_default();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    for text in [out.stdout.as_slice(), out.stderr.as_slice(), drawn.as_bytes()] {
        assert_tame(text);
    }
    (out.status.code().unwrap(), drawn, text(out.stdout), text(out.stderr))
}

/// The width that is drawn in a class, the legend not counted.
fn width(svg: &str, class: &str) -> f64 {
    let mark = format!("<rect class=\"{class}\"");
    let strips = svg.lines().filter(|line| line.starts_with(&mark) && !line.contains("width=\"14.00\""));
    strips.map(|line| line.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_used_segment_is_a_strip_of_its_bytes() {
    let dir = strange().await;
    let before = traces(dir.path());
    let (code, svg, said, errors) = picture(dir.path(), "map.svg");
    assert_eq!((code, errors.as_str()), (0, ""));
    let summary = json("summary", dir.path()).1;
    let segments = summary["segments"].as_array().unwrap();
    let used = segments.iter().filter(|s| s["state"] != "free").count();
    assert_eq!(svg.matches("<g><title>").count(), used);
    let sum = |field: &str| segments.iter().map(|s| s[field].as_u64().unwrap()).sum::<u64>() as f64;
    let drawn = 640.0 / SEGMENT as f64;
    let live = (sum("live_bytes") - sum("live_expired_bytes")) * drawn;
    let expired = (sum("expired_bytes") + sum("live_expired_bytes")) * drawn;
    assert!((width(&svg, "live") - live).abs() < 0.5, "{live}");
    assert!(expired > 0.0 && (width(&svg, "expired") - expired).abs() < 0.5, "{expired}");
    for word in ["What is in", "oldest first", "newest", "live: served", "live share", "64.0 KiB", "free segment files"]
    {
        assert!(svg.contains(word), "{word}");
    }
    assert!(svg.contains(said.lines().next().unwrap()), "{said}");
    let ids: Vec<u64> = svg
        .lines()
        .filter_map(|line| line.strip_prefix("<g><title>segment ")?.split(", ").next()?.replace(',', "").parse().ok())
        .collect();
    assert!(ids.len() == used && ids.is_sorted(), "oldest first: {ids:?}");

    let (code, page, ..) = picture(dir.path(), "map.html");
    assert!(code == 0 && page.starts_with("<!doctype html>") && page.contains("<svg "));
    assert_eq!(page.matches("<tr><td>").count(), used);
    assert!(before == traces(dir.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_no_markup() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("<script>alert(1)</script>\u{202e}&");
    let name = "<script>x".to_owned();
    let own = esker::NamespaceConfig { name, default_ttl_ms: None, share_bytes: 320 << 10, quota_bytes: None };
    let cache = builder(&dir).namespace(own).open().await.unwrap();
    cache.namespace("<script>x").unwrap().set("key", "value").await.unwrap();
    cache.close().await.unwrap();
    for name in ["map.svg", "map.html"] {
        let (code, drawn, ..) = picture(&dir, name);
        assert!(code == 0 && !drawn.contains("<script"), "{drawn}");
        assert!(drawn.contains("[&lt;script&gt;x]") && drawn.contains("\\u{202e}&amp;"), "{drawn}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_red() {
    let dir = strange().await;
    assert!(width(&picture(dir.path(), "map.svg").1, "damaged") < 0.1);
    let (path, _) = sealed(dir.path());
    overwrite(&path, 0, &[0xaa; 64]);
    overwrite(&path, 4096 - 64, &[0xaa; 64]);
    overwrite(&path, SEGMENT - 64, &[0xaa; 64]);
    let (code, svg, said, _) = picture(dir.path(), "map.svg");
    assert!(code == 0 && width(&svg, "damaged") > 600.0, "{said}");
    assert!(said.contains("64.0 KiB damaged") && said.contains("segdump verify"), "{said}");

    // What only a reading of everything finds is not claimed to be known.
    let dir = strange().await;
    damage_a_value(dir.path());
    assert_eq!(picture(dir.path(), "map.svg").0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_directory_is_said_to_be_empty() {
    let dir = empty().await;
    let (code, svg, ..) = picture(dir.path(), "map.svg");
    let used = json("segments", dir.path()).1.as_array().unwrap().iter().filter(|s| s["state"] != "free").count();
    assert!(code == 0 && (used > 0 || svg.contains("No segment holds anything yet")), "{svg}");
    assert!(draw("t", &[], &[], SEGMENT).contains("No segment holds anything yet"));
}

#[test]
fn a_thousand_segments_are_a_picture_of_bounded_height() {
    let strip = |n: u64| strips::Strip {
        name: format!("segment {n}"),
        stream: "new".into(),
        age: "1 h".into(),
        live: n * 60,
        dead: SEGMENT - n * 60,
        ..strips::Strip::default()
    };
    for count in [1, 2, 60, 1_000, 65_536] {
        let all: Vec<_> = (0..count).map(|n| strip(n % 1_000)).collect();
        let svg = draw("many", &["of a few".into()], &all, SEGMENT);
        let height: f64 = svg.split("height=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
        assert!(height < 1_500.0, "{count}: {height}");
        let drawn = strips::at_most(&all, 400);
        let live = |strips: &[strips::Strip]| strips.iter().map(|s| s.live).sum::<u64>();
        assert_eq!((live(&drawn), svg.matches("<g><title>").count()), (live(&all), drawn.len()));
        let mut lines: Vec<f64> = svg
            .lines()
            .filter(|line| line.starts_with("<text class=\"label\"") && line.contains("\"end\""))
            .map(|line| line.split(" y=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        lines.sort_by(f64::total_cmp);
        assert!(lines.windows(2).all(|two| two[1] - two[0] >= 11.9), "labels overlap");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_kinds_and_places_are_refused_with_advice() {
    let dir = strange().await;
    let before = traces(dir.path());
    for (name, advice) in [("map.png", "*.svg or *.html"), ("map", "*.svg or *.html")] {
        let (code, _, _, errors) = picture(dir.path(), name);
        assert!(code == 2 && errors.contains(advice), "{errors}");
    }
    let inside = dir.path().join("map.svg");
    let out = segdump(&["picture", dir.path().to_str().unwrap(), "-o", inside.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(2));
    assert!(before == traces(dir.path()));
}
