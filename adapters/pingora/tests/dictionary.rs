//! A header dictionary belongs to the process, so each life here is a process: this file runs itself.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use esker::clock::{Clock, SystemClock};
use esker_pingora::{EskerStorage, Options};
use pingora_cache::storage::Storage;
use pingora_cache::trace::Span;
use pingora_cache::{CacheKey, CacheMeta, set_compression_dict_content};
use pingora_http::ResponseHeader;

const ROLE: &str = "ESKER_PINGORA_ROLE";
const DIR: &str = "ESKER_PINGORA_DIR";

/// Two of one length, so that what refers to the one is found in the other.
const ONE: &str =
    "Content-Type: text/html; charset=utf-8\r\nCache-Control: public, max-age=86400\r\nX-Frame-Options: deny\r\n";
const OTHER: &str =
    "Content-Type: image/gif; charset=latin\r\nCache-Control: private, no-cache=\"1\"\r\nX-Frame-Options: none\r\n";

fn meta() -> CacheMeta {
    let mut header = ResponseHeader::build(200, None).unwrap();
    for (name, value) in [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Cache-Control", "public, max-age=86400"),
        ("X-Frame-Options", "deny"),
    ] {
        header.append_header(name, value).unwrap();
    }
    let now = UNIX_EPOCH + Duration::from_millis(SystemClock.now().0);
    CacheMeta::new(now + Duration::from_secs(600), now, 0, 0, header)
}

/// One life: `write`, or `read` with what is expected.
async fn live(role: &str, dir: &Path) {
    let (what, dictionary) = role.split_once(' ').unwrap();
    if dictionary != "none" {
        let content = if dictionary == "one" { ONE } else { OTHER };
        assert!(set_compression_dict_content(content.as_bytes().into()));
    }
    let cache = esker::DiskCache::builder(dir).capacity_bytes(16 << 20).open().await.unwrap();
    let storage = EskerStorage::new(cache, dir, Options::default()).leak();
    let (key, trace) = (CacheKey::new("key", ""), Span::inactive().handle());
    if what == "write" {
        let mut miss = storage.get_miss_handler(&key, &meta(), &trace).await.unwrap();
        miss.write_body("body".into(), true).await.unwrap();
        miss.finish().await.unwrap();
    } else {
        let found = storage.lookup(&key, &trace).await.unwrap().map(|(meta, _)| meta);
        assert_eq!(found.is_some(), what == "hit", "{role}");
        if let Some(found) = found {
            assert_eq!(found.headers(), meta().headers());
        }
        assert_eq!(storage.counts().misses_unusable, u64::from(what == "miss"));
    }
    storage.close().await.unwrap();
}

#[test]
fn an_entry_of_another_dictionary_is_a_miss() {
    if let (Ok(role), Some(dir)) = (std::env::var(ROLE), std::env::var_os(DIR)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        return runtime.block_on(live(&role, Path::new(&dir)));
    }
    for (written, lives) in [
        ("write one", ["hit one", "miss other", "miss none", "hit one"]),
        ("write none", ["hit none", "hit none", "hit none", "hit none"]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        for role in [written].iter().chain(&lives) {
            let mut life = Command::new(std::env::current_exe().unwrap());
            let done = life.args(["--nocapture"]).env(ROLE, role).env(DIR, dir.path()).output().unwrap();
            assert!(done.status.success(), "{role}: {}", String::from_utf8_lossy(&done.stderr));
        }
    }
}
