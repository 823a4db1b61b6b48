//! Keys and names come from strangers: no byte of them may steer a terminal.

use std::fmt::Write as _;

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

#[cfg(test)]
mod tests {
    use super::escape;

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
