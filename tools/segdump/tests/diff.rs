//! Two directories are alike, or it is said where they are not.

mod support;

use std::path::Path;

use esker::SetOptions;
use serde_json::Value;
use support::{assert_tame, builder, copy, damage_a_value, empty, segdump, strange, traces};

fn diff(first: &Path, second: &Path, more: &[&str]) -> (i32, String, String) {
    let out = segdump(&[&["diff", first.to_str().unwrap(), second.to_str().unwrap()], more].concat());
    assert_tame(&out.stdout);
    assert_tame(&out.stderr);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_difference_is_found_and_a_copy_is_alike() {
    let first = strange().await;
    let second = copy(first.path());
    let (code, said, _) = diff(first.path(), second.path(), &[]);
    assert!(code == 0 && said.contains(" alike, 0 differ, 0 only in the first, 0 only in the second"), "{said}");
    let cache = builder(second.path()).open().await.unwrap();
    cache.delete("key 30").await.unwrap();
    cache.set("<new>\u{1b}", "x").await.unwrap();
    cache.set("key 31", support::value(31)).await.unwrap();
    cache.set("key 32", "other").await.unwrap();
    cache.set_with("key 33", support::value(33), SetOptions::new().metadata("m")).await.unwrap();
    let mut large = support::large();
    large[120_000] ^= 1;
    let mut writer = cache.writer("large", SetOptions::new().metadata("meta")).await.unwrap();
    writer.write_bytes(large.into()).await.unwrap();
    assert!(writer.finish().await.unwrap().is_stored());
    cache.close().await.unwrap();
    let before = (traces(first.path()), traces(second.path()));
    let (code, said, errors) = diff(first.path(), second.path(), &["--json"]);
    assert_eq!((code, errors.as_str()), (1, ""));
    let found: Value = serde_json::from_str(&said).unwrap();
    let of = |key: &str| {
        let all = found["differences"].as_array().unwrap();
        let one = all.iter().find(|one| one["key"] == key).unwrap();
        (one["kind"].as_str().unwrap().to_owned(), one["what"].to_string())
    };
    let differs = |what: &str| ("differs".to_owned(), what.to_owned());
    assert_eq!(of("key 30").0, "only_first");
    assert_eq!(of("<new>\\u{1b}").0, "only_second");
    assert_eq!(of("key 31"), differs(r#"["sequence"]"#));
    assert_eq!(of("key 32"), differs(r#"["bytes","sequence"]"#));
    assert_eq!(of("key 33"), differs(r#"["metadata","sequence"]"#));
    assert_eq!(of("large"), differs(r#"["bytes","sequence"]"#), "one bit of a chunk");
    let counts = &found["counts"];
    assert_eq!((&counts["only_first"], &counts["only_second"], &counts["differs"]), (&1.into(), &1.into(), &4.into()));
    let (_, said, _) = diff(first.path(), second.path(), &["--ignore-sequence", "--limit", "2"]);
    assert_eq!(said.lines().count(), 4, "{said}");
    assert!(said.contains("and 3 more") && said.contains("3 differ"), "{said}");
    assert!(before == (traces(first.path()), traces(second.path())));
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_and_an_empty_directory_are_differences() {
    let first = strange().await;
    let second = copy(first.path());
    let key = damage_a_value(second.path());
    for (a, b) in [(first.path(), second.path()), (second.path(), first.path())] {
        let (code, said, errors) = diff(a, b, &[]);
        assert!(code == 1 && said.contains("0 differ") && said.contains("1 COULD NOT BE READ"), "{said}");
        assert!(errors.contains(&format!("`{key}` is not served")), "{errors}");
    }
    let none = empty().await;
    let (code, said, _) = diff(none.path(), first.path(), &["--limit", "0"]);
    assert!(code == 1 && said.contains("0 alike, 0 differ, 0 only in the first, 9"), "{said}");
    assert_eq!(diff(none.path(), empty().await.path(), &[]).0, 0);
    assert_eq!(diff(none.path(), Path::new("/no/such/directory"), &[]).0, 2);
}
