//! Keys and names come from strangers: no byte of them may steer a terminal.

use std::fmt::Write as _;

use crate::format::namespace;
use crate::types::RecordKind;

/// Readable text of any bytes. Printable characters stand for themselves; a backslash is doubled; control, format (the
/// marks that turn the direction of text among them), combining and unassigned characters become `\n`, `\u{202e}` and
/// the like; bytes that are not UTF-8 become `\xff`. Different bytes give different text.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\'' => text.push(c),
                _ => text.extend(c.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Namespace and key of a key as it stands on disk, both as readable text. Of a purge's key, the first byte stays before what
/// it selects.
pub(super) fn shown(kind: RecordKind, key: &[u8]) -> (Option<String>, String) {
    let (first, rest) = key.split_at(usize::from(kind == RecordKind::Purge).min(key.len()));
    let in_one = matches!(kind, RecordKind::Put | RecordKind::Head | RecordKind::Delete | RecordKind::Purge);
    match namespace::split(rest).filter(|_| in_one) {
        Some(split) => (Some(escape(split.name.as_bytes())), escape(first) + &escape(split.key)),
        None => (None, escape(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::{escape, shown};
    use crate::format::namespace::prefix;
    use crate::types::RecordKind;

    #[test]
    fn a_key_in_a_namespace_is_shown_as_both() {
        let key = [&prefix("a\u{1b}").unwrap()[..], b"user\n"].concat();
        let both = (Some("a\\u{1b}".to_owned()), "user\\n".to_owned());
        assert_eq!((shown(RecordKind::Put, &key), shown(RecordKind::Put, b"plain")), (both, (None, "plain".into())));
        let purge = [&[1][..], &prefix("a").unwrap()].concat();
        assert_eq!(shown(RecordKind::Purge, &purge), (Some("a".into()), "\\u{1}".into()));
        assert_eq!(shown(RecordKind::Marker, &key).0, None, "a marker has no key of a user's");
    }

    #[test]
    fn nothing_that_steers_a_terminal_passes() {
        let hostile = "a\u{1b}[31m\n\r\0\u{7f}\u{9b}\u{202e}\u{2066}\u{200b}\u{feff}\u{2028}\u{e000}".as_bytes();
        let text = escape(hostile);
        assert_eq!(text, "a\\u{1b}[31m\\n\\r\\0\\u{7f}\\u{9b}\\u{202e}\\u{2066}\\u{200b}\\u{feff}\\u{2028}\\u{e000}");
        for c in char::MIN..=char::MAX {
            let text = escape(c.to_string().as_bytes());
            assert!(!text.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)), "{c:?}");
        }
    }

    #[test]
    fn what_is_readable_stays_and_what_differs_differs() {
        assert_eq!(escape("grün \"日本\" 'x'".as_bytes()), "grün \"日本\" 'x'");
        assert_eq!(escape(b"\xff\xfea\xc3"), "\\xff\\xfea\\xc3");
        assert_ne!(escape(b"\\xff"), escape(b"\xff"));
    }
}
