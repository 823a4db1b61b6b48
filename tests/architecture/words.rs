//! Locks, atomics, signals, tasks, threads and time come in through `src/sync`, so that a build under shuttle's scheduler
//! sees every place where tasks meet.

use super::source::Source;

/// What must not be named elsewhere.
const WORDS: [&str; 7] = [
    "parking_lot::",
    "tokio::",
    "std::thread::",
    "std::sync::atomic",
    "std::sync::mpsc",
    "std::sync::Mutex",
    "std::sync::RwLock",
];

/// The files that may, with the reason.
const EXCEPTIONS: [(&str, &str); 7] = [
    ("src/sync/mod.rs", "this is where they come in"),
    ("src/stats.rs", "counters, which decide nothing"),
    ("src/clock.rs", "the wall clock orders nothing"),
    ("src/backend/descriptors.rs", "counts over the whole process"),
    ("src/backend/buffer.rs", "counts of buffers, besides a lock from `src/sync`"),
    ("src/backend/tokio_uring.rs", "a runtime of its own, on threads of its own"),
    ("src/recover/publish.rs", "threads that share nothing but a counter and the index's shards"),
];

/// What is wrong in one file of the library.
pub(crate) fn violations(source: &Source) -> Vec<String> {
    if EXCEPTIONS.iter().any(|(path, _)| *path == source.path) || source.path.ends_with("tests.rs") {
        return Vec::new();
    }
    // Tests within a file come last.
    let code = source.text.lines().take_while(|line| line.trim() != "mod tests {");
    let mut found = Vec::new();
    for (n, line) in code.enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
        for word in WORDS.iter().filter(|word| names(line, word)) {
            found.push(format!("{}:{}: `{word}` comes in through `crate::sync`", source.path, n + 1));
        }
    }
    found
}

/// Whether the word stands there as a whole path, not as the end of another name.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}

#[cfg(test)]
mod canary {
    use super::*;

    fn caught(path: &str, text: &str) -> usize {
        violations(&Source::new(path, text)).len()
    }

    #[test]
    fn a_hand_off_past_the_scheduler_is_caught() {
        assert_eq!(caught("src/log/mod.rs", "use parking_lot::Mutex;\nuse tokio::sync::Notify;"), 2);
        assert_eq!(caught("src/log/mod.rs", "use std::sync::atomic::AtomicU64;"), 1);
        assert_eq!(caught("src/log/mod.rs", "fn f() { std::thread::spawn(g); }"), 1);
    }

    #[test]
    fn what_is_allowed_passes() {
        assert_eq!(caught("src/log/mod.rs", "use crate::sync::atomic::AtomicU64;\n// tokio::spawn\n"), 0);
        assert_eq!(caught("src/log/mod.rs", "mod tests {\n    use parking_lot::Mutex;\n}"), 0);
        assert_eq!(caught("src/stats.rs", "use std::sync::atomic::AtomicU64;"), 0);
        assert_eq!(caught("src/api/x.rs", "use super::tokio_uring::x; use my_tokio::y;"), 0);
    }
}
